"""What is found when an app loads: a block that is wrong in itself, or that does not fit the classes of its request and answer."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from onex.contracts.model.target_block import ModelCallBlock, ModelTargetBlock
from onex.contracts.model.target_cache import ModelCacheCall, ModelCacheTarget
from onex.contracts.model.target_files import ModelFilesCall, ModelFilesTarget
from onex.contracts.model.target_sql import ModelSqlCall, ModelSqlTarget
from onex.contracts.model.target_topic import ModelTopicCall, ModelTopicTarget
from onex.kernel.action import Nothing, Payload


class Entry(Payload):
    id: str
    cents: int


class EntryKey(Payload):
    id: str


class Wider(Payload):
    id: str
    colour: str


class Answer(Payload):
    rows: int
    cents: int


class Odd(Payload):
    weather: str


SQL = ModelSqlTarget.model_validate(
    {"url": "sqlite:///a.db", "tables": {"entries": {"columns": ("id", "cents"), "key": ("id",)}}}
)
FILES = ModelFilesTarget.model_validate({"root": "/srv", "read_only": True})
CACHE = ModelCacheTarget()
TOPIC = ModelTopicTarget(name="a.b")
OF_SQL, OF_FILES, OF_CACHE, OF_TOPIC = ModelSqlCall, ModelFilesCall, ModelCacheCall, ModelTopicCall


def write(operation: str, table: str) -> ModelSqlCall:
    return ModelSqlCall.model_validate({"operation": operation, "table": table})


@pytest.mark.parametrize(
    ("block", "call", "told"),
    [
        (OF_SQL, {"operation": "insert"}, ["insert does not say into which table"]),
        (OF_SQL, {"operation": "insert", "table": "entries"}, []),
        (OF_SQL, {"operation": "insert", "table": "a", "query": "select 1"}, ["query belongs to operation: query"]),
        (OF_SQL, {"operation": "insert", "table": "a", "cache": {"ttl_ms": 1}}, ["cache belongs to operation: query"]),
        (OF_SQL, {"operation": "query", "table": "a"}, ["a query has `query:` and no `table:`"]),
        (OF_SQL, {"operation": "query", "query": "delete from a"}, ["begins with neither select"]),
        (OF_SQL, {"operation": "query", "query": "select 1; delete from a"}, ["has a semicolon"]),
        (OF_SQL, {"operation": "query", "query": "select ';', $$;$$ -- ;\n from a where b = :id /* ; */"}, []),
        (OF_FILES, {"operation": "copy", "path": "a"}, ["copy does not say where to"]),
        (OF_FILES, {"operation": "read", "path": "a", "to": "b"}, ["read has no other path"]),
        (OF_FILES, {"operation": "write", "path": "a"}, ["does not say what is written"]),
        (OF_FILES, {"operation": "delete", "path": "a", "content": "b"}, ["delete writes nothing"]),
        (OF_CACHE, {"operation": "get", "key": "a", "ttl_ms": 5}, ["get keeps nothing"]),
        (OF_CACHE, {"operation": "set", "key": "a", "ttl_ms": 5}, []),
    ],
)  # fmt: skip
def test_a_call_that_cannot_be_is_told(block: type[ModelCallBlock], call: dict[str, Any], told: list[str]) -> None:
    found = [message for _, message, _ in block.model_validate(call).misfits()]
    assert len(found) == len(told)
    assert all(part in message for part, message in zip(told, found, strict=True)), found


@pytest.mark.parametrize(
    ("target", "call", "payload", "answer", "told"),
    [
        (SQL, write("insert", "entries"), Entry, Answer, []),
        (SQL, write("insert", "other"), Entry, None, ["not among the target's tables"]),
        (SQL, write("insert", "entries"), Wider, None, ["Wider has colour, no column"]),
        (SQL, write("upsert", "entries"), Odd, None, ["Odd has weather", "lacks id of the key"]),
        (SQL, write("update", "entries"), EntryKey, None, ["EntryKey has the key only"]),
        (SQL, write("delete", "entries"), Entry, None, ["takes the key only, and Entry has cents"]),
        (SQL, write("insert", "entries"), Nothing, None, ["Nothing has no field"]),
        (SQL, write("insert", "entries"), Entry, Odd, ["answers with cents, id, rows, and Odd has weather"]),
        (FILES, OF_FILES.model_validate({"operation": "read", "path": "a"}), EntryKey, None, []),
        (FILES, OF_FILES.model_validate({"operation": "delete", "path": "a"}), EntryKey, None, ["the target is read_only"]),
        (FILES, OF_FILES.model_validate({"operation": "list", "path": "a"}), EntryKey, Odd, ["list answers with entries, path"]),
        (CACHE, OF_CACHE.model_validate({"operation": "get", "key": "a"}), EntryKey, Odd, ["get answers with found, key, value"]),
        (TOPIC, OF_TOPIC.model_validate({}), EntryKey, Odd, ["answers with message_id, offset, partition, topic"]),
    ],
)  # fmt: skip
def test_classes_that_do_not_fit_a_call_are_told(
    target: ModelTargetBlock,
    call: ModelCallBlock,
    payload: type[BaseModel],
    answer: type[BaseModel] | None,
    told: list[str],
) -> None:
    found = list(call.class_misfits(target, payload, answer))
    assert len(found) == len(told)
    assert all(part in message for part, (_, message, _) in zip(told, found, strict=True)), found
    assert all(key in type(call).model_fields and fix for key, _, fix in found)
