"""The page of the HTTP API: routes by subject, and the models of what they take and answer, read off the API's own document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from docs.markdown import MADE, sentence, table
from onex.service.api import ERRORS, openapi_document


def http_page() -> str:
    """Routes by subject, and the models of what they take and answer, from the document of the API."""
    document = openapi_document()
    routes: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            routes.setdefault(operation["tags"][-1], []).append((method.upper(), path, operation))
    made = [
        MADE,
        "# HTTP API\n\n",
        "What `onex serve` answers; how it is started and who may ask: [serving a store](../guides/serving-a-store.md).\n",
        "The same for programs is `GET /openapi.json`. Bodies and answers are JSON. A field with `?` may be null.\n",
        "Every error is a `ProblemAnswer` (`application/problem+json`); beside the statuses here each route may answer "
        + ", ".join(f"{status} ({about['description']})" for status, about in ERRORS.items())
        + ".\n\n",
        "`GET /` and `GET /page/...` are the files of the page. Its index is at `/`, and its other files are below `/page/`\n",
        "(`/page/assets/...` may be kept for ever). Scripts and styles are taken from there only, none of them inline.\n",
    ]
    for tag, found in routes.items():
        made.append(f"\n## {tag[0].upper()}{tag[1:]}\n")
        made += [_route(method, path, operation) for method, path, operation in found]
    made.append("\n## Models\n")
    for name, model in document["components"]["schemas"].items():
        if "enum" in model:
            made.append(f"\n### {name}\n\nOne of {', '.join(f'`{one}`' for one in model['enum'])}.\n")
            continue
        needed = model.get("required", ())
        rows = [
            [
                f"`{field}`" + ("" if field in needed else " (optional)"),
                _kind(one),
                sentence(one.get("description", "")),
            ]
            for field, one in model.get("properties", {}).items()
        ]
        made.append(f"\n### {name}\n\n{sentence(model.get('description', ''))}\n\n{table(['field', 'type', ''], rows)}")
    return "".join(made)


def _route(method: str, path: str, operation: Mapping[str, Any]) -> str:
    said = [
        f"\n**`{method} {path}`** · {operation['x-onex-role']} · {sentence(operation.get('description') or '')}\n\n"
    ]
    for one in operation.get("parameters", ()):
        if one["name"] != "X-CSRF-Token":
            where = "" if one["in"] == "query" else f" ({one['in']})"
            needed = ", needed" if one.get("required") else ""
            told = sentence(one.get("description") or "")
            said.append(f"- `{one['name']}`{where}: {_kind(one['schema'])}{needed}{f', {told}' if told else ''}\n")
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body is not None:
        said.append(f"- body: {_kind(body)}\n")
    for status, answer in operation["responses"].items():
        if int(status) < 400:
            kinds = [
                f"`{media}`" if media != "application/json" else _kind(one.get("schema", {}))
                for media, one in answer.get("content", {}).items()
            ]
            said.append(f"- {status}: {' or '.join(kinds) or 'nothing'}\n")
    return "".join(said)


def _kind(schema: Mapping[str, Any]) -> str:
    """The type of a value, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        kinds = [_kind(one) for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(kinds) + ("?" if len(kinds) < len(schema["anyOf"]) else "")
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = str(schema.get("type", "any JSON"))
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    more = schema.get("additionalProperties")
    if kind == "object" and isinstance(more, dict):
        return f"object of {_kind(more)}"
    return kind + (f", {schema['default']} unless given" if schema.get("default") not in (None, "") else "")
