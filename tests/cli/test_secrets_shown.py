"""What a screen shows of secret fields: their names, and *** for their values, unless somebody asks for them."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from onex.views.hidden import HiddenFields
from tests.cli.conftest import JOBS, Commands, fill

CARD = "4111-1111-1111"


@pytest.fixture
def secretive(place: Path) -> Path:
    """Jobs whose work has a token, secret by its name, and a card, secret by its mark; the worker repeats both when it fails."""
    app = Path(shutil.copytree(JOBS, place / "secretive"))
    payloads, effects = app / "payloads.py", app / "effects.py"
    text = payloads.read_text().replace(
        "class Work(Payload):\n    text: str\n",
        'class Work(Payload):\n    text: str\n    token: str = ""\n    card: Annotated[str, Secret] = ""\n',
    )
    payloads.write_text(text.replace("from onex import", "from typing import Annotated\n\nfrom onex import Secret,", 1))
    effects.write_text(
        effects.read_text().replace(
            '    if intent.payload.text == "slow":',
            '    if intent.payload.text == "broken":\n'
            '        raise ConnectionError(f"no answer for {intent.payload.card}")\n'
            '    if intent.payload.text == "slow":',
        )
    )
    fill(app, [("jobs:1", "begin", {"text": "broken", "token": "t0ken", "card": CARD})])
    return app


def test_a_field_with_a_secret_name_is_hidden_and_no_redact_shows_it(commands: Commands, secretive: Path) -> None:
    for words in (("--history",), ("--history", "--json")):
        told = commands("show", "jobs:1", *words).out
        assert '"token":"***"' in told
        assert "t0ken" not in told
        assert "t0ken" in commands("show", "jobs:1", *words, "--no-redact").out


def test_a_marked_field_is_hidden_when_the_app_is_named(commands: Commands, secretive: Path) -> None:
    marked = commands("show", "jobs:1", "--history", "--app", secretive, "--json").row["history"]
    assert isinstance(marked, list) and isinstance(marked[0], dict)
    assert marked[0]["payload"] == {"text": "broken", "token": "***", "card": "***"}


def test_an_app_that_cannot_be_loaded_hides_less_and_says_so(commands: Commands, secretive: Path) -> None:
    (secretive / "payloads.py").write_text("1 / 0")
    told = commands("show", "jobs:1", "--history", "--app", secretive)
    assert told.code == 0
    assert '"token":"***"' in told.out
    assert "cannot be loaded, so fields it marks as Secret are shown" in told.err


def test_a_message_that_repeats_a_marked_field_is_kept_without_it(commands: Commands, secretive: Path) -> None:
    (story,) = json.loads(commands("show", "jobs:1", "--attempts", "--json").out)["attempts"]
    (tried,) = story["attempts"]
    assert tried["error"] == "ConnectionError: no answer for ***"


def test_json_of_log_rejections_and_dead_intents_hides_what_show_hides(
    commands: Commands, secretive: Path, place: Path
) -> None:
    work = {"text": "poison", "token": "t0ken", "card": CARD}
    fill(secretive, [("jobs:2", "begin", work), ("jobs:2", "begin", work)])
    for words in (("log", "jobs:2"), ("log",), ("rejections", "jobs:2")):
        told = commands(*words, "--json").out
        assert '"token":"***"' in told
        assert "t0ken" not in told
        assert f'"card":"{CARD}"' in told  # nobody said that it is secret
        assert '"card":"***"' in commands(*words, "--json", "--app", secretive).out
        assert "t0ken" in commands(*words, "--json", "--no-redact").out
    with closing(sqlite3.connect(place / "store.db")) as db:
        db.execute("update outbox set result = cast(? as blob)", (json.dumps({"payload": {"api_key": "k3y", "n": 1}}),))
        db.commit()
    assert commands("dead", "--json").row["result"] == {"payload": {"api_key": "***", "n": 1}}
    assert commands("dead", "--json", "--no-redact").row["result"] == {"payload": {"api_key": "k3y", "n": 1}}


def test_a_refused_body_that_was_cut_is_json_as_far_as_it_goes(commands: Commands, place: Path) -> None:
    fill(JOBS, [("jobs:1", "begin", {"token": "t0ken", "n": 1, "text": "x" * 5000})])
    row = commands("rejections", "--json").row
    assert (row["body"], row["body_is_cut"]) == ({"token": "***", "n": 1}, True)
    assert commands("show", "jobs:1", "--json").row["rejections"] == [row]
    fill(JOBS, [("jobs:2", "begin", {"text": "", "n": 1})])
    row = commands("rejections", "jobs:2", "--json").row
    assert (row["body"], row["body_is_cut"]) == ({"text": "", "n": 1}, False)


def test_each_value_below_a_secret_name_is_hidden_and_what_says_nothing_stays() -> None:
    hide = HiddenFields(["card.number"])
    shown = hide.hide(
        {
            "apiKey": "k", "credentials": {"user": "u", "tries": 3, "old": [None, True, ""]}, "number": 1,
            "card": {"number": 4111, "kind": "visa"}, "cards": [{"card": {"number": "4"}}],
        }
    )  # fmt: skip
    assert shown == {
        "apiKey": "***", "credentials": {"user": "***", "tries": "***", "old": [None, True, ""]}, "number": 1,
        "card": {"number": "***", "kind": "visa"}, "cards": [{"card": {"number": "***"}}],
    }  # fmt: skip
