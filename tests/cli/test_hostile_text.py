"""Text of others on a terminal: whatever a store, a file, a contract or a word holds, nothing of it comes out raw."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest

from onex.cli.console import json_text, shown, styled, width
from onex.cli.main import _MODULES, main
from onex.kernel.visible_text import visible, visible_json
from tests.cli.conftest import ITEMS, ORDERS, ROOT, STORE, Commands, fill
from tests.cli.test_terminal import on_terminal

STEERING = "\x07\x1b[31m\x9b2J\x7f\x85\u202e\u2066\u200e\u2028\u2029\U000e0041\u200b\ufeff"
NASTY = f"a{STEERING}[bold]b\r\nforged  line"
RAW = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
STYLE = re.compile(r"\x1b\[(?:0|1|2|31|32|33)m|\r\x1b\[2K|\r\n")


def yaml(value: object) -> str:
    """JSON but for one escape: what stands beyond 16 bits is one character in YAML, and a pair in JSON."""
    return json.dumps(value).replace("\\udb40\\udc41", "\\U000e0041")


CONTRACT = {
    "name": "odd",
    "contract_version": {"major": 1, "minor": 0, "patch": 0},
    "node_type": "REDUCER_GENERIC",
    "state_model": "Odd",
    "state_machine": {
        "initial_state": "open",
        "terminal_states": ["over"],
        "states": [{"name": "open", "timeout_ms": 60000, "on_timeout": "go", "description": NASTY}, {"name": "over"}],
        "transitions": [
            {
                "from_state": "open",
                "to_state": "open",
                "trigger": "say",
                "payload": "Word",
                "conditions": [{"expression": f"(payload.text != {yaml(NASTY)})"}],
            },
            {"from_state": "open", "to_state": "open", "trigger": "go"},
            {"from_state": "open", "to_state": "over", "trigger": "end"},
        ],
    },
}
PAYLOADS = """from __future__ import annotations
from onex import Payload, State

class Odd(State):
    text: str = ""

class Word(Payload):
    text: str = ""
"""
REDUCER = """from __future__ import annotations
from onex import Step, reducer
from .payloads import Odd

table = reducer(Odd)

@table.on("say")
def say(state, action):
    if action.payload.text == "fail":
        raise ValueError(action.payload.text + state.text)
    return Step(state.evolve(text=action.payload.text))
