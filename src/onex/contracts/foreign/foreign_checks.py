"""Checks of a contract of another family: its machine, its guards, its graph of steps, its weights.

Most findings are warnings, because another program runs that contract. A guard that cannot be compiled, or that names an unknown
field, is an error (promise 13).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from ...kernel.finding import EnumSeverity, Finding
from ..check.contract_checks import check_tree, guard_finding
from ..check.partial_contract import conditions
from ..guard.guards import parse
from ..guard.problem import GuardProblem, suggest
from ..guard.three_token import Comparison
from ..model.contract import ModelContractBase
from ..model.workflow import ModelWorkflowCoordination
from ..text.yaml_tree import FINDINGS_MAX, YamlList, YamlMap, YamlScalar, place_of

WEIGHTS_NEAR = 0.001
CYCLE_SHOWN = 8
SUGGESTIONS_MAX = 10


def check_foreign(contract: ModelContractBase, shape: YamlMap, path: str) -> Iterator[Finding]:
    """``shape`` is the tree that ``contract`` was made of. Findings in no particular order."""
    yield from _machine(shape, path)
    yield from _names(contract, shape, path)
    yield from _graph(contract.workflow, shape, path)
    yield from _weights(contract, shape, path)


def _machine(shape: YamlMap, path: str) -> Iterator[Finding]:
    entry = shape.entries.get("state_machine")
    if entry is None:
        return
    for finding in check_tree(YamlMap({"state_machine": entry}, shape.place), path):
        if finding.code == "fired_by_nobody":
            continue  # names by rule are ours alone
        if finding.severity is EnumSeverity.ERROR and not finding.code.startswith("guard_"):
            yield finding._replace(severity=EnumSeverity.WARNING)
        else:
            yield finding


# --- guards by the schemas ----------------------------------------------------------------------------------------------


def _names(contract: ModelContractBase, shape: YamlMap, path: str) -> Iterator[Finding]:
    """Unknown first names in guards. Nothing is reported unless the fields of payload and state are both known."""
    payload, state = fields_of(contract.input_schema), fields_of(contract.state_fields)
    if payload is None or state is None:
        return
    for leaf in _conditions(shape):
        try:
            parsed = parse(str(leaf.value))
            _judge(parsed.path if isinstance(parsed, Comparison) else (), payload, state)
            if not isinstance(parsed, Comparison):
                for names, offset in parsed.paths:
                    _member(names, payload if names[0] == "payload" else state, offset)
        except GuardProblem as problem:
            if problem.code in ("guard_field", "guard_ambiguous") and not problem.message.startswith("CEL"):
                yield guard_finding(problem, leaf, path)


def _conditions(shape: YamlMap) -> Iterator[YamlScalar]:
    machine = shape.get("state_machine")
    rows = machine.get("transitions") if isinstance(machine, YamlMap) else None
    for row in rows.items if isinstance(rows, YamlList) else ():
        if isinstance(row, YamlMap):
            yield from (condition.leaf for condition in conditions(row.get("conditions")))


def fields_of(schema: JsonValue) -> Mapping[str, JsonValue] | None:
    """The fields that an object's schema allows; None when it does not say, or allows any."""
    if not isinstance(schema, dict) or schema.get("additionalProperties") not in (None, False):
        return None
    properties = schema.get("properties")
    return properties if isinstance(properties, dict) and properties else None


def _judge(names: tuple[str, ...], payload: Mapping[str, JsonValue], state: Mapping[str, JsonValue]) -> None:
    """Raises GuardProblem for a bare name in both or in neither."""
    if not names:
        return
    first = names[0]
    if first in ("payload", "state"):
        _member(names, payload if first == "payload" else state, 0)
    elif first in payload and first in state:
        message = f"{first!r} is a field of the input and of the state"
        raise GuardProblem(0, "guard_ambiguous", message, f"write payload.{first} or state.{first}")
    elif first not in payload and first not in state:
        known = [*payload, *state]
        fix = suggest(first, known) or f"they have {', '.join(known[:20])}"
        raise GuardProblem(0, "guard_field", f"{first!r} is a field of neither the input nor the state", fix)


