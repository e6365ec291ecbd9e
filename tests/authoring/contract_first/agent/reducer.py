"""The handlers of examples/agent; where they lead stands in contract.yaml."""

from __future__ import annotations

from onex import Action, Failure, Nothing, Step, reducer

from .payloads import Begin, Found, Run, Think, Thought, UseTool

runs = reducer(Run)


@runs.on("begin")
def begin(run: Run, action: Action[Begin]) -> Step[Run]:
    messages = (action.payload.task,)
    return Step(run.evolve(messages=messages, limit=action.payload.limit), Think(messages=messages))


@runs.on("think.succeeded")
def thought(run: Run, action: Action[Thought]) -> Step[Run]:
    said = action.payload
    run = run.evolve(
        messages=(*run.messages, said.text), spent=run.spent + said.cents, tool=said.tool, argument=said.argument
    )
    if said.tool == "search" and run.spent < run.limit:
        return Step(run, UseTool(tool=said.tool, argument=said.argument))
    return Step(run)


@runs.on("approve")
def approve(run: Run, action: Action[Nothing]) -> Step[Run]:
    return Step(run, UseTool(tool=run.tool, argument=run.argument))


@runs.on("use_tool.succeeded")
def acted(run: Run, action: Action[Found]) -> Step[Run]:
    messages = (*run.messages, action.payload.text)
    return Step(run.evolve(messages=messages), Think(messages=messages))


@runs.on("think.failed", "think.unknown", "use_tool.failed", "use_tool.unknown")
def failed(run: Run, action: Action[Failure]) -> Step[Run]:
    return Step(run.evolve(messages=(*run.messages, action.payload.message)))