"""


def hostile_repository(place: Path) -> Path:
    """Contracts of others with names, topics and guards that steer; a file whose name does; code that claims to be pure."""
    root = place / f"repo{STEERING}"
    (root / "shop").mkdir(parents=True)
    (root / "shop" / f"pay{STEERING}.py").write_text("import time\n\ndef handle(x):\n    return time.time()\n")
    (root / "shop" / "__init__.py").write_text("")
    contract = {
        "name": NASTY,
        "contract_version": NASTY,
        "node_type": "compute",
        "description": NASTY,
        "purity": "pure",
        "handler": {"module": "shop.pay" + STEERING, "function": "handle"},
        NASTY: NASTY,
        "published_events": [{"topic": f"onex.evt.shop.{NASTY}.v1"}],
        "subscribe_topics": [f"onex.cmd.{NASTY}"],
        "fsm": {
            "initial_state": NASTY,
            "states": [NASTY, "lost"],
            "transitions": [{"from": NASTY, "to": NASTY, "trigger": NASTY, "guard": f"amount {NASTY} 3"}],
        },
    }
    (root / "shop" / f"contract{STEERING}.yaml").write_text(yaml(contract))
    (root / "shop" / "broken.yaml").write_text(f"node_type: compute\nname: [{NASTY}")
    return root


class Scene(NamedTuple):
    """A folder with an app, a repository, a run whose texts steer, and a store of each."""

    place: Path
    app: Path
    repository: Path
    run: Path

    def words(self, words: list[str]) -> list[str]:
        known = {"{app}": self.app, "{run}": self.run, "{repository}": self.repository}
        return [str(known.get(word, word)) for word in words]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    place = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("ONEX_")]:
            patch.delenv(name)
        patch.chdir(place)
        patch.setenv("ONEX_STORE", STORE)
        patch.setenv("ONEX_ORDERS_DIR", str(place / "out"))
        app = place / "odd"
        app.mkdir()
        (app / "contract.yaml").write_text(yaml(CONTRACT))
        (app / "payloads.py").write_text(PAYLOADS)
        (app / "reducer.py").write_text(REDUCER)
        fill(ORDERS, [("orders:1", "place", {"items": ITEMS}), ("orders:1", "cancel", None)])
        assert main(["export", "--no-redact", "--out", "clean.onexrun"]) == 0
        lines = [
            json.dumps(_exchanged(json.loads(line))) for line in (place / "clean.onexrun").read_text().splitlines()
        ]
        run = place / "odd.onexrun"
        run.write_text("\n".join(lines) + "\n")
        assert main(["import", str(run), "--store", "sqlite:///read.db"]) == 0
        for number, (trigger, text) in enumerate((("say", STEERING), (NASTY, "x"), ("say", NASTY), ("say", "fail"))):
            main(["submit", f"odd:{number % 3}", trigger, "--no-wait", "--payload", json.dumps({"text": text})])
        assert main(["run", str(app), "--until-idle"]) == 0
        yield Scene(place, app, hostile_repository(place), run)


def _exchanged(value: object, name: str = "") -> object:
    if isinstance(value, dict):
        return {key: _exchanged(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return [_exchanged(part, name) for part in value]
    if isinstance(value, str) and name in (
        "status",
        "issuer",
        "contract_version",
        "git_revision",
        "python",
        "held",
        "version",
    ):
        return value + NASTY
    return value


WORDS: dict[str, list[list[str]]] = {
    "run": [["run", f"nowhere{NASTY}"], ["run", "{app}", "--store", f"sqlite:///{STEERING}/x.db"]],
    "worker": [
        ["worker", f"nowhere{NASTY}"],
        ["worker", "{app}", "--store", f"sqlite:///{STEERING}/x.db"],
        ["worker", "{app}", "--store", f"postgres://{STEERING}@127.0.0.1:1/x"],
        ["worker", "{app}", "--listen", NASTY],
    ],
    "serve": [
        ["serve", NASTY],
        ["serve", "--listen", NASTY],
        ["serve", "--tokens", NASTY],
        ["serve", "--listen", "0.0.0.0:1"],
    ],
    "top": [["top", "--once"], ["top", "--once", "--json"], ["top", "--store", NASTY]],
    "mcp": [["mcp", f"--{NASTY}"]],
    "token": [["token", NASTY], ["token", "ada"], ["token", "ada", "--json"], ["token", "ada", "--role", NASTY]],
    "alerts": [
        ["alerts"],
        ["alerts", "--alerts", NASTY],
        ["alerts", NASTY],
        ["alerts", "ack", NASTY],
        ["alerts", "silence", NASTY, "--json"],
        ["alerts", "--store", NASTY],
    ],
    "sla": [["sla"], ["sla", "--json"], ["sla", "--alerts", NASTY], ["sla", "--store", NASTY]],
    "nodes": [["nodes"], ["nodes", "--json"], ["nodes", "--status", NASTY], ["nodes", "--store", NASTY]],
    "register": [["register", NASTY, "--wait", "0"], ["register", "node", "--name", NASTY, "--wait", "0"]],
    "schedules": [
        ["schedules"],
        ["schedules", "--json"],
        ["schedules", NASTY],
        ["schedules", "next", NASTY],
        ["schedules", "pause", NASTY, "--json"],
        ["schedules", "--store", NASTY],
    ],
    "workers": [["workers"], ["workers", "--json"], ["workers", "--store", NASTY]],
    "store": [
        ["store", NASTY],
        ["store", "upgrade"],
        ["store", "upgrade", "--store", NASTY],
        ["store", "roles", "--json"],
        ["store", "new-key", NASTY],
        ["store", "encrypt", "--json"],
        ["store", "rotate-keys"],
    ],
    "submit": [
        ["submit", f"orders:{STEERING}", "place"],
        ["submit", "orders:9", NASTY, "--no-wait"],
        ["submit", "orders:9", NASTY, "--no-wait", "--json"],
        ["submit", "orders:9", "x", "--payload", NASTY],
        ["submit", "orders:9", "x", "--payload", f"@{NASTY}"],
    ],
    "wait": [
        ["wait", NASTY],
        ["wait", f"orders:{STEERING}", "--timeout", "0"],
        ["wait", f"orders:{STEERING}", "--timeout", "0", "--json"],
        ["wait", "orders:1", "--until", NASTY, "--timeout", "0"],
        ["wait", "odd:1", "--timeout", "0", "--app", NASTY],
    ],
    "demo": [["demo", f"--{NASTY}"]],
    "bench": [["bench", NASTY]],
    "show": [
        ["show", "orders:1"],
        ["show", "orders:1", "--history"],
        ["show", "orders:1", "--json", "--history"],
        ["show", NASTY],
        ["show", f"orders:{STEERING}"],
        ["show", "odd:1"],
        ["show", "odd:1", "--json"],
    ],
    "bulk": [
        ["bulk", NASTY],
        ["bulk", "signal", NASTY, "--where", "ended = false", "--dry-run"],
        ["bulk", "cancel", "--where", NASTY],
        ["bulk", "cancel", "--where", "version > 0", "--dry-run"],
        ["bulk", "cancel", "--where", "version > 0", "--dry-run", "--json"],
        ["bulk", "resume", NASTY],
    ],
    "count": [
        ["count"],
        ["count", "--json", "--by", "status"],
        ["count", "--by", NASTY],
        ["count", "--where", NASTY],
        ["count", "--type", NASTY],
        ["count", NASTY],
    ],
    "ls": [
        ["ls"],
        ["ls", "--json"],
        ["ls", "--count"],
        ["ls", "--type", NASTY],
        ["ls", "--after", NASTY],
        ["ls", "--where", NASTY],
        ["ls", "--where", f"status = '{NASTY}'"],
        ["ls", "--order", NASTY],
        ["ls", "--order", "updated", "--after", NASTY],
        ["ls", NASTY],
    ],
    "log": [["log"], ["log", "--json"], ["log", "orders:1"], ["log", NASTY], ["log", "--after", NASTY]],
    "projection": [["projection", NASTY], ["projection", "--tag", NASTY], ["projection", "--json"]],
    "rejections": [["rejections"], ["rejections", "--json"], ["rejections", NASTY]],
    "dead": [["dead"], ["dead", "--json"], ["dead", "--redrive", NASTY]],
    "erase": [["erase", NASTY], ["erase", "orders:1"], ["erase", NASTY, "--yes", "--json"]],
    "release": [["release", NASTY], ["release", "odd", NASTY]],
    "simulate": [
        ["simulate", "{app}", "--seeds", "2"],
        ["simulate", "{app}", "--seed", "3"],
        ["simulate", "{app}", "--seeds", "1", "--json"],
        ["simulate", NASTY],
    ],
    "gc": [["gc", "--dry-run"], ["gc", "--archive", f"{STEERING}.archive", "--json"], ["gc", "--older-than", NASTY]],
    "backup": [["backup", f"{STEERING}.backup"], ["backup", f"{STEERING}.backup", "--json"]],
    "restore": [
        ["restore", f"{STEERING}.backup", "--store", f"sqlite:///{STEERING}2.db"],
        ["restore", NASTY, "--store", "sqlite:///q2.db"],
    ],
    "verify": [["verify"], ["verify", "--json"], ["verify", "--from", "{run}"], ["verify", "--from", NASTY]],
    "replay": [
        ["replay", str(ORDERS), "--from", "{run}"],
        ["replay", str(ORDERS), "--from", "{run}", "--json"],
        ["replay", "{app}"],
        ["replay", NASTY],
        ["replay", str(ORDERS), "--with", NASTY],
        ["replay", str(ORDERS), "--from", NASTY],
    ],
    "whatif": [
        ["whatif", "--against", str(ORDERS), "--from", "{run}"],
        ["whatif", "--against", str(ORDERS), "--from", "{run}", "--json"],
        ["whatif", "--against", "{app}", "--html", "page.html"],
        ["whatif", "--against", NASTY],
        ["whatif", "--against", "x", "--since", NASTY],
    ],
    "versions": [["versions"], ["versions", "--json"], ["versions", "--type", NASTY]],
    "forward": [
        ["forward", "{app}", "--against", "{app}"],
        ["forward", "{app}", "--against", "{app}", "--json"],
        ["forward", NASTY, "--against", NASTY],
    ],
    "deploy": [
        ["deploy", "--status"],
        ["deploy", "--status", "--json"],
        ["deploy", NASTY, "--releases", NASTY],
        ["deploy", "{app}", "--canary", NASTY, "--releases", "releases"],
        ["deploy", "--roll-back", "--reason", NASTY],
    ],
    "shadow": [
        ["shadow", "{app}", "--for", "1s"],
        ["shadow", NASTY],
        ["shadow", "{app}", "--for", NASTY],
    ],
    "migrate": [
        ["migrate", "--check", "{app}"],
        ["migrate", "--check", "{app}", "--json"],
        ["migrate", "--check", NASTY],
    ],
    "export": [
        ["export", "--out", f"{STEERING}.onexrun"],
        ["export", NASTY, "--out", "x.onexrun"],
        ["export", "--out", "y.onexrun", "--redact", NASTY],
        ["export", "--type", NASTY, "--out", "z.onexrun"],
    ],
    "import": [
        ["import", "{run}", "--store", f"sqlite:///{STEERING}.db"],
        ["import", NASTY, "--store", "sqlite:///q.db"],
    ],
    "check": [
        ["check", "{app}"],
        ["check", "{repository}", "--all"],
        ["check", "{repository}", "--json"],
        ["check", "{repository}", "--diff"],
        ["check", "{repository}", "--sarif", "-"],
        ["check", "{repository}", "--sarif", "found.sarif"],
        ["check", NASTY],
    ],
    "diff": [
        ["diff", "{app}", "{repository}"],
        ["diff", "{repository}", "{app}", "--all"],
        ["diff", "{repository}", "{app}", "--json"],
        ["diff", NASTY, NASTY],
    ],
    "doctor": [
        ["doctor", "{repository}", "--all"],
        ["doctor", "{repository}", "--json"],
        ["doctor", "{repository}", "--map", "map.svg", "--map", "map.md", "--map", "map.mmd"],
        ["doctor", NASTY],
        ["doctor", "{repository}", "--map", NASTY],
    ],
    "diagram": [
        ["diagram", "{app}"],
        ["diagram", "{app}", "--format", "svg"],
        ["diagram", "{app}", "--svg", "odd.svg"],
        ["diagram", "{app}", "--json"],
        ["diagram", "{repository}"],
        ["diagram", NASTY],
        ["diagram", "{app}", "--type", NASTY],
        ["diagram", "{app}", "--key", f"orders:{STEERING}"],
        ["diagram", "{app}", "--key", NASTY],
    ],
    "contract": [
        ["contract", "{app}"],
        ["contract", "{app}", "--json"],
        ["contract", "{app}", "--type", NASTY],
        ["contract", NASTY],
    ],
    "new": [
        ["new", NASTY],
        ["new", f"{NASTY}/{NASTY}", "--json"],
        ["new", "--from", NASTY],
        ["new", "named", "--json"],
    ],
    "schema": [["schema"], ["schema", "--json"], ["schema", NASTY]],
    "lsp": [["lsp", NASTY]],
    "": [[NASTY], [f"--{NASTY}"], ["--version"]],
}


def test_every_command_has_a_row_here() -> None:
    assert set(_MODULES) == set(WORDS) - {""}


@pytest.mark.parametrize("command", WORDS)
def test_nothing_of_it_comes_out_raw(
    command: str, scene: Scene, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scene.place)
    for words in WORDS[command]:
        for store in (STORE, "sqlite:///read.db"):
            monkeypatch.setenv("ONEX_STORE", store)
            told = commands(*scene.words(words))
            assert RAW.findall(told.out + told.err) == [], (words, told)
            assert told.code in (0, 1, 2, 3), (words, told)
            if "--json" in words:
                assert told.rows or told.out == ""
    for made in scene.place.glob("*.*"):
        if made.suffix in (".svg", ".md", ".mmd", ".html", ".sarif"):
            assert RAW.findall(made.read_text()) == [], made


@pytest.mark.parametrize("command", WORDS)
def test_a_word_that_is_no_text_is_told(
    command: str, scene: Scene, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte that is no UTF-8 reaches a program as half a character: in keys, triggers, names of files and of everything."""
    monkeypatch.chdir(scene.place)
    monkeypatch.setenv("ONEX_STORE", STORE)
    for words in WORDS[command]:
        if words[0] == "demo" or not any(NASTY in word or STEERING in word for word in words):
            continue
        for odd in ("orders:\udcff",):
            told = commands(*scene.words([word.replace(NASTY, odd).replace(STEERING, odd) for word in words]))
            assert told.code in (0, 1, 2, 3), (words, odd, told)
            assert RAW.findall(told.out + told.err) == [], (words, told)


