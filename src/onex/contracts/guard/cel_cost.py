"""An upper bound of what a condition costs on given values, known before it is evaluated. Nothing can interrupt CEL.

Theory of operation. One step is what CEL does in 0.02 to 0.2 microseconds (measured). So STEPS_MAX steps take at most about
0.2 seconds. ``cost_limit`` decides once, when a contract loads, which of four checks a condition needs before each evaluation:

- None: there is no loop, no ``matches`` and no ``+`` that can make a text or list longer. Its cost is small for every value.
- ``_one_loop``: one plain loop over a field, and nothing else that is heavy. Then ``length * nodes`` is enough: one ``len``.
- ``_texts_matched``: patterns on fields, without a loop. Then the lengths of the texts are enough.
- Else ``_Estimate`` walks the tree of the condition with the sizes of the values and adds up steps. It stops at STEPS_MAX.

``_Estimate.size`` gives for each node the size of its result (``Size``) and spends its cost, times the rounds of the loops
around it. It follows what CEL's interpreter does, not what would be best:

- CEL copies the value behind each dot and bracket. So ``a.b.c`` costs the weight of ``a.b`` for each further name.
- ``map`` and ``filter`` copy the list they build once for each item, so their cost grows with the square of its length.
- A pattern costs up to one step for each of its positions and each 64 characters. Rust's regex is linear in both. A repetition
  ``{n}`` repeats its positions, so ``pattern_cost`` multiplies them.

What may go wrong is a bound that is too low. So of two possible values the larger counts (``_either``), a choice counts both
sides, and what ``cel_syntax`` cannot read is refused when the contract loads, unless it surely holds nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from pydantic import BaseModel

from .cel_syntax import CelNode

STEPS_MAX = 1_000_000
PATTERN_POSITIONS_MAX = 1000
PATTERN_STEPS_MAX = 50_000
SUBJECT_CHARS_MAX = 64 * 1024
_ITEMS_PER_STEP = 4  # copied
_CHARS_PER_STEP = 64  # held against one position of a pattern
_CHARS_PER_ITEM = 256
_FEW_NODES = 60


class GuardTooHeavy(ValueError):
    """A condition would take more than STEPS_MAX on these values."""


class Size(NamedTuple):
    """``length`` items, ``weight`` values in all, no item larger than ``item``, no text longer than ``text`` characters."""

    length: int = 0
    weight: float = 1.0
    text: int = 0
    item: Size | None = None


PLAIN = Size()
Roots = Mapping[str, BaseModel]
CostLimit = Callable[[Roots], None]


def cost_limit(node: CelNode, short: Callable[[CelNode], bool]) -> CostLimit | None:
    """A function that raises GuardTooHeavy for values on which ``node`` costs too much; None when it never does.

    ``short(node)`` is true when a part is surely no text and no list: then a plus makes nothing longer.
    """
    if not _heavy(node, short):
        return None
    simple = _one_loop(node)
    if simple is not None:
        return _length_only(*simple)
    texts = _texts_matched(node, short)
    if texts is not None:
        return _texts_only(texts)

    def judge(roots: Roots) -> None:
        _Estimate(roots).size(node, {}, 1)

    return judge


def loops_deep(node: CelNode) -> int:
    """The largest number of loops within one another."""
    below = max((loops_deep(part) for part in node.of), default=0)
    if node.kind != "loop":
        return below
    return max(loops_deep(node.of[0]), 1 + max(loops_deep(part) for part in node.of[1:]))


def _heavy(node: CelNode, short: Callable[[CelNode], bool]) -> bool:
    if node.kind == "loop" or (node.kind == "call" and node.word == "matches"):
        return True
    if node.kind == "sum" and not all(map(short, node.of)):
        return True
    return any(_heavy(part, short) for part in node.of)


def _path(node: CelNode) -> tuple[str, ...] | None:
    """The names of ``payload.a.b``; None when something is called or looked up by a bracket."""
    if node.kind == "name":
        return (node.word,) if node.word in ("payload", "state") else None
    before = _path(node.of[0]) if node.kind == "member" else None
    return None if before is None else (*before, node.word)


def _one_loop(node: CelNode) -> tuple[tuple[str, ...], int] | None:
    """``(path, number of nodes)`` of a condition whose only heavy part is one plain loop over a field; else None."""
    nodes, loops = 0, list[CelNode]()
    waiting = [node]
    while waiting:
        one = waiting.pop()
        nodes += 1
        if one.kind in ("sum", "list", "map", "index") or one.word == "matches" or one.macro in ("map", "filter"):
            return None
        if one.kind == "loop":
            loops.append(one)
        waiting += one.of
    if len(loops) != 1 or nodes > _FEW_NODES:
        return None
    path = _path(loops[0].of[0])
    inner = loops[0].of[1:]
    if path is None or len(path) < 2 or any(_names(part, ("payload", "state")) for part in inner):
        return None
    return path, nodes


def _texts_matched(node: CelNode, short: Callable[[CelNode], bool]) -> list[tuple[str, ...]] | None:
    """The fields that are matched, in a condition without loops that makes nothing longer; else None."""
    found: list[tuple[str, ...]] = []
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if one.kind == "loop" or (one.kind == "sum" and not all(map(short, one.of))):
            return None
        if one.kind == "call" and one.word == "matches":
            path = _path(one.of[0])
            if path is None or len(one.of) != 2:
                return None
            found.append(path)
        waiting += one.of
    return found


def _texts_only(paths: list[tuple[str, ...]]) -> CostLimit:
    most = SUBJECT_CHARS_MAX // len(paths)

    def judge(roots: Roots) -> None:
        for path in paths:
            value = _reached(roots, path)
            if isinstance(value, str) and len(value) > most:
                raise _too_heavy(len(value) * PATTERN_POSITIONS_MAX / _CHARS_PER_STEP, [])

    return judge


def _names(node: CelNode, words: tuple[str, ...]) -> bool:
    return (node.kind == "name" and node.word in words) or any(_names(part, words) for part in node.of)


def _length_only(path: tuple[str, ...], nodes: int) -> CostLimit:
    most = STEPS_MAX // nodes

    def judge(roots: Roots) -> None:
        value = _reached(roots, path)
        if isinstance(value, list | tuple | dict) and len(value) > most:
            raise _too_heavy(len(value) * nodes, [len(value)])

    return judge


def _reached(roots: Roots, path: tuple[str, ...]) -> object:
    value: object = roots.get(path[0])
    for name in path[1:]:
        fields = value.__dict__ if isinstance(value, BaseModel) else value
        value = fields.get(name) if isinstance(fields, dict) else None
    return value


def _too_heavy(steps: float, lengths: list[int]) -> GuardTooHeavy:
    over = f"loops over {', '.join(f'{length:,}' for length in lengths)} items" if lengths else "its texts and lists"
    return GuardTooHeavy(
        f"it would take about {steps:,.0f} steps ({over}), and a condition has {STEPS_MAX:,}; nothing was evaluated. "
        "Send fewer items, or decide in the reducer, whose time is limited by the clock"
    )


def measured(value: object) -> Size:
    if isinstance(value, str):
        return Size(0, 1 + len(value) / _CHARS_PER_ITEM, len(value))
    if isinstance(value, BaseModel):
        value = value.__dict__
    if isinstance(value, dict):
        return _holding(len(value), [measured(part) for pair in value.items() for part in pair])
    if isinstance(value, list | tuple):
        return _holding(len(value), [measured(part) for part in value])
    return PLAIN


def _holding(length: int, parts: list[Size]) -> Size:
    if not parts:
        return Size(length)
    item = parts[0]
    for part in parts[1:]:
        if part is not item:
            item = _either(item, part)
    return Size(length, 1 + sum(part.weight for part in parts), item.text, item)


def _either(one: Size, other: Size) -> Size:
    """In everything the larger of both."""
    item = one.item or other.item
    if one.item is not None and other.item is not None:
        item = _either(one.item, other.item)
    return Size(max(one.length, other.length), max(one.weight, other.weight), max(one.text, other.text), item)


class _Estimate:
    def __init__(self, roots: Roots) -> None:
        self.roots = roots
        self.steps = 0.0
        self.lengths: list[int] = []
        self.fields: dict[tuple[str, ...], Size] = {}

    def spend(self, steps: float, times: float) -> None:
        self.steps += steps * times
        if self.steps > STEPS_MAX:
            raise _too_heavy(self.steps, self.lengths)

    def size(self, node: CelNode, bound: Mapping[str, Size], times: float) -> Size:
        """The size of the result of ``node``. Its cost is spent ``times`` times."""
        path = _path(node)
        if path is not None and path[0] not in bound:
            found = self.field(path)
            whole = self.field(path[:2]) if len(path) > 2 else found
            self.spend(1 + (whole.weight * (len(path) - 1) / _ITEMS_PER_STEP if len(path) > 1 else 0), times)
            return found
        if node.kind == "loop":
            return self.loop(node, bound, times)
        parts = [self.size(part, bound, times) for part in node.of]
        weight = sum(part.weight for part in parts)
        self.spend(1 + weight / _ITEMS_PER_STEP, times)
        match node.kind:
            case "text":
                return measured(node.word)
            case "name":
                found = bound.get(node.word, PLAIN)
                self.spend(found.weight / _ITEMS_PER_STEP, times)
                return found
            case "member" | "index":
                return parts[0].item or PLAIN
            case "list" | "map":
                return _holding(len(parts), parts)
            case "choice":
                return _either(parts[1], parts[2])
            case "sum":
                item = None
                for part in parts:
                    item = part.item if item is None else item if part.item is None else _either(item, part.item)
                text = sum(part.text for part in parts)
                return Size(sum(part.length for part in parts), weight, text, item)
            case "call":
                return self.call(node, parts, times)
        return PLAIN

    def call(self, node: CelNode, parts: list[Size], times: float) -> Size:
        if node.word == "matches" and node.of[-1].kind == "text":
            positions, steps = pattern_cost(node.of[-1].word)
            self.spend(steps + positions * parts[0].text / _CHARS_PER_STEP, times)
        if node.word in ("string", "dyn") and parts:
            return parts[0]._replace(text=max(parts[0].text, 64))
        return PLAIN

    def loop(self, node: CelNode, bound: Mapping[str, Size], times: float) -> Size:
        path = _path(node.of[0])
        known = path is not None and path[0] not in bound
        if known and path is not None:  # named in the message, should the copy of it already be too much
            self.lengths.append(self.field(path).length)
        over = self.size(node.of[0], bound, times)
        item = over.item or PLAIN
        if not known:
            self.lengths.append(over.length)
        inside = {**bound, node.word: item}
        each = times * over.length
        self.spend(3 + item.weight / _ITEMS_PER_STEP, each)
        made = [self.size(part, inside, each) for part in node.of[1:]][-1]
        if node.macro not in ("map", "filter"):
            self.lengths.pop()
            return PLAIN
        kept = made if node.macro == "map" else item
        self.spend(over.length * kept.weight / _ITEMS_PER_STEP, each)
        self.lengths.pop()
        return Size(over.length, 1 + over.length * kept.weight, kept.text, kept)

    def field(self, path: tuple[str, ...]) -> Size:
        found = self.fields.get(path)
        if found is None:
            found = self.fields[path] = measured(_reached(self.roots, path))
        return found


# --- patterns ---------------------------------------------------------------------------------------------------------


def pattern_cost(pattern: str) -> tuple[int, int]:
    """``(positions, steps)``: the positions of its automaton, and the cost to build it."""
    return _Pattern(pattern).cost()


class _Pattern:
    """Reads a regular expression of Rust's for its size only. What is repeated n times is n times as large."""

    def __init__(self, pattern: str) -> None:
        self.text = pattern
        self.at = 0

    def cost(self) -> tuple[int, int]:
        positions, steps = self.row()
        while self.at < len(self.text):  # a bracket that closes nothing: the compiler reports it
            self.at += 1
            more = self.row()
            positions, steps = positions + more[0], steps + more[1]
        return positions, steps + 150

    def row(self) -> tuple[int, int]:
        positions = steps = 0
        last = (0, 0)
        while self.at < len(self.text) and self.text[self.at] != ")":
            times = self.repeated()
            if times is not None:
                positions += last[0] * (times - 1)
                steps += last[1] * (times - 1)
                last = (last[0] * times, last[1] * times)
                continue
            last = self.atom()
            positions, steps = positions + last[0], steps + last[1]
        return positions, steps

    def repeated(self) -> int | None:
        """The largest number in ``{n}`` or ``{n,m}``, at least 1; None when no such repetition stands here."""
        if self.text[self.at] != "{":
            return None
        end = self.text.find("}", self.at)
        numbers = [one.strip() for one in self.text[self.at + 1 : end].split(",")] if end > 0 else []
        if not numbers or not all(one.isdecimal() or not one for one in numbers):
            return None
        self.at = end + 1
        return max([1, *(int(one[:6]) for one in numbers if one)])

    def atom(self) -> tuple[int, int]:
        one = self.text[self.at]
        self.at += 1
        if one == "(":
            inner = self.row()
            self.at += 1
            return inner[0] + 1, inner[1] + 1
        if one == "[":
            return self.listed()
        if one == "\\":
            letter = self.text[self.at : self.at + 1]
            self.at += 1
            if letter in ("p", "P"):  # a letter follows, or a name in braces
                end = self.text.find("}", self.at) if self.text[self.at : self.at + 1] == "{" else self.at
                self.at = max(end, self.at) + 1
            return 1, _class_steps(letter)
        return 1, 150 if one == "." else 30 if not one.isascii() else 4

    def listed(self) -> tuple[int, int]:
        steps, depth, first = 150, 1, True
        while self.at < len(self.text) and depth:
            one = self.text[self.at]
            self.at += 1
            if one == "\\":
                steps += _class_steps(self.text[self.at : self.at + 1])
                self.at += 1
            elif one == "[":
                depth += 1
            elif one == "]" and not first:
                depth -= 1
            first = first and one == "^"
        return 1, steps


def _class_steps(letter: str) -> int:
    return 1700 if letter in ("w", "W", "p", "P") else 150 if letter in ("d", "D", "s", "S") else 4
