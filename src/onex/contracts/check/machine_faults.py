"""What is wrong with a machine, judged from its transitions alone. Nothing runs, and no guard is evaluated.

Guards count as true or false at will. So a state that is reached here may still be out of reach in practice, but a state that is
not reached here is surely out of reach. ``onex check`` and ``onex doctor`` both report what these functions find: the first
at the lines of one contract as it is written, the second over all typed contracts of a repository.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pydantic import BaseModel

from ...kernel.machine import Guard, Machine, Transition

ANY = "*"
CONDITIONS_COMPARED = 100


def written_guard(text: str, after: bool = False) -> Guard:
    """A guard that is compared by its text and never called."""
    return Guard(text, _never_called, after)


class MachineGraph:
    """``exits[state] -> states``, as the engine's table has them: ``*`` is every state that is not terminal, nothing leaves a
    terminal one. ``reached`` are the states on some way from the initial one, which is among them.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.exits: dict[str, list[str]] = {
            state: list(dict.fromkeys(one.to_state for fitting in row.values() for one in fitting))
            for state, row in machine.table.items()
        }
        self.reached = _closure([machine.initial], self.exits)

    def unreachable(self) -> list[str]:
        return [state for state in self.exits if state not in self.reached]

    def dead_ends(self) -> list[str]:
        """States that are entered, never left, and not terminal."""
        return [
            state
            for state, targets in self.exits.items()
            if not targets and state in self.reached and state not in self.machine.terminal
        ]

    def endless(self) -> list[str]:
        """States from which no terminal state can be reached, dead ends aside. Nothing when no state is terminal, or when all
        of them lead to a dead end: that one is then the fault.
        """
        if not self.machine.terminal:
            return []
        backwards: dict[str, list[str]] = {}
        for state, targets in self.exits.items():
            for target in targets:
                backwards.setdefault(target, []).append(state)
        dead = self.dead_ends()
        ending = _closure(self.machine.terminal, backwards)
        found = [state for state in self.exits if state in self.reached and state not in ending and state not in dead]
        return [] if set(found) <= _closure(dead, backwards) else found

    def never_enabled(self) -> Iterator[tuple[str, int, frozenset[str]]]:
        """``(trigger, its first transition, the states it starts from)`` where no state that is reached accepts the trigger."""
        accepted = {trigger for state in self.reached for trigger in self.machine.table.get(state, ())}
        left = [state for state in self.exits if state not in self.machine.terminal]
        found: dict[str, tuple[int, set[str]]] = {}
        for n, one in enumerate(self.machine.transitions):
            if one.trigger not in accepted:
                _, starts = found.setdefault(one.trigger, (n, set()))
                starts.update(left if one.from_state == ANY else [one.from_state])
        for trigger, (n, starts) in found.items():
            yield trigger, n, frozenset(starts)


def shadowed(transitions: Sequence[Transition]) -> Iterator[tuple[int, int]]:
    """``(n, first)``: ``first`` is tried before ``n``, with the same start and trigger, and asks no more than ``n`` does.

    So ``n`` never fires. Of one start and trigger the first 100 are compared.
    """
    alike: dict[tuple[str, str], list[int]] = {}
    for n, one in enumerate(transitions):
        alike.setdefault((one.from_state, one.trigger), []).append(n)
    for numbers in alike.values():
        before: list[tuple[int, frozenset[str]]] = []
        for n in sorted(numbers, key=lambda n: -transitions[n].priority)[:CONDITIONS_COMPARED]:
            own = _texts(transitions[n])
            first = next((first for first, fewer in before if fewer <= own), None)
            before.append((n, own))
            if first is not None:
                yield n, first


def undecided(transitions: Sequence[Transition]) -> Iterator[tuple[int, int]]:
    """``(n, first)``: the two have the same start, trigger, priority and guards, so only their order decides."""
    alike: dict[tuple[str, str, int, frozenset[str]], int] = {}
    for n, one in enumerate(transitions):
        first = alike.setdefault((one.from_state, one.trigger, one.priority, _texts(one)), n)
        if first != n:
            yield n, first


def _texts(transition: Transition) -> frozenset[str]:
    return frozenset(str(guard) for guard in transition.guards)


def _closure(starts: Iterable[str], steps: Mapping[str, Iterable[str]]) -> frozenset[str]:
    seen = set(starts)
    waiting = list(seen)
    while waiting:
        for state in steps.get(waiting.pop(), ()):
            if state not in seen:
                seen.add(state)
                waiting.append(state)
    return frozenset(seen)


def _never_called(_state: BaseModel, _payload: BaseModel) -> bool:
    raise AssertionError("a guard that is only compared was called")
