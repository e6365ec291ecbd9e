"""``onex schema``: the JSON Schema of a contract, for editors."""

from __future__ import annotations

from typing import Annotated

import typer

from ..contracts.edit.editor_schema import contract_schema
from .console import json_text, say_json, say_lines


def schema(as_json: Annotated[bool, typer.Option("--json", help="Print it on one line.")] = False) -> None:
    """Print the JSON Schema of contracts, for editors.

    With it, an editor completes keys, explains them, and marks errors. For VS Code or Neovim with yaml-language-server,
    write the first line of a contract as in the last example.

    \b
    Examples:
      onex schema > contract.schema.json
      sed -i '1i # yaml-language-server: $schema=contract.schema.json' contract.yaml
    """
    if as_json:
        say_json(contract_schema())
    else:
        say_lines(json_text(contract_schema(), indented=True))
