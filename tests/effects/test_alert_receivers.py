"""Receivers of alerts on real sockets: chat, PagerDuty, webhook and mail are told of one alert from firing to resolved."""

from __future__ import annotations

import asyncio
import json
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
from pydantic import JsonValue

import onex
from onex.contracts.alerts.alerts_file import alerts_of
from onex.kernel.errors import DependencyResolutionError, UnknownWorkflow
from onex.wiring.engine import WiredEngine
from onex.workflows.alerts.onex_alert.payloads import Alert
from tests.cli.conftest import JOBS
from tests.effects.http_server import Answer, Got, HttpServer, http_server
from tests.effects.test_notifications import Post, mail_server

KEY = "onex_alert:error_rate"
KINDS = {"team": "chat", "duty": "pagerduty", "post": "mail", "hook": "webhook"}


def file(url: str, mail_port: int) -> str:
    return f"""\
source: shop
receivers:
  team: {{chat: {{url: "{url}/chat", private: true}}, channel: "#ops {{x}}"}}
  duty: {{pagerduty: {{routing_key: {{env: PD_KEY}}, url: "{url}/pd", private: true}}}}
  hook: {{webhook: {{url: "{url}/hook", idempotency_header: X-Id, private: true}}}}
  post:
    mail: {{host: 127.0.0.1, port: {mail_port}, security: none, username: ann, password: {{env: MAIL_PASSWORD}},
           sender: onex@example.com}}
    to: ops@example.com, bo@example.com
"""


def breached(*receivers: str) -> dict[str, JsonValue]:
    return {
        "value": 0.034,
        "rule": {
            "source": "shop", "metric": "error_rate", "bound": "above 0.01", "severity": "high", "for_s": 0, "settle_s": 0,
            "receivers": [{"name": name, "kind": KINDS[name]} for name in receivers],
        },
    }  # fmt: skip


def bodies(server: HttpServer, target: str) -> list[dict[str, JsonValue]]:
    return [json.loads(got.body) for got in server.got if got.target == target]


async def alert_of(engine: WiredEngine) -> Alert:
    stored = await engine.stored(KEY)
    assert stored is not None
    return Alert.model_validate_json(stored.state)


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PD_KEY", "routing-key-1")
    monkeypatch.setenv("MAIL_PASSWORD", "mail-password")


def test_each_receiver_is_told_once_that_it_fires_and_once_that_it_is_over() -> None:
    post = Post()

    async def story() -> HttpServer:
        async with http_server() as server, mail_server(post) as port:
            alerts = alerts_of(file(server.url, port), "alerts.yaml")
            async with await onex.open("memory:", JOBS, alerts=alerts) as engine:
                await engine.submit(KEY, "breached", breached(*KINDS))
                await engine.idle()
                await engine.submit(KEY, "acknowledge", {"by": "ann"})
                await engine.idle()
                await engine.submit(KEY, "recovered", {"value": 0.0})
                await engine.idle()
                return server

    server = asyncio.run(story())
    chat = bodies(server, "/chat")
    assert [str(one["text"]).splitlines()[0] for one in chat] == [
        "[high] shop: error_rate is firing",
        "[high] shop: error_rate is resolved",
    ]
    assert "error_rate is 0.034; the alert is for above 0.01." in str(chat[0]["text"])
    assert chat[0]["channel"] == "#ops {x}"

    pages = bodies(server, "/pd")
    assert [one["event_action"] for one in pages] == ["trigger", "acknowledge", "resolve"]
    assert {(one["routing_key"], one["dedup_key"]) for one in pages} == {("routing-key-1", "shop/error_rate/1")}
    assert isinstance(shown := pages[0]["payload"], dict)
    assert (shown["severity"], shown["source"]) == ("error", "shop")

    hooks = [got for got in server.got if got.target == "/hook"]
    assert [json.loads(got.body)["event"] for got in hooks] == ["firing", "resolved"]
    assert [got.headers["x-id"] for got in hooks] == [
        "shop/error_rate/1/hook/firing",
        "shop/error_rate/1/hook/resolved",
    ]

    letters = [message_from_bytes(one.original_content or b"", policy=default) for one in post.letters]
    assert [one["Subject"] for one in letters] == [
        "[high] shop: error_rate is firing",
        "[high] shop: error_rate is resolved",
    ]
    assert post.letters[0].rcpt_tos == ["ops@example.com", "bo@example.com"]


def test_a_receiver_that_is_down_keeps_no_other_from_being_told() -> None:
    def answer(got: Got) -> Answer:
        return Answer(404, b"no_service") if got.target == "/chat" else Answer()

    async def story() -> tuple[Alert, HttpServer]:
        async with (
            http_server(answer) as server,
            await onex.open("memory:", JOBS, alerts=alerts_of(file(server.url, 1), "a.yaml")) as engine,
        ):
            await engine.submit(KEY, "breached", breached("team", "duty"))
            await engine.wait(KEY, "firing")
            while any(desk.sending for desk in (await alert_of(engine)).desks.values()):
                await engine.idle()
            return await alert_of(engine), server

    alert, server = asyncio.run(story())
    assert len(bodies(server, "/pd")) == 1
    team = alert.desks["team"]
    assert (team.knows, team.tries, "404" in team.error) == (None, 1, True)


def test_a_receiver_that_left_the_file_is_a_named_failure() -> None:
    async def story() -> Alert:
        alerts = alerts_of("receivers: {}", "alerts.yaml")
        async with await onex.open("memory:", JOBS, alerts=alerts) as engine:
            await engine.submit(KEY, "breached", breached("team"))
            await engine.idle()
            return await alert_of(engine)

    assert "no receiver 'team'" in asyncio.run(story()).desks["team"].error


def test_an_app_that_has_the_name_of_the_workflow_is_refused(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(
        "from __future__ import annotations\nfrom typing import Literal\nfrom onex import State, workflow\n"
        'class S(State):\n    status: Literal["a", "b"] = "a"\n'
        'onex_alert = workflow("onex_alert", S)\nonex_alert.move("go", "a -> b")\n'
    )

    async def story() -> None:
        async with await onex.open("memory:", app, alerts=alerts_of("{}", "alerts.yaml")):
            """Never opened."""

    with pytest.raises(UnknownWorkflow, match="onex_alert"):
        asyncio.run(story())


def test_a_library_that_is_missing_is_told_when_the_engine_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onex.effects.mail", None)

    async def story() -> None:
        async with await onex.open("memory:", JOBS, alerts=alerts_of(file("http://127.0.0.1:1", 1), "alerts.yaml")):
            """Never opened."""

    with pytest.raises(DependencyResolutionError, match="mail"):
        asyncio.run(story())
