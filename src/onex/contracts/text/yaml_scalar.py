"""What a plain scalar of YAML means. One that YAML 1.1 and YAML 1.2 read differently is refused."""

from __future__ import annotations

import math
import re

INT_MAX = 2**53

Scalar = str | int | float | bool | None


class ScalarRefused(ValueError):
    """Why a scalar is not read: ``code``, a sentence, and what to write instead."""

    def __init__(self, code: str, message: str, fix: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fix = fix


def scalar(text: str) -> Scalar:
    """What a plain scalar means. Raises Refusal where it is not safe to say."""
    # nearly every scalar is a plain word, and its first character shows it
    if text[:1] not in _SPECIAL:
        return text
    for pattern, meaning in _PLAIN:
        if pattern.fullmatch(text):
            return meaning(text)
    return text


def _number(text: str) -> int:
    # refused by length before int() reads it: a million digits take long
    if len(text) > 17 or abs(int(text)) > INT_MAX:
        raise ScalarRefused("yaml_number", f"the number {cut(text)} is beyond 2^53", "write it as a string, in quotes")
    return int(text)


def _fraction(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ScalarRefused("yaml_number", f"the number {cut(text)} is not finite", "write a finite number")
    return value


def _infinite(text: str) -> float:
    raise ScalarRefused(
        "yaml_not_finite", f"the number {text} is not finite", "write a finite number, or quote the word"
    )


def _ambiguous(text: str) -> str:
    message = f"{cut(text)} is read as different numbers by different YAML parsers"
    raise ScalarRefused("yaml_ambiguous_number", message, f'write the decimal number, or "{cut(text)}" in quotes')


def _switch(text: str) -> str:
    meant = "true" if text.lower() in ("yes", "on") else "false"
    message = f"{text} is a boolean in YAML 1.1 and a word in YAML 1.2"
    raise ScalarRefused("yaml_boolean", message, f'write {meant}, or "{text}" in quotes')


def _date(text: str) -> str:
    raise ScalarRefused(
        "yaml_date", f"{cut(text)} is read as a date by some YAML parsers", f'write "{cut(text)}" in quotes'
    )


def _merge(text: str) -> str:
    fix = "write out the keys that it brings" if text == "<<" else f'write "{text}" in quotes'
    raise ScalarRefused("yaml_merge_key", f"{text} is a merge or value key of YAML 1.1", fix)


def cut(text: str) -> str:
    """At most 40 characters of a text, for a message."""
    return text if len(text) <= 40 else f"{text[:37]}..."


_PLAIN = (
    (re.compile(r"(?:~|null|Null|NULL)?"), lambda text: None),
    (re.compile(r"true|True|TRUE"), lambda text: True),
    (re.compile(r"false|False|FALSE"), lambda text: False),
    (re.compile(r"yes|no|on|off", re.IGNORECASE), _switch),
    (re.compile(r"[-+]?(?:0|[1-9][0-9]*)"), _number),
    (
        re.compile(r"[-+]?(?:0[0-9_]+|0[oxb][0-9a-f_]+|(?=[0-9_]*_)[0-9][0-9_]+|[0-9]+(?::[0-5]?[0-9])+)", re.I),
        _ambiguous,
    ),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"), _fraction),
    (re.compile(r"[-+]?\.inf|\.nan", re.IGNORECASE), _infinite),
    (re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?", re.DOTALL), _date),
    (re.compile(r"<<|="), _merge),
)
# first characters of the patterns above; '' is the empty scalar
_SPECIAL = frozenset(("", *"~nNtTfFyYoO0123456789+-.<="))
