"""Writes ``page/src/api/types.ts``: the answers of the API as types of the page, read off the API's own document.

A field that is required there is required here. A schema without a type is any JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from onex.service.api import openapi_document

SIMPLE = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def types_page() -> str:
    schemas = openapi_document()["components"]["schemas"]
    made = [
        "// Written by `make docs` from the API's document. Do not edit.\n\n",
        "export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };\n",
    ]
    for name, model in sorted(schemas.items()):
        if "properties" not in model:
            made.append(f"\nexport type {name} = {_kind(model)};\n")
            continue
        needed = model.get("required", ())
        fields = [
            f"  {field}{'' if field in needed else '?'}: {_kind(one)};\n" for field, one in model["properties"].items()
        ]
        made.append(f"\nexport interface {name} {{\n{''.join(fields)}}}\n")
    return "".join(made)


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " | ".join(json.dumps(one) for one in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(_kind(one) for one in schema["anyOf"]))
    kind = schema.get("type")
    if kind == "array":
        item = _kind(schema.get("items", {}))
        return f"({item})[]" if " | " in item else f"{item}[]"
    if kind == "object":
        more = schema.get("additionalProperties")
        return f"Record<string, {_kind(more) if isinstance(more, dict) else 'Json'}>"
    return SIMPLE.get(str(kind), "Json")
