"""``onex demo --workers``: of several workers on one PostgreSQL store one is killed each time, and nothing is lost."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from onex.cli.demo.command import perform
from onex.cli.demo.files import DemoFiles, NotADemoStore
from onex.cli.demo.workload import orders
from onex.wiring.store_access import StoreNotShared
from tests.servers.postgres_server import PostgresServer


def test_two_of_three_workers_are_killed_and_nothing_is_lost(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url, told = postgres.url("demo_workers"), io.StringIO()
    with DemoFiles(url, shared=True) as place:
        proof = perform(orders(60, place.folder), place, 7, told, workers=3, names_commands=False)
    assert proof.commands == []
    assert proof.faults == []
    assert (proof.result.kills, proof.result.instances, proof.result.actions) == (2, 60, 180)
    assert proof.result.effects_retried >= 1
    assert told.getvalue().count("killed one of 3 workers at") == 2
    assert proof.table[0].what == "workers killed"
    with pytest.raises(NotADemoStore, match="there is a store already at"), DemoFiles(url, shared=True):
        pass


def test_a_store_in_a_file_is_not_for_workers() -> None:
    with pytest.raises(StoreNotShared, match="onex demo --workers 3 --store postgres://"):
        DemoFiles("sqlite:///proof.db", shared=True)
    with pytest.raises(StoreNotShared):
        DemoFiles(None, shared=True)


def test_a_schema_is_chosen_where_none_is_named() -> None:
    assert "/shop?schema=onex_demo_" in DemoFiles("postgres://db/shop", shared=True).store_url
    assert "/shop?shards=8&schema=onex_demo_" in DemoFiles("postgres://db/shop?shards=8", shared=True).store_url
