"""``onex token``: makes a token for the API. The token is shown once; the file holds its hash."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from .console import note, say, say_json
from .store_options import Json


class TokenRole(StrEnum):
    """The roles that a token may have. Each may do all that those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


def token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who will have it: it stands in the audit log.")],
    role: Annotated[TokenRole, typer.Option(help="viewer reads, operator also acts, admin also runs code.")] = (
        TokenRole.VIEWER
    ),
    no_payloads: Annotated[
        bool, typer.Option("--no-payloads", help="It shows no payload and no state: *** instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a token for the API, and the line that lets it in.

    The line goes to stdout, for the file that ONEX_TOKENS or onex serve --tokens names. The token itself goes to stderr, once:
    nobody can find it again.

    \b
    Examples:
      onex token ada --role operator >> tokens.txt
      onex token screen --no-payloads >> tokens.txt
    """
    from ..service.access import EnumRole, new_token, token_line

    made = new_token()
    line = token_line(name, EnumRole(role.value), made, payloads=not no_payloads)
    if as_json:
        say_json({"token": made, "line": line})
        return
    note(f"the token of {name}, shown once: {made}")
    say(line)
