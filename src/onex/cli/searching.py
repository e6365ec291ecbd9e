"""What ``ls``, ``count`` and ``bulk`` share: the text of ``--where`` becomes a query, and a place in a list becomes text."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated

import orjson
import typer

from ..kernel.action import WorkflowKey
from ..kernel.errors import InvalidKey
from ..kernel.search_query import SearchPlace, SearchQuery
from .exit_codes import Misused

WHERE_HELP = "Only where this is true, for example: total_cents > 500 and status = 'paid'."
Where = Annotated[str | None, typer.Option("--where", metavar="CONDITION", help=WHERE_HELP)]
OfType = Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Only this workflow.")]


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
