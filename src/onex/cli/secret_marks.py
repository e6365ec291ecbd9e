"""Which fields are not shown: those with a secret name, and those that an app marks as Secret."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..kernel.errors import ContractError
from ..kernel.secret import secret_fields
from ..views.hidden import HiddenFields
from .console import note


def marked_fields(app: Path | None) -> Iterator[str]:
    """Names of those in its states, payloads and intents; none without an app. Raises ContractError when it cannot be loaded."""
    if app is None:
        return
    from ..app import load_app

    for one in load_app(app).workflows.values():
        intents = (spec.payload for spec in one.reducer.intents.by_name.values() if spec.payload is not None)
        for model in (one.reducer.state_type, *one.reducer.payloads.values(), *intents):
            yield from sorted(secret_fields(model))


def hidden_fields(app: Path | None, *, no_redact: bool) -> HiddenFields | None:
    """What a command hides; None for nothing. An app that cannot be loaded hides what has a secret name all the same."""
    if no_redact:
        return None
    try:
        return HiddenFields(marked_fields(app))
    except ContractError as error:
        note(f"{app} cannot be loaded, so fields it marks as Secret are shown: {error.message}")
        return HiddenFields()
