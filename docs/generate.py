"""Writes the pages of ``docs/reference`` that are read off the code: ``make docs``.

A test regenerates them and compares, so a page that says otherwise than the code fails it.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType, UnionType
from typing import Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.core import TyperArgument, TyperGroup, TyperOption
from typer.main import get_command

from docs.api_reference import api_pages
from docs.http_api_page import http_page
from docs.markdown import MADE, row, sentence, table
from docs.page_types import types_page
from onex import records
from onex.adapters import store_limits
from onex.adapters import structlog_telemetry as log
from onex.cli.main import COMMANDS, app
from onex.contracts.edit.editor_schema import contract_schema
from onex.contracts.foreign.family import DISCRIMINATORS, ORIGINS
from onex.contracts.foreign.normalise import KNOWN
from onex.contracts.foreign.normalise.behaviour import BLOCKS as BEHAVIOUR
from onex.contracts.foreign.normalise.bus import BESIDE
from onex.contracts.foreign.normalise.draft import MS_PER_SECOND, KeyTable, in_seconds
from onex.contracts.foreign.normalise.fsm import LOOSE, MACHINES
from onex.contracts.foreign.normalise.identity import KINDS, NAMES
from onex.contracts.foreign.normalise.operations import BLOCKS as OPERATIONS
from onex.contracts.foreign.normalise.references import SCHEMAS
from onex.contracts.foreign.normalise.workflow import LOOSE as PARTS_OF_WORKFLOW
from onex.contracts.foreign.normalise.workflow import WORKFLOWS
from onex.contracts.load import RUN_BY
from onex.contracts.model import (
    event_topics,
    fsm,
    orchestration,
    schedule,
    setting,
    start,
    target,
    target_http,
    target_policy,
    target_sql,
)
from onex.contracts.model import part as contract_part
from onex.contracts.model.contract import EnumNodeKind, ModelContractReducer, ModelContractWorkflow, ModelResourceLimits
from onex.contracts.model.key_usage import models_of
from onex.contracts.text import yaml_tree as source
from onex.engine import encode, fold, limits, takeover
from onex.engine import metrics as observe
from onex.kernel import action, errors
from onex.kernel import size_limits as wire
from onex.kernel.errors import OnexError
from onex.records import REJECTION_KEPT_US
from onex.settings import InvalidSetting, Settings, read_settings
from onex.workflows.code_analysis.finding import CHECKS, EnumCheckSeverity

HERE = Path(__file__).parent / "reference"
PROMISES = "../concepts/promises.md"
ARCHITECTURE = "../architecture.md"
PAGE_TYPES = "../../page/src/api/types.ts"


# --- errors -----------------------------------------------------------------------------------------------------------

ROOMS = (
    "contracts", "engine", "replay", "whatif", "seed_names", "proof", "adapters", "nodes", "repository", "app", "doctor",
    "wiring", "settings", "processes", "service", "cli.exit_codes",
)  # fmt: skip
HEADING = re.compile(r"^# --- (?P<title>.+?) -+$", re.MULTILINE)


def errors_page() -> str:
    text = inspect.getsource(errors)
    parts = HEADING.split(text)
    own = {name: one for name, one in vars(errors).items() if inspect.isclass(one) and issubclass(one, OnexError)}
    made = [
        MADE,
        "# Errors\n\n",
        "Each class of error asks for another reaction. `code` is stable: logs, `--json`, the table of\n",
        "rejections and the answers of the inbox carry it. *Again* says that the same call may succeed later. A message is\n",
        "a sentence: what happened, with which values, what to do next.\n",
    ]
    for title, body in zip(("the root", *parts[1::2]), parts[0::2], strict=True):
        classes = [own[name] for name in re.findall(r"^class (\w+)", body, re.MULTILINE)]
        made += [f"\n## {title[0].upper()}{title[1:]}\n\n", _errors(classes)]
    made += ["\n## Of one room\n\nEach is a subclass of a class above; catching that one is enough.\n\n"]
    made += [
        table(
            ["code", "class", "is a", "again", "means"],
            [
                [f"`{one.code}`", f"`{one.__module__}.{one.__name__}`", _bases(one), _again(one), sentence(one.__doc__)]
                for one in _elsewhere()
            ],
        )
    ]
    aliases = [(name, one.__name__) for name, one in own.items() if name != one.__name__]
    made += ["\n## Other names\n\nAliases in `onex.kernel.errors`, for names that mean the same.\n\n"]
    made += [table(["name", "is"], [[f"`{name}`", f"`{one}`"] for name, one in aliases])]
    return "".join(made)


def _errors(classes: Sequence[type[OnexError]]) -> str:
    return table(
        ["code", "class", "is a", "again", "means"],
        [[f"`{one.code}`", f"`{one.__name__}`", _bases(one), _again(one), sentence(one.__doc__)] for one in classes],
    )


def _bases(one: type[OnexError]) -> str:
    return ", ".join(f"`{base.__name__}`" for base in one.__bases__ if base is not Exception)


def _again(one: type[OnexError]) -> str:
    return "yes" if one.retryable else ""


def _elsewhere() -> list[type[OnexError]]:
    """Those of other rooms, in the order of rooms, files and lines. Testing, benches and the demo have their own."""
    found: dict[type[OnexError], None] = {}
    for module in _modules():
        classes = [
            one
            for one in vars(module).values()
            if inspect.isclass(one) and issubclass(one, OnexError) and one.__module__ == module.__name__
        ]
        found.update(dict.fromkeys(sorted(classes, key=lambda one: inspect.getsourcelines(one)[1])))
    return list(found)


def _modules() -> Iterator[ModuleType]:
    yield import_module("onex.kernel.intent")
    yield import_module("onex.kernel.message_signature")
    yield import_module("onex.kernel.data_key")
    yield import_module("onex.bus")
    for room in ROOMS:
        yield from _within(f"onex.{room}")


def _within(name: str) -> Iterator[ModuleType]:
    """A module and all below it, each folder in name order."""
    module = import_module(name)
    yield module
    for inner in iter_modules(getattr(module, "__path__", ())):
        yield from _within(f"{name}.{inner.name}")


# --- commands ---------------------------------------------------------------------------------------------------------


def commands_page() -> str:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    context = typer.Context(group, info_name="onex")
    made = [MADE, "# Commands\n\n", f"{_plain(group.help)[0]}\n"]
    for title, names in COMMANDS.items():
        made.append(f"\n## {title}\n\n")
        made.append("".join(f"- [`onex {name}`](#onex-{name}): {line}\n" for name, (_, line) in names.items()))
    for names in COMMANDS.values():
        for name in names:
            made.append(_command(group, context, name))
    return "".join(made)


def _command(group: TyperGroup, context: typer.Context, name: str) -> str:
    command = group.get_command(context, name)
    assert command is not None
    own = typer.Context(command, info_name=name, parent=context)
    about, examples = _plain(command.help)
    given = [one for one in command.get_params(own) if isinstance(one, TyperArgument)]
    options = [one for one in command.get_params(own) if isinstance(one, TyperOption) and one.name != "help"]
    words = [one.metavar or str(one.name) for one in given]
    usage = " ".join(["onex", name, *(w if one.required else f"[{w}]" for w, one in zip(words, given, strict=True))])
    rows = [[f"`{word}`", sentence(one.help)] for word, one in zip(words, given, strict=True)]
    rows += [[_option(one), _means(one)] for one in options]
    parts = [f"\n## onex {name}\n\n`{usage}`\n\n{about}\n"]
    if rows:
        parts.append("\n" + table(["word", "means"], rows))
    if examples:
        parts.append(f"\n```bash\n{examples}```\n")
    return "".join(parts)


def _option(one: TyperOption) -> str:
    names = ", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))
    return f"{names} `{one.metavar}`" if one.metavar and not one.is_flag else names


def _means(one: TyperOption) -> str:
    text = sentence(one.help)
    has_default = one.default not in (None, False, "") and not one.is_flag
    return f"{text} [default: {one.default}]" if has_default else text


def _plain(text: str | None) -> tuple[str, str]:
    """The prose of a help text, and its examples."""
    prose, _, rest = (text or "").partition("\b")
    body, _, more = rest.partition("\n\n")
    lines = [line.strip() for line in body.splitlines() if line.strip() and line.strip() != "Examples:"]
    about = "\n\n".join(part.strip() for part in (prose, more) if part.strip())
    return about, "".join(f"{line}\n" for line in lines)


# --- settings ---------------------------------------------------------------------------------------------------------


STORE = "`sqlite:///FILE` (a fourth slash begins an absolute path), or `memory:`"


class _Asked(Mapping[str, str]):
    """An environment that notes what it is asked for, and answers with one value."""

    def __init__(self, value: str = "") -> None:
        self.names: list[str] = []
        self._value = value

    def __getitem__(self, name: str) -> str:
        self.names.append(name)
        return self._value

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def settings_page() -> str:
    asked = _Asked()
    defaults = read_settings(asked)
    meanings = {
        name: sentence(inside or behind)
        for name, inside, behind in re.findall(
            r"``(\w+)``(?: \((.+?)\)|: (.+?)(?:;|\.$|$))", Settings.__doc__ or "", re.DOTALL | re.MULTILINE
        )
    }
    meanings.setdefault("ONEX_STORE", STORE)
    rows = [
        [f"`{name}`", _shown(name, value), meanings[name], _wrong(name)]
        for name, value in zip(asked.names, _values(defaults), strict=True)
    ]
    made = [
        MADE,
        "# Settings\n\n",
        "What the environment says. An argument of a call or a command wins over it; an empty variable is one that is not\n",
        "set.\n\n",
        table(["variable", "default", "means", "an invalid value"], rows),
        "\n`NO_COLOR` (any value) keeps colour out of a terminal.\n",
        "\n# Fixed limits\n\n",
        "They bound what one action, instance or process can cost, and are no settings: what fits on one machine fits on\n",
        "every other.\n\n",
        table(["limit", "value", "beyond it"], _limits()),
    ]
    return "".join(made)


def _values(settings: Settings) -> list[object]:
    return [getattr(settings, name) for name in settings.__dataclass_fields__]


def _shown(name: str, value: object) -> str:
    if isinstance(value, float) and name.endswith("_MS"):
        value = round(value * 1000)
    return f"`{value}`" if value else ""


def _wrong(name: str) -> str:
    class One(_Asked):
        def __getitem__(self, asked: str) -> str:
            return "some" if asked == name else ""

    try:
        read_settings(One())
    except InvalidSetting as error:
        return error.message
    return ""


def _limits() -> Iterator[list[str]]:
    bounds = limits.Limits()
    kib, mib, day, hour = 1 << 10, 1 << 20, 24 * 3600 * 1_000_000, 3600 * 1_000_000
    yield ["a payload, a result, an intent", f"{wire.PAYLOAD_BYTES // kib} KiB", "`payload_too_large`; use a `Blob`"]
    yield ["a state", f"{encode.STATE_BYTES // mib} MiB", "the action that would pass it is refused"]
    yield ["a state, advised", f"{encode.STATE_BYTES_ADVISED // kib} KiB", "each batch writes it whole"]
    yield ["depth of JSON from outside", str(wire.PAYLOAD_DEPTH), "`invalid_payload`"]
    yield ["an integer in JSON from outside", "2^53 either way", "`invalid_payload`; send it as text"]
    yield ["intents of one step", str(fold.INTENTS_PER_STEP), "`reducer_failed`"]
    yield ["an instance id", f"{action.INSTANCE_ID_BYTES} bytes of UTF-8", "`invalid_key`"]
    yield ["a contract", f"{source.BYTES_MAX // kib} KiB of YAML", "`onex check` says so"]
    yield ["keys and values of a contract, with all it includes", f"{source.NODES_MAX:,}", "the same"]
    yield [
        "transitions, intents of a contract",
        f"{contract_part.TRANSITIONS_MAX}, {contract_part.INTENTS_MAX}",
        "the same",
    ]
    yield ["actions of one transaction", f"{bounds.batch:,}", "the rest goes into the next"]
    yield ["actions accepted and not yet durable", f"{bounds.waiting:,}", "`overloaded`; nothing of the call is taken"]
    yield [
        "instances kept decoded",
        f"{bounds.cached:,}, and what `ONEX_CACHE_MIB` gives",
        "those not used for longest are loaded again when needed",
    ]
    yield ["a snapshot is kept every", f"{fold.SNAPSHOT_EVERY:,} versions", "and at each change of code"]
    yield ["failures that hold an instance", str(fold.FAILURES_TO_HOLD), "`instance_held`"]
    yield [
        "crashes that end an intent",
        str(takeover.CRASHES_DEAD),
        f"it is dead; alone from {takeover.CRASHES_ALONE} on",
    ]
    yield [
        "rejections kept",
        f"{store_limits.REJECTIONS_MAX:,} rows, {REJECTION_KEPT_US // day} days",
        "the oldest leave",
    ]
    yield ["of a rejected body", f"{records.REJECTED_BODY_BYTES // kib} KiB", "the rest is cut"]
    yield ["answers in the inbox", f"{store_limits.ANSWER_KEPT_US // hour} h", "the log still knows the action"]


# --- contract ---------------------------------------------------------------------------------------------------------

PARTS: Sequence[tuple[str, type[BaseModel]]] = (
    ("contract.yaml", ModelContractWorkflow),
    ("state_machine", fsm.ModelFSMSubcontract),
    ("state_machine.states[]", fsm.ModelFSMState),
    ("state_machine.transitions[]", fsm.ModelFSMTransition),
    ("state_machine.transitions[].conditions[]", fsm.ModelFSMCondition),
    ("intents[]", target.ModelIntentCall),
    ("intents[].outcomes", fsm.ModelIntentOutcomes),
    ("intents[].retry", fsm.ModelIntentRetry),
    ("tasks[]", orchestration.ModelTask),
    ("tasks[].compensate", orchestration.ModelCall),
    ("tasks[].map", orchestration.ModelMap),
    ("tasks[].stages[]", orchestration.ModelStage),
    ("resource_limits", ModelResourceLimits),
    ("schedules[]", schedule.ModelSchedule),
    ("start", start.ModelStart),
    ("start.batch", start.ModelStartBatch),
    ("start.rate", start.ModelStartRate),
    ("event_bus", event_topics.ModelWorkflowBus),
    ("event_bus.subscribe_topics[]", event_topics.ModelConsumedTopic),
    ("event_bus.publish_topics[]", event_topics.ModelPublishedTopic),
    ("contract_version", contract_part.ModelContractVersion),
    ("targets.NAME", target.ModelTarget),
    ("targets.NAME.circuit_breaker", target_policy.ModelTargetBreaker),
    *(
        (f"{where}.{key}", next(models_of(model.model_fields[key].annotation)))
        for key in target.BLOCKS
        for where, model in (("targets.NAME", target.ModelTarget), ("intents[]", target.ModelIntentCall))
    ),
    ("setting", setting.ModelSetting),
    ("intents[].http.cache", target_http.ModelAnswerCache),
    ("targets.NAME.sql.tables.TABLE", target_sql.ModelSqlTable),
)


def contract_page() -> str:
    made = [
        MADE,
        "# Keys of a contract\n\n",
        "One file, `contract.yaml`, describes a workflow. A key that is not listed here is refused; nothing is accepted\n",
        "and ignored. [Writing a reducer](../guides/writing-a-reducer.md) says what they are for.\n",
    ]
    for name, model in PARTS:
        rows = [
            [f"`{key}`", "; ".join(filter(None, (_type(field), field.description))), _default(field)]
            for key, field in model.model_fields.items()
            if RUN_BY & set(contract_part.use_of(model, key).by)
        ]
        made += [f"\n## {name}\n\n{sentence(model.__doc__) if '_Part' not in (model.__doc__ or '') else ''}\n\n"]
        made += [table(["key", "value", "default"], rows)]
    return "".join(made).replace("\n\n\n\n", "\n\n")


def _type(field: FieldInfo) -> str:
    text = _type_text(field.annotation)
    bounds = [str(one) for one in _bounds(field)]
    return f"{text} ({', '.join(bounds)})" if bounds else text


def _type_text(kind: object) -> str:
    if isinstance(kind, UnionType) or get_origin(kind) is Union:
        return " or ".join(_type_text(one) for one in get_args(kind) if one is not type(None))
    if kind is JsonValue:
        return "any value"
    if get_origin(kind) is dict:
        return f"mapping of names to {_type_text(get_args(kind)[1])}"
    if get_origin(kind) is tuple:
        return f"list of {_type_text(get_args(kind)[0])}"
    if get_origin(kind) is Literal:
        return " or ".join(f"`{one}`" for one in get_args(kind))
    if get_origin(kind) is not None and hasattr(kind, "__metadata__"):  # Annotated
        return _type_text(get_args(kind)[0])
    if inspect.isclass(kind) and issubclass(kind, BaseModel):
        name = next(name for name, model in PARTS if model is kind)
        link = f"[{name}](#{re.sub(r'[^a-z_]', '', name.lower())})"
        return f"text or {link}" if kind is setting.ModelSetting else link
    members = getattr(kind, "__members__", None)
    if members:
        return ", ".join(f"`{one}`" for one in members.values())
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}.get(kind, str(kind))  # type: ignore[call-overload, no-any-return]  # any object may be asked for


def _bounds(field: FieldInfo) -> Iterator[str]:
    many = _type_text(field.annotation).startswith(("list", "mapping"))
    unit = {"max_length": " of them" if many else " characters"}
    for one in (*field.metadata, *_inner(field.annotation)):
        for name, words in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("max_length", "at most")):
            value = getattr(one, name, None)
            if value is not None:
                yield f"{words} {value:,}{unit.get(name, '')}"


def _inner(kind: object) -> Iterator[object]:
    """Constraints of a value that may also be left out."""
    if isinstance(kind, UnionType) or get_origin(kind) is Union:
        for one in get_args(kind):
            for field in getattr(one, "__metadata__", ()):
                yield from getattr(field, "metadata", ())


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.default_factory is not None:
        return ""
    if value is PydanticUndefined:
        return "must be given"
    if value is None or value in ("", ()):
        return ""
    as_text = setting.ModelSetting  # it shows where it comes from, as a text
    return "as below" if isinstance(value, BaseModel) and not isinstance(value, as_text) else f"`{value}`"


# --- checks -----------------------------------------------------------------------------------------------------------


def checks_page() -> str:
    made = [
        MADE,
        "# Checks of code_analysis\n\n",
        "What the built-in workflow [code_analysis](../guides/code-analysis.md) looks for in a Python file, in the order a\n",
        "report shows it. A `# noqa` silences its line; one with codes (those of *elsewhere*) silences these.\n",
    ]
    for severity in EnumCheckSeverity:
        rows = [
            [f"`{one.code}`", one.title, sentence(one.why), ", ".join(f"`{code}`" for code in one.known_as)]
            for one in CHECKS.values()
            if one.severity is severity
        ]
        meaning = re.search(rf"``{severity}``: ([^.]+)\.", EnumCheckSeverity.__doc__ or "")
        made += [f"\n## {severity}\n\n{meaning[1] if meaning else ''}\n\n"]
        made += [table(["code", "what", "why", "elsewhere"], rows)]
    return "".join(made)


# --- contracts of others ----------------------------------------------------------------------------------------------


WHERE = (
    ("a machine", "foreign.normalise.fsm", "MACHINE"),
    ("a state", "foreign.normalise.states", "STATE"),
    ("a transition", "foreign.normalise.transitions", "TRANSITION"),
    ("a guard", "foreign.normalise.conditions", "CONDITION"),
    ("an action", "foreign.normalise.conditions", "ACTION"),
    ("an event bus", "foreign.normalise.bus", "BUS"),
    ("a topic", "foreign.normalise.bus", "TOPIC"),
    ("handler_routing", "foreign.normalise.routing", "ROUTING"),
    ("a handler", "foreign.normalise.routing", "HANDLER"),
    ("a class or function", "foreign.normalise.references", "REFERENCE"),
    ("a dependency", "foreign.normalise.dependencies", "DEPENDENCY"),
    ("an operation", "foreign.normalise.operations", "OPERATION"),
    ("an effect", "foreign.normalise.operations", "EFFECT"),
    ("one call of an effect", "foreign.normalise.operations", "EFFECT_OPERATION"),
    ("the address of a call", "foreign.normalise.operations", "IO_CONFIG"),
    ("an algorithm", "foreign.normalise.operations", "ALGORITHM"),
    ("a pipeline", "foreign.normalise.operations", "COMPUTE"),
    ("a workflow", "foreign.normalise.workflow", "WORKFLOW"),
    ("a step", "foreign.normalise.workflow", "STEP"),
    ("an edge", "foreign.normalise.workflow", "EDGE"),
    ("a retry policy", "foreign.normalise.behaviour", "RETRY"),
    ("a circuit breaker", "foreign.normalise.behaviour", "BREAKER"),
    ("error_handling", "foreign.normalise.behaviour", "ERROR_HANDLING"),
    ("health_check", "foreign.normalise.behaviour", "HEALTH"),
    ("performance", "foreign.normalise.behaviour", "PERFORMANCE"),
    ("lifecycle", "foreign.normalise.behaviour", "LIFECYCLE"),
    ("aggregation", "foreign.normalise.reduction", "AGGREGATION"),
    ("a window", "foreign.normalise.reduction", "WINDOWING"),
    ("streaming", "foreign.normalise.reduction", "STREAMING"),
    ("state_management", "foreign.normalise.reduction", "STATE"),
)


def families_page() -> str:
    made = [
        MADE,
        "# Contracts of others\n\n",
        "`onex check`, `onex diff`, `onex diagram` and `onex doctor` read any node contract, in every spelling on this page.\n",
        "Each key of a file is one of three. *Honoured*: somebody acts on it. *Held*: it is read into its field, and nobody\n",
        "acts on it. *Unknown*: no field has it. Honoured keys are counted; the others are reported, each with its line. A\n",
        "contract of our own is read [strictly](contract.md) instead.\n",
        "\n## Families\n\nContracts in use differ too much for one strict model. Loaders before 0.9 require `version` and refuse\n",
        "`contract_version`; later ones do the reverse. So every contract is first brought to the field names of this page\n",
        "(normalised). The family is only a name for the report: every block is understood in every spelling, in any family.\n",
        "The first row that fits decides.\n\n",
        table(
            ["family", "found in", "recognised by"],
            [[f"`{one}`", ORIGINS[one], how] for one, how in DISCRIMINATORS.items()],
        ),
        "\n## Kinds\n\n`node_type` in any case, with or without `_GENERIC`.\n\n",
        table(["read as", "words"], _kinds()),
        "\n## Names\n\nThe name of a contract is the first of these keys that has a text: ",
        ", ".join(f"`{name}`" for name in NAMES),
        ". Without one,\nit is the name in its metadata, of one of its blocks, or of its folder or file; a finding says which.\n",
        "\n## Other keys for whole blocks\n\n",
        table(["block", "also written"], _blocks()),
        "\n## Other keys within a block\n\n`×1000`: the key counts seconds, the field milliseconds.\n",
    ]
    for title, module, name in WHERE:
        spelling = getattr(import_module(f"onex.contracts.{module}"), name)
        made += [f"\n### {title}\n\n", table(["field", "also written"], _spellings(spelling))]
    made += ["\n## Fields\n\nAll fields, and who acts on each. A field on which no one acts is held.\n"]
    for path, model in _reachable(ModelContractReducer):  # what somebody acts on comes first
        users = {key: ", ".join(contract_part.use_of(model, key).by) for key in model.model_fields}
        rows = [[f"`{key}`", users[key] or "no one"] for key in sorted(users, key=lambda key: not users[key])]
        about = sentence((model.__doc__ or "").split("\n\n")[0]) if model.__doc__ != contract_part.Part.__doc__ else ""
        made += [f"\n### {path}\n\n{about}\n\n".replace("\n\n\n\n", "\n\n"), table(["key", "who acts on it"], rows)]
    return "".join(made)


def _kinds() -> Iterator[list[str]]:
    for kind in EnumNodeKind:
        yield [f"`{kind}`", ", ".join(f"`{word}`" for word, one in KINDS.items() if one is kind)]


def _blocks() -> Iterator[list[str]]:
    yield ["`state_machine`", ", ".join(f"`{name}`" for name in (*MACHINES, *LOOSE) if name != "state_machine")]
    yield ["`workflow`", ", ".join(f"`{name}`" for name in (*WORKFLOWS, *PARTS_OF_WORKFLOW) if name != "workflow")]
    for table_ in (BESIDE, SCHEMAS):
        for field in dict.fromkeys(table_.values()):
            yield [f"`{field}`", ", ".join(f"`{name}`" for name, one in table_.items() if one == field)]
    for blocks in (OPERATIONS, BEHAVIOUR):
        for field, (others, _) in blocks.items():
            if others:
                yield [f"`{field}`", ", ".join(f"`{name}`" for name in others)]
    yield ["within `subcontracts`", ", ".join(f"`{name}`" for name in KNOWN)]


def _spellings(spelling: KeyTable) -> Iterator[list[str]]:
    for field in dict.fromkeys(spelling.names.values()):
        others = [name for name, one in spelling.names.items() if one == field]
        written = [f"`{name}`{f' ×{MS_PER_SECOND}' if in_seconds(name, field) else ''}" for name in others]
        yield [f"`{field}`", ", ".join(written)]


def _reachable(root: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Each model once, under the first path that leads to it."""
    seen: set[type[BaseModel]] = set()
    waiting = [("the contract", root)]
    while waiting:
        path, model = waiting.pop(0)
        if model in seen:
            continue
        seen.add(model)
        yield path, model
        inside = "" if path == "the contract" else f"{path}."
        for name, field in model.model_fields.items():
            many = "[]" if "tuple" in str(field.annotation) else ""
            waiting += [(f"{inside}{name}{many}", inner) for inner in models_of(field.annotation)]


