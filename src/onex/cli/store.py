"""``onex store``: what an administrator does with a store."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Annotated

import typer

from ..wiring.encrypted import new_master_key
from ..wiring.key_upkeep import encrypt_store, rotate_keys
from ..wiring.store_access import shown_url
from ..wiring.store_schema import apply_store_roles, store_roles, upgrade_store
from .console import counted, note, say, say_json
from .exit_codes import Misused
from .store_options import Json, Store, url_of


class EnumStoreAction(StrEnum):
    UPGRADE = "upgrade"
    ROLES = "roles"
    NEW_KEY = "new-key"
    ENCRYPT = "encrypt"
    ROTATE_KEYS = "rotate-keys"


def store(
    action: Annotated[
        EnumStoreAction, typer.Argument(metavar="ACTION", help="upgrade, roles, new-key, encrypt or rotate-keys.")
    ],
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Of new-key: how the key is called, for example k1.")
    ] = "",
    apply: Annotated[bool, typer.Option("--apply", help="Of roles: run the statements, too.")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Upgrade the schema of a store on a server, give its roles their rights, or see to the keys of an encrypted store.

    upgrade moves the schema of a PostgreSQL store to the newest revision, in one transaction. It is refused while an
    engine or a worker runs on the store. Back the store up first.

    roles prints the SQL of two roles, and with --apply runs it: onex_engine for engines, workers and clients, which reads
    and writes the tables; onex_app for applications, which reads the views and nothing else. Run it again after an upgrade.

    new-key prints a new master key for stores that are encrypted, as one line. Keep it where ONEX_CODEC_KEYS says, and keep a
    copy elsewhere: without it nobody reads the store again.

    encrypt encrypts what was stored plain before ONEX_CODEC_KEYS was set. No engine may run meanwhile. Cut off, it is begun
    again where it was.

    rotate-keys wraps every data key under the current master key, the first of ONEX_CODEC_KEYS. Engines may run. Afterwards
    the older master keys are needed for nothing but backups.

    \b
    Examples:
      onex store new-key k1
      onex store encrypt
      onex store rotate-keys
      onex store upgrade --store postgres://owner@db.example/shop
      onex store roles --store postgres://owner@db.example/shop
      onex store roles --apply --store postgres://owner@db.example/shop
    """
    if (name != "") is not (action is EnumStoreAction.NEW_KEY):
        raise Misused("new-key takes a name, and nothing else does: onex store new-key k1")
    if action is EnumStoreAction.NEW_KEY:
        line = new_master_key(name)
        say_json({"key": line}) if as_json else say(line)
        return
    url = url_of(store)
    if apply and action is not EnumStoreAction.ROLES:
        raise Misused("--apply belongs to onex store roles; the others do what they say")
    if action in (EnumStoreAction.ENCRYPT, EnumStoreAction.ROTATE_KEYS):
        _keys(url, action, as_json=as_json)
        return
    if action is EnumStoreAction.ROLES:
        _roles(url, apply=apply, as_json=as_json)
        return
    moved = asyncio.run(upgrade_store(url))
    if as_json:
        say_json({"store": shown_url(url), "before": moved.before, "now": moved.now})
    elif moved.before == moved.now:
        say(f"{shown_url(url)} has schema {moved.now}, the newest")
    else:
        say(f"{shown_url(url)} had schema {moved.before} and has {moved.now} now")


def _keys(url: str, action: EnumStoreAction, *, as_json: bool) -> None:
    encrypting = action is EnumStoreAction.ENCRYPT
    done = asyncio.run(encrypt_store(url) if encrypting else rotate_keys(url))
    if as_json:
        say_json({"store": shown_url(url), "action": action.value, **done._asdict()})
        return
    what = counted(done.changed, "instance" if encrypting else "data key")
    say(
        f"{what} encrypted; {done.before} were before" if encrypting else f"{what} wrapped under the current master key"
    )
    if not done.overwritten:
        note("what was stored before may still stand in files: see docs/guides/encrypting-and-erasing.md")


def _roles(url: str, *, apply: bool, as_json: bool) -> None:
    statements = store_roles(url)
    if apply:
        asyncio.run(apply_store_roles(url))
    if as_json:
        say_json({"store": shown_url(url), "applied": apply, "statements": statements})
        return
    for statement in statements:
        say(f"{statement};")
    note("applied" if apply else "nothing was changed; --apply runs these statements")
