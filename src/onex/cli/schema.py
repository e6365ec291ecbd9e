"""``onex schema``: the shape of a contract, for editors."""

from __future__ import annotations

import orjson

from ..contracts.schema import contract_schema
from .console import say


def schema() -> None:
    """Print the JSON Schema of contracts, for editors.

    An editor that knows it completes keys, shows what they mean, and marks what is wrong. For VS Code or neovim with
    yaml-language-server, write the first line of a contract as in the last example.

    \b
    Examples:
      onex schema > contract.schema.json
      sed -i '1i # yaml-language-server: $schema=contract.schema.json' contract.yaml
    """
    say(orjson.dumps(contract_schema(), option=orjson.OPT_INDENT_2).decode())