# --- schema -----------------------------------------------------------------------------------------------------------


def schema_page() -> str:
    """What ``onex schema`` prints."""
    return json.dumps(contract_schema(), indent=2, ensure_ascii=False) + "\n"


# --- events -----------------------------------------------------------------------------------------------------------


def events_page() -> str:
    """What an engine says through the port ``Telemetry``, with the level its log line gets."""
    lines = [row(("event", "level", "what happened")), row(("---",) * 3)]
    lines += [
        row((f"`{name}`{' *' if name in observe.DETAILS else ''}", log.LEVELS.get(name, "warning"), meaning))
        for name, meaning in observe.EVENTS.items()
    ]
    return (
        f"# Events\n\n{MADE}\n"
        "An engine reports what happens to it to a listener: `onex.open(..., telemetry=listener)`. `onex run` logs them on\n"
        "stderr: warnings and errors, with `-v` all, with `-q` errors only. In a program of yours\n"
        "`onex.adapters.structlog_telemetry.StructlogTelemetry()` makes log lines of them.\n"
        "Events marked * come with every action or attempt: a listener gets them when its attribute `details` is True.\n"
        "No event holds a payload or a state. A listener that raises is counted; the engine goes on.\n\n"
        f"{''.join(lines)}"
    )


# --- what user code may do ------------------------------------------------------------------------------------------------

