"""``onex run --alerts``, ``onex alerts`` and ``onex sla`` as a person uses them, and an alert over kill -9."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from pydantic import JsonValue

from tests.cli.conftest import JOBS, Commands, Process, fill, place, processes
from tests.monitoring.test_prometheus import webhook

__all__ = ["place", "processes"]  # fixtures of the commands

KEY = "onex_alert:intents_dead"
RULE = "intents_dead: {metric: dead_intents, above: 0, for_s: 0, settle_s: 0, severity: critical}"


def write(receiver: str) -> None:
    Path("alerts.yaml").write_text(
        f"source: shop\ninterval_s: 1\ndefaults: false\nreceivers:\n  one: {receiver}\nrules:\n  {RULE}\n"
    )


def chat(url: str) -> str:
    return f'{{chat: {{url: "{url}", private: true}}}}'


def test_an_alert_goes_from_a_dead_intent_to_a_person_and_is_over_when_that_is_mended(
    place: Path, processes: type[Process], commands: Commands
) -> None:
    with webhook() as (url, posted):
        write(chat(url))
        fill(JOBS, [("jobs:1", "blow", None)])
        run = processes("run", JOBS, "--alerts", "alerts.yaml")
        run.until("watches 1 rule for 1 receiver")
        told = posted.get(timeout=60)
        assert told["text"].startswith("[critical] shop: intents_dead is firing\ndead_intents is 1;")
        listed = commands("alerts", "--alerts", "alerts.yaml")
        assert (listed.code, "firing" in listed.out, "1 firing" in listed.out) == (1, True, True)
        row = commands("alerts", "--alerts", "alerts.yaml", "--json").row
        assert (row["alert"], row["standing"], row["value"], row["incidents"]) == ("intents_dead", "firing", 1.0, 1)
        taken = commands("alerts", "ack", "intents_dead", "--by", "ann", "--note", "on it", "--json")
        assert taken.row == {"alert": "intents_dead", "status": "firing"}
        again = commands("alerts", "--alerts", "alerts.yaml")
        assert (again.code, "taken up by ann" in again.out) == (0, True)
        Path("alerts.yaml").write_text("defaults: false\nreceivers: {one: " + chat(url) + "}\n")
        assert run.end(signal.SIGINT).code == 130
        second = processes("run", JOBS, "--alerts", "alerts.yaml")
        assert posted.get(timeout=60)["text"].startswith("[critical] shop: intents_dead is resolved")
        assert second.end(signal.SIGINT).code == 130
        assert posted.empty()


@pytest.mark.parametrize(("kind", "times"), [("pagerduty", 1), ("chat", 0)])
def test_kill_between_commit_and_send(
    kind: str, times: int, place: Path, processes: type[Process], commands: Commands
) -> None:
    """The address is read from a pipe, so the effect stands before its call until somebody writes: there it is killed.

    PagerDuty knows the key of the incident: it is told by the next engine, once. A chat knows no key: whether it was told is
    not known, so it is not told again, and the doubt is shown.
    """
    os.mkfifo("address")
    field = {"pagerduty": "{pagerduty: {routing_key: k, url: {file: address}, private: true}}"}
    write(field.get(kind, "{chat: {url: {file: address}, private: true}}"))
    fill(JOBS, [("jobs:1", "blow", None)])
    run = processes("run", JOBS, "--alerts", "alerts.yaml")
    pipe = os.open("address", os.O_WRONLY)  # returns when the effect has opened it to read
    run.popen.kill()
    run.popen.wait()
    os.close(pipe)
    with webhook() as (url, posted):
        Path("address").unlink()
        Path("address").write_text(url)
        again = processes("run", JOBS, "--alerts", "alerts.yaml", "--log", "json", "-v")
        again.until('"told"' if times else '"in_doubt"')
        got = [posted.get(timeout=60) for _ in range(times)]
        assert [(one["event_action"], one["dedup_key"]) for one in got] == [("trigger", "shop/intents_dead/1")] * times
        assert again.end(signal.SIGINT).code == 130
        assert posted.empty()
    replayed = commands("replay", JOBS, "--strict")
    assert (replayed.code, "not at hand" in replayed.out) == (0, False), replayed.out
    assert commands("migrate", "--check", JOBS).code == 0
    shown = commands("alerts", "--alerts", "alerts.yaml", "--json").row["receivers"]
    assert isinstance(shown, dict)
    one = shown["one"]
    assert isinstance(one, dict)
    assert (one["knows"], one["doubts"]) == ("firing", 0 if times else 1)


def test_check_reads_a_file_of_alerts_by_its_name(commands: Commands, place: Path) -> None:
    Path("alerts.yaml").write_text("source: shop\nrules: {a: {metric: error_rat, above: 1}}\n")
    for where in ("alerts.yaml", "."):
        told = commands("check", where)
        assert (told.code, "[unknown_metric]" in told.out, "alerts.yaml:2:" in told.out) == (1, True, True)
    Path("prod.alerts.yaml").write_text("source: shop\nrules: {a: {metric: error_rate, above: 1}}\n")
    told = commands("check", "prod.alerts.yaml")
    assert (told.code, "ok. alerts shop" in told.out) == (0, True)
    Path("alerts.yaml").write_text("groups: [{name: of Prometheus}]\n")
    assert commands("check", ".").code == 0


def test_rules_without_a_store_for_prometheus(commands: Commands) -> None:
    told = commands("alerts", "--prometheus")
    assert (told.code, "alert: OnexErrorRate" in told.out) == (0, True)


def test_what_is_wrong_in_the_file_is_told_before_anything_runs(commands: Commands, place: Path) -> None:
    Path("alerts.yaml").write_text("rules: {a: {metric: error_rat, above: 1}}")
    for words in (["run", str(JOBS)], ["alerts"], ["sla"]):
        told = commands(*words, "--alerts", "alerts.yaml")
        assert (told.code, "unknown_metric" in told.err, "did you mean 'error_rate'" in told.err) == (1, True, True)
    assert not Path("store.db").exists()
    told = commands("run", JOBS, "--alerts", "nowhere.yaml")
    assert (told.code, "cannot be read as a file of alerts" in told.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["ack"], 2, "takes the name of a rule"),
        (["list", "x"], 2, "takes no name"),
        (["ack", "nothing"], 1, "there is no alert 'nothing'"),
        (["silence", "x", "--prometheus"], 2, "only prints rules"),
    ],
)
def test_what_cannot_be_asked(words: list[str], code: int, said: str, commands: Commands, place: Path) -> None:
    fill(JOBS, [("jobs:1", "blow", None)])
    told = commands("alerts", *words)
    assert (told.code, said in told.err) == (code, True), told.err


def test_the_report_tells_what_was_recorded_and_exits_1_for_a_violation(commands: Commands, place: Path) -> None:
    from onex.cli.console import now_us

    fill(JOBS, [("jobs:1", "blow", None)])
    empty = commands("sla")
    assert (empty.code, "nothing is recorded yet" in empty.err) == (0, True)
    number = now_us() // 60_000_000
    windows: JsonValue = {"latency": 3600, "availability": 86_400}
    good: JsonValue = {"latency": True, "availability": True}
    fill(
        Path("onex:alerts"),
        [("onex_objectives:store", "minute", {"number": number - 1, "good": good, "windows_s": windows})],
    )
    rows = {str(row["name"]): row for row in commands("sla", "--json").rows}
    assert set(rows) == {"latency", "availability", "recovery", "cache_hits"}
    assert (rows["latency"]["met"], rows["latency"]["good"], rows["latency"]["target"]) == (True, 1, 0.999)
    fill(
        Path("onex:alerts"),
        [("onex_objectives:store", "minute", {"number": number, "good": {"latency": False}, "windows_s": windows})],
    )
    told = commands("sla")
    assert (told.code, "NOT MET" in told.out) == (1, True)


def test_a_silence_waits_in_the_store_for_the_next_engine(commands: Commands, place: Path) -> None:
    fill(JOBS, [("jobs:1", "blow", None)])
    told = commands("alerts", "silence", "error_rate", "--for", "600", "--timeout", "0")
    assert told.code != 0

    async def go() -> None:
        import onex

        async with await onex.open("sqlite:///store.db", "onex:alerts") as engine:
            await engine.idle()

    asyncio.run(go())
    row = next(row for row in commands("alerts", "--json").rows if row["alert"] == "error_rate")
    assert row["silenced_until"] is not None
    json.dumps(row)
