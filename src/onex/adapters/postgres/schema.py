"""The tables of a PostgreSQL store: one schema of one database, made when it is not there, and checked when it is opened.

The layout is that of the SQLite store (docs/decisions/0005): the log is laid out for appending, and one unique index over
(instance, action id) is both dedup and the way to an instance's rows. What differs:

- Text compares by bytes (``collate "C"``), so lists have the same order as everywhere else.
- A position is one number, the place (``sql_rows``): so the keys of log, outbox, attempts and blob references begin with the
  shard, and the rows of a shard stand together. An instance of shard s has the number k * shards + s, with k from the row of s in
  ``shards``. So nobody but the owner of a shard makes numbers in it.
- A rejection is found by a digest of key, action id and code: they may be longer than an index takes.
- ``workflow_state`` leaves room in its pages, so an update stays in its page and touches no index.
- Statements use no extension, no function of ours, no trigger and no temporary table.

The number of the schema stands in ``meta``. A store with another number is refused: StoreTooNew, StoreTooOld.
"""

from __future__ import annotations

from typing import Final

from ..store_errors import NotAStore, StoreMissing, StoreTooNew
from .address import Address
from .errors import OtherShards, StoreTooOld
from .link import Connection

SCHEMA_VERSION: Final = 1
SHARDS_DEFAULT: Final = 1

TABLES: Final = """
create table meta(name text primary key, value text not null);
create table shards(
  shard bigint primary key, n bigint not null default 0, instances bigint not null default 0,
  fence bigint not null default 0, owner text not null default '') with (fillfactor = 50);
create table workers(
  id text primary key, lease_s double precision not null, about text not null,
  joined timestamptz not null default clock_timestamp(), heard timestamptz not null default clock_timestamp());
create table codes(
  id bigint generated always as identity primary key, workflow_type text not null, contract_version text not null,
  digest bytea not null, state_schema bigint not null, unique(workflow_type, contract_version, digest, state_schema));
create table envs(
  id bigint generated always as identity primary key, onex text not null, pydantic text not null, python text not null,
  tzdata text not null, git_revision text not null, unique(onex, pydantic, python, tzdata, git_revision));

create table workflow_state(
  instance bigint primary key, workflow_type text collate "C" not null, instance_id text collate "C" not null,
  workflow_key text generated always as (workflow_type || ':' || instance_id) stored,
  version bigint not null, epoch bigint not null, status text not null, terminal boolean not null,
  state_schema bigint not null, state_hash bytea not null, code_id bigint not null, position bigint not null,
  last_us bigint not null, failures bigint not null, held text not null,
  lease_id bytea, lease_until_us bigint not null default 0, updated_us bigint not null, state bytea not null,
  unique(workflow_type, instance_id)) with (fillfactor = 70);

create table log(
  n bigint primary key, instance bigint not null, version bigint not null, prev bigint not null,
  action_id bytea not null, kind text not null, payload bytea not null, payload_schema bigint not null,
  issued_us bigint not null, correlation bytea not null, cause bytea, issuer text not null, body_hash bytea not null,
  intents bytea not null, status text not null, code_id bigint not null, env_id bigint not null,
  state_hash bytea not null);
create unique index log_action on log(instance, action_id);
create index log_anchor on log(instance, version) where version % 64 = 0;

create table outbox(
  n bigint not null, ordinal bigint not null, instance bigint not null, priority bigint not null,
  due_us bigint not null, timer text not null, state text not null default 'waiting',
  attempt bigint not null default 0, fence bigint not null default 0, started boolean not null default false,
  crashes bigint not null default 0, result bytea not null default ''::bytea, error text not null default '',
  primary key(n, ordinal));
create index outbox_timer on outbox(instance, timer) where timer <> '' and state = 'waiting';
create index outbox_due on outbox(due_us) where timer <> '' and state = 'waiting';
create index outbox_stopped on outbox(state) where state <> 'waiting';

create table attempts(
  id bigint generated always as identity primary key, instance bigint not null, n bigint not null,
  ordinal bigint not null, attempt bigint not null, began_us bigint not null, ended_us bigint not null,
  outcome text not null, code text not null, message text not null, trace text not null,
  unique(instance, n, ordinal, began_us, attempt));
create index attempts_ended on attempts(ended_us);

create table rejections(
  id bigint generated always as identity primary key, digest bytea not null unique, key text not null,
  action_id bytea not null, code text not null, message text not null, body bytea not null, times bigint not null,
  first_us bigint not null, last_us bigint not null, trace text not null);
create index rejections_last on rejections(last_us);

create table inbox(
  ticket bigint generated always as identity primary key, shard bigint not null default 0, body bytea not null,
  at_us bigint not null, answer bytea, answered_us bigint not null default 0);
create index inbox_open on inbox(ticket) where answer is null;
create index inbox_answered on inbox(answered_us) where answer is not null;

create table snapshots(
  instance bigint not null, version bigint not null, state_schema bigint not null, code_id bigint not null,
  state_hash bytea not null, at_us bigint not null, state bytea not null, primary key(instance, version));
create table blobs(
  digest bytea primary key, media_type text not null, size bigint not null, at_us bigint not null, data bytea not null);
create table blob_refs(n bigint not null, digest bytea not null, primary key(n, digest));
create index blob_refs_digest on blob_refs(digest);

create table workflow_projection(
  name text collate "C" not null, workflow_type text collate "C" not null, instance_id text collate "C" not null,
  workflow_key text generated always as (workflow_type || ':' || instance_id) stored,
  version bigint not null, tag text not null, last_action text not null, fields bytea not null,
  primary key(name, workflow_type, instance_id));
create index workflow_projection_tag on workflow_projection(name, tag, workflow_type, instance_id);
create table projection_watermarks(
  name text not null, shard bigint not null, n bigint not null, primary key(name, shard));

create view workflow_state_json as select
  workflow_key, version, epoch, status, terminal, convert_from(state, 'UTF8')::jsonb as state,
  state_schema as schema_version, held, to_timestamp(updated_us / 1e6) as updated_at
  from workflow_state;
create view action_dedup_log as select
  w.workflow_key, encode(l.action_id, 'hex') as action_id, encode(l.body_hash, 'hex') as body_hash,
  encode(l.state_hash, 'hex') as result_hash, l.version, l.n >> 48 as shard, l.n & ((1::bigint << 48) - 1) as n,
  to_timestamp(l.issued_us / 1e6) as processed_at
  from log l join workflow_state w using (instance);
"""


