"""The text of a condition, as ``onex ls --where`` takes it: ``total_cents > 500 and status = 'in_doubt'``.

The grammar is that of a SQL condition without functions, sub-queries and arithmetic: there is nothing in it that could be executed.
What is read are names and values; which names there are is asked later (``kernel.search_query``).

A text has at most ``QUERY_MAX`` characters. The parser is LALR, and builds values from the bottom up: brackets cost no stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from ..kernel.search_query import Condition, InvalidQuery, Joined, Negated, SearchQuery, Test, Written, query_of
from ..ports import SearchReads

if TYPE_CHECKING:
    from lark import Lark

QUERY_MAX: Final = 4000
VALUES_MAX: Final = 500
_GRAMMAR: Final = r"""
start: either
?either: both (_OR both)*
?both: single (_AND single)*
?single: _NOT single -> negated
  | "(" either ")"
  | test
?test: NAME COMPARED value -> compared
  | NAME _BETWEEN value _AND value -> between
  | NAME _NOT _BETWEEN value _AND value -> not_between
  | NAME _IN "(" value ("," value)* ")" -> one_of
  | NAME _NOT _IN "(" value ("," value)* ")" -> not_one_of
  | NAME _LIKE value -> like
  | NAME _NOT _LIKE value -> not_like
  | NAME _PREFIX value -> prefix
  | NAME _IS _NULL -> null
  | NAME _IS _NOT _NULL -> not_null
?value: NUMBER -> number
  | TEXT -> text
  | TRUE -> true
  | FALSE -> false
COMPARED: "<=" | ">=" | "!=" | "<>" | "<" | ">" | "="
NUMBER: /-?[0-9]{1,40}(\.[0-9]{1,40})?(?![\w.])/
TEXT: /'(?:[^']|'')*'/
_OR.2: /or(?![\w.])/i
_AND.2: /and(?![\w.])/i
_NOT.2: /not(?![\w.])/i
_BETWEEN.2: /between(?![\w.])/i
_IN.2: /in(?![\w.])/i
_LIKE.2: /like(?![\w.])/i
_PREFIX.2: /prefix(?![\w.])/i
_IS.2: /is(?![\w.])/i
_NULL.2: /null(?![\w.])/i
TRUE.2: /true(?![\w.])/i
FALSE.2: /false(?![\w.])/i
NAME: /[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*/
%ignore /\s+/
"""


def condition_of(text: str) -> Condition:
    """Raises InvalidQuery, which names the place."""
    if len(text) > QUERY_MAX:
        raise InvalidQuery(f"the condition has {len(text)} characters; the limit is {QUERY_MAX}")
    if not text.isprintable() and any(not one.isprintable() and not one.isspace() for one in text):
        raise InvalidQuery("the condition holds a control character; write text and spaces")
    if not text.strip():
        raise InvalidQuery("the condition is empty; write for example status = 'paid'")
    from lark.exceptions import UnexpectedInput, VisitError

    try:
        read: Condition = _parser().parse(text)  # type: ignore[assignment]  # what the transformer makes
    except UnexpectedInput as error:
        raise _unreadable(text, error) from None
    except VisitError as error:
        if isinstance(error.orig_exc, InvalidQuery):
            raise error.orig_exc from None
        raise
    return read


async def asked_query(
    reader: SearchReads,
    where: str | None,
    *,
    of_type: str | None = None,
    status: str | None = None,
    order: str | None = None,
    beside: Sequence[Test] = (),
) -> SearchQuery:
    """The query, by what the store knows now. ``order`` is a column, or ``COLUMN desc``: the greatest first. ``beside``
    must hold, too.

    Raises InvalidQuery, UnknownSearchField, SearchTypeMismatch, SearchNotReady.
    """
    parts: list[Condition] = [] if where is None else [condition_of(where)]
    parts += [Test("status", "=", (status,))] if status is not None else []
    parts += beside
    column, _, direction = (order or "").strip().partition(" ")
    if direction.strip().lower() not in ("", "asc", "desc"):
        raise InvalidQuery(f"the order {order!r} is no column; write COLUMN, or COLUMN desc for the greatest first")
    return query_of(
        Joined("and", tuple(parts)) if len(parts) > 1 else parts[0] if parts else None,
        await reader.search_specs(),
        workflow_type=of_type,
        order=column or None,
        descending=direction.strip().lower() == "desc",
    )


def _unreadable(text: str, error: Exception) -> InvalidQuery:
    at, token = getattr(error, "pos_in_stream", None), getattr(error, "token", None)
    if at is None or at < 0 or at >= len(text) or getattr(token, "type", "") == "$END":
        return InvalidQuery(f"the condition ends too early: {text[-40:]!r}; a comparison is FIELD OPERATOR VALUE")
    hint = (
        "write text in single quotes"
        if text[at] == '"'
        else "a comparison is FIELD OPERATOR VALUE, for example total_cents > 500"
    )
    if text[at - 1 : at] not in ("", " ") and text[at] == "'":
        hint = "write a quote inside text twice: 'it''s'"
    return InvalidQuery(
        f"the condition cannot be read at character {at + 1}, {text[at : at + 20]!r}: {hint}", place=at + 1
    )


@lru_cache(1)
def _parser() -> Lark:
    from lark import Lark, Token, Transformer, v_args

    @v_args(inline=True)
    class Conditions(Transformer[Token, Condition]):
        """Each method makes the value of the rule of its name."""

        def start(self, whole: Condition) -> Condition:
            return whole

        def either(self, *parts: Condition) -> Condition:
            return Joined("or", parts)

        def both(self, *parts: Condition) -> Condition:
            return Joined("and", parts)

        def negated(self, part: Condition) -> Condition:
            return part.part if isinstance(part, Negated) else Negated(part)

        def compared(self, name: Token, op: Token, value: Written) -> Condition:
            return Test(str(name), {"<>": "!="}.get(op, str(op)), (value,))

        def between(self, name: Token, low: Written, high: Written) -> Condition:
            return Test(str(name), "between", (low, high))

        def not_between(self, name: Token, low: Written, high: Written) -> Condition:
            return Negated(self.between(name, low, high))

        def one_of(self, name: Token, *values: Written) -> Condition:
            if len(values) > VALUES_MAX:
                raise InvalidQuery(f"in lists {len(values)} values; the limit is {VALUES_MAX}")
            return Test(str(name), "in", values)

        def not_one_of(self, name: Token, *values: Written) -> Condition:
            return Negated(self.one_of(name, *values))

        def like(self, name: Token, pattern: Written) -> Condition:
            return Test(str(name), "like", (pattern,))

        def not_like(self, name: Token, pattern: Written) -> Condition:
            return Negated(self.like(name, pattern))

        def prefix(self, name: Token, value: Written) -> Condition:
            if isinstance(value, str) and not set(value) & {"%", "_"}:
                return Test(str(name), "like", (f"{value}%",))
            raise InvalidQuery("prefix takes text in quotes without % and _; like takes a pattern")

        def null(self, name: Token) -> Condition:
            return Test(str(name), "null")

        def not_null(self, name: Token) -> Condition:
            return Negated(self.null(name))

        def number(self, token: Token) -> Written:
            return Decimal(token) if "." in token else int(token)

        def text(self, token: Token) -> Written:
            return str(token)[1:-1].replace("''", "'")

        def true(self, _: Token) -> Written:
            return True

        def false(self, _: Token) -> Written:
            return False

    return Lark(_GRAMMAR, parser="lalr", transformer=Conditions())
