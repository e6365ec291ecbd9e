"""An agent's run: a model thinks, tools act, a person approves what is dangerous, and a budget ends what costs too much.

The model here is a small rule on the last message, so that the example needs no account. Put a call to yours into ``think``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from onex import Action, Failure, ModelIntent, Nothing, Payload, State, Step, workflow

Tool = Literal["", "search", "send_mail"]


class Run(State):
    status: Literal["new", "thinking", "acting", "asking", "done", "stopped"] = "new"
    messages: tuple[str, ...] = ()
    spent: int = 0
    limit: int = 0
    tool: Tool = ""
    argument: str = ""


class Begin(Payload):
    task: str = Field(min_length=1)
    limit: int = Field(default=100, ge=1, description="cents that the run may cost")


class Think(Payload):
    messages: tuple[str, ...]


class Thought(Payload):
    text: str
    tool: Tool = ""
    argument: str = ""
    cents: int = Field(ge=0)


class UseTool(Payload):
    tool: Tool
    argument: str


class Found(Payload):
    text: str


runs = workflow("run", Run)


@runs.effect(kind="api_call", retry=3, timeout=timedelta(minutes=2))
def think(intent: ModelIntent[Think]) -> Thought:
    task, *answers = intent.payload.messages
    if not answers:
        return Thought(text="I look it up", tool="search", argument=task, cents=3)
    if len(answers) == 2 and "mail" in task:
        return Thought(text="I send it", tool="send_mail", argument=answers[-1], cents=3)
    return Thought(text=f"done: {answers[-1]}", cents=3)


@runs.effect(retry=3)
def use_tool(intent: ModelIntent[UseTool]) -> Found:
    return Found(text=f"{intent.payload.tool} says: {intent.payload.argument.upper()}")


@runs.on("new -> thinking")
def begin(run: Run, action: Action[Begin]) -> Step[Run]:
    messages = (action.payload.task,)
    return Step(run.evolve(messages=messages, limit=action.payload.limit), Think(messages=messages))


@runs.on(think.succeeded, "thinking -> done", when="payload.tool == ''")
@runs.on(think.succeeded, "thinking -> stopped", when_after="(state.spent >= state.limit)")
@runs.on(think.succeeded, "thinking -> asking", when="payload.tool == 'send_mail'")
@runs.on(think.succeeded, "thinking -> acting")
def thought(run: Run, action: Action[Thought]) -> Step[Run]:
    said = action.payload
    run = run.evolve(
        messages=(*run.messages, said.text), spent=run.spent + said.cents, tool=said.tool, argument=said.argument
    )
    if said.tool == "search" and run.spent < run.limit:
        return Step(run, UseTool(tool=said.tool, argument=said.argument))
    return Step(run)


@runs.on("asking -> acting")
def approve(run: Run, action: Action[Nothing]) -> Step[Run]:
    return Step(run, UseTool(tool=run.tool, argument=run.argument))


@runs.on(use_tool.succeeded, "acting -> thinking")
def acted(run: Run, action: Action[Found]) -> Step[Run]:
    messages = (*run.messages, action.payload.text)
    return Step(run.evolve(messages=messages), Think(messages=messages))


@runs.on(think.failed, think.unknown, "thinking -> stopped")
@runs.on(use_tool.failed, use_tool.unknown, "acting -> stopped")
def failed(run: Run, action: Action[Failure]) -> Step[Run]:
    return Step(run.evolve(messages=(*run.messages, action.payload.message)))


runs.move("deny", "asking -> stopped")
runs.move("expire", "asking -> stopped", timeout=timedelta(days=1))
runs.move("stop", "thinking | acting | asking -> stopped")
