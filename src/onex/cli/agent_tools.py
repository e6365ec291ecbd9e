"""``onex mcp``: commands that only look, as tools of the Model Context Protocol, for a coding agent.

Theory of operation. The agent starts this process and talks to it over standard input and output, by the protocol's SDK. A tool is
one command of ``onex`` with ``--json``, run as a process of its own. So a tool and a command cannot say different things, and code
of an app that hangs, prints or ends its process costs one answer.

- Nothing here changes anything: no command that submits, releases, re-drives or writes is a tool. ``check``, ``whatif`` and
  ``simulate`` run code of the app, as they do from a shell, and fire no effect.
- What the agent says is never an option: values stand behind ``=`` or behind ``--``.
- An answer has at most ANSWER_BYTES and takes at most LIMIT_S. Values of secret fields are ``***``, as everywhere.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, TypedDict

import orjson
from pydantic import JsonValue

from ..kernel.errors import ValidationError
from .exit_codes import Misused
from .page_beside import ONEX
from .store_options import AppOption, Store, url_of

LIMIT_S: Final = 120.0
ANSWER_BYTES: Final = 400_000
ABOUT: Final = (
    "Questions about workflows of ONEX: which instances there are, how one came to its state, what waits for a person, whether an "
    "app is right, what other code would have done with what was recorded, and how an app does under crashes. Nothing is changed."
)


class McpMissing(ValidationError):
    """The SDK of the Model Context Protocol is not installed: the extra ``mcp``."""

    code = "mcp_missing"


class ToolAnswer(TypedDict):
    """``rows`` are the lines it printed, ``message`` is what it told a person. ``exit_code`` 0: fine, 1: found something."""

    exit_code: int
    rows: list[JsonValue]
    message: str
    cut: bool


def mcp(app: AppOption = None, store: Store = None) -> None:
    """Answer the questions of a coding agent over the Model Context Protocol.

    An agent starts it and talks to it over standard input and output. Its tools only look: nothing is submitted, released or
    written, and no effect runs. --app is the app that they fold and check; without it those tools say so.

    \b
    Examples:
      onex mcp --app examples/orders
      onex mcp --app shop --store sqlite:///shop.db
    """
    try:
        from mcp.server.mcpserver import MCPServer
        from mcp.types import ToolAnnotations
    except ImportError as error:
        raise McpMissing(
            f"the Model Context Protocol needs its SDK, which is not here ({error}). Install the extra mcp of your copy of ONEX: "
            "pip install 'PATH/TO/ONEX[mcp]'"
        ) from error
    from importlib.metadata import version

    tools = AgentTools(url_of(store), app)
    server = MCPServer("onex", version=version("onex"), instructions=ABOUT, log_level="ERROR")
    looks = ToolAnnotations(read_only_hint=True, destructive_hint=False, open_world_hint=False)
    for tool in (
        tools.summary, tools.instances, tools.instance, tools.log, tools.causes, tools.stopped, tools.rejections,
        tools.check, tools.whatif, tools.simulate,
    ):  # fmt: skip
        server.tool(annotations=looks)(tool)
    server.run("stdio")


Key = Annotated[str, "the instance, as TYPE:INSTANCE"]


class AgentTools:
    """The tools: their names, what they take, and what an agent is told of them are those of these methods."""

    def __init__(self, store_url: str, app: Path | None) -> None:
        self._store = f"--store={store_url}"
        self._app = app

    async def summary(self) -> ToolAnswer:
        """The figures of the store now: instances by status, actions, what is in flight, held and dead."""
        return await _told(["top", "--once", self._store])

    async def instances(
        self, type: str | None = None, status: str | None = None, after: str | None = None, limit: int = 50
    ) -> ToolAnswer:
        """List instances, of one workflow type or in one status. ``after`` is the key to continue behind."""
        given = {"type": type, "status": status, "after": after, "limit": str(min(limit, 1000))}
        return await _told(["ls", self._store, *_options(given)])

    async def instance(self, key: Key, version: int | None = None) -> ToolAnswer:
        """One instance, now or after a version: state, open intents, timers, its last actions, and what became of its intents."""
        at = [] if version is None else [f"--at={version}", *self._needed_app("an earlier version")]
        return await _told(["show", "--history", "--attempts", self._store, *(at or self._known_app()), "--", key])

    async def log(self, key: str | None = None, after: str | None = None, limit: int = 100) -> ToolAnswer:
        """Applied actions of one instance, or of all: trigger, payload, intents, issuer. ``after``: a version, or SHARD:N."""
        given = _options({"after": after, "limit": str(min(limit, 1000))})
        return await _told(["log", self._store, *self._known_app(), *given, *(["--", key] if key else [])])

    async def causes(self, key: Key, version: int) -> ToolAnswer:
        """Follow the action of a version back to its first cause, across instances."""
        return await _told(["log", self._store, f"--causes={version}", "--", key])

    async def stopped(self) -> ToolAnswer:
        """Intents that are dead or held: they wait for a person, and say why."""
        return await _told(["dead", self._store, "--limit=1000", *self._known_app()])

    async def rejections(self, key: str | None = None) -> ToolAnswer:
        """Refused actions, the newest first: code, reason, and where code of the app raised."""
        return await _told(["rejections", self._store, *(["--", key] if key else [])])

    async def check(self) -> ToolAnswer:
        """Every problem of the app at once, each with file, line and a fix."""
        return await _told(["check", "--", *self._needed_path("check")])

    async def whatif(self, against: str, type: str | None = None) -> ToolAnswer:
        """Fold what was recorded on other code, a folder below the current one or a git revision: what would differ, and why."""
        given = _options({"against": _below_here(against), "type": type})
        return await _told(["whatif", self._store, *given, "--", *self._needed_path("whatif")])

    async def simulate(self, seeds: int = 20) -> ToolAnswer:
        """Run the app under crashes and faults on a virtual clock. A failure comes with the seed that shows it again."""
        return await _told(["simulate", f"--seeds={max(1, min(seeds, 500))}", "--", *self._needed_path("simulate")])

    def _known_app(self) -> list[str]:
        return [] if self._app is None else [f"--app={self._app}"]

    def _needed_app(self, what: str) -> list[str]:
        self._needed_path(what)
        return self._known_app()

    def _needed_path(self, what: str) -> list[str]:
        """Raises Misused."""
        if self._app is None:
            raise Misused(f"{what} needs the code of the app: onex mcp --app APP")
        return [str(self._app)]


def _options(given: dict[str, str | None]) -> list[str]:
    return [f"--{name}={value}" for name, value in given.items() if value is not None]


def _below_here(against: str) -> str:
    """A path leads nowhere above the current folder; a revision is no path. Raises Misused."""
    if not Path(against).resolve().is_relative_to(Path.cwd()):
        raise Misused(f"{against!r} is not below the current folder")
    return against


async def _told(words: Sequence[str]) -> ToolAnswer:
    at = words.index("--") if "--" in words else len(words)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ONEX, *words[:at], "--json", *words[at:],
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(LIMIT_S):
            out, err = await process.communicate()
    except TimeoutError:
        return ToolAnswer(exit_code=3, rows=[], message=f"no answer within {LIMIT_S:g} s; ask for less", cut=True)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    rows: list[JsonValue] = []
    size = 0
    for line in out.splitlines():
        size += len(line)
        if size > ANSWER_BYTES:
            break
        rows.append(orjson.loads(line))
    message = err.decode(errors="replace")[:10_000]
    return ToolAnswer(exit_code=process.returncode or 0, rows=rows, message=message, cut=size > ANSWER_BYTES)
