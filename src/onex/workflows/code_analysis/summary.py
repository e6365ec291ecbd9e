"""One file's analysis as the small values that directories add up, and many analyses as one blob of JSON lines.

A state holds references to bundles, so that none holds a row per file.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from hashlib import blake2b

from .analysis import FileAnalysis
from .complexity import histogram
from .finding import CHECKS, EnumCheckSeverity
from .tally import MODULUS, AnalysisTotals, FileTally, Worst


def mark(path: str) -> str:
    """A hash of 8 bytes as 11 characters: the size of a state must not depend on the length of paths."""
    return base64.urlsafe_b64encode(blake2b(path.encode(), digest_size=8).digest()).decode().rstrip("=")


def severity_count(totals: AnalysisTotals, severity: EnumCheckSeverity) -> int:
    """How many findings have this severity. A code that this version does not know counts as upkeep."""
    upkeep = EnumCheckSeverity.UPKEEP
    known = {code: check.severity for code, check in CHECKS.items()}
    return sum(count for code, count in totals.findings.items() if known.get(code, upkeep) is severity)


def totals_of(analysis: FileAnalysis) -> AnalysisTotals:
    complexities = [function.complexity for function in analysis.functions]
    codes = [finding.code for finding in analysis.findings]
    return AnalysisTotals(
        files=1,
        failed=0 if analysis.ok else 1,
        size_bytes=analysis.size_bytes,
        **analysis.counts.model_dump(),
        functions=len(analysis.functions),
        methods=analysis.methods,
        classes=analysis.classes,
        imports=len(analysis.imports),
        public=analysis.public,
        documented=analysis.documented,
        suppressed=analysis.suppressed,
        complexity_sum=sum(complexities),
        complexity_max=max(complexities, default=0),
        complexities=histogram(complexities),
        findings={code: codes.count(code) for code in sorted(set(codes))},
    )


def tally_of(analysis: FileAnalysis) -> FileTally:
    """What a file sends to its directory. Under 1 KB whatever the size of the file."""
    name = mark(analysis.path)
    return FileTally(
        totals=totals_of(analysis),
        complex_files=_worst(analysis.complexity_max, name),
        finding_files=_worst(len(analysis.findings), name),
        undocumented_files=_worst(analysis.public - analysis.documented, name),
        fingerprint=fingerprint(analysis.path),
    )


def fingerprint(path: str) -> int:
    """A file's share in ``FileTally.fingerprint``. The sum for a list of files can be computed beforehand."""
    return int.from_bytes(blake2b(path.encode(), digest_size=8, person=b"files").digest(), "big") % MODULUS


def _worst(score: int, name: str) -> Worst:
    return Worst(entries=((score, name),) if score else ())


# --- bundles ----------------------------------------------------------------------------------------


def line(analysis: FileAnalysis) -> bytes:
    """The blob of one file: its JSON on one line, with a line end."""
    return analysis.model_dump_json().encode() + b"\n"


def bundle(blobs: Iterable[bytes]) -> bytes:
    """One blob of many. A bundle of bundles is a bundle too."""
    return b"".join(blobs)


def unbundle(blobs: Iterable[bytes]) -> Iterator[FileAnalysis]:
    """The analyses one by one, whatever the nesting of bundles was. Only one is decoded at a time."""
    for blob in blobs:
        start = 0
        while start < len(blob):
            end = blob.index(b"\n", start)
            yield FileAnalysis.model_validate_json(blob[start:end])
            start = end + 1
