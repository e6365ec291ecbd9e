"""What a node needs, in all spellings: a list of names or blocks, a mapping by name, or lists by need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...text.yaml_tree import YamlEntry, YamlList, YamlMap, YamlNode, YamlScalar
from .draft import KeyTable, MapBuilder, Notes, aliases, made, text, text_of, words

DEPENDENCY = KeyTable(
    names=aliases(
        name="service dependency package node component id service_name",
        type="dependency_type kind",
        class_name="class interface protocol",
        module="module_path import_path path",
        version="version_requirement version_spec min_version",
        description="purpose reason",
    ),
    shapes={"name": text, "methods": words},
)
GROUPS: Mapping[str, tuple[str, bool | None]] = {
    "required": ("", True),
    "optional": ("", False),
    "required_services": ("service", True),
    "optional_services": ("service", False),
    "services": ("service", None),
    "external_services": ("service", None),
    "required_packages": ("package", True),
    "optional_packages": ("package", False),
    "packages": ("package", None),
    "python_packages": ("package", None),
    "nodes": ("node", None),
    "protocols": ("protocol", None),
    "internal": ("node", None),
    "external": ("service", None),
}
"""Keys within ``dependencies`` that hold lists: the type they give, and whether it is required."""
BESIDE = {"protocol_dependencies": "protocol", "handlers": "protocol", "runtime_dependencies": ""}
"""Keys of the contract that hold dependencies as well."""
NEEDS = ("required", "optional")


def dependencies(draft: MapBuilder, notes: Notes) -> None:
    draft.reshape(lambda node, notes: _listed(node, "", notes), notes, "dependencies")
    for written, kind in BESIDE.items():
        other = draft.entries.get(written)
        if other is None or not isinstance(other.node, YamlList | YamlMap):
            continue
        if written == "handlers" and not (isinstance(other.node, YamlMap) and set(NEEDS) >= set(other.node.entries)):
            continue  # handlers of operations, not protocols it needs
        node = _listed(other.node, kind, notes)
        there = draft.entries.get("dependencies")
        if not isinstance(node, YamlList) or (there is not None and not isinstance(there.node, YamlList)):
            continue
        draft.entries.pop(written)
        if there is not None:
            notes.joined(other.key, there.key)
        draft.extend("dependencies", other.key, node.items)


def _listed(node: YamlNode, kind: str, notes: Notes) -> YamlNode:
    if isinstance(node, YamlList):
        return YamlList(tuple(_one(item, kind, None, notes) for item in node.items), node.place)
    if not isinstance(node, YamlMap):
        return YamlList((), node.place) if node.value is None else node
    return YamlList(tuple(_of_mapping(node, kind, notes)), node.place)


def _of_mapping(node: YamlMap, kind: str, notes: Notes) -> Iterator[YamlNode]:
    for name, entry in node.entries.items():
        if name in GROUPS and isinstance(entry.node, YamlList | YamlMap):
            notes.wrapped(entry.key)
            own, needed = GROUPS[name]
            inner = (
                entry.node.items
                if isinstance(entry.node, YamlList)
                else tuple(map(_named, entry.node.entries.values()))
            )
            for item in inner:
                yield _one(item, own or kind, needed, notes)
        else:
            yield _one(_named(entry), kind, None, notes)


def _named(entry: YamlEntry) -> YamlNode:
    """``NAME: {..}``, ``NAME: ">=1.0"`` or ``NAME:`` alone."""
    own = YamlEntry(entry.key, YamlScalar(entry.key.value, entry.key.place))
    if isinstance(entry.node, YamlMap):
        return YamlMap({"name": own, **{k: v for k, v in entry.node.entries.items() if k != "name"}}, entry.key.place)
    if isinstance(entry.node, YamlScalar) and entry.node.value is None:
        return YamlMap({"name": own}, entry.key.place)
    return YamlMap({"name": own, "version": made("version", entry.node)}, entry.key.place)


def _one(item: YamlNode, kind: str, needed: bool | None, notes: Notes) -> YamlNode:
    if isinstance(item, YamlScalar) and text_of(item):
        item = _dotted(item)
    if not isinstance(item, YamlMap):
        return item
    draft = MapBuilder(DEPENDENCY.applied(item, notes))
    if "name" not in draft:
        for other in ("type", "class_name", "module", "node_name", "env_var"):
            if text_of(draft.node(other)):
                draft.make("name", draft.entries[other].node)
                break
    optional = draft.node("optional")
    if isinstance(optional, YamlScalar) and isinstance(optional.value, bool) and "required" not in draft:
        entry = draft.take("optional")
        if entry is not None:
            draft.put("required", YamlEntry(entry.key, YamlScalar(not optional.value, optional.place)))
    if kind and text_of(draft.node("type")) != kind and "type" not in draft:
        draft.make("type", YamlScalar(kind, draft.place))
    if needed is not None:
        draft.put("required", made("required", YamlScalar(needed, draft.place)))
    return draft.branch()


def _dotted(leaf: YamlScalar) -> YamlMap:
    """``pkg.module`` is a module, called by its last name."""
    said = text_of(leaf)
    entries = {"name": made("name", leaf)}
    if "." in said and " " not in said and all(part.isidentifier() for part in said.split(".")):
        entries = {"name": made("name", YamlScalar(said.rsplit(".", 1)[1], leaf.place)), "module": made("module", leaf)}
    return YamlMap(entries, leaf.place)
