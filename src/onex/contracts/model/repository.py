"""A repository of named queries over a database: what may be asked, with which parameters, and what comes back."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue

from .part import COMPARED, PROSE, Part, Prose, Word

Statement = Annotated[str, Field(max_length=64 * 1024)]


class ModelDbOperation(Part):
    """One statement; ``param_order`` is the order of its positional parameters. Never run by reading it."""

    description: Annotated[Prose, PROSE] = ""
    mode: Annotated[Word | None, COMPARED] = None
    sql: Annotated[Statement | None, COMPARED] = None
    params: Annotated[JsonValue, COMPARED] = None
    param_order: Annotated[tuple[Word, ...], COMPARED] = ()
    returns: Annotated[JsonValue, COMPARED] = None


class ModelDbRepository(Part):
    """``models[name] -> module:Class`` are what rows become."""

    name: Annotated[Word | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    engine: Annotated[Word | None, COMPARED] = None
    database_ref: Annotated[Word | None, COMPARED] = None
    tables: Annotated[JsonValue, COMPARED] = None
    models: Annotated[dict[str, str], COMPARED] = Field(default_factory=dict)
    ops: Annotated[dict[str, ModelDbOperation], COMPARED] = Field(default_factory=dict)
