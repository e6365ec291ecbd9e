"""Texts that make a reader of contracts work hardest: each as large as it may be, or just larger, or of an awkward shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..contracts.text.yaml_tree import BYTES_MAX, DEPTH_MAX, NODES_MAX

HEAD = "name: x\ncontract_version: {major: 1, minor: 0, patch: 0}\nnode_type: REDUCER_GENERIC\n"
ROOM = BYTES_MAX - 2000


def hostile() -> Iterator[tuple[str, str]]:
    """``(what it is, the text)``. All of it is accepted or refused by findings, as for any other text."""
    for name, text in _SHAPES.items():
        yield name, text()


def _rows(row: Callable[[int], str], nodes: int) -> str:
    """As many rows as fit in ``NODES_MAX``, with ``nodes`` keys and values each."""
    return "".join(row(n) for n in range((NODES_MAX - 40) // nodes))


def _machine(row: Callable[[int], str], nodes: int) -> str:
    return f"{HEAD}state_machine:\n  initial_state: s0\n  transitions:\n{_rows(row, nodes)}"


def _guarded(guard: str, count: int = 100) -> str:
    row = f"    - {{from_state: s0, to_state: s0, trigger: t, guard: '{guard}'}}\n"
    return f"{HEAD}state_machine:\n  initial_state: s0\n  transitions:\n{row * count}"


def _bomb() -> str:
    first = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    return HEAD + first + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))


_SHAPES: dict[str, Callable[[], str]] = {
    "keys nobody knows": lambda: HEAD + _rows(lambda n: f"key_number_{n}: 1\n", 2),
    "keys nearly known": lambda: HEAD + _rows(lambda n: f"description{n % 10}{n}: 1\n", 2),
    "one key of 200 KB": lambda: HEAD + "k" * 200_000 + ": 1\n",
    "one text of 250 KB": lambda: HEAD + "description: " + "x" * ROOM + "\n",
    "a chain of states": lambda: _machine(
        lambda n: f"    - {{from_state: s{n}, to_state: s{n + 1}, trigger: t{n}}}\n", 7
    ),
    "states nobody enters": lambda: _machine(lambda n: f"    - {{from_state: a{n}, to_state: b{n}, trigger: t}}\n", 7),
    "one trigger, many guards": lambda: _machine(
        lambda n: f"    - {{from_state: s0, to_state: s0, trigger: t, conditions: ['a == {n}']}}\n", 10
    ),
    "states misspelt": lambda: (
        f"{HEAD}state_machine:\n  states: [{', '.join(f'state_number_{n}' for n in range(1000))}]\n"
        f"  initial_state: nowhere\n  transitions:\n"
        + "".join(f"    - {{from: stat_number_{n}, to: stat_numbr_{n}, trigger: t}}\n" for n in range(300))
    ),
    "states as a map": lambda: (
        f"{HEAD}fsm:\n  states:\n" + _rows(lambda n: f"    S{n}: {{allowed_transitions: [S{n + 1}]}}\n", 6)
    ),
    "topics": lambda: f"{HEAD}event_bus: {{subscribe_topics: [{_rows(lambda n: f'onex.cmd.x.t{n}.v1, ', 1)}]}}\n",
    "values of a wrong type": lambda: f"{HEAD}event_bus: {{subscribe_topics: [{_rows(lambda n: '[1], ', 2)}]}}\n",
    "rows of a wrong type": lambda: f"{HEAD}dependencies:\n" + _rows(lambda n: "  - {name: {a: 1}, type: [x]}\n", 8),
    "intents": lambda: f"{HEAD}intents:\n" + _rows(lambda n: f"  - {{name: n{n}, type: api_call, target: t}}\n", 8),
    "steps that wait for steps": lambda: (
        f"{HEAD.replace('REDUCER', 'ORCHESTRATOR')}workflow_steps:\n"
        + "".join(
            f"  - {{step_id: s{n}, depends_on: [{', '.join(f's{k}' for k in range(max(0, n - 60), n))}]}}\n"
            for n in range(70)
        )
    ),
    "a schema": lambda: f"{HEAD}input_schema: {{properties: {{{_rows(lambda n: f'p{n}: {{type: string}}, ', 4)}}}}}\n",
    "booleans of YAML 1.1": lambda: HEAD + _rows(lambda n: f"k{n}: yes\n", 2),
    "more than may be": lambda: f"{HEAD}x: [{'a,' * (ROOM // 2)}]\n",
    "larger than may be": lambda: f"{HEAD}x: '{'a' * BYTES_MAX}'\n",
    "nested as deep as may be": lambda: f"{HEAD}x: {'[' * (DEPTH_MAX - 1)}{']' * (DEPTH_MAX - 1)}\n",
    "nested without end": lambda: f"{HEAD}x: " + "[" * 100_000,
    "aliases of aliases": _bomb,
    "control characters": lambda: HEAD + "\n" * (ROOM - 20) + "\x07" * 20,
    "digits": lambda: f"{HEAD}x: {'9' * ROOM}\n",
    "colons": lambda: f"{HEAD}x: {'1:' * (ROOM // 2)}\n",
    "guards of sums": lambda: _guarded("1+" * 490 + "1 > payload.a"),
    "guards in brackets": lambda: _guarded("(" * 59 + "payload.a" + ")" * 59),
    "guards of choices": lambda: _guarded("true ? true : " * 60 + "true"),
    "guards of loops": lambda: _guarded("payload.a.all(x, payload.b.exists(y, payload.c.map(z, z).size() > 1))"),
    "guards with a pattern": lambda: _guarded("payload.a matches (a+)+$"),
    "guards of lists": lambda: _guarded(f"payload.a in {','.join(['1'] * 480)}"),
    "a guard of 200 KB": lambda: _guarded("a" * 200_000, 1),
}
