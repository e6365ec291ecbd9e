"""One store and several processes: who runs, who submits, and how each of them ends."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
from pathlib import Path

from tests.cli.conftest import JOBS, ONEX, ORDERS, Commands, Process, fill

PLACE = '{"items": [{"sku": "tea", "quantity": 2, "cents": 450}]}'


def test_what_is_submitted_while_no_engine_runs_is_judged_by_the_next(
    processes: type[Process], commands: Commands
) -> None:
    kept = processes("submit", "orders:1", "place", "--payload", PLACE, "--no-wait").end()
    assert (kept.code, kept.err) == (0, "there was no store at store.db: made one\n")
    assert "inbox number 1" in kept.out
    ran = processes("run", ORDERS, "--until-idle", "--json").end()
    assert ran.code == 0
    assert {name: ran.row[name] for name in ("ended", "committed", "refused", "effects_run", "waiting")} == {
        "ended": "idle", "committed": 3, "refused": 0, "effects_run": 2, "waiting": 0,
    }  # fmt: skip
    assert commands("show", "orders:1", "--json").row["status"] == "shipped"


def test_who_stops_waiting_for_an_engine_knows_the_id_to_send_again(
    processes: type[Process], commands: Commands
) -> None:
    waiting = processes("submit", "orders:1", "place", "--payload", PLACE, "--timeout", "60")
    line = waiting.until("inbox number 1, id ")
    assert waiting.end(signal.SIGINT).code == 130
    action_id = line.split("id ")[1].split(";")[0]
    assert processes("run", ORDERS, "--until-idle").end().code == 0
    (placed, *_) = commands("log", "orders:1", "--json").rows
    assert placed["action_id"] == action_id


def test_without_an_engine_number_and_id_are_said_once(commands: Commands) -> None:
    told = commands("submit", "orders:1", "place", "--payload", PLACE, "--timeout", "0.05")
    assert told.code == 3
    assert told.out == "orders:1  place stored\n"
    made, first, second = told.err.splitlines()
    assert made == "there was no store at store.db: made one"
    assert first.startswith("inbox number 1, id ") and first.endswith("so it waits: onex run APP")
    assert second == "no answer yet; it may be sent again with its id: it is applied once"


def test_a_misspelt_trigger_is_answered_with_the_one_that_was_meant(commands: Commands) -> None:
    assert commands("submit", "orders:1", "plaice", "--no-wait").code == 0
    assert commands("submit", "orders:1", "@basket", "--no-wait").code == 0
    commands("run", ORDERS, "--until-idle", "-q")
    told = commands("rejections", "orders:1", "--json").rows
    by_code = {str(row["code"]): str(row["message"]) for row in told}
    assert by_code["illegal_transition"].startswith("orders has no trigger 'plaice'; did you mean 'place'? It knows ")
    assert "; only the app itself brings " in by_code["illegal_transition"]
    reserved = by_code["reserved_kind"]
    for part in (
        "the timer of a status fires by itself",
        "onex release lets a held instance go on",
        "onex dead --redrive",
    ):
        assert part in reserved


def test_a_second_process_submits_while_the_first_runs(processes: type[Process], commands: Commands) -> None:
    engine = processes("run", ORDERS)
    engine.until("running orders")
    applied = processes("submit", "orders:1", "place", "--payload", PLACE, "--json").end()
    assert applied.code == 0
    assert (applied.row["answered"], applied.row["version"], applied.row["status"]) == (True, 1, "charging")
    refused = commands("submit", "orders:2", "place", "--payload", '{"items": []}')
    assert refused.code == 1
    assert refused.err.startswith("refused (guard_failed): 'place' is refused in 'basket'")
    again = commands("submit", "orders:1", "place", "--payload", PLACE, "--id", str(applied.row["action_id"]), "--json")
    assert (again.code, again.row["duplicate"], again.row["version"]) == (0, True, 1)
    second = commands("run", ORDERS)
    assert second.code == 3
    assert f"process {engine.popen.pid} runs on sqlite:///store.db" in second.err
    ended = engine.end(signal.SIGTERM)
    assert ended.code == 0
    assert ended.out.startswith("terminated after ")


def test_ctrl_c_ends_a_run_at_once_and_leaves_the_rest_to_the_next(
    processes: type[Process], commands: Commands
) -> None:
    engine = processes("run", JOBS, "--json")
    engine.until("running jobs")
    assert commands("submit", "jobs:1", "begin", "--payload", '{"text": "slow"}').code == 0
    ended = engine.end(signal.SIGINT)  # the effect sleeps ten minutes: nobody waits for it
    assert ended.code == 130
    assert "Traceback" not in ended.err
    assert (ended.row["ended"], ended.row["committed"], ended.row["waiting"]) == ("interrupted", 1, 1)
    shown = commands("show", "jobs:1", "--json").row
    assert [one["intent"] for one in shown["open"] if isinstance(one, dict)] == ["work"]  # type: ignore[union-attr]  # JSON


def test_ctrl_c_ends_a_log_that_follows(processes: type[Process], orders: Path) -> None:
    following = processes("log", "--follow", "--json")
    assert following.popen.stdout is not None
    lines = [following.popen.stdout.readline() for _ in range(5)]
    assert ['"position"' in line for line in lines] == [True] * 5
    fill(ORDERS, [("orders:9", "cancel", None)])
    assert '"orders:9"' in following.popen.stdout.readline()
    ended = following.end(signal.SIGINT)
    assert (ended.code, ended.err) == (130, "")


def test_an_answer_that_does_not_come_is_asked_for_again_by_id(commands: Commands) -> None:
    unanswered = commands("submit", "orders:1", "cancel", "--timeout", "0.05")
    assert unanswered.code == 3
    assert "no engine runs on sqlite:///store.db" in unanswered.err
    assert "it may be sent again with its id: it is applied once" in unanswered.err


def test_a_payload_comes_from_a_file_or_from_standard_input(
    processes: type[Process], commands: Commands, place: Path
) -> None:
    (place / "order.json").write_text(PLACE)
    from_file = commands("submit", "orders:1", "place", "--payload", "@order.json", "--no-wait", "--json")
    assert from_file.row["ticket"] == 1
    piped = processes("submit", "orders:2", "place", "--payload", "-", "--no-wait", "--json", stdin=subprocess.PIPE)
    assert piped.popen.stdin is not None
    piped.popen.stdin.write(PLACE)
    piped.popen.stdin.close()
    piped.popen.stdin = None
    assert piped.end().row["ticket"] == 2
    assert commands("run", ORDERS, "--until-idle").code == 0
    assert [row["status"] for row in commands("ls", "--json").rows] == ["shipped", "shipped"]


def test_the_same_idempotency_key_is_the_same_action(commands: Commands) -> None:
    words = ("submit", "orders:1", "cancel", "--idempotency-key", "basket 9", "--no-wait", "--json")
    assert commands(*words).row["action_id"] == commands(*words).row["action_id"]
    assert commands("run", ORDERS, "--until-idle", "--json").row["committed"] == 1


def test_a_reader_that_has_seen_enough_is_no_error(orders: Path) -> None:
    done = subprocess.run(
        f"set -o pipefail; {ONEX} log --limit 100000 --json | head -n 1", shell=True, capture_output=True, text=True,
        executable="/bin/bash",
    )  # fmt: skip
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)


def test_a_run_whose_store_was_taken_from_it_ends_and_says_so(
    processes: type[Process], commands: Commands, place: Path
) -> None:
    engine = processes("run", ORDERS)
    engine.until("running orders")
    connection = sqlite3.connect(place / "store.db")
    with connection:
        connection.execute("update shards set fence = fence + 1")
    connection.close()
    assert commands("submit", "orders:1", "cancel", "--no-wait").code == 0
    ended = engine.end()
    assert ended.code == 3
    assert "store.db has another owner now" in ended.err
