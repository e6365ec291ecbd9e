"""A contract of any family becomes one shape, tree to tree. What is not known stays where it was and is reported later.

Theory of operation. The input is the tree of a file whose references are resolved, the output is the same tree with every
key under the name of its field (``model.contract``). One function per block works on one ``MapBuilder``:

    subcontracts, versions, label        what holds other blocks, which versions there are, the description
    dependencies, routing, references    what the node needs, which handler takes what, its models and schemas
    operations, workflow                 what it does, and in which order
    fsm (states, transitions, conditions), intents, bus, behaviour

The order of BLOCKS matters in three places. Subcontracts come first, since they hold other blocks. Routing comes before
models, since a handler may bring models along. Workflows come before buses, which take the topics that are left.

Keys are identified by the ``YamlScalar`` object that the reader made of them. A step may rename or move an entry, but it keeps
that object. So three things can become of a key, and ``model.key_usage`` finds each by identity:

- It stands in the result, perhaps under another name: its usage is that of the field.
- It held other keys only, or its value went into the value of another key: the step says so in ``Notes`` (``wrapped``,
  ``joined``), and the key gets its usage from there.
- It stands where no field is. Then no step understood it, and it is reported as unknown at its line. The same happens to a
  second spelling of a field that is there already: it keeps its own name. So no value replaces another in silence.

Nothing here judges a value. What has a wrong type is passed on as it is, and the typed model refuses it later.
"""

from __future__ import annotations

from typing import NamedTuple

from ...model.contract import EnumNodeKind
from ...text.yaml_tree import YamlEntry, YamlList, YamlMap
from .behaviour import behaviour
from .bus import bus
from .dependencies import dependencies
from .draft import MapBuilder, Notes, aliases
from .fsm import machine
from .identity import label, name, node_type, versions
from .operations import intents, operations
from .references import models
from .routing import routing
from .workflow import workflow

KNOWN = aliases(
    state_machine="fsm state_machine",
    effect_operations="effect effect_operations",
    aggregation="aggregation",
    state_management="state_management",
    streaming="streaming",
    retry_policy="retry",
    circuit_breaker="circuit_breaker",
    health_check="health_check",
    error_handling="error_handling",
    workflow_coordination="workflow_coordination workflow",
    event_bus="event_bus",
    handler_routing="handler_routing",
    event_type="event_type",
    caching="caching",
    compute="compute",
    lifecycle="lifecycle",
    security="security",
    dependencies="dependencies",
    performance="performance",
    intent_publisher="intent_publisher",
    configuration="configuration",
)
"""Name within ``subcontracts``: the block of the contract it is."""
PARTS_OF_PUBLISHER = ("capabilities", "kafka_config", "mixin")


class NormalisedContract(NamedTuple):
    """``kind`` is None when ``node_type`` says none; ``word`` is what it said."""

    shape: YamlMap
    kind: EnumNodeKind | None
    word: str
    notes: Notes


def normalise(tree: YamlMap, path: str) -> NormalisedContract:
    """Never raises. Whatever ``tree`` holds, the shape holds as well."""
    notes = Notes(path)
    draft = MapBuilder(tree)
    kind, word = node_type(draft, notes)
    name(draft, notes, path)
    for block in BLOCKS:
        block(draft, notes)
    return NormalisedContract(draft.branch(), kind, word, notes)


def subcontracts(draft: MapBuilder, notes: Notes) -> None:
    """``subcontracts: {fsm: {..}, aggregation: {..}}`` holds blocks of the contract; a list of files is left as it is.

    The parts of ``intent_publisher: {capabilities, kafka_config, mixin}`` are the contract's as well.
    """
    _lifted(draft, "subcontracts", {**KNOWN, **{f"{one}_subcontract": field for one, field in KNOWN.items()}}, notes)
    _lifted(draft, "intent_publisher", {part: part for part in PARTS_OF_PUBLISHER}, notes)


def _lifted(draft: MapBuilder, holder: str, fields: dict[str, str], notes: Notes) -> None:
    """Moves what ``fields`` lists out of the mapping under ``holder``. A block that the contract has already stays inside."""
    node = draft.node(holder)
    if not isinstance(node, YamlMap):
        return
    rest: dict[str, YamlEntry] = {}
    for written, entry in node.entries.items():
        field = fields.get(written)
        is_block = holder != "subcontracts" or isinstance(entry.node, YamlMap | YamlList)
        if field is not None and is_block and field not in draft:
            draft.put(field, entry)
        else:
            rest[written] = entry
    if len(rest) < len(node.entries):
        notes.wrapped(draft.entries[holder].key)
        draft.leave(holder, rest)


BLOCKS = (
    subcontracts,
    versions,
    label,
    dependencies,
    routing,
    models,
    operations,
    workflow,
    machine,
    intents,
    bus,
    behaviour,
)
