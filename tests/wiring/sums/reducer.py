"""Asks for the sum, then tells it."""

from __future__ import annotations

from onex import Action, Failure, Step, reducer

from .payloads import Numbers, Sum, Total

sums = reducer(Sum)


@sums.on("add")
def add(state: Sum, action: Action[Numbers]) -> Step[Sum]:
    return Step(state, action.payload)


@sums.on("added")
def added(state: Sum, action: Action[Total]) -> Step[Sum]:
    return Step(state.evolve(total=action.payload.total, worker=action.payload.worker), action.payload)


@sums.on("broken")
def broken(state: Sum, action: Action[Failure]) -> Step[Sum]:
    return Step(state.evolve(trouble=action.payload.message))