async def check(connection: Connection, address: Address) -> int:
    """How many shards the store has. Raises StoreMissing, NotAStore, StoreTooNew, StoreTooOld, OtherShards, and what the
    driver raises."""
    found = await _version(connection, address)
    if found is None:
        raise StoreMissing(f"there is no store at {address.shown}; start an engine on it first", store=address.shown)
    _check_version(found, address)
    return await _shards(connection, address)


async def make(connection: Connection, address: Address) -> int:
    """Make the schema and its tables unless they are there; how many shards the store has. Of two processes that try at once,
    one makes them; both go on."""
    found = await _version(connection, address)
    if found is None:
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", address.lock_key("schema"))
            found = await _version(connection, address)
            if found is None:
                await _fill(connection, address)
                found = SCHEMA_VERSION
    _check_version(found, address)
    return await _shards(connection, address)


async def _version(connection: Connection, address: Address) -> int | None:
    """The number of the schema. None: there are no tables of ours, and no others in their place."""
    names = {
        row[0]
        for row in await connection.fetch(
            "select table_name::text from information_schema.tables where table_schema = $1", address.schema
        )
    }
    if not names:
        return None
    if {"meta", "shards", "workflow_state"} <= names:
        text = await connection.fetchval("select value from meta where name = 'schema_version'")
        if isinstance(text, str) and text.isdecimal():
            return int(text)
    raise NotAStore(
        f"the schema {address.schema} of {address.shown} holds other tables than a store's; name another: ?schema=NAME",
        store=address.shown,
    )


def _check_version(found: int, address: Address) -> None:
    shown = address.shown
    if found > SCHEMA_VERSION:
        raise StoreTooNew(
            f"{shown} has schema {found}; this ONEX knows up to {SCHEMA_VERSION}: use the newer one",
            store=shown,
            found=found,
            known=SCHEMA_VERSION,
        )
    if found < SCHEMA_VERSION:
        raise StoreTooOld(
            f"{shown} has schema {found}, and this ONEX works with {SCHEMA_VERSION}: use the ONEX that made it",
            store=shown,
            found=found,
            known=SCHEMA_VERSION,
        )


async def _shards(connection: Connection, address: Address) -> int:
    found = int(await connection.fetchval("select value from meta where name = 'shards'"))
    if address.shards not in (None, found):
        raise OtherShards(
            f"{address.shown} was made with {found} shards, and its URL asks for {address.shards}; leave shards= out",
            store=address.shown,
            found=found,
        )
    return found


async def _fill(connection: Connection, address: Address) -> None:
    shards = address.shards or SHARDS_DEFAULT
    await connection.execute(f'create schema if not exists "{address.schema}"')
    await connection.execute(TABLES)
    await connection.executemany(
        "insert into meta values($1, $2)", [("schema_version", str(SCHEMA_VERSION)), ("shards", str(shards))]
    )
    await connection.execute("insert into shards(shard) select generate_series(0, $1::bigint - 1)", shards)
