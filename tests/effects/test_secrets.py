"""Threat 8: a secret is read inside the effect, and is found nowhere else: no store, log, attempt, telemetry, error or export."""

from __future__ import annotations

import asyncio
import json as json_text
import os
import subprocess
import sys
from pathlib import Path

import pytest

import onex
from onex.contracts.model.setting import ModelSetting
from onex.effects.secrets import SettingValues
from onex.kernel.errors import EffectFailed
from tests.effects.http_server import Answer, Got, HangUp, http_server, json
from tests.effects.pay import came_of, write_app

ONEX = Path(sys.executable).with_name("onex")
CANARIES = {
    "env": "canary-env-7f3a",
    "file": "canary-file/9c&1",
    "secret": "canary-vault-2b8d",
    "pin": "canary-pin-55e1",
}
HEADERS = "Authorization: {env: CANARY, prefix: 'Bearer '}, X-File: {file: CANARY_FILE}, X-Vault: {secret: vault}"


class Vault:
    """A program's own secrets; it fails for names that it does not know, and says too much."""

    async def secret(self, name: str) -> str:
        if name != "vault":
            raise LookupError(f"no {name}")
        return CANARIES["secret"]


class Listener:
    """All that telemetry tells."""

    details = True

    def __init__(self) -> None:
        self.heard: list[str] = []

    def emit(self, name: str, **fields: object) -> None:
        self.heard.append(f"{name} {fields}")


def test_no_secret_in_any_channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text(CANARIES["file"] + "\n")
    monkeypatch.setenv("CANARY", CANARIES["env"])
    store, listener = f"sqlite:///{tmp_path / 'store.db'}", Listener()
    headers = HEADERS.replace("CANARY_FILE", str(tmp_path / "token"))
    got: list[Got] = []

    def answer(one: Got) -> Answer:
        got.append(one)
        if one.target == "/c/hang":
            raise HangUp
        said = " ".join([*one.headers.values(), one.body.decode()])
        return json('{"receipt": "r"}') if one.target == "/c/good" else Answer(400, said.encode())

    async def story(app: Path) -> list[str]:
        ends = []
        async with await onex.open(store, app, secrets=Vault(), telemetry=listener) as engine:
            for n, order in enumerate(["good", "bad", "hang"]):
                await engine.submit(f"pay:{n}", "begin", {"order": order, "pin": CANARIES["pin"]})
                await engine.wait(f"pay:{n}", "terminal", 20)
                state = await engine.state(f"pay:{n}")
                assert state is not None
                ends.append(state.status)
        return ends

    async def whole() -> tuple[list[str], Path]:
        async with http_server(answer) as server:
            target = f"bank: {{http: {{base_url: '{server.url}', private: true, headers: {{{headers}}}}}}}"
            app = write_app(tmp_path, target, "http: {path: '/c/{order}'}", tries=2)
            return await story(app), app

    ends, app = asyncio.run(whole())
    assert ends == ["done", "lost", "unsure"]
    sent = got[0].headers
    assert (sent["authorization"], sent["x-file"]) == (f"Bearer {CANARIES['env']}", CANARIES["file"])
    assert sent["x-vault"] == CANARIES["secret"]

    channels = {"telemetry": "\n".join(listener.heard)}
    for file in tmp_path.rglob("store.db*"):
        channels[file.name] = file.read_bytes().decode("latin-1")
    commands = [
        ["show", "pay:1", "--history", "--json"],
        ["show", "pay:2", "--history"],
        ["log", "--json"],
        ["check", str(app)],
        ["export", "pay:1", "--out", str(tmp_path / "run.onexrun"), "--app", str(app)],
    ]
    for words in commands:
        environment = {**os.environ, "ONEX_STORE": store}
        ran = subprocess.run(
            [str(Path(sys.executable).with_name("onex")), *words],
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
        )
        channels[" ".join(words)] = ran.stdout + ran.stderr
    channels["the exported run"] = (tmp_path / "run.onexrun").read_bytes().decode("latin-1")
    assert all(channels.values())
    hits = {
        (channel, name)
        for channel, text in channels.items()
        for name, canary in CANARIES.items()
        if canary in text
        and name != "pin"  # a field of a payload, marked Secret: the store keeps it, promise of its own
    }
    assert hits == set()
    assert "external_call" in channels["telemetry"]
    assert "'what': 'POST 127.0.0.1/c/…'" in channels["telemetry"]
    assert "***" in channels["show pay:1 --history --json"]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (ModelSetting(env="NOT_SET"), "the environment variable NOT_SET is not set"),
        (ModelSetting(env="EMPTY"), "the environment variable EMPTY is not set"),
        (ModelSetting(file="nowhere/at/all"), "the file nowhere/at/all cannot be read"),
        (ModelSetting(secret="other"), "the secret 'other' cannot be had: LookupError: no other"),
    ],
)
def test_a_missing_setting_is_a_failure_that_says_what_to_do(setting: ModelSetting, words: str) -> None:
    values = SettingValues(Vault(), {"EMPTY": ""})
    with pytest.raises(EffectFailed) as raised:
        asyncio.run(values.text(setting, what="the header A of 'bank'"))
    assert raised.value.reason == "setting_missing"
    assert raised.value.message.startswith("the header A of 'bank': ")
    assert words in raised.value.message


