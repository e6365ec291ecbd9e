"""Whatever blocks a contract is put together from: it is read without an exception, and no key of it gets lost."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue
from pydantic_core import to_json

from onex.contracts.foreign.foreign_reader import read_contract
from onex.contracts.foreign.normalise import KNOWN
from onex.contracts.foreign.normalise.behaviour import BLOCKS as BEHAVIOUR
from onex.contracts.foreign.normalise.bus import BESIDE, BUS, TOPIC
from onex.contracts.foreign.normalise.dependencies import DEPENDENCY, GROUPS
from onex.contracts.foreign.normalise.fsm import LOOSE, MACHINE, MACHINES
from onex.contracts.foreign.normalise.identity import NAMES
from onex.contracts.foreign.normalise.operations import BLOCKS as OPERATIONS
from onex.contracts.foreign.normalise.references import REFERENCE, SCHEMAS
from onex.contracts.foreign.normalise.routing import HANDLER, ROUTING
from onex.contracts.foreign.normalise.states import OUTWARD, STATE
from onex.contracts.foreign.normalise.transitions import TRANSITION
from onex.contracts.foreign.normalise.workflow import LOOSE as PARTS
from onex.contracts.foreign.normalise.workflow import STEP, WORKFLOW, WORKFLOWS
from onex.contracts.model.contract import ModelContractReducer
from onex.contracts.model.key_usage import EnumKeyUsage

TOP = sorted(
    {
        *ModelContractReducer.model_fields,
        *MACHINES,
        *LOOSE,
        *NAMES,
        *BESIDE,
        *SCHEMAS,
        *WORKFLOWS,
        *PARTS,
        *(other for others, _ in (*BEHAVIOUR.values(), *OPERATIONS.values()) for other in others),
        "version",
        "handlers",
        "handler",
        "events",
        "testing",
    }
)
SPELLINGS = (
    MACHINE, STATE, TRANSITION, TOPIC, BUS, REFERENCE, HANDLER, ROUTING, DEPENDENCY, WORKFLOW, STEP
)  # fmt: skip
INNER = sorted(
    {word for one in SPELLINGS for word in (*one.names, *one.names.values())}
    | {*GROUPS, *OUTWARD, *KNOWN, "name", "properties", "operations", "fields", "$id", "NEW"}
)

words = st.sampled_from(
    [
        "open",
        "paid",
        "*",
        "1.0.0",
        "v1_2_0",
        "amount > 0",
        "is_paid",
        "pkg.m.Name",
        "pkg.m:Name",
        "",
        " ",
        "true",
        "a -> b",
    ]
)
marked = st.integers(10_000, 99_999).map(lambda n: f"u{n}q")  # stands nowhere else by chance
scalars = st.one_of(marked, marked, st.none(), st.booleans(), st.integers(-5, 2**40), st.floats(-9, 9, width=32), words)


def deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(INNER), inner, max_size=4))


values = st.recursive(scalars, deeper, max_leaves=12)
kinds = st.sampled_from(["effect", "COMPUTE_GENERIC", "Reducer", "workflow", "tool", "nothing of these", 7])
contracts = st.builds(
    lambda kind, blocks: {"node_type": kind, **blocks},
    kinds,
    st.dictionaries(st.sampled_from(TOP), values, max_size=6),
)


def keys_in(value: JsonValue) -> int:
    if isinstance(value, dict):
        return sum(1 + keys_in(inner) for inner in value.values())
    return sum(map(keys_in, value)) if isinstance(value, list) else 0


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(contracts)
def test_no_key_of_any_contract_gets_lost(contract: dict[str, JsonValue]) -> None:
    reading = read_contract(to_json(contract).decode(), "any/contract.yaml")
    assert reading.honoured + reading.reported == len(reading.keys) == keys_in(contract)
    assert reading.ok == (not [one for one in reading.findings if one.severity == "error"])
    assert all(one.line >= 0 and one.message for one in reading.findings)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(contracts)
def test_what_is_held_or_honoured_can_be_found_in_the_typed_contract(contract: dict[str, JsonValue]) -> None:
    """Every word written directly at an accepted key, as it is or as a part of what was made of it."""
    reading = read_contract(to_json(contract).decode(), "any/contract.yaml")
    if reading.contract is None:
        return
    held = reading.contract.model_dump_json()
    reported = " ".join(one.message for one in reading.findings)
    for key in reading.keys:
        value = at(contract, key.loc)
        if (
            key.usage is EnumKeyUsage.UNKNOWN
            or not isinstance(value, str)
            or not value.strip()
            or key.loc == ("node_type",)
        ):
            continue
        parts = [value, value.strip(), *value.replace(":", ".").split(".")]
        assert any(part and (part in held or part in reported) for part in parts), (key.loc, value, held, reported)


def at(value: Any, loc: tuple[str | int, ...]) -> Any:
    for step in loc:
        value = value[step]
    return value
