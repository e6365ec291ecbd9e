"""A parent that starts a child, and is told when the child has ended: two workflows in one file."""

from __future__ import annotations

from typing import Literal

from onex import Action, Nothing, Payload, State, Step, workflow


class Parent(State):
    status: Literal["new", "waiting", "done"] = "new"


class Child(State):
    status: Literal["new", "working", "done"] = "new"
    parent: str = ""


class Start(Payload):
    parent: str


parent = workflow("parent", Parent)
child = workflow("child", Child)

tell = child.send(parent, "ended")
start = parent.send(child, "start")


@child.on("start", "new -> working")
def start_child(state: Child, action: Action[Start]) -> Step[Child]:
    return Step(state.evolve(parent=action.payload.parent))


@parent.on("new -> waiting")
def begin(state: Parent, action: Action[Nothing]) -> Step[Parent]:
    return Step(state, start.to("c1", Start(parent=action.key.instance_id)))


@child.on("working -> done")
def finish(state: Child, action: Action[Nothing]) -> Step[Child]:
    return Step(state, tell.to(state.parent))


parent.move("ended", "waiting -> done")
