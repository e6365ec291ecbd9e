"""Automatic fixes of a contract: small edits of its text, each confirmed by checking the text again.

An edit is kept only if its finding is gone and no new finding came. So a word is never put in quotes where a boolean is needed,
and a key is renamed only to one that is known at its place. Comments and layout stay as they are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import accumulate
from typing import NamedTuple

from ...kernel.finding import EnumSeverity, Finding
from ..guard.three_token import PRESENCE

TRIES_MAX = 400
ALIKE = 0.8
ContractChecker = Callable[[str], Sequence[Finding]]


class Edit(NamedTuple):
    """``old`` at the place is replaced by ``new``. Line and column count from 1."""

    line: int
    column: int
    old: str
    new: str


class AppliedFix(NamedTuple):
    """The edits that removed a finding. They do not overlap."""

    finding: Finding
    edits: tuple[Edit, ...]


class FixedText(NamedTuple):
    """``findings`` are those that are left, without severity info."""

    text: str
    fixes: tuple[AppliedFix, ...]
    findings: tuple[Finding, ...]


def fix_text(text: str, path: str, check: ContractChecker) -> FixedText:
    """``check`` returns the findings of a text. Findings in other files than ``path`` are left alone."""
    mark, text = ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)
    done: list[AppliedFix] = []
    found = _serious(check(text))
    unfixable: set[tuple[str, str]] = set()
    tries = 0
    while tries < TRIES_MAX:
        one = next((one for one in found if one.path == path and _same(one) not in unfixable), None)
        if one is None:
            break
        for edits in _candidates(one, text):
            tries += 1
            changed = applied(text, edits)
            after = _serious(check(changed))
            if _better(one, found, after):
                text, found = changed, after
                done.append(AppliedFix(one, edits))
                break
        else:
            unfixable.add(_same(one))
    return FixedText(mark + text, tuple(done), tuple(found))


def applied(text: str, edits: Sequence[Edit]) -> str:
    """Applies the edits from the last to the first, so that the earlier places stay right."""
    lines = _lines(text)
    starts = [0, *accumulate(len(line) for line in lines)]
    for edit in sorted(edits, reverse=True):
        at = starts[edit.line - 1] + edit.column - 1
        text = text[:at] + edit.new + text[at + len(edit.old) :]
    return text


def _better(fixed: Finding, before: Sequence[Finding], after: Sequence[Finding]) -> bool:
    """A syntax error hides the findings behind it. So after one it is enough that the reading gets further."""
    if fixed.code == "yaml_syntax":
        stuck = [one.line for one in after if one.code == "yaml_syntax" and one.path == fixed.path]
        return all(line > fixed.line for line in stuck)
    was, is_now = Counter(map(_same, before)), Counter(map(_same, after))
    return is_now[_same(fixed)] < was[_same(fixed)] and not is_now - was


def _same(finding: Finding) -> tuple[str, str]:
    return finding.code, f"{finding.path}: {finding.message}"


def _serious(findings: Sequence[Finding]) -> list[Finding]:
    return [one for one in findings if one.severity is not EnumSeverity.INFO]


# --- possible edits ---------------------------------------------------------------------------------------------------


def _candidates(finding: Finding, text: str) -> Iterator[tuple[Edit, ...]]:
    """Possible edits for one finding, the most likely first."""
    lines = _lines(text)
    if not 1 <= finding.line <= len(lines):
        return
    rest = lines[finding.line - 1][finding.column - 1 :]
    for way in _WAYS.get(finding.code, ()):
        for old, new in way(finding, rest):
            yield (Edit(finding.line, finding.column, old, new),)
    if finding.code == "yaml_syntax" and "tab" in finding.fix:
        for width in (2, 4, 8):
            yield tuple(_untabbed(lines, width))


def _boolean(finding: Finding, rest: str) -> Iterator[tuple[str, str]]:
    """First what YAML 1.1 read; then the word in quotes, for a key or a text."""
    word = re.match(r"[A-Za-z]+", rest)
    if word:
        yield word[0], "true" if word[0].lower() in ("yes", "on") else "false"
        yield word[0], f'"{word[0]}"'


def _number(finding: Finding, rest: str) -> Iterator[tuple[str, str]]:
    """``0x1F`` and ``1_000`` have one meaning as a number; ``007`` and ``12:30`` can only be text."""
    word = re.match(r"[-+]?[0-9A-Za-z_:]+", rest)
    if word is None:
        return
    if re.fullmatch(r"[-+]?(?:0x[0-9a-f]+|0o[0-7]+|0b[01]+|[1-9][0-9]*(?:_[0-9]+)+)", word[0], re.IGNORECASE):
        yield word[0], str(int(word[0], 0))
    yield word[0], f'"{word[0]}"'


def _date(finding: Finding, rest: str) -> Iterator[tuple[str, str]]:
    for pattern in (r"[0-9-]+[Tt ][0-9][0-9:.Zz+ -]*[0-9Zz]", r"[0-9-]+"):
        word = re.match(pattern, rest)
        if word:
            yield word[0], f'"{word[0]}"'


def _key(finding: Finding, rest: str) -> Iterator[tuple[str, str]]:
    """A rename, only to a key that is nearly the same word."""
    meant = re.match(r"did you mean '([A-Za-z_$][\w$.-]*)'\?", finding.fix)
    word = re.match(r"([\"']?)([\w$.-]+)\1(?=\s*:)", rest)
    if meant and word:
        alike = SequenceMatcher(None, word[2].lower().replace("-", "_"), meant[1].lower()).ratio()
        if alike >= ALIKE:
            yield word[2] if not word[1] else word[0], meant[1]


def _version(finding: Finding, rest: str) -> Iterator[tuple[str, str]]:
    word = re.match(r"[\"']?v?(\d{1,6})[._](\d{1,6})(?:[._](\d{1,6}))?[\"']?(?=\s*(?:[,}#]|$))", rest)
    if word and "version" in finding.message and "a mapping" in finding.message:
        major, minor, patch = (int(part or 0) for part in word.groups())
        yield word[0], f"{{major: {major}, minor: {minor}, patch: {patch}}}"


def _guard(finding: Finding, rest: str) -> Iterator[tuple[str, str]]:
    """Adds the value that a two-token guard leaves out."""
    word = re.match(r"[A-Za-z]\w*", rest)
    if word and word[0] in PRESENCE:
        yield word[0], PRESENCE[word[0]]


def _operator(finding: Finding, rest: str) -> Iterator[tuple[str, str]]:
    """An operator that stands alone, in a condition written as ``{field, operator, value}``."""
    word = re.match(r"[A-Za-z]\w*", rest)
    new = re.match(r"write (\w+)$", finding.fix)
    if word and new:
        yield word[0], new[1]


def _untabbed(lines: Sequence[str], width: int) -> Iterator[Edit]:
    for number, line in enumerate(lines, 1):
        lead = re.match(r"\t[\t ]*", line)
        if lead and lead[0].strip("\r\n") and line.strip():
            yield Edit(number, 1, lead[0], lead[0].replace("\t", " " * width))


_WAYS: dict[str, tuple[Callable[[Finding, str], Iterator[tuple[str, str]]], ...]] = {
    "yaml_boolean": (_boolean,),
    "yaml_ambiguous_number": (_number,),
    "yaml_date": (_date,),
    "unknown_key": (_key,),
    "guard_operator": (_guard,),
    "old_spelling": (_guard, _operator),
    "wrong_type": (_version,),
}


def _lines(text: str) -> list[str]:
    """The lines as the parser counts them, with their ends."""
    return re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z", text)
