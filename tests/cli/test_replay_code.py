"""`onex replay --with` brings the code a run was made by: from a folder, from git, or as the log itself names it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.app.apps import edit
from tests.app.repository import Repository
from tests.cli.conftest import ITEMS, ORDERS, Commands, fill

TROUBLE = 'receipt=action.payload.receipt, trouble="")'


class Shop(NamedTuple):
    """A repository with three revisions of an app, each of which has served an order."""

    repository: Repository
    app: Path
    revisions: Sequence[str]


@pytest.fixture
def shop(place: Path) -> Shop:
    repository = Repository(place / "tree")
    app = repository.root / "shop" / "orders"
    app.mkdir(parents=True)
    for file in ORDERS.glob("*.*"):
        (app / file.name).write_bytes(file.read_bytes())
    reducer = (app / "reducer.py").read_text()
    revisions = []
    for number, changed in enumerate((TROUBLE, TROUBLE.replace('""', '"none"'), f"{TROUBLE}  # the same"), 1):
        (app / "reducer.py").write_text(reducer.replace(TROUBLE, changed))
        revisions.append(repository.commit())
        repository.git("tag", f"v{number}")
        fill(app, [(f"orders:{number}", "place", {"items": ITEMS})])
    return Shop(repository, app, revisions)


def verdicts(commands: Commands, *words: str | Path) -> tuple[int, dict[str, int]]:
    told = commands("replay", *words, "--json")
    found = told.row["by_verdict"]
    assert isinstance(found, dict)
    return told.code, {name: int(str(count)) for name, count in found.items()}


def test_the_fixture_has_three_codes_and_the_first_and_third_do_the_same(commands: Commands, shop: Shop) -> None:
    assert verdicts(commands, shop.app) == (0, {"equal": 1, "other code, differs": 1, "other code, equal": 1})


def test_older_code_comes_by_revision(commands: Commands, shop: Shop) -> None:
    assert verdicts(commands, shop.app, "--with", "v1", "--with", "v2", "--strict") == (0, {"equal": 3})
    assert verdicts(commands, shop.app, "--with", shop.revisions[1][:9]) == (0, {"equal": 2, "other code, equal": 1})
    assert verdicts(commands, shop.app, "--with", "HEAD~1", "--with", "v2:shop/orders", "--with", "v1", "--strict") == (
        0,
        {"equal": 3},
    )
    assert verdicts(commands, shop.app, "--with", "v1:shop", "--with", "v2", "--strict") == (0, {"equal": 3})
    assert shop.repository.git("status", "--porcelain") == ""


def test_the_log_names_the_revisions_itself(commands: Commands, shop: Shop) -> None:
    told = commands("replay", shop.app, "--with", "recorded", "--strict", "--json")
    assert (told.code, told.row["by_verdict"], told.row["notes"]) == (0, {"equal": 3}, [])
    copy = shop.repository.root.parent / "orders"
    shop.app.rename(copy)
    told = commands("replay", copy, "--with", "recorded", "--json")
    assert (told.code, told.row["by_verdict"]) == (0, {"equal": 1, "other code, differs": 1, "other code, equal": 1})
    assert told.row["notes"] == [
        f"3 revisions named in the log cannot be had here: no repository that holds {copy} has it, or the app stood "
        "elsewhere then, which --with REV:PATH brings",
        "2 of the codes of orders are at no revision the log names: they ran before they were committed, or the log names "
        "none; --with brings them by path",
    ]


def test_what_the_log_says_is_no_word_of_gits(commands: Commands, shop: Shop, place: Path) -> None:
    """A log, or a file from elsewhere, may say anything: a branch, an option, a revision that does not load."""
    edit(shop.app / "reducer.py", "orders = reducer(Order)", "orders = reducer(Orde)")
    broken = shop.repository.commit()
    shop.repository.git("reset", "--quiet", "--hard", "v3")
    with closing(sqlite3.connect(place / "store.db")) as db:
        for number, said in enumerate(("main", "--output=x", broken, "0" * 40, "v1\n")):
            db.execute("insert into envs values(?, 'x', 'x', 'x', 'x', ?)", (100 + number, said))
        db.commit()
    told = commands("replay", shop.app, "--with", "recorded", "--strict", "--json")
    assert (told.code, told.row["by_verdict"]) == (0, {"equal": 3})
    notes = told.row["notes"]
    assert isinstance(notes, list)
    assert [str(one).partition(":")[0] for one in notes] == [
        f"revision {broken[:12]} does not load", "the revision named in the log cannot be had here",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("v9", "'v9' is neither a path nor a revision of"),
        ("./v1", "./v1 does not exist; name a folder, or a git revision without ./ before it"),
        ("--strict", "is no git revision"),
        ("v1:shop/none", "shop/none does not exist at 'v1:shop/none'"),
    ],
)
def test_code_that_cannot_be_had_is_a_sentence(commands: Commands, shop: Shop, spec: str, told: str) -> None:
    found = commands("replay", shop.app, f"--with={spec}")
    assert found.code == 2
    assert told in found.err


def test_code_that_knows_less_is_a_verdict(commands: Commands, shop: Shop) -> None:
    """Code that has no such trigger, and code whose payloads have no such field."""
    for old, new, told in (("packed", "boxed", "orders has no trigger 'packed'"), ("sku", "name", "items.0.name")):
        for file in shop.app.glob("*.*"):
            file.write_text(file.read_text().replace(old, new))
        found = commands("replay", shop.app)
        assert found.code == 0
        assert found.out.count("other code, differs  orders:") == 3
        assert told in found.out
        assert "Traceback" not in found.err


def test_where_a_difference_began_is_said_as_far_as_it_can_be_known(commands: Commands, place: Path) -> None:
    """Statuses and intents stand beside each row, states only now and then: the changed field shows at the end alone."""
    app = place / "orders"
    app.mkdir()
    for file in ORDERS.glob("*.*"):
        (app / file.name).write_bytes(file.read_bytes())
    fill(app, [("orders:1", "place", {"items": ITEMS})])
    edit(app / "reducer.py", TROUBLE, TROUBLE.replace('""', '"none"'))
    told = commands("replay", app)
    assert told.out.splitlines()[1:3] == [
        '  version 3: trouble: folded "none", stored ""',
        "  statuses and intents before version 3 are the same; states in between are not stored, so the state may differ "
        "from version 1 on",
    ]
    bad = commands("replay", app, "--json").row["bad"]
    assert isinstance(bad, list)
    assert isinstance(bad[0], dict)
    assert {name: bad[0][name] for name in ("differs_at", "since", "first", "last")} == {
        "differs_at": 3, "since": 1, "first": 1, "last": 3,
    }  # fmt: skip
    edit(app / "reducer.py", "item.quantity * item.cents", "item.cents")
    bad = commands("replay", app, "--json").row["bad"]
    assert isinstance(bad, list)
    assert isinstance(bad[0], dict)
    assert (bad[0]["differs_at"], bad[0]["since"]) == (1, 1)


def test_several_processes_say_what_one_says(commands: Commands, shop: Shop) -> None:
    alone = commands("replay", shop.app, "--with", "v1", "--json")
    several = commands("replay", shop.app, "--with", "v1", "--json", "--processes", "2")
    assert json.loads(alone.out) == json.loads(several.out)


def test_what_stops_one_of_several_processes_is_told_as_ever(commands: Commands, shop: Shop, place: Path) -> None:
    commands("export", "--out", "run.onexrun")
    text = (place / "run.onexrun").read_text()
    (place / "run.onexrun").write_text(text.replace('"kind":"packed"', '"kind":1', 1))
    told = commands("replay", shop.app, "--from", "run.onexrun", "--processes", "2")
    assert told.code == 2
    assert told.err.startswith("onex: run.onexrun:4 is a row that is not known here: row.kind: ")
