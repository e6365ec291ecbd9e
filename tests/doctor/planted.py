"""Repositories for the doctor: written out file by file, so that each fault stands where the test can be read beside it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

from onex.doctor.examination import Examination, examine

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus" / "contracts"


def written(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(textwrap.dedent(text))
    return root


def reported(diagnosis: Examination, root: Path) -> list[str]:
    """``code path:line`` of each finding, in the order of the report."""
    return [
        f"{one.finding.code} {Path(one.finding.path).relative_to(root)}:{one.finding.line}"
        for one in diagnosis.findings
    ]


def examined(root: Path, files: Mapping[str, str]) -> Examination:
    return examine(written(root, files))
