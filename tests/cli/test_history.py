"""`onex export` writes a run that replays elsewhere and says no secret; `onex import` makes a store nothing goes on in."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import ITEMS, ORDERS, Commands, fill

RUN = "run.onexrun"
COPY = "sqlite:///copy.db"
SKU = ("--redact", "items.sku")


def test_a_run_replays_from_its_file_without_a_store(commands: Commands, orders: Path, place: Path) -> None:
    told = commands("export", "--out", RUN)
    assert (told.code, told.out) == (0, f"2 instances in {RUN}, {(place / RUN).stat().st_size:,} bytes\n")
    assert told.err == (
        "secrets were found by field name only; --app APP also replaces the fields that the app marks as Secret\n"
    )
    (place / "store.db").unlink()
    told = commands("replay", ORDERS, "--from", RUN, "--strict")
    assert (told.code, told.out) == (0, "2 segments: equal\n2 instances, 5 actions, 0 unverified\n")
    assert commands("replay", ORDERS, "orders:1", "--from", RUN, "--json").row["actions"] == 3
    assert commands("replay", ORDERS, "orders:9", "--from", RUN).err.startswith(f"onex: orders:9 is not in {RUN}")


def test_what_was_imported_is_exported_as_the_same_bytes(commands: Commands, orders: Path, place: Path) -> None:
    for words in ((), SKU):
        for path in place.glob("*.onexrun"):
            path.unlink()
        (place / "copy.db").unlink(missing_ok=True)
        assert commands("export", "--out", RUN, *words).code == 0
        told = commands("import", RUN, "--store", COPY)
        assert (told.code, told.out) == (0, f"2 instances, 5 actions in {COPY}, read-only\n")
        assert commands("export", "--out", "again.onexrun", "--store", COPY, *words).code == 0
        assert (place / "again.onexrun").read_bytes() == (place / RUN).read_bytes()


def test_some_instances_or_one_workflow_can_be_exported_alone(commands: Commands, orders: Path, place: Path) -> None:
    assert commands("export", "orders:2", "orders:1", "orders:1", "--out", RUN, "--json").row["instances"] == 2
    assert commands("export", "orders:3", "--out", "three.onexrun").err == (
        "onex: orders:3 is not in the store; onex ls lists instances\n"
    )
    assert commands("export", "--type", "parcels", "--out", "none.onexrun", "--json").row["instances"] == 0
    assert commands("replay", ORDERS, "--from", "none.onexrun", "--json").row["segments"] == 0
    assert sorted(path.name for path in place.glob("*.onexrun*")) == ["none.onexrun", RUN]


def test_no_engine_runs_on_history_and_no_effect_is_repeated(commands: Commands, place: Path) -> None:
    """The order is exported while its intents are open: in the copy nothing is."""
    fill(ORDERS, [("orders:1", "place", {"items": ITEMS})])
    with closing(sqlite3.connect(place / "store.db")) as db:
        db.execute("insert into outbox(n, ordinal, instance, priority, due_us, timer) values(1, 0, 1, 0, 0, '')")
        db.commit()
    assert commands("dead", "--json").code == 0
    assert commands("export", "--out", RUN).code == 0
    assert commands("import", RUN, "--store", COPY).code == 0
    with closing(sqlite3.connect(place / "copy.db")) as db:
        assert db.execute("select count(*) from outbox").fetchone() == (0,)
        assert db.execute("select count(*) from log").fetchone() == (3,)
    for words in (("run", ORDERS, "--until-idle"), ("submit", "orders:1", "cancel", "--no-wait")):
        told = commands(*words, "--store", COPY)
        assert told.code == 3
        assert f"copy.db was imported from {RUN}: its actions are history" in told.err
    assert commands("show", "orders:1", "--store", COPY, "--json").row["status"] == "shipped"
    assert len(commands("log", "orders:1", "--store", COPY, "--json").rows) == 3


def test_an_import_is_whole_or_not_there(commands: Commands, orders: Path, place: Path) -> None:
    commands("export", "--out", RUN)
    lines = (place / RUN).read_bytes().splitlines(keepends=True)
    (place / "cut.onexrun").write_bytes(b"".join(lines[:-1]))
    (place / "bent.onexrun").write_bytes(b"".join([*lines[:2], lines[1], *lines[2:]]))
    before = sorted(path.name for path in place.iterdir())
    told = commands("import", "cut.onexrun", "--store", COPY)
    assert (told.code, told.err) == (
        2, "onex: cut.onexrun ends before an instance does: it was cut off; export it again\n"
    )  # fmt: skip
    told = commands("import", "bent.onexrun", "--store", COPY, "--json")
    assert told.code == 2
    assert "bent.onexrun:3: version 1 of orders:1 follows version 1" in told.err
    assert '"code": "history_unreadable"' in told.out
    told = commands("import", RUN, RUN, "--store", COPY)
    assert told.code == 3
    assert "orders:1 does not fit what was imported before it" in told.err
    assert commands("import", RUN, "--store", "sqlite:///store.db").err.startswith(
        f"onex: {place / 'store.db'} exists; runs are imp"
    )
    assert commands("import", "nothing.onexrun", "--store", COPY).err == (
        "onex: nothing.onexrun cannot be read: No such file or directory\n"
    )
    assert commands("import", RUN, "--store", "memory:").code == 2
    assert sorted(path.name for path in place.iterdir()) == before


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"position":[0,', '"position":[-1,', "orders:1 stands at -1:"),
        ('"code_id":1', '"code_id":7', "orders:1 names code 7, which the head of the file does not list"),
        ('"env_id":1', '"env_id":7', "orders:1 names env 7, which the head of the file does not list"),
    ],
)
def test_what_no_store_can_hold_is_refused(
    commands: Commands, orders: Path, place: Path, old: str, new: str, told: str
) -> None:
    commands("export", "--out", RUN)
    (place / RUN).write_text((place / RUN).read_text().replace(old, new))
    found = commands("import", RUN, "--store", COPY)
    assert found.code == 3
    assert told in found.err
    assert not (place / "copy.db").exists()


def test_several_files_make_one_store(commands: Commands, orders: Path) -> None:
    commands("export", "orders:1", "--out", "one.onexrun")
    commands("export", "orders:2", "--out", "two.onexrun")
    assert commands("import", "two.onexrun", "one.onexrun", "--store", COPY, "--json").row["actions"] == 5
    told = commands("replay", ORDERS, "--store", COPY, "--strict")
    assert (told.code, told.out) == (0, "2 segments: equal\n2 instances, 5 actions, 0 unverified\n")


def test_rows_of_many_shards_take_turns_in_the_one_of_an_imported_store(
    commands: Commands, orders: Path, place: Path
) -> None:
    commands("export", "--out", RUN)
    lines = (place / RUN).read_text().splitlines(keepends=True)
    moved = [line.replace('"position":[0,', '"position":[5,') if '"orders:2"' in line else line for line in lines]
    moved = [line.replace('"position":[0,', '"position":[5,') if '["orders","2"]' in line else line for line in moved]
    assert moved != lines
    (place / "sharded.onexrun").write_text("".join(moved))
    assert commands("import", "sharded.onexrun", "--store", COPY, "--json").row["actions"] == 5
    told = commands("replay", ORDERS, "--store", COPY, "--strict")
    assert (told.code, told.out) == (0, "2 segments: equal\n2 instances, 5 actions, 0 unverified\n")
    assert commands("replay", ORDERS, "--from", "sharded.onexrun", "--strict").code == 0


def test_an_export_is_whole_or_not_there(commands: Commands, orders: Path, place: Path) -> None:
    with closing(sqlite3.connect(place / "store.db")) as db:
        db.execute("update log set payload = cast('{\"sku\"' as blob) where n = 2")
        db.commit()
    told = commands("export", "--out", RUN, *SKU)
    assert told.code == 3
    assert "the stored payload is no JSON" in told.err
    assert "--no-redact exports it as it is" in told.err
    assert [path.name for path in place.iterdir() if RUN in path.name] == []
    assert commands("export", "--out", RUN, "--no-redact").code == 0
    told = commands("export", "--out", RUN)
    assert (told.code, told.err) == (2, f"onex: {RUN} exists; name another file, or remove it first\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("export",), "name the file to write"),
        (("export", "orders:1", "--type", "orders", "--out", RUN), "give keys or --type"),
        (("export", "--no-redact", "--redact", "x", "--out", RUN), "--no-redact keeps every value"),
        (("export", "--redact", "a..b", "--out", RUN), "'a..b' names no field"),
        (("export", "orders", "--out", RUN), "is not a workflow key"),
        (("replay", ORDERS, "--from", RUN, "--store", COPY), "--from and --store both name a source"),
    ],
)
def test_words_that_do_not_go_together(
    commands: Commands, orders: Path, words: tuple[str | Path, ...], told: str
) -> None:
    found = commands(*words)
    assert found.code == 2
    assert told in found.err


def test_a_secret_does_not_leave_and_what_is_left_is_never_called_equal(
    commands: Commands, orders: Path, place: Path
) -> None:
    assert b"tea" in (place / "store.db").read_bytes()
    assert commands("export", "--out", RUN, *SKU).code == 0
    assert "tea" not in (place / RUN).read_text()
    told = commands("replay", ORDERS, "--from", RUN, "--json")
    assert (told.code, told.row["by_verdict"], told.row["unverified"]) == (0, {"unverified (redacted)": 2}, 5)
    assert commands("replay", ORDERS, "--from", RUN, "--strict").code == 1
    assert "statuses and intents fold the same" in commands("replay", ORDERS, "--from", RUN).out
    # an intent that is computed from a secret folds otherwise, and that is no mismatch either
    assert commands("export", "--out", "cents.onexrun", "--redact", "items.cents").code == 0
    told = commands("replay", ORDERS, "--from", "cents.onexrun")
    assert told.code == 0
    assert "from that alone" in told.out
    assert "MISMATCH" not in told.out
    # nor is damage to what was redacted
    text = (place / RUN).read_text()
    (place / RUN).write_text(text.replace('"quantity\\":2', '"quantity\\":3', 1))
    assert commands("replay", ORDERS, "--from", RUN, "--json").row["by_verdict"] == {"unverified (redacted)": 2}


def test_what_holds_no_secret_stays_verified(commands: Commands, orders: Path) -> None:
    """Only order 1 has a receipt, from its second version on."""
    commands("export", "--out", RUN, "--redact", "receipt")
    told = commands("replay", ORDERS, "--from", RUN)
    assert "unverified (redacted)  orders:1  versions 1 to 3" in told.out
    assert told.out.endswith(
        "verdict                segments  actions\n"
        "equal                         1        2\n"
        "unverified (redacted)         1        3\n"
        "2 instances, 5 actions, 3 unverified\n"
    )
    commands("import", RUN, "--store", COPY)
    assert commands("replay", ORDERS, "--store", COPY).out == told.out


def test_no_hash_gives_a_short_secret_away(commands: Commands, orders: Path, place: Path) -> None:
    """Whoever has the file could otherwise try every value a field may have, and compare hashes."""

    def hashes(name: str) -> set[str]:
        return set(re.findall(r'_hash":"([0-9a-f]+)"', (place / name).read_text()))

    commands("export", "orders:1", "--out", RUN, "--no-redact")
    commands("export", "orders:1", "--out", "secret.onexrun", "--redact", "items.quantity")
    whole, hidden = hashes(RUN), hashes("secret.onexrun")
    unsaid = re.findall(r'body_hash":"([0-9a-f]+)"', (place / RUN).read_text())[1:]
    assert whole & hidden == set(unsaid), "only the bodies of charged and packed hold no quantity"
    assert (len(whole), len(hidden)) == (6, 6)


def test_the_app_says_what_is_secret(commands: Commands, place: Path) -> None:
    app = Path(shutil.copytree(ORDERS, place / "orders"))
    text = (app / "payloads.py").read_text()
    (app / "payloads.py").write_text(
        text.replace("    sku: str", "    sku: Annotated[str, Secret]").replace(
            "from onex import",
            "from typing import Annotated\n\nfrom onex import Secret,",
            1,
        )
    )
    fill(app, [("orders:1", "place", {"items": ITEMS})])
    assert commands("replay", app, "--strict").code == 0
    assert commands("export", "--out", RUN, "--app", app).err == ""
    assert '\\"tea\\"' not in (place / RUN).read_text()
    commands("export", "--out", "unmarked.onexrun")
    assert '\\"tea\\"' in (place / "unmarked.onexrun").read_text()


def test_an_interrupted_command_leaves_nothing(commands: Commands, orders: Path, place: Path) -> None:
    def interrupted(*words: object, **options: object) -> None:
        raise KeyboardInterrupt

    commands("export", "--out", RUN)
    before = sorted(path.name for path in place.iterdir())
    for what, words in (
        ("onex.replay.history_export.written", ("export", "--out", "cut.onexrun")),
        ("onex.adapters.sqlite.import_runs.SqliteImport.rows", ("import", RUN, "--store", COPY)),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(what, interrupted)
            assert commands(*words).code == 130
        assert sorted(path.name for path in place.iterdir()) == before


def test_a_file_that_cannot_be_written_is_a_sentence(commands: Commands, orders: Path) -> None:
    told = commands("export", "--out", "nowhere/run.onexrun")
    assert (told.code, told.err) == (3, "onex: nowhere/run.onexrun cannot be written: No such file or directory\n")


def test_a_field_that_nothing_has_is_told_and_one_that_is_in_another_is_not(commands: Commands, orders: Path) -> None:
    """Who misspells a secret would send it away and believe it stayed."""
    said = "replaced nothing: no field of what was exported has that name or path\n"
    names = ("items", "items.sku", "*ku", "skuu")
    told = commands("export", "--out", RUN, *(word for name in names for word in ("--redact", name)))
    assert told.code == 0
    assert [line for line in told.err.splitlines(True) if line.endswith(said)] == [f"--redact skuu {said}"]


def test_a_workflow_that_is_not_there_is_told(commands: Commands, orders: Path) -> None:
    told = commands("export", "--type", "order", "--out", RUN, "--no-redact")
    assert (told.code, told.err) == (0, "the store has no instance of 'order', so the file holds none\n")
