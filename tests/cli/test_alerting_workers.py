"""Two workers watch one PostgreSQL store: a person is told once, and the alert outlives the worker that told it first."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.cli.conftest import JOBS, Commands, Process, place, processes
from tests.monitoring.test_prometheus import webhook
from tests.servers.postgres_server import PostgresServer

__all__ = ["place", "processes"]  # fixtures of the commands

pytestmark = pytest.mark.long


def test_two_workers_tell_a_person_once(
    place: Path,
    processes: type[Process],
    commands: Commands,
    postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ONEX_STORE", postgres.url("alerting_workers") + "&shards=8")
    with webhook() as (url, posted):
        Path("alerts.yaml").write_text(
            f'interval_s: 1\ndefaults: false\nreceivers: {{one: {{chat: {{url: "{url}", private: true}}}}}}\n'
            "rules: {intents_dead: {metric: dead_intents, above: 0, for_s: 2, settle_s: 0, severity: critical}}\n"
            "objectives: {up: {metric: available, at_least: 1, window_s: 3600, target: 0.9}}\n"
        )
        words = ("worker", JOBS, "--alerts", "alerts.yaml", "--lease", "1")
        first, second = processes(*words), processes(*words)
        first.until("watches 1 rule")
        second.until("watches 1 rule")
        assert commands("submit", "jobs:1", "blow").code == 0
        assert posted.get(timeout=60)["text"].startswith("[critical] onex: intents_dead is firing")
        assert commands("wait", "onex_alert:intents_dead", "--until", "firing").code == 0
        first.popen.kill()
        first.popen.wait()
        Path("alerts.yaml").write_text(Path("alerts.yaml").read_text().replace("above: 0", "above: 9"))
        third = processes(*words)
        third.until("watches 1 rule")
        assert second.end(signal.SIGTERM).code == 0
        listed = commands("alerts", "--alerts", "alerts.yaml", "--json").rows
        assert next(row for row in listed if row["alert"] == "intents_dead")["standing"] == "firing"
        assert posted.empty()
        assert third.end(signal.SIGTERM).code == 0
        rows = {str(row["name"]): row for row in commands("sla", "--alerts", "alerts.yaml", "--json").rows}
        assert (rows["up"]["good"], rows["up"]["bad"]) in ((1, 0), (2, 0), (3, 0))
