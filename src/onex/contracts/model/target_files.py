"""The block ``files``: a folder in which a workflow may work, and what one intent does there."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, Field

from .part import ENGINE, Name
from .setting import Setting
from .target_block import Misfits, ModelCallBlock, ModelTargetBlock, unknown_fields

FILE_BYTES = 64 << 20
PathTemplate = Annotated[str, Field(min_length=1, max_length=1000)]


class EnumFileOperation(StrEnum):
    WRITE = "write"
    READ = "read"
    COPY = "copy"
    MOVE = "move"
    DELETE = "delete"
    LIST = "list"


class ModelFilesTarget(ModelTargetBlock):
    """One folder. Nothing outside of it is read or written, and no symbolic link is followed."""

    root: Annotated[Setting, Field(description="the folder; it must be there"), ENGINE]
    max_bytes: Annotated[
        int | None, Field(ge=1, le=2**50, description="what all files of the folder may take together"), ENGINE
    ] = None
    max_file_bytes: Annotated[int, Field(ge=1, le=2**40, description="what one file may have"), ENGINE] = FILE_BYTES
    read_only: Annotated[bool, Field(description="only read and list"), ENGINE] = False


class ModelFilesCall(ModelCallBlock):
    """What one intent does. A ``{field}`` in a path is a field of the payload, which gives one name of the path.

    Only a path that is one ``{field}`` and nothing else may get several names from it, as in ``2026/07/a.pdf``.
    """

    operation: Annotated[EnumFileOperation, Field(strict=False), ENGINE]
    path: Annotated[PathTemplate, Field(description="below the root: invoices/{order}.pdf"), ENGINE]
    to: Annotated[PathTemplate | None, Field(description="of copy and move"), ENGINE] = None
    content: Annotated[
        Name | None, Field(description="of write: the field with the text, the bytes or the Blob"), ENGINE
    ] = None
    replace: Annotated[bool, Field(description="false: a file with other content is left as it is"), ENGINE] = True

    def templates(self) -> Iterator[tuple[str, str]]:
        yield "path", self.path
        if self.to is not None:
            yield "to", self.to

    def payload_fields(self) -> Iterator[tuple[str, str]]:
        yield from super().payload_fields()
        if self.content is not None:
            yield "content", self.content

    def changes_something(self) -> bool:
        return self.operation not in (EnumFileOperation.READ, EnumFileOperation.LIST)

    def misfits(self) -> Iterator[tuple[str, str, str]]:
        operation, two = self.operation.value, (EnumFileOperation.COPY, EnumFileOperation.MOVE)
        if (self.to is not None) != (self.operation in two):
            missing = self.to is None
            word = "does not say where to" if missing else "has no other path"
            yield ("operation" if missing else "to"), f"{operation} {word}", "add to: PATH" if missing else "remove to"
        if (self.content is not None) != (self.operation is EnumFileOperation.WRITE):
            missing = self.content is None
            word = "does not say what is written" if missing else "writes nothing"
            fix = "add content: FIELD" if missing else "remove content"
            yield ("operation" if missing else "content"), f"{operation} {word}", fix

    def class_misfits(
        self, target: ModelTargetBlock, payload: type[BaseModel], answer: type[BaseModel] | None
    ) -> Misfits:
        if isinstance(target, ModelFilesTarget) and target.read_only and self.changes_something():
            yield "operation", f"{self.operation.value} changes a file, and the target is read_only", "remove read_only"
        known = {"path", "size", "digest", "changed"}
        if self.operation is EnumFileOperation.LIST:
            known = {"path", "entries"}
        elif self.operation is EnumFileOperation.READ:
            known |= {"content"}
        yield from unknown_fields("operation", answer, known, self.operation.value)
