"""The files effect on a real folder: what each operation leaves, that twice is once, and what a quota and a crash do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from onex.contracts.model.target_files import ModelFilesCall, ModelFilesTarget
from onex.effects.files import FilesEffect
from onex.kernel.action import Blob, Payload
from onex.kernel.errors import EffectFailed
from onex.nodes.io import NewBlobs
from onex.ports import Result
from tests.effects.calls import HandClock, KeptBlobs, context, intent


class Invoice(Payload):
    order: str
    text: str = ""


class Scan(Payload):
    order: str
    pages: Blob


class Written(Payload):
    path: str
    size: int
    digest: str
    changed: bool


class Text(Payload):
    content: str


class Pages(Payload):
    size: int
    content: Blob


class Entry(Payload):
    name: str
    kind: str
    size: int


class Listed(Payload):
    entries: list[Entry]


CALLS: Mapping[str, tuple[dict[str, Any], type[BaseModel] | None]] = {
    "write": ({"operation": "write", "path": "invoices/{order}.txt", "content": "text"}, Written),
    "once": ({"operation": "write", "path": "invoices/{order}.txt", "content": "text", "replace": False}, Written),
    "scan": ({"operation": "write", "path": "scans/{order}", "content": "pages"}, None),
    "read": ({"operation": "read", "path": "invoices/{order}.txt"}, Text),
    "pages": ({"operation": "read", "path": "scans/{order}"}, Pages),
    "copy": ({"operation": "copy", "path": "invoices/{order}.txt", "to": "kept/{order}.txt"}, Written),
    "move": ({"operation": "move", "path": "invoices/{order}.txt", "to": "sent/2026/{order}.txt"}, Written),
    "delete": ({"operation": "delete", "path": "invoices/{order}.txt"}, Written),
    "list": ({"operation": "list", "path": "{order}"}, Listed),
    "anywhere": ({"operation": "write", "path": "{order}", "content": "text"}, None),
}


def files(root: Path, blobs: KeptBlobs | None = None, clock: HandClock | None = None, **more: Any) -> FilesEffect:
    target = ModelFilesTarget.model_validate({"root": str(root), **more})
    calls = {name: ModelFilesCall.model_validate(call) for name, (call, _) in CALLS.items()}
    return FilesEffect("folder", target, calls, lambda one: CALLS[one.name][1], context(clock, blobs), threads=2)


def every(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


async def refusal(effect: FilesEffect, name: str, payload: BaseModel) -> EffectFailed:
    with pytest.raises(EffectFailed) as raised:
        await effect.execute(intent(name, payload))
    return raised.value


def test_each_operation_done_twice_is_done_once(tmp_path: Path) -> None:
    async def body() -> None:
        effect, order = files(tmp_path), Invoice(order="7", text="paid")
        for operation, left in (
            ("write", {"invoices/7.txt": b"paid"}),
            ("once", {"invoices/7.txt": b"paid"}),
            ("copy", {"invoices/7.txt": b"paid", "kept/7.txt": b"paid"}),
            ("move", {"kept/7.txt": b"paid", "sent/2026/7.txt": b"paid"}),
            ("delete", {"kept/7.txt": b"paid", "sent/2026/7.txt": b"paid"}),
        ):
            seen = [(await effect.execute(intent(operation, order))).value for _ in range(2)]
            assert every(tmp_path) == left
            assert isinstance(seen[0], Written) and isinstance(seen[1], Written)
            assert not seen[1].changed
            assert seen[1].model_copy(update={"changed": seen[0].changed}) == seen[0]
        assert oct((tmp_path / "kept/7.txt").stat().st_mode & 0o777) == "0o600"
        assert oct((tmp_path / "kept").stat().st_mode & 0o777) == "0o700"
        await effect.close()

    asyncio.run(body())


def test_what_is_not_there_and_what_must_not_be_replaced_is_told(tmp_path: Path) -> None:
    async def body() -> None:
        effect = files(tmp_path)
        for operation in ("read", "copy", "move"):
            assert (await refusal(effect, operation, Invoice(order="7"))).reason == "no_such_file"
        await effect.execute(intent("write", Invoice(order="7", text="a")))
        assert (await refusal(effect, "once", Invoice(order="7", text="b"))).reason == "already_there"
        await effect.execute(intent("write", Invoice(order="7", text="c")))
        assert (await effect.execute(intent("read", Invoice(order="7")))).value == Text(content="c")
        assert (await effect.execute(intent("list", Invoice(order=".")))).value == Listed(
            entries=[Entry(name=name, kind="folder", size=0) for name in ("invoices",)]
        )
        await effect.close()
        assert (await refusal(files(tmp_path / "absent"), "read", Invoice(order="7"))).reason == "root_missing"
        told = await refusal(files(tmp_path, read_only=True), "delete", Invoice(order="7"))
        assert told.reason == "read_only"

    asyncio.run(body())


def test_large_content_goes_in_and_out_as_a_blob(tmp_path: Path) -> None:
    async def body() -> None:
        blobs, made, data = KeptBlobs(), NewBlobs(), bytes(range(256)) * 8192
        pages = made.blob(data)
        blobs.take(Result(None, made.made))
        effect = files(tmp_path, blobs)
        await effect.execute(intent("scan", Scan(order="7", pages=pages)))
        read = blobs.take(await effect.execute(intent("pages", Invoice(order="7"))))
        assert isinstance(read.value, Pages)
        assert (read.value.size, blobs.data[bytes.fromhex(read.value.content.digest)]) == (len(data), data)
        (tmp_path / "invoices").mkdir()
        (tmp_path / "invoices/7.txt").write_bytes(data)
        assert (await refusal(effect, "read", Invoice(order="7"))).reason == "file_too_large"
        await effect.close()

    asyncio.run(body())


def test_a_quota_counts_what_is_there_and_what_others_removed(tmp_path: Path) -> None:
    async def body() -> None:
        (tmp_path / "old").write_bytes(b"x" * 60)
        effect = files(tmp_path, max_bytes=100, max_file_bytes=90)
        await effect.execute(intent("write", Invoice(order="a", text="y" * 30)))
        told = await refusal(effect, "write", Invoice(order="b", text="z" * 20))
        assert (told.reason, told.retry) == ("quota_exceeded", True)
        await effect.execute(intent("write", Invoice(order="a", text="y" * 40)))  # only what it grows by counts
        (tmp_path / "old").unlink()
        await effect.execute(intent("write", Invoice(order="b", text="z" * 20)))
        assert (await refusal(effect, "write", Invoice(order="c", text="w" * 91))).reason == "file_too_large"
        await effect.execute(intent("delete", Invoice(order="a")))
        await effect.execute(intent("write", Invoice(order="c", text="w" * 80)))
        assert sum(map(len, every(tmp_path).values())) == 100
        await effect.close()

    asyncio.run(body())


def test_what_a_crash_left_is_removed_after_an_hour_and_is_never_listed(tmp_path: Path) -> None:
    async def body() -> None:
        clock = HandClock()
        old, new = tmp_path / ".onex-0123", tmp_path / ".onex-4567"
        for path, age_s in ((old, 3700), (new, 10)):
            path.write_bytes(b"half")
            os.utime(path, (clock.now_s - age_s, clock.now_s - age_s))
        effect = files(tmp_path, clock=clock)
        await effect.execute(intent("write", Invoice(order="a", text="y")))
        listed = (await effect.execute(intent("list", Invoice(order=".")))).value
        assert listed == Listed(entries=[Entry(name="invoices", kind="folder", size=0)])
        assert sorted(every(tmp_path)) == [".onex-4567", "invoices/a.txt"]
        await effect.close()

    asyncio.run(body())
