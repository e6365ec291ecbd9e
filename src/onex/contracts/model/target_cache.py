"""The block ``cache``: values by key that may be lost, and what one intent does with one of them."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, Field

from .part import ENGINE, Milliseconds, Name
from .setting import Setting
from .target_block import Misfits, ModelCallBlock, ModelTargetBlock, unknown_fields

DAY_MS = 24 * 3600 * 1000


class EnumCacheOperation(StrEnum):
    GET = "get"
    SET = "set"
    DELETE = "delete"
    INCREMENT = "increment"


class ModelCacheTarget(ModelTargetBlock):
    """Without ``url`` the values are in this process and end with it; with ``redis://HOST:PORT/0`` in a server that all share."""

    url: Annotated[
        Setting | None, Field(description="redis://HOST:PORT/0 or rediss://; left out, this process"), ENGINE
    ] = None
    prefix: Annotated[str, Field(max_length=200, description="stands before every key"), ENGINE] = ""
    max_entries: Annotated[int, Field(ge=1, le=10**7, description="in this process"), ENGINE] = 10_000
    max_bytes: Annotated[int, Field(ge=1, le=2**40, description="in this process"), ENGINE] = 64 << 20
    pool_max: Annotated[int, Field(ge=1, le=1000, description="connections at most"), ENGINE] = 10


class ModelCacheCall(ModelCallBlock):
    """What one intent does. A ``{field}`` in the key is a field of the payload."""

    operation: Annotated[EnumCacheOperation, Field(strict=False), ENGINE]
    key: Annotated[str, Field(min_length=1, max_length=1000, description="price:{sku}"), ENGINE]
    value: Annotated[Name, Field(description="of set: the field that is kept; of increment: how much"), ENGINE] = (
        "value"
    )
    ttl_ms: Annotated[Milliseconds | None, Field(description="of set and increment: how long it is kept"), ENGINE] = (
        None
    )
    dedup_ms: Annotated[
        Milliseconds, Field(description="of increment: how long its key is remembered, so that it counts once"), ENGINE
    ] = DAY_MS

    def templates(self) -> Iterator[tuple[str, str]]:
        yield "key", self.key

    def payload_fields(self) -> Iterator[tuple[str, str]]:
        yield from super().payload_fields()
        if self.operation in (EnumCacheOperation.SET, EnumCacheOperation.INCREMENT):
            yield "value", self.value

    def changes_something(self) -> bool:
        return self.operation is not EnumCacheOperation.GET

    def misfits(self) -> Iterator[tuple[str, str, str]]:
        if self.ttl_ms is not None and self.operation not in (EnumCacheOperation.SET, EnumCacheOperation.INCREMENT):
            yield "ttl_ms", f"{self.operation.value} keeps nothing", "remove ttl_ms"

    def class_misfits(
        self, target: ModelTargetBlock, payload: type[BaseModel], answer: type[BaseModel] | None
    ) -> Misfits:
        yield from unknown_fields("operation", answer, {"key", "value", "found"}, self.operation.value)
