from __future__ import annotations

from pydantic import JsonValue

from onex import migrate

from .payloads import raises


@migrate(1)
def second(rough: dict[str, JsonValue]) -> dict[str, JsonValue]:
    what = str(rough["what"])
    raises(what)
    return [what] if what == "a list" else rough  # type: ignore[return-value]