TABLE = re.compile(r"(<!-- user code:.*?-->\n).*?(<!-- end -->)", re.DOTALL)


def promises_page() -> str:
    """The page as it is, with its table of user code written from the tests that show it."""
    modules = ("tests.promises.test_user_code", "tests.cli.test_deadly")
    sys.path.insert(0, str(HERE.parents[1]))
    try:
        for module in modules:
            import_module(module)
        promises = dict.fromkeys(import_module("tests.promises.promise").PROMISES)
    finally:
        del sys.path[0]
    lines = [row(("code of yours", "what it may do", "what comes of it")), row(("---",) * 3)]
    for module in modules:  # whoever imported them first
        lines += [row((one.code, one.may, one.comes)) for one in promises if one.shown_by == module]
    page = (HERE / PROMISES).read_text()
    return TABLE.sub(lambda found: f"{found[1]}\n{''.join(lines)}\n{found[2]}", page)


# --- the picture of the rooms -------------------------------------------------------------------------------------------

PICTURE = re.compile(r"(<!-- rooms:.*?-->\n).*?(<!-- end -->)", re.DOTALL)
ROOT = HERE.parents[1]


def architecture_page() -> str:
    """The page as it is, with its picture drawn again from the floors of ``pyproject.toml`` and the imports of ``src``."""
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    floors = [re.findall(r"\w+", layer) for layer in layers]
    imports = room_imports(ROOT / "src" / "onex")
    lines = ["```mermaid\n", "flowchart TD\n"]
    for number, rooms in enumerate(reversed(floors)):
        standing = [room for room in rooms if room in imports]
        lines += [f"    subgraph floor{number}[floor {number}]\n"] if standing else []
        lines += [f"        {room}\n" for room in standing]
        lines += ["    end\n"] if standing else []
    lines += [f"    {room} --> {other}\n" for room in imports for other in sorted(direct(room, imports))]
    lines += ["```\n"]
    page = (HERE / ARCHITECTURE).read_text()
    return PICTURE.sub(lambda found: f"{found[1]}\n{''.join(lines)}\n{found[2]}", page)


