"""Rules and dashboards on a real Prometheus that scrapes a real ``onex run``; one alert goes its whole way to a webhook."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from onex.contracts.alerts.alerts_file import default_alerts
from onex.contracts.alerts.prometheus_rules import prometheus_rules
from tests.cli.conftest import JOBS, Process, place, processes
from tests.laws.tree import ROOT
from tests.servers.prometheus_server import NoPrometheus, program, running_prometheus

__all__ = ["place", "processes"]  # fixtures of the commands

DEPLOY = ROOT / "deploy"
GUIDE = (ROOT / "docs" / "guides" / "monitoring.md").read_text()
RULES: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())
ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((DEPLOY / "grafana").glob("*.json"))}
NO_SERIES = re.compile(r"event_bus_events_consumed_total|rejections_total|error_recovery_attempts_total")
"""What this test does not bring about: a message that comes in, a refusal, a try that is repeated."""
FIRED_S = 60.0


def panels() -> list[tuple[str, str]]:
    return [
        (f"{name}: {panel['title']}", target["expr"].replace("$__rate_interval", "1m"))
        for name, one in DASHBOARDS.items()
        for panel in one["panels"]
        for target in panel["targets"]
    ]


def names_in(expression: str) -> set[str]:
    """The metrics of an expression, histograms without their suffix."""
    found = set(re.findall(r"\b[a-z]+(?:_[a-z]+){2,}\b", re.sub(r'"[^"]*"|by \([^)]*\)', "", expression)))
    return {name.removesuffix("_bucket") for name in found}


@contextmanager
def webhook() -> Iterator[tuple[str, Queue[dict[str, Any]]]]:
    """Its URL, and what was posted to it."""
    posted: Queue[dict[str, Any]] = Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/alerts", posted
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_promtool_finds_the_rules_and_the_configuration_in_order() -> None:
    promtool = program("promtool")
    for words in (["rules", "rules.yml"], ["config", "prometheus.yml"]):
        told = subprocess.run(
            [promtool, "check", *words], cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False
        )
        assert told.returncode == 0, told.stdout + told.stderr
    wrong = yaml.safe_dump({"groups": [{"name": "a", "rules": [{"alert": "A", "expr": "sum by ("}]}]})
    told = subprocess.run(
        [promtool, "check", "rules", "/dev/stdin"], input=wrong, capture_output=True, text=True, check=False
    )
    assert told.returncode != 0


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_says_what_is_wrong_and_the_guide_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    assert rule["annotations"]["summary"]
    assert rule["labels"]["severity"] in ("critical", "high", "medium", "low")
    assert f"| `{name}` |" in GUIDE


def test_the_rules_are_those_that_an_engine_watches_itself_by() -> None:
    assert (DEPLOY / "prometheus" / "rules.yml").read_text() == prometheus_rules(default_alerts())


def test_rules_and_panels_name_metrics_that_exist() -> None:
    known = set(re.findall(r"`(\w+)`", GUIDE)) | {"process_resident_memory_bytes"}
    for what, expression in [*panels(), *((name, rule["expr"]) for name, rule in ALERTS.items())]:
        assert names_in(expression) - known == set(), what


def test_a_real_prometheus_scrapes_a_run_and_an_alert_reaches_a_person(place: Path, processes: type[Process]) -> None:
    program("prometheus")
    at_once = json.loads(json.dumps(RULES))
    for group in at_once["groups"]:
        for rule in group["rules"]:
            rule["for"] = "0s"
    run = processes("run", JOBS, "--listen", "127.0.0.1:0", "--projection", "--bus", "memory:")
    where = run.until("health on").split()[-1].removeprefix("http://").removesuffix("/health")
    with webhook() as (url, posted), _prometheus(where, at_once, url) as prometheus:
        sent = processes("submit", "jobs:1", "blow").end()
        assert sent.code == 0, sent.err
        alerts: dict[str, Any] = {}
        end_s = time.monotonic() + FIRED_S
        while "OnexIntentsDead" not in alerts:
            try:
                told = posted.get(timeout=max(0.1, end_s - time.monotonic()))
            except Empty:
                raise AssertionError(f"no alert came: {prometheus.ask('rules')}") from None
            alerts |= {one["labels"]["alertname"]: one for one in told["alerts"]}
        fired = alerts["OnexIntentsDead"]
        assert (fired["status"], fired["labels"]["severity"]) == ("firing", "high")
        assert fired["annotations"]["summary"] == "dead_intents is 1, above 0: intents that are dead"

        rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
        assert {rule["name"] for rule in rules} == set(ALERTS)
        assert {rule["name"]: rule["lastError"] for rule in rules if rule.get("lastError")} == {}
        while not prometheus.ask("query", {"query": "count_over_time(onex_store_up[1m]) > 2"})["result"]:
            assert time.monotonic() < end_s, "a rate needs two scrapes"
        shown = {one: prometheus.ask("query", {"query": one})["result"] for _, one in panels()}
        assert [(what, one) for what, one in panels() if not shown[one] and not NO_SERIES.search(one)] == []
        (target,) = prometheus.ask("targets")["activeTargets"]
        assert (target["health"], target["lastError"]) == ("up", "")
        labels = prometheus.ask("labels")
        assert not {"instance_id", "workflow_key", "key", "correlation_id"} & set(labels)
        with urlopen(f"http://{where}/metrics") as page:
            assert b"jobs:1" not in page.read()


@contextmanager
def _prometheus(where: str, rules: dict[str, Any], url: str) -> Iterator[Any]:
    try:
        with running_prometheus(where, rules, url) as server:
            yield server
    except NoPrometheus as error:
        pytest.skip(f"no Prometheus here: {error}")
