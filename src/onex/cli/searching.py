"""What ``ls``, ``count`` and ``bulk`` share: the text of ``--where`` becomes a query, and a place in a list becomes text."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated

import orjson
import typer

from ..engine.search_text import condition_of
from ..kernel.action import WorkflowKey
from ..kernel.errors import InvalidKey
from ..kernel.search_query import InvalidQuery, SearchPlace, SearchQuery, query_of
from ..ports import SearchReads
from .exit_codes import Misused

WHERE_HELP = "Only where this is true, for example: total_cents > 500 and status = 'paid'."
Where = Annotated[str | None, typer.Option("--where", metavar="CONDITION", help=WHERE_HELP)]
OfType = Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Only this workflow.")]


async def asked_query(
    reader: SearchReads,
    where: str | None,
    *,
    of_type: str | None = None,
    status: str | None = None,
    order: str | None = None,
) -> SearchQuery:
    """The query, by what the store knows now. ``order`` is a column, or ``COLUMN desc``: the greatest first.

    Raises InvalidQuery, UnknownSearchField, SearchTypeMismatch, SearchNotReady.
    """
    texts = [] if where is None else [f"({where})"]
    if status is not None:
        texts.append("status = '{}'".format(status.replace("'", "''")))
    if where is not None:
        condition_of(where)  # by itself first, so that an error counts its characters
    condition = condition_of(" and ".join(texts)) if texts else None
    column, _, direction = (order or "").strip().partition(" ")
    if direction.strip().lower() not in ("", "asc", "desc"):
        raise InvalidQuery(f"the order {order!r} is no column; write COLUMN, or COLUMN desc for the greatest first")
    descending = direction.strip().lower() == "desc"
    return query_of(
        condition, await reader.search_specs(), workflow_type=of_type, order=column or None, descending=descending
    )


def place_text(place: SearchPlace, query: SearchQuery) -> str:
    """What ``--after`` takes: a key, or in an ordered list one word that also says what stood in its column."""
    if query.order is None:
        return str(place.key)
    return urlsafe_b64encode(orjson.dumps([str(place.key), place.value])).decode().rstrip("=")


def place_of_text(text: str | None, order: str | None) -> SearchPlace | None:
    """Raises Misused, InvalidKey."""
    if text is None:
        return None
    if order is None:
        return SearchPlace(WorkflowKey.parse(text))
    try:
        key, value = orjson.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if not isinstance(value, int | str | None):
            raise ValueError("another value stands there")
        return SearchPlace(WorkflowKey.parse(key), value)
    except (ValueError, TypeError, InvalidKey) as error:
        raise Misused(
            f"--after {text!r} is no place in an ordered list; take the one that the page before printed"
        ) from error