def _member(names: tuple[str, ...], known: Mapping[str, JsonValue], offset: int) -> None:
    if len(names) > 1 and names[1] not in known:
        fix = suggest(names[1], list(known)) or f"it has {', '.join(list(known)[:20])}"
        raise GuardProblem(offset + len(names[0]) + 1, "guard_field", f"{names[0]} has no field {names[1]!r}", fix)


# --- graphs and weights -------------------------------------------------------------------------------------------------


def waits_for(workflow: ModelWorkflowCoordination) -> dict[str, tuple[str, ...]]:
    """``result[step] -> steps it waits for``, from the steps and from the edges, in their order."""
    before: dict[str, dict[str, None]] = {step.step_id: dict.fromkeys(step.depends_on) for step in workflow.steps}
    for edge in workflow.edges:
        before.setdefault(edge.target, {})[edge.source] = None
    return {step: tuple(names) for step, names in before.items()}


def _graph(workflow: ModelWorkflowCoordination | None, shape: YamlMap, path: str) -> Iterator[Finding]:
    if workflow is None or not workflow.steps:
        return
    at = ("workflow", "steps")
    seen: dict[str, int] = {}
    for n, step in enumerate(workflow.steps):
        if step.step_id in seen:
            first = place_of(shape, (*at, seen[step.step_id], "step_id")).line
            message = f"step {step.step_id!r} stands here and on line {first}"
            yield _warning(shape, path, (*at, n, "step_id"), "duplicate", message, "rename one of them")
        seen.setdefault(step.step_id, n)
    named: list[tuple[tuple[str | int, ...], str]] = [
        ((*at, n, "depends_on", m), name)
        for n, step in enumerate(workflow.steps)
        for m, name in enumerate(step.depends_on)
    ]
    for n, edge in enumerate(workflow.edges):
        named += [(("workflow", "edges", n, "source"), edge.source), (("workflow", "edges", n, "target"), edge.target)]
    missing = [(loc, name) for loc, name in named if name not in seen]
    for count, (loc, name) in enumerate(missing[:FINDINGS_MAX]):
        near = suggest(name, list(seen)) if count < SUGGESTIONS_MAX else ""
        fix = near or f"use one of {', '.join(list(seen)[:20])}"
        yield _warning(shape, path, loc, "unknown_step", f"there is no step {name!r}", fix)
    if circle := _circle(waits_for(workflow)):
        shown = " -> ".join(circle[:CYCLE_SHOWN]) + (" -> .." if len(circle) > CYCLE_SHOWN else "")
        message = f"steps wait for one another: {shown}"
        yield _warning(shape, path, (*at, seen.get(circle[0], 0)), "step_cycle", message, "remove one of them")


def _circle(before: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """A cycle of steps, the first of them twice; () when there is none. Linear in steps and waits."""
    left = {step: {name for name in names if name in before} for step, names in before.items()}
    after: dict[str, list[str]] = {}
    for step, names in left.items():
        for name in names:
            after.setdefault(name, []).append(step)
    ready = [step for step, names in left.items() if not names]
    while ready:
        done = ready.pop()
        del left[done]
        for step in after.get(done, ()):
            left[step].discard(done)
            if not left[step]:
                ready.append(step)
    # each step that is left waits for one that is left, so following them leads into a cycle
    trail: dict[str, None] = {}
    step = next(iter(left), "")
    while step and step not in trail:
        trail[step] = None
        step = next(name for name in before[step] if name in left)
    round_ = list(trail)
    return (*round_[round_.index(step) :], step) if step else ()


def _weights(contract: ModelContractBase, shape: YamlMap, path: str) -> Iterator[Finding]:
    algorithm = contract.algorithm
    weights = [one.weight for one in algorithm.factors.values() if one.weight is not None] if algorithm else []
    if weights and abs(sum(weights) - 1) > WEIGHTS_NEAR:
        message = f"the weights of the factors add up to {sum(weights):g}, not to 1"
        yield _warning(shape, path, ("algorithm", "factors"), "weights_sum", message, "make them add up to 1.0")


def _warning(shape: YamlMap, path: str, loc: tuple[str | int, ...], code: str, message: str, fix: str) -> Finding:
    return Finding(code, EnumSeverity.WARNING, *place_of(shape, loc).spot(path), message, fix)
