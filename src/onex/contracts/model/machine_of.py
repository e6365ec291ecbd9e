"""The machine of a typed contract, as it is drawn and searched: guards by their text, nothing bound to classes."""

from __future__ import annotations

from pydantic import BaseModel

from ...kernel.machine import Guard, Machine, Timeout, Transition
from .contract import ModelContractBase
from .fsm import ModelFSMSubcontract


def machine_of(contract: ModelContractBase) -> Machine | None:
    """None when the contract has none."""
    return None if contract.state_machine is None else drawn(contract.state_machine)


def drawn(told: ModelFSMSubcontract) -> Machine:
    """Whoever asks this machine for a next state gets GuardFailed where a guard would have to be asked."""
    transitions = tuple(
        Transition(
            line.from_state,
            line.to_state,
            line.trigger,
            tuple(Guard(condition.expression, _unbound) for condition in line.conditions),
            line.priority,
        )
        for line in told.transitions
    )
    timeouts = {
        state.name: Timeout(state.timeout_ms * 1000, state.on_timeout)
        for state in told.states or ()
        if state.timeout_ms is not None and state.on_timeout is not None
    }
    states = tuple(state.name for state in told.states or ())
    return Machine(told.initial_state, transitions, frozenset(told.terminal_states), timeouts, states)


def _unbound(state: BaseModel, payload: BaseModel) -> bool:
    raise TypeError("this machine is for drawing; compile_reducer makes the one that runs")
