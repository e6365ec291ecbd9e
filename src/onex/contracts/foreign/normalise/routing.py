"""Which handler takes which operation or event, in all spellings: ``handler_routing``, ``handlers``, ``handler``."""

from __future__ import annotations

from ...text.yaml_tree import YamlEntry, YamlList, YamlMap, YamlNode
from .draft import KeyTable, MapBuilder, Notes, aliases, each, text_of, texts, version, words
from .references import reference

HANDLER = KeyTable(
    names=aliases(
        topic="subscribe_topic topic_name",
        handler="handler_class handler_name class function",
        event_type="event message_type",
        operation="operation_name action",
        input_model="request_model",
        output_model="response_model",
        output_fields="outputs",
        input_fields="inputs",
        output_events="emits",
    ),
    shapes={
        "handler": reference,
        "event_model": reference,
        "input_model": reference,
        "output_model": reference,
        "output_events": words,
        "output_fields": texts,
        "input_fields": texts,
        "actions": words,
    },
)


def handler(node: YamlNode, notes: Notes) -> YamlNode:
    """One handler. ``handler_module`` or ``module`` beside the class is the class's module."""
    if not isinstance(node, YamlMap):
        return node
    draft = MapBuilder(HANDLER.applied(node, notes))
    module = draft.take("handler_module", "module")
    there = draft.entries.get("handler")
    if (
        module is not None
        and there is not None
        and isinstance(there.node, YamlMap)
        and "module" not in there.node.entries
    ):
        draft.entries["handler"] = there._replace(
            node=YamlMap({**there.node.entries, "module": module}, there.node.place)
        )
    elif module is not None:
        draft.put("handler_module", module)
    return draft.branch()


ROUTING = KeyTable(
    names=aliases(
        routing_strategy="strategy routing",
        handlers="routes",
        default_handler="handler default fallback_handler",
        entry_point="entrypoint",
        execution_mode="mode",
    ),
    shapes={
        "version": version,
        "handlers": each(handler, key="operation", word="handler"),
        "default_handler": reference,
        "entry_point": reference,
    },
)


def routing(draft: MapBuilder, notes: Notes) -> None:
    """Puts ``handler_routing`` into ``draft``; lists of required protocols among ``handlers`` are dependencies."""
    lone = draft.entries.get("handlers")
    if lone is not None and "handler_routing" not in draft and isinstance(lone.node, YamlList):
        rows = YamlMap({"handlers": lone}, lone.node.place)
        draft.entries.pop("handlers")
        draft.make("handler_routing", rows)
    draft.reshape(ROUTING, notes, "handler_routing")
    _single(draft, notes)


def _single(draft: MapBuilder, notes: Notes) -> None:
    """``handler: {module, class, input_model}`` is the default handler, and its models are the node's."""
    entry = draft.entries.get("handler")
    if entry is None or not (isinstance(entry.node, YamlMap) or text_of(entry.node)):
        return
    there = draft.entries.get("handler_routing")
    inside = MapBuilder(there.node) if there is not None and isinstance(there.node, YamlMap) else None
    if inside is not None and "default_handler" in inside:
        return
    draft.entries.pop("handler")
    own = MapBuilder(entry.node) if isinstance(entry.node, YamlMap) else None
    if own is not None:
        for model in ("input_model", "output_model"):
            if model not in draft:
                draft.put(model, own.take(model))
    default = YamlEntry(entry.key, reference(own.branch() if own is not None else entry.node, notes))
    if inside is not None and there is not None:
        inside.put("default_handler", default)
        draft.entries["handler_routing"] = there._replace(node=inside.branch())
    else:
        draft.make("handler_routing", YamlMap({"default_handler": default}, entry.node.place))
