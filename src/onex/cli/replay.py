"""``onex replay``: the log folded again, held against what was stored. Nothing is changed and no effect is fired."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import typer

from ..app import load_app
from ..engine.registry import ReducerRegistry, Workflow
from ..engine.replay import EnumVerdict, Replay, Replayed, Segment
from ..kernel.action import WorkflowKey
from ..ports import Env, Reader
from ..wiring.environment import environment
from .console import counted, harmless, note, say, say_json, styled
from .exits import FOUND, Missing
from .store import AppPath, Json, Store, look

COLOURS = {EnumVerdict.MISMATCH: "red", EnumVerdict.EQUAL: "green"}
TOLD = 20


def replay(
    app: AppPath,
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="Only this instance.", show_default=False)] = None,
    of_type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Only this workflow.")] = None,
    older: Annotated[
        list[Path] | None, typer.Option("--with", metavar="APP", help="Older code of the app (may be given often).")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Accept nothing but equal.")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Fold the log again and compare every byte with what was stored.

    Rows that follow one another under one code are a segment, and each gets a verdict: equal; MISMATCH, which is
    impurity or damage; other code, equal; other code, differs; code not at hand. Exit code 1: there was a MISMATCH, or
    nothing could be folded at all, because the app has none of the code at hand.

    \b
    Examples:
      onex replay examples/orders
      onex replay examples/orders orders:4711
      onex replay shop --with ../shop-1.3 --strict --json
    """
    registry = ReducerRegistry(_workflows(app))
    before = tuple(one for path in older or () for one in _workflows(path))
    here = environment(app.resolve())
    only = None if key is None else WorkflowKey.parse(key)
    shown = not as_json and sys.stderr.isatty()

    async def ask(reader: Reader) -> tuple[Replayed, dict[int, Env]]:
        proof = Replay(reader, registry, before)
        total = (await reader.counts()).actions if only is None and of_type is None else None
        segments = await _segments(proof, reader, only, of_type)
        if shown:
            await _with_progress(proof, segments, total)
        else:
            async for _ in segments:
                pass
        return proof.result, dict(await reader.envs())

    result, envs = look(store, ask)
    nothing = set(result.by_verdict) == {EnumVerdict.CODE_NOT_AT_HAND}
    refused = result.mismatches > 0 or nothing or (strict and set(result.by_verdict) - {EnumVerdict.EQUAL} != set())
    if as_json:
        say_json(_as_json(result, envs, here, refused=refused))
    else:
        _show(result, envs, here)
        if nothing:
            note("nothing was verified: this app has none of the code the store was written by; name the right app")
    if refused:
        raise typer.Exit(FOUND)


def _workflows(app: Path) -> tuple[Workflow, ...]:
    return tuple(one.recorded for one in load_app(app).workflows.values())


async def _segments(
    proof: Replay, reader: Reader, only: WorkflowKey | None, of_type: str | None
) -> AsyncIterator[Segment]:
    if only is None:
        return proof.all(of_type)
    stored = (await reader.load([only])).get(only)
    if stored is None:
        raise Missing(f"{only} has not begun; onex ls lists what has")
    return proof.instance(stored)


async def _with_progress(proof: Replay, segments: AsyncIterator[Segment], total: int | None) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TextColumn("actions"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("replaying", total=total)
        async for _ in segments:
            progress.update(bar, completed=proof.result.actions)


def _show(result: Replayed, envs: dict[int, Env], here: Env) -> None:
    bad = sorted(result.bad, key=lambda one: one.verdict is not EnumVerdict.MISMATCH)
    for segment in bad[:TOLD]:
        code = f"code {segment.code.contract_version}, {segment.code.digest.hex()[:12]}"
        verdict = styled(segment.verdict, COLOURS.get(segment.verdict, "yellow"))
        say(f"{verdict}  {harmless(str(segment.key))}  versions {segment.first} to {segment.last}  {code}")
        if segment.reason:
            say(f"  {harmless(segment.reason)}")
        if segment.verdict is EnumVerdict.MISMATCH:
            say(f"  {_told_env(envs.get(segment.env_id), here)}")
    if len(bad) > TOLD:
        note("and more; --json tells a hundred")
    for verdict, count in sorted(result.by_verdict.items()):
        colour = COLOURS.get(EnumVerdict(verdict), "yellow")
        say(f"{counted(count, 'segment')}: {styled(verdict, colour)}")
    say(f"{counted(result.instances, 'instance')}, {counted(result.actions, 'action')}, {result.unverified} unverified")


def _told_env(made: Env | None, here: Env) -> str:
    if made is None:
        return "made under something the store does not name"
    differs = [f"{name} {old or '?'} (here {new or '?'})" for name, old, new in _differences(made, here)]
    return f"made under {', '.join(differs)}" if differs else "made under what runs here: impurity, or damage"


def _differences(made: Env, here: Env) -> list[tuple[str, str, str]]:
    pairs = zip(Env._fields, made, here, strict=True)
    return [(name.replace("_", " "), old, new) for name, old, new in pairs if old != new]


def _as_json(result: Replayed, envs: dict[int, Env], here: Env, *, refused: bool) -> dict[str, object]:
    return {
        "ok": not refused,
        "instances": result.instances,
        "segments": result.segments,
        "actions": result.actions,
        "intents": result.intents,
        "mismatches": result.mismatches,
        "unverified": result.unverified,
        "by_verdict": {EnumVerdict(verdict).value: count for verdict, count in result.by_verdict.items()},
        "here": here._asdict(),
        "bad": [
            {
                "key": str(segment.key),
                "first": segment.first,
                "last": segment.last,
                "verdict": segment.verdict.value,
                "code": {"version": segment.code.contract_version, "digest": segment.code.digest.hex()},
                "env": envs[segment.env_id]._asdict() if segment.env_id in envs else None,
                "reason": segment.reason,
            }
            for segment in result.bad
        ],
    }
