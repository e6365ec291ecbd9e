"""A condition in CEL as a tree, as far as its cost needs one. CEL's compiler accepted the text already, and shows no tree.

What this does not understand raises CelNotRead. It never guesses, because a wrong tree gives a wrong cost.
"""

from __future__ import annotations

import re
from typing import NamedTuple

DEPTH_MAX = 64
LOOPS = frozenset(("all", "exists", "exists_one", "existsOne", "map", "filter"))
QUOTED = r"""(?x: [bB]?[rR][bB]?(?:\"\"\"[\s\S]*?\"\"\"|'''[\s\S]*?'''|"[^"\n]*"|'[^'\n]*')
    | [bB]?(?:\"\"\"(?:[^\\]|\\[\s\S])*?\"\"\"|'''(?:[^\\]|\\[\s\S])*?'''|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*') )"""
"""A string of CEL, whatever its spelling."""


class CelNode(NamedTuple):
    """``kind`` is one of text number name member index call loop list map sum pair choice.

    ``word`` is the name, the text or the operator. ``of`` are the parts in the order written, a receiver first. The parts of a
    loop are its range and what is done with each item; ``word`` is its variable and ``macro`` its function.
    """

    kind: str
    word: str
    of: tuple[CelNode, ...] = ()
    macro: str = ""
    at: int = 0


class CelNotRead(ValueError):
    """The text is deeper than DEPTH_MAX, or has a form that is not known here."""


def cel_tree(text: str) -> CelNode:
    """Raises CelNotRead."""
    return _Parser(text).whole()


_TOKEN = re.compile(
    rf"""(?P<skip>(?:\s+|//[^\n]*)+)|(?P<quoted>{QUOTED})|(?P<name>[A-Za-z_]\w*)
    |(?P<number>0[xX][0-9a-fA-F]+[uU]?|(?:[0-9]+\.[0-9]+|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]+)?[uU]?)
    |(?P<sign>&&|\|\||[=!<>]=|[-+*/%<>!?:.,()\[\]{{}}])""",
    re.VERBOSE | re.ASCII,
)
_LEVELS = (("||",), ("&&",), ("==", "!=", "<", "<=", ">", ">=", "in"), ("+", "-"), ("*", "/", "%"))
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str, int]] = []
        self.n = self.depth = at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise CelNotRead(f"{text[at]!r} is not understood")
            if found.lastgroup != "skip":
                self.tokens.append((str(found.lastgroup), found.group(), at))
            at = found.end()
        self.tokens.append(("end", "", at))

    def whole(self) -> CelNode:
        made = self.expression()
        if self.tokens[self.n][0] != "end":
            raise CelNotRead(f"{self.tokens[self.n][1]!r} is not understood")
        return made

    def expression(self) -> CelNode:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise CelNotRead(f"it is nested more than {DEPTH_MAX} deep")
        condition = self.level(0)
        if self.took("?"):
            first = self.level(0)
            self.need(":")
            condition = CelNode("choice", "?", (condition, first, self.expression()))
        self.depth -= 1
        return condition

    def level(self, n: int) -> CelNode:
        """A chain of operators of one precedence is one node, however long it is."""
        if n == len(_LEVELS):
            return self.unary()
        made, parts, words = self.level(n + 1), [], set()
        while self.tokens[self.n][1] in _LEVELS[n] and self.tokens[self.n][0] != "quoted":
            words.add(self.tokens[self.n][1])
            self.n += 1
            parts.append(self.level(n + 1))
        if not parts:
            return made
        return CelNode("sum" if "+" in words else "pair", " ".join(sorted(words)), (made, *parts))

    def unary(self) -> CelNode:
        while self.tokens[self.n][1] in ("!", "-"):
            self.n += 1
        return self.member()

    def member(self) -> CelNode:
        made = self.primary()
        for _ in range(DEPTH_MAX):
            if self.took("["):
                made = CelNode("index", "[]", (made, self.expression()))
                self.need("]")
            elif self.took("."):
                kind, word, at = self.tokens[self.n]
                if kind != "name":
                    raise CelNotRead(f"{word!r} is not understood behind a dot")
                self.n += 1
                made = self.called(word, (made,), at) if self.took("(") else CelNode("member", word, (made,))
            elif made.kind in ("name", "member") and self.took("{"):
                made = self.entries()
            else:
                return made
        raise CelNotRead(f"it follows more than {DEPTH_MAX} dots and brackets")

    def called(self, word: str, receiver: tuple[CelNode, ...], at: int) -> CelNode:
        parts = self.until(")")
        if word in LOOPS and receiver and len(parts) in (2, 3) and parts[0].kind == "name":
            return CelNode("loop", parts[0].word, (*receiver, *parts[1:]), word, at)
        return CelNode("call", word, (*receiver, *parts), at=at)

    def primary(self) -> CelNode:
        kind, word, at = self.tokens[self.n]
        self.n += 1
        if kind == "quoted":
            return CelNode("text", _plain(word), at=at)
        if kind == "number":
            return CelNode("number", word)
        if kind == "name":
            return self.called(word, (), at) if self.took("(") else CelNode("name", word)
        if word == "(":
            made = self.expression()
            self.need(")")
            return made
        if word == "[":
            return CelNode("list", "[]", self.until("]"))
        if word == "{":
            return self.entries()
        if word == "." and self.tokens[self.n][0] == "name":
            return self.primary()
        raise CelNotRead(f"{word or 'the end'!r} is not understood here")

    def until(self, end: str) -> tuple[CelNode, ...]:
        parts: list[CelNode] = []
        while not self.took(end):
            parts.append(self.expression())
            if not self.took(","):
                self.need(end)
                break
        return tuple(parts)

    def entries(self) -> CelNode:
        parts: list[CelNode] = []
        while not self.took("}"):
            parts.append(self.expression())
            self.need(":")
            parts.append(self.expression())
            if not self.took(","):
                self.need("}")
                break
        return CelNode("map", "{}", tuple(parts))

    def took(self, sign: str) -> bool:
        if self.tokens[self.n][:2] != ("sign", sign):
            return False
        self.n += 1
        return True

    def need(self, sign: str) -> None:
        if not self.took(sign):
            raise CelNotRead(f"{self.tokens[self.n][1] or 'the end'!r} stands where {sign!r} was expected")


def _plain(quoted: str) -> str:
    """The value of a quoted string."""
    begin = re.match(r"[bBrR]*", quoted)
    prefix = begin.group() if begin else ""
    body = quoted[len(prefix) :]
    quote = 3 if body[:3] in ('"""', "'''") else 1
    body = body[quote:-quote]
    return body if "r" in prefix.lower() else _ESCAPE.sub(_unescaped, body)


def _unescaped(found: re.Match[str]) -> str:
    hexadecimal = found[1] or found[2] or found[3]
    code = int(hexadecimal, 16) if hexadecimal else int(found[4], 8) if found[4] else -1
    if code < 0:
        return _LETTERS.get(found[5], found[5])
    return chr(code) if code <= 0x10FFFF else "?"