def test_a_file_is_read_at_each_call_and_old_values_stay_hidden(tmp_path: Path) -> None:
    file, values = tmp_path / "token", SettingValues()
    setting = ModelSetting(file=str(file), prefix="Bearer ")
    for value in ("first-value", "second value"):
        file.write_text(f"{value}\n")
        assert asyncio.run(values.text(setting, what="it")) == f"Bearer {value}"
    assert values.masked("first-value, second value, second%20value, third") == "***, ***, ***, third"


def test_an_address_hides_its_path_and_shows_its_host(tmp_path: Path) -> None:
    values = SettingValues(None, {"HOOK": "https://hooks.example/services/T01/secret"})
    assert asyncio.run(values.url(ModelSetting(env="HOOK"), what="url")) == "https://hooks.example/services/T01/secret"
    assert values.masked("POST hooks.example/services/T01/secret") == "POST hooks.example/***"


def test_what_is_not_set_is_a_warning_when_the_app_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET_HERE", raising=False)
    target = "bank: {http: {base_url: {env: NOT_SET_HERE}, headers: {X-A: {file: /no/such/file}}}}"
    app = write_app(tmp_path, target, "http: {path: /c}")
    found = [(one.code, one.message) for one in onex.load_app(app).findings]
    assert ("setting_not_set", "the environment variable NOT_SET_HERE is not set here") in found
    assert ("setting_not_set", "there is no file /no/such/file here") in found
    assert asyncio.run(came_of(app))[0] == "lost"


def test_where_a_target_is_reached_is_no_code(tmp_path: Path) -> None:
    """Another address does not make other code: a recorded history stays what it is."""
    codes = set()
    for place in ("https://a.example", "https://b.example"):
        for call in ("http: {path: /c}", "http: {path: /d, failed: [500]}"):
            app = onex.load_app(write_app(tmp_path, f"bank: {{http: {{base_url: '{place}'}}}}", call))
            codes.add(app.workflows["pay"].code)
    assert len(codes) == 1
    dumped = json_text.dumps(app.workflows["pay"].contract.decided)
    assert "example" not in dumped


def test_onex_run_says_at_its_start_what_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET_HERE", raising=False)
    app = write_app(tmp_path, "bank: {http: {base_url: {env: NOT_SET_HERE}}}", "http: {path: /c}")
    words = ["run", str(app), "--until-idle", "--store", f"sqlite:///{tmp_path / 's.db'}"]
    told = subprocess.run([ONEX, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL).stderr
    assert "the environment variable NOT_SET_HERE is not set here, and the calls that need it will fail" in told
    assert f"{app.name}/contract.yaml:" in told
