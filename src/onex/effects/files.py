"""FilesEffect: serves a target that is a folder (``files``). Each call runs in a thread, since a disk may take its time.

A path is made of the contract's template and the payload's fields. A field gives one name of it, so it cannot hold a slash, unless
the template is that field alone. The content of a write is text, bytes or a ``Blob``. The answer is made of what its class asks
for: ``path``, ``size``, ``digest`` (BLAKE3), ``changed``, ``entries`` of a list, and ``content`` of a read. That is text, or a
``Blob`` where the class says so, and then of any size that the target allows.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar, get_args

from pydantic import BaseModel, JsonValue

from ..contracts.model.target_files import EnumFileOperation, ModelFilesCall, ModelFilesTarget
from ..contracts.model.template import FieldMissing, filled, pieces, shown
from ..kernel.action import NOTHING, Blob, Nothing
from ..kernel.errors import EffectFailed
from ..kernel.intent import ModelIntent
from ..nodes.given import ResultModel, success_payload
from ..nodes.io import NewBlobs, check_blob
from ..ports import Result
from .context import EffectContext
from .folder_files import FileInfo, FolderFiles
from .rooted_path import path_refused

R = TypeVar("R")
TEXT_BYTES: Final = 200_000
_PASSING: Final = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EMFILE,
    errno.ENFILE,
    errno.EAGAIN,
    errno.EINTR,
    errno.EIO,
    errno.ENOMEM,
}
_READS: Final = (EnumFileOperation.READ, EnumFileOperation.LIST)


class FilesEffect:
    """An ``Executor``. ``threads`` is how many calls run at once."""

    def __init__(
        self,
        name: str,
        target: ModelFilesTarget,
        calls: Mapping[str, ModelFilesCall],
        result_model: ResultModel,
        context: EffectContext,
        *,
        threads: int = 10,
    ) -> None:
        """``calls[intent name]``."""
        self.name, self.target, self.calls = name, target, calls
        self._result_model, self._context = result_model, context
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="onex-files")
        self._folders: dict[str, FolderFiles] = {}
        context.closes(self.close)

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        """Raises EffectFailed, EffectUnknown."""
        call, model, fields = self.calls[intent.name], self._result_model(intent), intent.serialize_payload()
        if self.target.read_only and call.operation not in _READS:
            raise EffectFailed(f"target {self.name!r} is read_only; nothing was done", code="read_only")
        path, to = path_of(call.path, fields), "" if call.to is None else path_of(call.to, fields)
        root = await self._context.settings.text(self.target.root, what=f"root of {self.name!r}")
        files = self._files(root)
        with self._context.audit.call(intent, f"{call.operation.value} {shown(call.path)}"):
            return await self._done(intent, call, model, files, path, to)

    async def _done(
        self,
        intent: ModelIntent[BaseModel],
        call: ModelFilesCall,
        model: type[BaseModel] | None,
        files: FolderFiles,
        path: str,
        to: str,
    ) -> Result:
        match call.operation:
            case EnumFileOperation.WRITE:
                data = await self._data(intent, call)
                info = await self._in_thread(lambda: files.write(path, data, replace=call.replace), path)
            case EnumFileOperation.READ:
                return self._read(model, path, await self._in_thread(lambda: files.read(path), path))
            case EnumFileOperation.COPY:
                info = await self._in_thread(lambda: files.copy(path, to, replace=call.replace), path)
            case EnumFileOperation.MOVE:
                info = await self._in_thread(lambda: files.move(path, to, replace=call.replace), path)
            case EnumFileOperation.DELETE:
                info = await self._in_thread(lambda: files.delete(path), path)
            case EnumFileOperation.LIST:
                entries = await self._in_thread(lambda: files.list(path), path)
                return self._answered(model, {"path": path, "entries": [one._asdict() for one in entries]})
        return self._answered(model, info._asdict())

    async def _in_thread(self, work: Callable[[], R], path: str) -> R:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except FileNotFoundError as error:
            raise EffectFailed(f"{path!a} is not there below the root of {self.name!r}", code="no_such_file") from error
        except OSError as error:
            raise EffectFailed(
                f"{path!a} below the root of {self.name!r}: {error.strerror}; nothing was done",
                retryable=error.errno in _PASSING,
                code="file_error",
            ) from error

    async def _data(self, intent: ModelIntent[BaseModel], call: ModelFilesCall) -> bytes:
        value = getattr(intent.payload, call.content or "", None)
        if isinstance(value, Blob):
            return check_blob(value, await self._context.blobs.read(bytes.fromhex(value.digest)))
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, bytes):
            return value
        raise EffectFailed(
            f"the field {call.content!r} of {intent.name!r} is no text, no bytes and no Blob; nothing was written",
            code="no_content",
        )

    def _read(self, model: type[BaseModel] | None, path: str, data: bytes) -> Result:
        info = FileInfo(path, len(data), "", False)._asdict()
        made = NewBlobs()
        its = made.blob(data)
        info["digest"] = its.digest
        if model is None or "content" not in model.model_fields:
            return self._answered(model, info)
        annotation = model.model_fields["content"].annotation
        if Blob in (annotation, *get_args(annotation)):
            return self._answered(model, {**info, "content": its}, made)
        if len(data) > TEXT_BYTES:
            raise EffectFailed(
                f"{path!a} has {len(data):,} bytes; over {TEXT_BYTES:,} the answer's content must be a Blob",
                code="file_too_large",
            )
        try:
            return self._answered(model, {**info, "content": data.decode()})
        except UnicodeDecodeError as error:
            raise EffectFailed(
                f"{path!a} is no UTF-8 text; the answer's content must be a Blob", code="not_text"
            ) from error

    def _answered(
        self, model: type[BaseModel] | None, found: Mapping[str, object], made: NewBlobs | None = None
    ) -> Result:
        if model is None or model is Nothing:
            return Result(NOTHING)
        fields = {name: value for name, value in found.items() if name in model.model_fields}
        return Result(success_payload(fields, model, f"target {self.name!r}"), () if made is None else made.made)

    def _files(self, root: str) -> FolderFiles:
        found = self._folders.get(root)
        if found is None:
            found = FolderFiles(
                root, self._context.clock, max_bytes=self.target.max_bytes, max_file_bytes=self.target.max_file_bytes
            )
            self._folders[root] = found
        return found

    async def close(self) -> None:
        """Calls that run end first. Idempotent."""
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
        while self._folders:
            self._folders.popitem()[1].close()


def path_of(template: str, fields: Mapping[str, JsonValue]) -> str:
    """Raises EffectFailed ``path_refused`` where a field is missing, or would give more than one name of the path."""
    alone = len(pieces(template)) == 1

    def name(value: str) -> str:
        if not alone and ("/" in value or value in ("", ".", "..")):
            raise path_refused(value, f"it stands for one name in {template!a}")
        return value

    try:
        return filled(template, fields, name)
    except FieldMissing as error:
        raise path_refused(template, str(error)) from error
