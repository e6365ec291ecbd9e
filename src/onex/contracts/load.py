"""Contract text becomes a typed contract, or all that is wrong with it, each finding with a place and a fix.

text -> located tree -> typed contract and checks. This is the strict reader, for a contract that the engine runs by: it may
have no key without effect. ``foreign.foreign_reader`` reads contracts of other families.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from pydantic import BaseModel
from pydantic import ValidationError as PydanticError
from pydantic_core import ErrorDetails, to_json

from ..kernel.finding import EnumSeverity, Finding, errors
from .check.contract_checks import check_tree
from .check.schedule_checks import check_schedules
from .check.start_checks import check_start
from .check.target_checks import check_targets
from .check.topic_checks import check_topics
from .event_rows import with_event_rows
from .guard.problem import suggest
from .implied_names import with_implied_names
from .model.contract import ModelContractWorkflow
from .model.key_usage import EnumKeyUsage, keys_of, models_of, sort_keys
from .model.orchestration import ModelOrchestration
from .model.part import STRICT, use_of
from .orchestration.declared_payloads import DeclaredModels
from .orchestration.expansion import expanded
from .orchestration.task_checks import check_tasks
from .text.yaml_tree import (
    FINDINGS_MAX,
    Loc,
    YamlMap,
    YamlPlace,
    YamlScalar,
    node_at,
    place_of,
    plain,
    read_yaml,
)

FEW = 3
TASKS = "tasks"
RUN_BY = {"engine", "docs"}


class LoadedContract(NamedTuple):
    """``contract`` is None when a finding is an error. ``tree`` keeps the places, for checks that come later."""

    contract: ModelContractWorkflow | None
    tree: YamlMap | None
    findings: tuple[Finding, ...]


def load_contract(text: str, path: str) -> LoadedContract:
    """Never raises. ``path`` only names the text in findings."""
    source = read_yaml(text, path)
    if source.tree is None:
        return LoadedContract(None, None, source.findings)
    if not isinstance(source.tree, YamlMap):
        not_mapping = _finding(
            path, source.tree.place, "not_a_mapping", "a contract is a mapping of keys", "begin with name:"
        )
        return LoadedContract(None, None, (*source.findings, not_mapping))
    return load_tree(source.tree, path, source.findings)


def load_tree(tree: YamlMap, path: str, earlier: tuple[Finding, ...] = ()) -> LoadedContract:
    """The same for a text that was read already; ``earlier`` are the findings of that reading.

    Names that the text leaves out are in the tree that it returns (``implied_names``).
    """
    if TASKS in tree.entries:
        made, wrong = _with_machine(tree, path)
        if made is None:
            return LoadedContract(None, tree, (*earlier, *wrong))
        tree = made
    tree = with_implied_names(with_event_rows(tree))
    contract, shape = _typed(tree, path)
    found = [*earlier]
    if contract is not None:
        shape += check_targets(contract, tree, path)
        shape += check_topics(contract, tree, path)
        shape += check_schedules(contract, tree, path)
        shape += check_start(contract, tree, path)
    # a broken scalar causes a second finding at its place; only the first is reported
    reported = {(one.line, one.column) for one in earlier}
    found += [one for one in (*shape, *check_tree(tree, path)) if (one.line, one.column) not in reported]
    found.sort(key=lambda one: (one.line, one.column))
    if len(found) > FINDINGS_MAX:
        more = len(found) - FINDINGS_MAX
        found = [
            *found[:FINDINGS_MAX],
            _finding(path, YamlPlace(0, 0), "too_many_findings", f"and {more} more", "fix these first"),
        ]
    findings = tuple(found)
    return LoadedContract(None if errors(findings) else contract, tree, findings)


def _with_machine(tree: YamlMap, path: str) -> tuple[YamlMap | None, list[Finding]]:
    """An orchestration with the machine and the intents that its tasks make; None after a finding."""
    own = YamlMap({key: one for key, one in tree.entries.items() if key in ModelOrchestration.model_fields}, tree.place)
    try:
        plan = ModelOrchestration.model_validate_json(to_json(plain(own)), context=STRICT)
    except PydanticError as error:
        return None, [translate(tree, path, detail) for detail in error.errors(include_url=False)[:FINDINGS_MAX]]
    found = [*check_tasks(tree, plan, path), *DeclaredModels(tree, plan.models, path).findings]
    word, name = tree.get("node_type"), tree.get("name")
    if isinstance(word, YamlScalar) and not str(word.value).startswith("ORCHESTRATOR"):
        fix = "write node_type: ORCHESTRATOR_GENERIC"
        found.append(_finding(path, word.place, "unknown_value", f"a {word.value} has no tasks", fix))
    called = name.value if isinstance(name, YamlScalar) and isinstance(name.value, str) else TASKS
    return (None if found else expanded(tree, called, plan)), found


def _typed(tree: YamlMap, path: str) -> tuple[ModelContractWorkflow | None, list[Finding]]:
    try:
        # through JSON: pydantic's strict mode takes lists as tuples and words as enums there, and converts nothing else
        made = ModelContractWorkflow.model_validate_json(to_json(plain(tree)), context=STRICT)
    except PydanticError as error:
        found = [translate(tree, path, detail) for detail in error.errors(include_url=False)[:FINDINGS_MAX]]
        return None, [*found, *_without_effect(tree, path)]
    return made, [*_without_effect(tree, path)]


def _without_effect(tree: YamlMap, path: str) -> Iterator[Finding]:
    """Keys of contracts of others that this engine does not run by."""
    kept = sort_keys(ModelContractWorkflow, tree)
    above: Loc | None = None
    for key in keys_of(tree, kept.usages):
        if key.usage is EnumKeyUsage.UNKNOWN or RUN_BY & set(key.use.by):
            continue
        if above is None or key.loc[: len(above)] != above:
            above = key.loc
            yield _unknown(path, key.loc, key.leaf.place)


def translate(
    tree: YamlMap,
    path: str,
    detail: ErrorDetails,
    root: type[BaseModel] = ModelContractWorkflow,
    whole: str = "the contract",
) -> Finding:
    """A pydantic error as a finding at its place in the text. ``root`` is the model of the whole file."""
    loc, kind = detail["loc"], detail["type"]
    context = detail.get("ctx", {})
    place = place_of(tree, loc)
    last = loc[-1] if loc else ""
    where = dotted(loc)
    within = dotted(loc[:-1]) or whole
    value = _shown(detail["input"])
    if kind == "missing":
        fix = f"add {last}: {_EXAMPLES.get(str(last), '...')}"
        return _finding(path, place_of(tree, loc[:-1]), "missing_key", f"{within} has no {last!r}", fix)
    if kind == "extra_forbidden":
        parent = node_at(tree, loc[:-1])
        if isinstance(parent, YamlMap) and last in parent.entries:
            place = parent.entries[str(last)].key.place
        if " " in str(last) and detail["input"] is None:
            fix = "inside { } a comma ends a text: put the text before it in quotes"
            return _finding(path, place, "unknown_key", f"{within} has no key {str(last)!r}", fix)
        return _unknown(path, loc, place, root, whole)
    if kind in ("literal_error", "enum"):
        known = [word.strip(" '") for word in str(context.get("expected", "")).replace(" or ", ",").split(",")]
        fix = "" if len(known) <= FEW else suggest(str(detail["input"]), known)
        fix = fix or f"use one of {', '.join(known)}"
        return _finding(path, place, "unknown_value", f"{where} cannot be {value}", fix)
    if kind == "string_pattern_mismatch":
        words = _PATTERNS.get(str(context.get("pattern", "")), f"match {context.get('pattern')}")
        return _finding(path, place, "bad_name", f"{where} cannot be {value}", f"it must {words}")
    if kind in _WRONG_TYPE:
        wanted, fix = _WRONG_TYPE[kind]
        fix = _in_its_unit(str(last), detail["input"]) or fix
        return _finding(path, place, "wrong_type", f"{where} must be {wanted}, not {value}", fix)
    if kind in _BOUNDS:
        bound = context.get(_BOUNDS[kind][1])
        return _finding(path, place, "out_of_range", f"{where} cannot be {value}", f"{_BOUNDS[kind][0]} {bound}")
    if kind in ("too_short", "too_long", "string_too_long", "string_too_short"):
        limit = context.get("min_length", context.get("max_length"))
        side = "at least" if kind.endswith("short") else "at most"
        unit = "characters" if kind.startswith("string") else "entry" if limit == 1 else "entries"
        fix = "add one, or leave the key out" if kind.endswith("short") else "split it up"
        return _finding(path, place, "bad_length", f"{where} must have {side} {limit} {unit}", fix)
    message, _, fix = detail["msg"].removeprefix("Value error, ").partition("; ")
    return _finding(path, place, "bad_value", f"{where} cannot be {value}: {message}", fix)


def _in_its_unit(key: str, given: object) -> str:
    """The fix for a duration with a unit of its own where the key names the unit: ``timeout_ms: 5s``. '' for anything else."""
    per_s = next((number for ending, number in _PER_SECOND.items() if key.endswith(ending)), None)
    found = _DURATION.fullmatch(given.strip()) if isinstance(given, str) else None
    if per_s is None or found is None:
        return ""
    number = float(found[1]) * _SECONDS[found[2].lower()] * per_s
    return f"write {number:.0f}: {key} counts {_UNIT_NAMES[per_s]}"


def _unknown(
    path: str,
    loc: Loc,
    place: YamlPlace,
    root: type[BaseModel] = ModelContractWorkflow,
    whole: str = "the contract",
) -> Finding:
    known = list(_fields(root, loc[:-1]))
    fix = suggest(str(loc[-1]), known) or f"it knows {', '.join(known)}"
    within = dotted(loc[:-1]) or whole
    return _finding(path, place, "unknown_key", f"{within} has no key {str(loc[-1])!r}", fix)


_WRONG_TYPE = {
    "string_type": ("text", "put the value in quotes"),
    "int_type": ("a whole number", "write digits, without quotes"),
    "int_from_float": ("a whole number", "write it without a fraction"),
    "float_type": ("a number", "write digits, without quotes"),
    "bool_type": ("true or false", "write true or false"),
    "tuple_type": ("a list", "write [a, b], or one entry per line, each after '- '"),
    "model_type": ("a mapping", "write key: value pairs, indented, or {key: value}"),
    "model_attributes_type": ("a mapping", "write key: value pairs, indented, or {key: value}"),
}
_PER_SECOND = {"_ms": 1000, "_s": 1}  # by the ending of a key
_UNIT_NAMES = {1000: "milliseconds", 1: "seconds"}
_SECONDS = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(rf"([0-9]{{1,9}}(?:\.[0-9]{{1,6}})?)\s*({'|'.join(_SECONDS)})", re.IGNORECASE)
_BOUNDS = {"greater_than_equal": ("use at least", "ge"), "less_than_equal": ("use at most", "le")}
_PATTERNS = {
    r"^[A-Za-z][A-Za-z0-9_-]{0,63}$": "begin with a letter, then letters, digits, _ or -, at most 64",
    r"^(\*|[A-Za-z][A-Za-z0-9_-]{0,63})$": 'be "*", or begin with a letter, then letters, digits, _ or -, at most 64',
    r"^[A-Za-z][A-Za-z0-9_-]{0,63}(\.[A-Za-z][A-Za-z0-9_-]{0,63})?$": "begin with a letter, then letters, digits, _ or -, at "
    "most 64; or be two such names with a dot between them",
    r"^[a-z][a-z0-9_]{0,63}$": "begin with a small letter, then small letters, digits or _, at most 64",
    r"^[a-z][a-z0-9_]{0,39}$": "begin with a small letter, then small letters, digits or _, at most 40",
    r"^[A-Za-z_][A-Za-z0-9_]{0,127}$": "be the bare name of a class in payloads.py, without module or path",
    r"^[A-Za-z0-9_][A-Za-z0-9_./:@-]{0,199}$": "be letters, digits and _ . / : @ -, at most 200",
}
_EXAMPLES = {
    "name": "orders",
    "contract_version": "{major: 1, minor: 0, patch: 0}",
    "node_type": "REDUCER_GENERIC",
    "state_model": "Order   # a class in payloads.py",
    "initial_state": "new",
    "transitions": "[{from_state: new, to_state: done, trigger: finish}]",
    "state_machine": "{initial_state: ..., terminal_states: [...], transitions: [...]}",
    "major": "1",
    "minor": "0",
    "patch": "0",
    "trigger": "finish",
    "type": "api_call",
}


def dotted(loc: Loc) -> str:
    """``state_machine.transitions[3].trigger``; entries count from 0, as in every JSON path."""
    text = ""
    for step in loc:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _fields(model: type[BaseModel], loc: Loc) -> tuple[str, ...]:
    """The keys at ``loc`` that an engine runs by."""
    for step in loc:
        if isinstance(step, int) or step not in model.model_fields:
            continue
        model = next(models_of(model.model_fields[step].annotation), model)
    return tuple(name for name in model.model_fields if RUN_BY & set(use_of(model, name).by))


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "empty"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _finding(path: str, place: YamlPlace, code: str, message: str, fix: str) -> Finding:
    return Finding(code, EnumSeverity.ERROR, *place.spot(path), message, fix)
