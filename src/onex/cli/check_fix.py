"""``onex check --fix``: safe fixes, written into the files or shown as a diff."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from difflib import unified_diff
from pathlib import Path

from ..contracts.edit.fixes import FixedText, fix_text
from ..contracts.foreign.foreign_reader import read_contract
from ..doctor.inspection import InspectedFile
from ..repository.reference_files import Repository, UnreadableContract, contract_text
from ..repository.safe_write import rewrite
from .console import counted, harmless, note, say, styled


def apply_fixes(files: Sequence[InspectedFile], *, write: bool) -> int:
    """Returns how many files were changed, or with ``write`` unset would be. Each change is shown: as a line, or as a diff."""
    changed = 0
    for one in files:
        if not any(finding.path == one.path for finding in one.findings):
            continue
        try:
            text = contract_text(Path(one.path))
        except UnreadableContract:
            continue  # the check has reported why
        done = _fixed(one.path, text)
        if not done.fixes:
            continue
        changed += 1
        if write:
            rewrite(Path(one.path), text, done.text)
            _report(one.path, done)
        else:
            _diff(one.path, text, done.text)
    return changed


def _fixed(path: str, text: str) -> FixedText:
    repository = Repository.holding(Path(path))
    return fix_text(text, path, lambda changed: read_contract(changed, path, repository).findings)


def _report(path: str, done: FixedText) -> None:
    for one in done.fixes:
        first = one.edits[0]
        what = harmless(f"{first.old.strip() or 'tabs'} -> {first.new.strip() or 'spaces'}")
        more = f" and {counted(len(one.edits) - 1, 'line')} more" if len(one.edits) > 1 else ""
        note(f"{harmless(path)}:{one.finding.line}:{one.finding.column}: fixed [{one.finding.code}] {what}{more}")


def _diff(path: str, before: str, after: str) -> None:
    colours = {"+": "green", "-": "red", "@": "dim"}
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    for line in unified_diff(old, new, f"a/{path}", f"b/{path}"):
        plain = harmless(line.rstrip("\r\n").replace("\t", "    "))
        say(styled(plain, colours.get(plain[:1], ""), sys.stdout) if plain[:1] in colours else plain)
