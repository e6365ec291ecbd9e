"""The models and schemas of a node's input and output, in all spellings."""

from __future__ import annotations

from ...text.yaml_tree import YamlEntry, YamlList, YamlMap, YamlNode, YamlScalar
from .draft import KeyTable, MapBuilder, Notes, aliases, each, made, text, text_of, version

REFERENCE = KeyTable(
    names=aliases(
        name="class class_name model model_name interface protocol",
        function="method",
        module="module_path import_path package",
    ),
    shapes={"version": version},
)

SCHEMAS = aliases(
    input_schema="input_state inputs input request_schema",
    output_schema="output_state outputs output response_schema",
    config_schema="config_fields",
    state_fields="state_schema state",
)
"""Key of a schema: the field it becomes."""
MODELS = aliases(input_model="input request_model input_type", output_model="output response_model output_type")
CLASSES = aliases(node_class="main_tool_class node_class implementation")
_OF_SCHEMA = (("input_model", "input_schema"), ("output_model", "output_schema"), ("config_model", "config_schema"))


def reference(node: YamlNode, notes: Notes) -> YamlNode:
    """``{name, module}``: of ``pkg.module.Name``, ``pkg.module:Name``, ``Name``, or a mapping in any of its spellings."""
    if isinstance(node, YamlScalar) and isinstance(node.value, str):
        return _split(node)
    if not isinstance(node, YamlMap):
        return node
    draft = MapBuilder(REFERENCE.applied(node, notes))
    if "name" not in draft:
        draft.put("name", draft.take("function"))
    dotted = draft.entries.get("name")
    if dotted is not None and "module" not in draft and isinstance(dotted.node, YamlScalar) and text_of(dotted.node):
        parts = _split(dotted.node).entries
        draft.entries["name"] = YamlEntry(dotted.key, parts["name"].node)
        draft.put("module", parts.get("module"))
    return draft.branch()


def _split(leaf: YamlScalar) -> YamlMap:
    said = str(leaf.value).strip()
    module, mark, name = said.rpartition(":")
    if not mark:
        module, mark, name = said.rpartition(".")
    if not mark or not name.isidentifier() or not module.replace(".", "").replace("_", "").isalnum():
        return YamlMap({"name": made("name", leaf)}, leaf.place)
    parts = {
        "name": made("name", YamlScalar(name, leaf.place)),
        "module": made("module", YamlScalar(module, leaf.place)),
    }
    return YamlMap(parts, leaf.place)


def models(draft: MapBuilder, notes: Notes) -> None:
    """Models and schemas of the whole contract."""
    for written, field in SCHEMAS.items():
        entry = draft.entries.get(written)
        if entry is not None and field not in draft and isinstance(entry.node, YamlMap | YamlList):
            draft.put(field, draft.take(written))
    for written, field in (*MODELS.items(), *CLASSES.items()):
        if isinstance(draft.node(written), YamlScalar | YamlMap):
            entry = draft.take(written)
            draft.put(field, entry)
            if entry is not None and draft.entries.get(field) is not entry:
                draft.put(written, entry)
    if isinstance(draft.node("state_model"), YamlMap) or "." in text_of(draft.node("state_model")):
        draft.put("state_class", draft.take("state_model"))
    for model, schema in _OF_SCHEMA:
        _parted(draft, model, schema, notes)
    draft.reshape(schema_of, notes, "input_schema", "output_schema", "state_fields", "config_schema")
    draft.reshape(reference, notes, "input_model", "output_model", "node_class", "mixin", "state_class", "config_model")
    draft.reshape(each(reference, key="name", word="name"), notes, "input_models", "output_models")
    draft.reshape(TOOL, notes, "tool_specification")


TOOL = KeyTable(
    names=aliases(tool_name="name"),
    shapes={"version": version, "main_tool_class": reference, "business_logic_pattern": text},
)


def _parted(draft: MapBuilder, model: str, schema: str, notes: Notes) -> None:
    """A model with ``fields`` becomes a name and a schema; one without a name becomes a schema."""
    entry = draft.entries.get(model)
    if entry is None or not isinstance(entry.node, YamlMap) or schema in draft:
        return
    fields = entry.node.entries.get("fields") or entry.node.entries.get("properties")
    if fields is None:
        return
    named = {"name", "class", "class_name"} & set(entry.node.entries)
    if not named:
        draft.put(schema, draft.take(model))
        return
    rest = {name: one for name, one in entry.node.entries.items() if one is not fields}
    draft.entries[model] = entry._replace(node=YamlMap(rest, entry.node.place))
    draft.put(schema, fields)


def schema_of(node: YamlNode, notes: Notes) -> YamlNode:
    """A JSON Schema of an object, as near as it gets: from a list of named fields, or a mapping of them."""
    if isinstance(node, YamlList):
        rows = [item for item in node.items if isinstance(item, YamlMap)]
        names = [row.entries.get("name") for row in rows]
        if len(rows) < len(node.items) or not rows:
            return node
        if not all(isinstance(one, YamlEntry) and text_of(one.node) for one in names):
            return node
        properties = {}
        for row, name in zip(rows, names, strict=True):
            rest = {key: entry for key, entry in row.entries.items() if key != "name"}
            if name is not None:
                properties[text_of(name.node)] = YamlEntry(name.key, _property(YamlMap(rest, row.place)))
        return _object(YamlMap(properties, node.place)) if len(properties) == len(rows) else node
    if not isinstance(node, YamlMap):
        return node
    if "object_type" in node.entries and "type" not in node.entries:
        return YamlMap({("type" if k == "object_type" else k): entry for k, entry in node.entries.items()}, node.place)
    if "properties" in node.entries or "$ref" in node.entries or isinstance(node.get("type"), YamlScalar):
        return node
    if node.entries and all(isinstance(entry.node, YamlMap) or text_of(entry.node) for entry in node.entries.values()):
        properties = {name: entry._replace(node=_property(entry.node)) for name, entry in node.entries.items()}
        return _object(YamlMap(properties, node.place))
    return node


def _property(node: YamlNode) -> YamlNode:
    return YamlMap({"type": made("type", node)}, node.place) if isinstance(node, YamlScalar) else node


def _object(properties: YamlMap) -> YamlMap:
    """A field is required only when it says ``required: true``."""
    needed = tuple(
        YamlScalar(name, entry.node.place)
        for name, entry in properties.entries.items()
        if isinstance(entry.node, YamlMap) and getattr(entry.node.get("required"), "value", None) is True
    )
    entries = {
        "type": made("type", YamlScalar("object", properties.place)),
        "properties": made("properties", properties),
    }
    if needed:
        entries["required"] = made("required", YamlList(needed, properties.place))
    return YamlMap(entries, properties.place)
