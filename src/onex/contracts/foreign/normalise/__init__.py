"""The normaliser: a contract of any family becomes one shape, tree to tree, and nothing it does not know is dropped.

    identity  name, kind, versions            bus, routing, dependencies   what it hears, says and needs
    fsm       states and transitions          operations, workflow         what it does, in which order
    references  models and schemas            behaviour                    how it runs: kept, not acted on

Every key is where its field is, or where it was: the model has no field for it there, so it is reported.
"""

from __future__ import annotations

from typing import NamedTuple

from ...model.contract import EnumNodeKind
from ...text.yaml_tree import YamlMap
from .behaviour import behaviour
from .bus import bus
from .dependencies import dependencies
from .draft import MapBuilder, Notes
from .fsm import machine
from .identity import label, name, node_type, versions
from .intents import intents
from .operations import operations
from .references import models
from .routing import routing
from .subcontracts import subcontracts
from .workflow import workflow


class NormalisedContract(NamedTuple):
    """``kind`` is None when ``node_type`` says none; ``word`` is what it said."""

    shape: YamlMap
    kind: EnumNodeKind | None
    word: str
    notes: Notes


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
"""In this order: what stands within a subcontract first; handlers, which may bring models along, before models; workflows
before buses, which take what is left of topics.
"""


def normalise(tree: YamlMap, path: str) -> NormalisedContract:
    """Total: whatever ``tree`` holds, the shape holds as well."""
    notes = Notes(path)
    draft = MapBuilder(tree)
    kind, word = node_type(draft, notes)
    name(draft, notes, path)
    for block in BLOCKS:
        block(draft, notes)
    return NormalisedContract(draft.branch(), kind, word, notes)
