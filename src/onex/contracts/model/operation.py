"""What a node can be asked for: operations with what goes in and what comes out."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue

from .bus import ModelReference
from .part import COMPARED, PROSE, ROWS_MAX, ModelContractVersion, Part, Prose, Word


class ModelOperationField(Part):
    name: Annotated[Word, COMPARED]
    type: Annotated[Word | None, COMPARED] = None
    required: Annotated[bool | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    default: Annotated[JsonValue, COMPARED] = None


Fields = Annotated[tuple[ModelOperationField, ...], Field(max_length=ROWS_MAX)]


class ModelOperation(Part):
    """One of a node's operations. How it is run (timeouts, buffers, backups) is read and kept."""

    name: Annotated[Word, COMPARED]
    description: Annotated[Prose, PROSE] = ""
    version: Annotated[ModelContractVersion | None, COMPARED] = None
    operation_type: Annotated[Word | None, COMPARED] = None
    input_fields: Annotated[Fields, COMPARED] = ()
    output_fields: Annotated[Fields, COMPARED] = ()
    input_model: Annotated[ModelReference | None, COMPARED] = None
    output_model: Annotated[ModelReference | None, COMPARED] = None
    output_topic: Annotated[Word | None, COMPARED] = None
    timeout_ms: int | None = None
    atomic: bool | None = None
    idempotent: Annotated[bool | None, COMPARED] = None
    backup_enabled: bool | None = None
    buffer_size: int | None = None
    permissions: JsonValue = None
    recursive: bool | None = None
    validation_enabled: bool | None = None


Operations = Annotated[tuple[ModelOperation, ...], Field(max_length=ROWS_MAX)]


class ModelCapability(Part):
    """Something a node says it can do, in its own words."""

    name: Annotated[Word, COMPARED]
    description: Annotated[Prose, PROSE] = ""
    version: Annotated[ModelContractVersion | None, COMPARED] = None
    operations: Annotated[tuple[Word, ...], COMPARED] = ()
    input_types: Annotated[tuple[Word, ...], COMPARED] = ()
    output_types: Annotated[tuple[Word, ...], COMPARED] = ()
    inputs: Annotated[JsonValue, COMPARED] = None
    outputs: Annotated[JsonValue, COMPARED] = None


Capabilities = Annotated[tuple[ModelCapability, ...], Field(max_length=ROWS_MAX)]
