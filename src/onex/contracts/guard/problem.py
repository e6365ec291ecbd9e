"""What is wrong with a condition and where in its text; and how names and values are shown in messages."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import islice

from pydantic import BaseModel

from ...kernel.user_code import a_type
from ..model.payload_fields import NoSuchField, reach


class GuardProblem(Exception):
    """Why a condition cannot be used. ``offset`` counts characters of its text from 0."""

    def __init__(self, offset: int, code: str, message: str, fix: str) -> None:
        super().__init__(message)
        self.offset = offset
        self.code = code
        self.message = message
        self.fix = fix


def known_field(model: type[BaseModel], root: str, names: tuple[str, ...], offset: int) -> tuple[object, ...]:
    """The types of ``root.a.b`` in ``model``. Raises GuardProblem at the name that does not exist."""
    try:
        return reach(model, names)
    except NoSuchField as missing:
        offset += sum(len(name) + 1 for name in names[: missing.at])
        parent = ".".join((root, *names[: missing.at]))
        raise GuardProblem(
            offset,
            "guard_field",
            f"{parent} ({model.__name__}) has no field {missing.name!r}"
            if missing.at == 0
            else f"{parent} has no field {missing.name!r}",
            suggest(missing.name, missing.known)
            or (f"it has {', '.join(missing.known)}" if missing.known else f"{parent} is a plain value"),
        ) from None


KNOWN_COMPARED = 40
ALIKE_COMPARED = 4
WORD_MAX = 200


def suggest(word: str, known: tuple[str, ...] | list[str]) -> str:
    """``did you mean 'x'?``, or '' when nothing is near. Of more than 40 names only those with the same beginning are compared."""
    if len(known) > KNOWN_COMPARED:
        known = list(islice((name for name in known if name[:2] == word[:2] and name != word), ALIKE_COMPARED))
    near = get_close_matches(word, known, 1, 0.6) if len(word) <= WORD_MAX else []
    if not near:
        folded = {name.lower().replace("-", "_"): name for name in known}
        same = folded.get(word.lower().replace("-", "_"))
        near = [same] if same else []
    return f"did you mean {near[0]!r}?" if near else ""


def value_in_words(value: object) -> str:
    """A value in a sentence: ``the text 'x'``, ``the number 3``, ``null``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(value_in_words, value))}]"
    if isinstance(value, int | float):
        return f"the number {value}"
    return a_type(value)
