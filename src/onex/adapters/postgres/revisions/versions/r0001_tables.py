"""Revision 0001: the tables, their indexes, and the views that an application may read.

The layout is that of the SQLite store (docs/decisions/0005): the log is laid out for appending, and one unique index over
(instance, action id) is both dedup and the way to an instance's rows. What differs:

- Text compares by bytes (``collate "C"``), so lists have the same order as everywhere else.
- A position is one number, the place (``sql_rows``): so the keys of log, outbox, attempts and blob references begin with the
  shard, and the rows of a shard stand together. An instance of shard s has the number k * shards + s, with k from the row of s in
  ``shards``. So nobody but the owner of a shard makes numbers in it.
- A rejection is found by a digest of key, action id and code: they may be longer than an index takes.
- ``workflow_state`` leaves room in its pages, so an update stays in its page and touches no index; and so does ``shards``.
- Statements use no extension, no function of ours, no trigger and no temporary table.

The views have the names and columns of the seed documents where these ask for JSON or for times.
"""

from __future__ import annotations

from typing import Final

revision: Final = "0001"
down_revision: Final = None

UP: Final = """
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
  name text not null, shard bigint not null, n bigint not null,
  partition_id text generated always as (name || ':' || shard::text) stored,
  "offset" bigint generated always as (n) stored, primary key(name, shard));

create view workflow_state_json as select
  w.workflow_key, w.version, w.epoch, w.status, w.terminal, convert_from(w.state, 'UTF8')::jsonb as state,
  w.state_schema as schema_version, w.held, to_timestamp(w.updated_us / 1e6) as updated_at,
  jsonb_build_object('contract_version', c.contract_version, 'code', encode(c.digest, 'hex')) as provenance
  from workflow_state w left join codes c on c.id = w.code_id;
create view workflow_projection_json as select
  p.workflow_key, p.version, p.tag, p.last_action, p.name as namespace, convert_from(p.fields, 'UTF8')::jsonb as extras
  from workflow_projection p;
create view action_dedup_log as select
  w.workflow_key, encode(l.action_id, 'hex')::uuid as action_id, encode(l.body_hash, 'hex') as body_hash,
  encode(l.state_hash, 'hex') as result_hash, l.version, l.n >> 48 as shard, l.n & ((1::bigint << 48) - 1) as n,
  to_timestamp(l.issued_us / 1e6) as processed_at
  from log l join workflow_state w using (instance);
"""
DOWN: Final = """
drop view action_dedup_log;
drop view workflow_projection_json;
drop view workflow_state_json;
drop table projection_watermarks;
drop table workflow_projection;
drop table blob_refs;
drop table blobs;
drop table snapshots;
drop table inbox;
drop table rejections;
drop table attempts;
drop table outbox;
drop table log;
drop table workflow_state;
drop table envs;
drop table codes;
drop table workers;
drop table shards;
drop table meta;
"""


def upgrade() -> None:
    from alembic import op

    for statement in UP.strip().split(";\n"):
        op.execute(statement)


def downgrade() -> None:
    from alembic import op

    for statement in DOWN.strip().split(";\n"):
        op.execute(statement)
