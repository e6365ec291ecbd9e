"""The kind of a node, its name and its versions."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ...guard.problem import suggest
from ...model.contract import EnumNodeKind
from ...text.yaml_tree import YamlMap, YamlScalar
from .draft import MapBuilder, Notes, text, text_of, version

# fmt: off
_WORDS: Mapping[EnumNodeKind, tuple[str, ...]] = {
    EnumNodeKind.EFFECT: (
        "effect", "service", "tool", "runtime_host", "infrastructure", "query", "schema", "gateway", "adapter", "bridge",
        "agent", "skill", "repository", "database", "model", "plugin", "protocol", "node", "registry", "publisher",
        "consumer", "scheduler", "handler", "hook", "client", "connector", "server", "worker", "api", "cli", "store",
        "storage", "producer", "listener", "watcher", "monitor", "notifier", "loader", "fetcher", "crawler", "exporter",
        "importer", "probe", "config",
    ),
    EnumNodeKind.COMPUTE: (
        "compute", "validator", "transformer", "function", "classifier", "parser", "router", "analyzer", "evaluator",
        "scorer", "calculator", "mapper", "formatter", "checker", "filter", "extractor", "detector", "matcher", "selector",
        "resolver", "generator",
    ),
    EnumNodeKind.REDUCER: ("reducer", "aggregator", "projection", "projector", "state_machine", "fsm", "accumulator"),
    EnumNodeKind.ORCHESTRATOR: (
        "orchestrator", "workflow", "pipeline", "coordinator", "saga", "dispatcher", "controller", "supervisor",
    ),
}
KINDS: Mapping[str, EnumNodeKind] = {word: kind for kind, words in _WORDS.items() for word in words}
"""Word in ``node_type``: the kind. A service, a tool or a host has effects on the world, so it is an effect."""

NAMES = (
    "name", "contract_name", "node_name", "tool_name", "skill_name", "workflow_id", "workflow_name", "handler_id", "node_id",
)
# fmt: on
"""Keys that name a contract, the best first."""

BLOCK_NAMES = ("state_machine_name", "workflow_name", "fsm_name", "subcontract_name", "operation_name", "name")
_FOLDERS = re.compile(r"contracts?|v\d+(?:_\d+)*|src|\.|")
_FILES = re.compile(r"(?:(?:\w+_)?contract|node|tool|node\.manifest|tool\.manifest|manifest|node_config)")


def node_type(draft: MapBuilder, notes: Notes) -> tuple[EnumNodeKind | None, str]:
    """The kind, and the word the file had for it. None after a finding that is an error."""
    entry = draft.entries.get("node_type")
    if entry is None:
        notes.error(draft.place, "missing_key", "the contract has no 'node_type'", f"add node_type: {_all()}")
        return None, ""
    word = text_of(entry.node)
    if not word:
        notes.error(entry.node.place, "wrong_type", "node_type must be a word", f"write {_all()}")
        return None, ""
    plain = _plain(word)
    kind = kind_of(word)
    if kind is None:
        fix = suggest(plain, list(KINDS)) or f"write {_all()}"
        notes.error(entry.node.place, "unknown_node_type", f"{word[:60]!r} is no kind of node", fix)
        return None, word
    if plain != kind:
        notes.info(entry.node.place, "node_type_read_as", f"{word!r} is read as {kind}", f"write node_type: {kind}")
    place = entry.node.place
    draft.entries["node_type"] = entry._replace(node=YamlScalar(str(kind), place))
    return kind, word


def kind_of(word: str) -> EnumNodeKind | None:
    """In any case, with or without ``_GENERIC``; None for a word that says none."""
    plain = _plain(word)
    kind = KINDS.get(plain) or KINDS.get(plain.removesuffix("_node").removeprefix("node_"))
    return kind or next((one for one in EnumNodeKind if plain.endswith(one) or plain.startswith(one)), None)


def _plain(word: str) -> str:
    return word.rsplit(".", 1)[-1].lower().replace("-", "_").replace(" ", "_").removesuffix("_generic")


def _all() -> str:
    return ", ".join(EnumNodeKind)


def name(draft: MapBuilder, notes: Notes, path: str) -> None:
    """``name`` from the best key that has one; else from a block, else from where the file stands, with a note."""
    for key in NAMES:
        if text_of(draft.node(key)):
            draft.put("name", draft.take(key))
            return
    metadata = draft.node("metadata")
    if isinstance(metadata, YamlMap) and text_of(metadata.get("name")):
        found = metadata.entries["name"].node
        draft.make("name", found)
        return
    draft.entries.pop("name", None)
    for entry in draft.entries.values():
        if isinstance(entry.node, YamlMap):
            for key in BLOCK_NAMES:
                if text_of(entry.node.get(key)):
                    draft.make("name", YamlScalar(text_of(entry.node.get(key)), entry.node.entries[key].node.place))
                    message = f"the contract has no name; that of its {entry.key.value} is taken"
                    notes.info(draft.place, "name_assumed", message, f"add name: {text_of(draft.node('name'))}")
                    return
    found_name = name_of(path)
    if found_name:
        draft.make("name", YamlScalar(found_name, draft.place))
        message = f"the contract has no name; that of its file is taken, {found_name!r}"
        notes.info(draft.place, "name_assumed", message, f"add name: {found_name}")
    else:
        notes.error(draft.place, "missing_key", "the contract has no 'name'", "add name: my_node")


def name_of(path: str) -> str:
    """The name of the file, or of its folder when the file has a general name such as ``contract.yaml``."""
    parts = path.replace("\\", "/").split("/")
    stem = parts[-1].rsplit(".", 1)[0]
    if _FILES.fullmatch(stem) is None and stem not in ("", "-", "<stdin>"):
        return stem
    own = [part for part in parts[:-1] if _FOLDERS.fullmatch(part) is None]
    return own[-1] if own else stem if stem not in ("", "-", "<stdin>") else ""


def versions(draft: MapBuilder, notes: Notes) -> None:
    """``version`` is the contract's, unless ``contract_version`` is there; then it is the node's."""
    if "contract_version" not in draft:
        draft.put("contract_version", draft.take("version", "contract_semver"))
    elif "node_version" not in draft:
        draft.put("node_version", draft.take("version"))
    draft.reshape(version, notes, "contract_version", "node_version", "version")


def label(draft: MapBuilder, notes: Notes) -> None:
    """``description`` under its other names; a number where a text is meant is its text."""
    if "description" not in draft:
        draft.put("description", draft.take("desc", "summary", "purpose"))
    draft.reshape(text, notes, "name", "description")
