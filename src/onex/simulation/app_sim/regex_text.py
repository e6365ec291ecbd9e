"""Text that matches a regular expression, drawn by chance. It covers as much of the language as contracts commonly use.

Literals, ``.``, classes, ``\\d \\w \\s``, groups, alternatives, and ``? * + {m,n}``; anchors draw nothing. For anything else
(look-arounds, back references) it raises NotDrawable. The caller must check the text against the class itself.
"""

from __future__ import annotations

import string
from random import Random
from typing import Final

DIGITS: Final = string.digits
WORDS: Final = string.ascii_lowercase + string.digits + "_"
ANY: Final = string.ascii_lowercase + string.digits + " -"
_CLASSES: Final = {"d": DIGITS, "w": WORDS, "s": " ", "D": string.ascii_lowercase, "W": " -", "S": WORDS}
_FOR_CLASSES: Final = "".join(map(chr, range(32, 127)))
_MORE: Final = 3
"""The most repetitions of ``*`` and ``+`` beyond their least."""


class NotDrawable(ValueError):
    """The expression uses something for which nothing is drawn here."""


def matching(pattern: str, chance: Random) -> str:
    """One text. Raises NotDrawable."""
    reader = _Reader(pattern, chance)
    text = reader.alternatives()
    if reader.left:
        raise NotDrawable(f"{pattern!r} closes what it did not open")
    return text


class _Reader:
    """Draws while it reads. An alternative that is not taken is drawn as well, and thrown away."""

    def __init__(self, pattern: str, chance: Random) -> None:
        self.pattern, self.chance, self.at = pattern, chance, 0

    @property
    def left(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def _take(self, text: str) -> bool:
        found = self.pattern.startswith(text, self.at)
        self.at += len(text) * found
        return found

    def alternatives(self) -> str:
        texts = [self._sequence()]
        while self._take("|"):
            texts.append(self._sequence())
        return self.chance.choice(texts)

    def _sequence(self) -> str:
        text = ""
        while self.left and self.left not in "|)":
            begin = self.at
            self._atom()
            end = self.at
            least, most = self._times()
            behind = self.at
            for _ in range(self.chance.randint(least, most)):
                self.at = begin
                text += self._atom()
                assert self.at == end, "an atom is as long as it was"
            self.at = behind
        return text

    def _atom(self) -> str:
        if self._take("(?:") or self._take("("):
            if self.left == "?":
                raise NotDrawable(f"{self.pattern!r} looks around or names its groups")
            text = self.alternatives()
            if not self._take(")"):
                raise NotDrawable(f"{self.pattern!r} opens what it does not close")
            return text
        if self._take("["):
            return self.chance.choice(self._members())
        if self._take("\\"):
            return self._escaped()
        if self._take("^") or self._take("$"):
            return ""
        request = self.left
        self.at += 1
        return self.chance.choice(ANY) if request == "." else request

    def _escaped(self) -> str:
        request = self.left
        self.at += 1
        if request in "AZzb":
            return ""
        if request in _CLASSES:
            return self.chance.choice(_CLASSES[request])
        if not request or request.isalnum():
            raise NotDrawable(f"{self.pattern!r} escapes {request!r}")
        return request

    def _members(self) -> str:
        turned = self._take("^")
        members = ""
        while self.left and (self.left != "]" or not members):
            if self._take("\\"):
                request = self.left
                self.at += 1
                members += _CLASSES.get(request, request)
                continue
            first = self.left
            self.at += 1
            if self.left == "-" and self.pattern[self.at + 1 : self.at + 2] not in ("]", ""):
                last = self.pattern[self.at + 1]
                self.at += 2
                members += "".join(map(chr, range(ord(first), min(ord(last), ord(first) + 200) + 1)))
            else:
                members += first
        if not self._take("]"):
            raise NotDrawable(f"{self.pattern!r} opens a class and does not close it")
        if turned:
            members = "".join(request for request in _FOR_CLASSES if request not in members)
        if not members:
            raise NotDrawable(f"{self.pattern!r} has a class without a member")
        return members

    def _times(self) -> tuple[int, int]:
        least, most = 1, 1
        if self._take("?"):
            least = 0
        elif self._take("*"):
            least, most = 0, _MORE
        elif self._take("+"):
            most = 1 + _MORE
        elif self.left == "{":
            end = self.pattern.find("}", self.at)
            first, comma, last = self.pattern[self.at + 1 : end].partition(",")
            if end < 0 or not (first or "0").isdecimal() or not (last or "0").isdecimal():
                raise NotDrawable(f"{self.pattern!r} counts with what is no number")
            least = int(first or "0")
            most = int(last) if last else least + _MORE * bool(comma)
            self.at = end + 1
        self._take("?")  # lazy or greedy makes no difference to what matches
        return least, most
