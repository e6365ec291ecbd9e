"""What a directory or a tree keeps: sums, bounded lists and one fingerprint. Merging them in any order gives the same value.

There is no row per file. On the standard library the largest directory has 462 files; a row of small integers
each would be 20 KB, and a state is written whole with every batch that touches it. Nothing here imports the analysis. So a
changed check is no new code for the instances that only add up its findings.
"""

from __future__ import annotations

from typing import Final

from pydantic import Field

from onex import Payload

WORST: Final = 20
BUCKETS: Final = (1, 2, 3, 5, 10, 15, 25, 50)
"""Upper bounds of the bars in which complexities are counted; one more bar holds what is above."""
MODULUS: Final = 2**53  # the integers JSON readers agree on (promise 33)


class AnalysisTotals(Payload):
    """Sums over files. ``complexities`` counts functions by ``BUCKETS``; ``findings`` is code -> count.

    ``merge`` is associative and commutative, byte for byte, and ``AnalysisTotals()`` is its neutral element.
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

    def merge(self, other: AnalysisTotals) -> AnalysisTotals:
        sums = {name: getattr(self, name) + getattr(other, name) for name in _SUMMED}
        return AnalysisTotals(
            **sums,
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


_SUMMED: Final = tuple(
    name for name in AnalysisTotals.model_fields if name not in ("complexity_max", "complexities", "findings")
)


class Worst(Payload):
    """The ``WORST`` highest (score, mark), highest score first, then by mark; a score of 0 is not kept."""

    entries: tuple[tuple[int, str], ...] = ()

    def merge(self, other: Worst) -> Worst:
        united = sorted({*self.entries, *other.entries}, key=lambda entry: (-entry[0], entry[1]))
        return Worst(entries=tuple(united[:WORST]))


class FileTally(Payload):
    """One file, a directory or a whole tree: the same value, merged upwards.

    ``fingerprint`` is the sum of the files' hashes modulo 2^53: two gatherers that hold the same files hold the same
    number, in whatever order the files came, and one that lost or doubled a file does not.
    """

    totals: AnalysisTotals = AnalysisTotals()
    complex_files: Worst = Worst()
    finding_files: Worst = Worst()
    undocumented_files: Worst = Worst()
    fingerprint: int = 0

    def merge(self, other: FileTally) -> FileTally:
        return FileTally(
            totals=self.totals.merge(other.totals),
            complex_files=self.complex_files.merge(other.complex_files),
            finding_files=self.finding_files.merge(other.finding_files),
            undocumented_files=self.undocumented_files.merge(other.undocumented_files),
            fingerprint=(self.fingerprint + other.fingerprint) % MODULUS,
        )