@pytest.mark.parametrize(
    "words",
    [
        ["log"],
        ["show", "orders:1", "--history"],
        ["replay", str(ORDERS)],
        ["doctor", "{repository}", "--all"],
        ["check", "{repository}"],
    ],
    ids=lambda words: words[0],
)
def test_a_terminal_gets_our_styles_and_nothing_else(
    words: list[str], scene: Scene, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scene.place)
    monkeypatch.setenv("ONEX_STORE", "sqlite:///read.db")
    _, told = on_terminal(*scene.words(words))
    assert words[0] == "replay" or "\\x9b" in told  # it is there to be seen
    assert "\x9b" not in told and "\u202e" not in told and "\x1b[31m[" not in told
    if words[0] != "replay":  # rich's bar draws more
        assert RAW.findall(STYLE.sub("", told)) == []


def test_json_means_the_same_and_holds_nothing_raw() -> None:
    value = {"text": NASTY, "tag": ["\U000e0041", "é", "\x7f", "日本"], STEERING: 1}
    text = json_text(value)
    assert json.loads(text) == value == orjson.loads(text)
    assert RAW.findall(text) == [] and "é" in text and "日本" in text
    assert json.loads(json_text({"a": "\ud800", "b": 2**70})) == {"a": "\ud800", "b": 2**70}
    assert visible_json('{\n  "a": 1\n}') == '{\n  "a": 1\n}'


def test_an_escape_is_seen_and_not_escaped_again() -> None:
    assert visible("a\x9b\u202eb\U000e0041\ud800") == "a\\x9b\\u202eb\\U000e0041\\ud800"
    assert visible(visible(NASTY)) == visible(NASTY)


def test_no_text_of_others_is_a_style(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onex.cli.console.has_colours", lambda stream: True)
    assert shown(styled("\x1b[31mred", "bold") + "\x1b[1m") == "\x1b[1m\\x1b[31mred\x1b[0m\\x1b[1m"


def test_columns_are_counted_as_a_terminal_counts_them() -> None:
    assert [width(text) for text in ("abc", "日本", "e\u0301", "")] == [3, 4, 1, 0]


def test_only_the_console_writes() -> None:
    """What another file writes by itself is not escaped."""
    found = []
    for path in sorted((ROOT / "src" / "onex" / "cli").glob("*.py")):
        if path.name == "console.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            told = ast.unparse(node.func)
            if told in ("typer.echo", "typer.secho", "traceback.print_exception") or re.fullmatch(
                r"(sys\.(stdout|stderr)|(self\.)?stream)\.write", told
            ):
                found.append(f"{path.name}:{node.lineno} {told}")
    assert found == []
