"""A bulk job: what is to be sent to which instances, and what came of each, in one file that a later process goes on from.

Theory of operation. The file is lines of JSON, and only grows: the head, a line for each instance that was selected, the mark
that the selection is whole, and a line for each answer. Nothing is sent before the mark is on the disk. So a job that is
resumed sends to the instances of its own selection, whatever their states are now, and leaves out those that have an answer.

What may go wrong, and why the end is still right:

- The process ends between sending and the answer: the job sends again. The id of an action is made of the job and the instance, so
  the engine answers what it answered before. To release twice, or to run an intent again that runs already, changes nothing.
- The process ends while a line is written: the broken line is left out, and its instance is asked again.
- It ends before the mark: nothing was sent, and the job is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self
from uuid import UUID, uuid5

import orjson
from pydantic import JsonValue, TypeAdapter

from ..engine.intake import write_wire
from ..kernel.action import ModelAction, WorkflowKey
from ..kernel.errors import NotFound, ValidationError

FOLDER: Final = Path(".onex") / "bulk"


class JobNotWhole(ValidationError):
    """The file of a bulk job has no whole selection: the process ended before anything was sent. Begin a new job."""

    code = "job_not_whole"


class BulkHead(NamedTuple):
    """What is sent. ``kind`` is a trigger, or a request of an operator; ``store`` is the URL as it may be shown."""

    job: UUID
    command: str
    kind: str
    payload: dict[str, JsonValue]
    store: str


class BulkItem(NamedTuple):
    """One instance; with ``pointer`` one of its intents."""

    key: str
    pointer: str = ""

    def body(self, head: BulkHead) -> bytes:
        """The action as it is sent. Its correlation is the job."""
        action = ModelAction(
            workflow_key=WorkflowKey.parse(self.key),
            kind=head.kind,
            command_payload={"pointer": self.pointer} if self.pointer else head.payload,
            action_id=uuid5(head.job, f"{self.key} {self.pointer}".strip()),
            correlation_id=head.job,
            issuer="cli",
        )
        return write_wire(action)


class BulkOutcome(NamedTuple):
    """``outcome``: ``applied``, ``duplicate`` (it was applied before), ``done`` (a request of an operator), or ``refused``."""

    outcome: str
    version: int | None = None
    status: str = ""
    code: str = ""
    message: str = ""

    @classmethod
    def of(cls, answer: Mapping[str, JsonValue]) -> BulkOutcome:
        """Of the answer to an inbox row."""
        error = answer.get("error")
        if isinstance(error, dict):
            return cls("refused", code=str(error.get("code")), message=str(error.get("message")))
        version = answer.get("version")
        if not isinstance(version, int) or not version:
            return cls("done")
        return cls("duplicate" if answer.get("duplicate") else "applied", version, str(answer.get("status")))

    def as_json(self) -> dict[str, object]:
        """Without what is not said."""
        return {name: value for name, value in self._asdict().items() if value not in (None, "")}


class BulkJob:
    """Made by ``begun`` or ``found``; use it as a context. ``outcomes[place]`` is what is known of ``items[place]``."""

    def __init__(self, path: Path, head: BulkHead, items: Sequence[BulkItem], outcomes: dict[int, BulkOutcome]) -> None:
        self.path, self.head, self.items, self.outcomes = path, head, items, outcomes
        self._file = path.open("ab")
        if not path.read_bytes().endswith(b"\n"):  # its last line was cut off
            self._file.write(b"\n")

    @classmethod
    def begun(cls, head: BulkHead, items: Sequence[BulkItem], folder: Path = FOLDER) -> Self:
        """A new job, whole on the disk. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{head.job}.jsonl"
        first = {**head._asdict(), "job": str(head.job)}
        lines = [
            first,
            *({"key": one.key, "pointer": one.pointer} if one.pointer else {"key": one.key} for one in items),
        ]
        with path.open("xb") as file:
            file.writelines(orjson.dumps(line) + b"\n" for line in (*lines, {"selected": len(items)}))
            file.flush()
            os.fsync(file.fileno())
        return cls(path, head, items, {})

    @classmethod
    def found(cls, name: str, folder: Path = FOLDER) -> Self:
        """A job by its id, or by its file. Raises NotFound, JobNotWhole."""
        path = Path(name) if name.endswith(".jsonl") else folder / f"{name}.jsonl"
        if ("/" in name and not name.endswith(".jsonl")) or not path.is_file():
            raise NotFound(f"there is no bulk job {name!r} in {folder}; name its id, or its file")
        lines = _lines(path)
        head, items, outcomes, whole = next(lines, {}), list[BulkItem](), dict[int, BulkOutcome](), False
        try:
            read = _HEAD.validate_python(head)
            for line in lines:
                if "n" in line:
                    n = int(str(line.pop("n")))
                    outcomes[n] = _OUTCOME.validate_python(line)
                elif "selected" in line:
                    whole = line["selected"] == len(items)
                else:
                    items.append(_ITEM.validate_python(line))
        except ValueError as error:
            raise JobNotWhole(f"{path} is not the file of a bulk job: {error}") from error
        if not whole:
            raise JobNotWhole(f"{path} has no whole selection: nothing was sent; begin a new job")
        return cls(path, read, items, outcomes)

    def record(self, outcomes: Mapping[int, BulkOutcome]) -> None:
        """Raises OSError."""
        self.outcomes.update(outcomes)
        self._file.writelines(orjson.dumps({"n": n, **one.as_json()}) + b"\n" for n, one in outcomes.items())
        self._file.flush()

    @property
    def left(self) -> list[int]:
        """Places without an answer."""
        return [n for n in range(len(self.items)) if n not in self.outcomes]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


_HEAD: Final = TypeAdapter(BulkHead)
_ITEM: Final = TypeAdapter(BulkItem)
_OUTCOME: Final = TypeAdapter(BulkOutcome)


def _lines(path: Path) -> Iterator[dict[str, JsonValue]]:
    """A line that was cut off, or that another program wrote, is left out."""
    with path.open("rb") as file:
        for line in file:
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if isinstance(value, dict):
                yield value
