"""What a gatherer keeps: sums, bounded lists and one fingerprint; merging them in any order gives the same value.

A gatherer holds no row per file. On the standard library the largest directory has 462 files; a row of small integers
each would be 20 KB, and a state is written whole with every batch that touches it.
"""

from __future__ import annotations

import base64
from hashlib import blake2b
from typing import Final

from pydantic import Field

from onex import Payload

from .analysis import FileAnalysis
from .complexity import BUCKETS, histogram
from .finding import CHECKS, EnumCheckSeverity

WORST: Final = 20
_MODULUS: Final = 2**53  # the integers JSON readers agree on (SEMANTICS 33)


def mark(path: str) -> str:
    """An 8-byte name for a path in 11 characters: a state must not grow with the length of paths."""
    return base64.urlsafe_b64encode(blake2b(path.encode(), digest_size=8).digest()).decode().rstrip("=")


class Totals(Payload):
    """Sums over files. ``complexities`` counts functions by ``complexity.BUCKETS``; ``findings`` is code -> count.

    ``merge`` is associative and commutative, byte for byte, and ``Totals()`` changes nothing.
    """

    files: int = 0
    failed: int = 0
    size_bytes: int = 0
    lines: int = 0
    code: int = 0
    comment: int = 0
    blank: int = 0
    docstring: int = 0
    functions: int = 0
    methods: int = 0
    classes: int = 0
    imports: int = 0
    public: int = 0
    documented: int = 0
    suppressed: int = 0
    complexity_sum: int = 0
    complexity_max: int = 0
    complexities: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)
    findings: dict[str, int] = Field(default_factory=dict)

    def merge(self, other: Totals) -> Totals:
        return Totals(
            files=self.files + other.files,
            failed=self.failed + other.failed,
            size_bytes=self.size_bytes + other.size_bytes,
            lines=self.lines + other.lines,
            code=self.code + other.code,
            comment=self.comment + other.comment,
            blank=self.blank + other.blank,
            docstring=self.docstring + other.docstring,
            functions=self.functions + other.functions,
            methods=self.methods + other.methods,
            classes=self.classes + other.classes,
            imports=self.imports + other.imports,
            public=self.public + other.public,
            documented=self.documented + other.documented,
            suppressed=self.suppressed + other.suppressed,
            complexity_sum=self.complexity_sum + other.complexity_sum,
            complexity_max=max(self.complexity_max, other.complexity_max),
            complexities=tuple(a + b for a, b in zip(self.complexities, other.complexities, strict=True)),
            findings={
                code: self.findings.get(code, 0) + other.findings.get(code, 0)
                for code in sorted({*self.findings, *other.findings})
            },
        )

    @property
    def finding_count(self) -> int:
        return sum(self.findings.values())

    @property
    def complexity_mean(self) -> float:
        return self.complexity_sum / self.functions if self.functions else 0.0

    @property
    def documentation(self) -> float:
        """Documented over public definitions; 1.0 when there are none."""
        return self.documented / self.public if self.public else 1.0

    def severity(self, severity: EnumCheckSeverity) -> int:
        """How many findings are of this severity; a code this version does not know counts as upkeep."""
        upkeep = EnumCheckSeverity.UPKEEP
        known = {code: check.severity for code, check in CHECKS.items()}
        return sum(count for code, count in self.findings.items() if known.get(code, upkeep) is severity)


class Worst(Payload):
    """The ``WORST`` highest (score, mark), highest score first, then by mark; a score of 0 is not kept."""

    entries: tuple[tuple[int, str], ...] = ()

    def merge(self, other: Worst) -> Worst:
        united = sorted({*self.entries, *other.entries}, key=lambda entry: (-entry[0], entry[1]))
        return Worst(entries=tuple(united[:WORST]))


class Tally(Payload):
    """One file, a directory or a whole tree: the same value, merged upwards.

    ``fingerprint`` is the sum of the files' hashes modulo 2^53: two gatherers that hold the same files hold the same
    number, in whatever order the files came, and one that lost or doubled a file does not.
    """

    totals: Totals = Totals()
    complex_files: Worst = Worst()
    finding_files: Worst = Worst()
    undocumented_files: Worst = Worst()
    fingerprint: int = 0

    def merge(self, other: Tally) -> Tally:
        return Tally(
            totals=self.totals.merge(other.totals),
            complex_files=self.complex_files.merge(other.complex_files),
            finding_files=self.finding_files.merge(other.finding_files),
            undocumented_files=self.undocumented_files.merge(other.undocumented_files),
            fingerprint=(self.fingerprint + other.fingerprint) % _MODULUS,
        )


def totals_of(analysis: FileAnalysis) -> Totals:
    complexities = [function.complexity for function in analysis.functions]
    codes = [finding.code for finding in analysis.findings]
    counts = analysis.counts
    return Totals(
        files=1,
        failed=0 if analysis.ok else 1,
        size_bytes=analysis.size_bytes,
        lines=counts.lines,
        code=counts.code,
        comment=counts.comment,
        blank=counts.blank,
        docstring=counts.docstring,
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


def tally_of(analysis: FileAnalysis) -> Tally:
    """What a file hands to the gatherer of its directory; under 1 KB whatever the size of the file."""
    name = mark(analysis.path)
    return Tally(
        totals=totals_of(analysis),
        complex_files=_worst(analysis.complexity_max, name),
        finding_files=_worst(len(analysis.findings), name),
        undocumented_files=_worst(analysis.public - analysis.documented, name),
        fingerprint=fingerprint(analysis.path),
    )


def fingerprint(path: str) -> int:
    """A file's share in ``Tally.fingerprint``; whoever lists the files can add them up beforehand."""
    return int.from_bytes(blake2b(path.encode(), digest_size=8, person=b"files").digest(), "big") % _MODULUS


def _worst(score: int, name: str) -> Worst:
    return Worst(entries=((score, name),) if score else ())