def room_imports(source: Path) -> dict[str, set[str]]:
    """``room -> rooms that a file of it imports``, in name order. A room is a folder of ``onex``, or a file beside them."""
    found: dict[str, set[str]] = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        if parts == ("__init__",):
            continue  # the front door names what programs need from every room
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == len(parts) and node.module:
                found.setdefault(parts[0], set()).add(node.module.split(".")[0])
        found.setdefault(parts[0], set())
    return {room: others - {room} for room, others in found.items()}


def direct(room: str, imports: Mapping[str, set[str]]) -> set[str]:
    """The rooms that ``room`` imports and that no other room it imports leads to: the arrows a picture needs."""
    return {one for one in imports[room] if not any(one in reached(other, imports) for other in imports[room] - {one})}


def reached(room: str, imports: Mapping[str, set[str]]) -> set[str]:
    """Every room that ``room`` imports, directly or by way of others."""
    seen: set[str] = set()
    waiting = list(imports[room])
    while waiting:
        one = waiting.pop()
        if one not in seen:
            seen.add(one)
            waiting += imports[one]
    return seen


# --- all of them ------------------------------------------------------------------------------------------------------

PAGES: Mapping[str, Callable[[], str]] = {
    "errors.md": errors_page,
    "cli.md": commands_page,
    "settings.md": settings_page,
    "http-api.md": http_page,
    "contract.md": contract_page,
    "contracts.md": families_page,
    "checks.md": checks_page,
    "contract.schema.json": schema_page,
    "events.md": events_page,
    PROMISES: promises_page,
    ARCHITECTURE: architecture_page,
    PAGE_TYPES: types_page,
    **api_pages(),
}


def main() -> None:
    for name, write in PAGES.items():
        page, made = HERE / name, write()
        changed = not page.exists() or page.read_text() != made
        page.write_text(made)
        sys.stdout.write(f"docs/reference/{name}{'' if changed else ' is as it was'}\n")


if __name__ == "__main__":
    main()
