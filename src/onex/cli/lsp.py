"""``onex lsp``: the language server for contracts."""

from __future__ import annotations

import sys

from .console import note
from .exit_codes import Misused


def lsp() -> None:
    """Serve an editor over standard input and output: findings, completion, hover.

    Speaks the language server protocol; an editor starts it. Needs the extra lsp of your copy of ONEX.

    \b
    Examples:
      pip install 'PATH/TO/ONEX[lsp]'
      onex lsp
    """
    try:
        from .language_server import serve
    except ModuleNotFoundError as missing:
        raise Misused(
            f"onex lsp needs {missing.name}, which is not installed. Install the extra lsp of your copy of ONEX: "
            "pip install 'PATH/TO/ONEX[lsp]'"
        ) from missing
    if sys.stdin.isatty():
        note("waiting for an editor on standard input; Ctrl-C stops")
    serve()
