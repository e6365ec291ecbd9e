"""What the reading commands tell, to people and as JSON."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from uuid import UUID

import pytest

import onex
from onex.cli.console import when
from tests.app.apps import REDUCER, job
from tests.cli.conftest import JOBS, ORDERS, STORE, Commands, fill

SECOND = 1_000_000


def squeezed(text: str) -> list[str]:
    """Lines with their columns' widths taken out, and what is a time or an id made the same in every run."""
    text = re.sub(r"\b(now|\d+ (s|min) ago)", "AGO", text)
    return [re.sub(r" {2,}", "  ", line).strip() for line in text.splitlines()]


def test_ls_lists_instances_in_columns(commands: Commands, orders: Path) -> None:
    told = commands("ls")
    assert squeezed(told.out) == [
        "instance  status  version  changed",
        "orders:1  shipped  3  AGO  ended",
        "orders:2  basket  2  AGO",
    ]
    head, first, second = told.out.splitlines()
    assert head.index("status") == first.index("shipped") == second.index("basket")


def test_ls_narrows_pages_and_counts(commands: Commands, orders: Path) -> None:
    assert [row["key"] for row in commands("ls", "--status", "basket", "--json").rows] == ["orders:2"]
    assert commands("ls", "--type", "parcels", "--json").rows == []
    assert commands("ls", "--status", "baskt").err == "no such instances; none is in 'baskt', did you mean 'basket'?\n"
    assert commands("ls", "--status", "x").err == "no such instances; none is in 'x'; they are in basket, shipped\n"
    assert commands("log", "orders:9").code == commands("show", "orders:9").code == 1
    first = commands("ls", "--limit", "1")
    assert first.err == "there are more; --after orders:1 continues\n"
    assert [row["key"] for row in commands("ls", "--after", "orders:1", "--json").rows] == ["orders:2"]
    assert commands("ls", "--count", "--json").rows == [
        {"type": "orders", "status": "basket", "instances": 1},
        {"type": "orders", "status": "shipped", "instances": 1},
    ]
    assert squeezed(commands("ls", "--count", "--status", "basket").out) == [
        "type  status  instances",
        "orders  basket  1",
    ]


def test_show_tells_state_timers_and_refusals(commands: Commands, orders: Path) -> None:
    told = squeezed(commands("show", "orders:2").out)
    assert told[0] == "orders:2  basket"
    assert "version  2" in told
    assert "total_cents  8100000" in told
    assert 'trouble  "8100000 cents are beyond the credit of 1000000"' in told
    assert told[told.index("timers") + 1] == "@basket  in 7 d"
    ended = squeezed(commands("show", "orders:1").out)
    assert ended[0] == "orders:1  shipped (ended)"
    assert ended[-1] == "AGO  instance_finished  1  orders:1 is 'shipped' and accepts nothing more"


def test_show_tells_that_an_instance_is_leased_until_the_lease_has_gone(commands: Commands, orders: Path) -> None:
    async def lead(*, release: bool) -> None:
        async with await onex.open(STORE, ORDERS) as engine:
            lease = await engine.take_lease("orders:2", "planner", action_id=UUID(int=7, version=4))
            if release:
                await engine.release_lease("orders:2", lease.lease_id)

    asyncio.run(lead(release=False))
    assert re.search(r"^ *leased +until 20.+, epoch 0$", commands("show", "orders:2").out, re.MULTILINE)
    asyncio.run(lead(release=True))
    assert "leased" not in commands("show", "orders:2").out


def test_show_as_json_is_one_object(commands: Commands, orders: Path) -> None:
    row = commands("show", "orders:1", "--json", "--history").row
    assert (row["exists"], row["status"], row["version"], row["terminal"]) == (True, "shipped", 3, True)
    assert isinstance(row["state"], dict)
    assert row["state"]["total_cents"] == 900
    assert isinstance(row["history"], list)
    assert [one["trigger"] for one in row["history"] if isinstance(one, dict)] == ["place", "charged", "packed"]
    assert isinstance(row["rejections"], list)
    assert len(row["rejections"]) == 2


def test_show_travels_in_time(commands: Commands, orders: Path) -> None:
    told = squeezed(commands("show", "orders:1", "--at", "2", "--app", ORDERS).out)
    assert told[:2] == ["orders:1  paid", "version  2 of 3"]
    assert 'parcel  ""' in told
    statuses = [
        commands("show", "orders:1", "--at", str(at), "--app", ORDERS, "--json").row["status"] for at in (1, 2, 3)
    ]
    assert statuses == ["charging", "paid", "shipped"]


def test_an_earlier_version_is_not_ended_and_has_no_later_refusals(commands: Commands, orders: Path) -> None:
    past, last = (commands("show", "orders:1", "--at", str(at), "--app", ORDERS, "--json").row for at in (2, 3))
    assert (past["terminal"], last["terminal"]) == (False, True)
    assert past["rejections"] == []
    assert "refused" not in commands("show", "orders:1", "--at", "2", "--app", ORDERS).out
    assert commands("show", "orders:1", "--at", "3", "--app", ORDERS).out.startswith("orders:1  shipped (ended)")


def test_show_says_when_the_past_is_folded_with_other_code(commands: Commands, orders: Path, place: Path) -> None:
    changed = place / "orders"
    changed.mkdir()
    for file in ORDERS.glob("*.*"):
        (changed / file.name).write_text(file.read_text().replace('trouble=""', 'trouble="none"'))
    row = commands("show", "orders:1", "--at", "1", "--app", changed, "--json").row
    assert row["folded_with_other_code"] is True
    assert "not the code that made this version" in commands("show", "orders:1", "--at", "1", "--app", changed).err


def test_an_instance_that_never_began_shows_why(commands: Commands, orders: Path) -> None:
    told = commands("show", "orders:3")
    assert told.code == 1
    assert told.err == "orders:3 has not begun, but actions to it were refused:\n"
    assert "payload.items.size() > 0" in told.out
    row = commands("show", "orders:4", "--json")
    assert (row.code, row.row["exists"], row.row["rejections"]) == (1, False, [])


def test_of_more_than_five_refusals_the_rest_is_a_command_away(commands: Commands, place: Path) -> None:
    fill(ORDERS, [("orders:9", f"cancel_{n}", None) for n in range(6)])
    told = commands("show", "orders:9")
    assert "there are more: onex rejections orders:9" in told.err
    assert len(commands("rejections", "orders:9", "--json").rows) == 6
    row = commands("show", "orders:9", "--json").row
    assert isinstance(row["rejections"], list)
    assert (len(row["rejections"]), row["more_rejections"]) == (5, True)


def test_log_shows_the_last_actions_or_those_behind_a_position(commands: Commands, orders: Path) -> None:
    told = squeezed(commands("log").out)
    assert told[0] == "position  when  instance  version  trigger  status  intents"
    assert told[1] == "0:1  AGO  orders:1  1  place  charging  charge, cancel @basket"
    assert len(told) == 6
    assert [row["position"] for row in commands("log", "--limit", "2", "--json").rows] == ["0:4", "0:5"]
    assert [row["position"] for row in commands("log", "--after", "0:1", "--limit", "2", "--json").rows] == [
        "0:2",
        "0:3",
    ]
    one = commands("log", "orders:2", "--json").rows
    assert [(row["version"], row["trigger"], row["status"]) for row in one] == [
        (1, "place", "charging"),
        (2, "declined", "basket"),
    ]
    assert one[1]["cause"] == one[0]["action_id"]
    assert commands("log", "orders:2", "--after", "2").err == "orders:2 has no actions behind version 2\n"


def test_rejections_are_told_newest_first(commands: Commands, orders: Path) -> None:
    told = squeezed(commands("rejections").out)
    assert told[0] == "when  instance  times  code  why"
    assert {line.split("  ")[1] for line in told[1:]} == {"orders:1", "orders:3"}
    (row,) = commands("rejections", "orders:3", "--json").rows
    assert (row["code"], row["body"]) == ("guard_failed", {"items": []})
    assert commands("rejections", "orders:2").err == "no actions were refused\n"


def test_what_would_steer_a_terminal_is_shown_as_its_escapes(commands: Commands, place: Path) -> None:
    fill(JOBS, [("jobs:1", "begin", {"text": "a\u202eb\x1b[31m"})])
    told = commands("show", "jobs:1").out + commands("log").out + commands("rejections").out
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert "\\u202e" in told


def test_an_empty_store_says_what_begins_it(commands: Commands, place: Path) -> None:
    fill(ORDERS, [])
    assert "onex submit KEY TRIGGER" in commands("ls").err
    assert "onex submit KEY TRIGGER" in commands("log").err
    assert commands("dead").err == "no intents are dead or held\n"


@pytest.mark.parametrize(
    ("away_us", "told"),
    [
        (0, "now"), (-999_999, "now"), (-1 * SECOND, "1 s ago"), (-59 * SECOND, "59 s ago"),
        (-60 * SECOND, "1 min ago"),
        (-86_400 * SECOND, "1 d ago"), (3 * SECOND, "in 3 s"), (7_199 * SECOND, "in 2 h"),
    ],
)  # fmt: skip
def test_times_are_told_as_people_tell_them(away_us: int, told: str) -> None:
    now = 1_700_000_000 * SECOND
    assert when(now + away_us, now) == told


def test_ls_tells_of_a_step_with_too_many_intents(commands: Commands, place: Path) -> None:
    """Their number is known only when the action comes: it is refused, and ls says whose and how many."""
    app = job(
        place / "job",
        reducer=REDUCER.replace("Make(what=action.payload.what)", "*([Make(what='x')] * int(action.payload.what))"),
    )
    one, two, three = (("job:1", "begin", {"what": count}) for count in ("65", "66", "0"))
    fill(app, [one, ("job:2", "begin", {"what": "3"}), ("job:2", "made", {"where": "x"})])
    told = commands("ls")
    assert (
        told.err == "job:1 refused 1 action because its reducer failed: 'begin' emitted 65 intents; the limit is 64\n"
    )
    assert squeezed(told.out)[1:] == ["job:2  done  2  AGO  ended"]
    fill(app, [one, two])
    assert commands("ls").err == (
        "job:1 refused 3 actions because its reducer failed: 'begin' emitted 66 intents; the limit is 64\n"
    )
    assert commands("ls", "--type", "job").err == ""
    fill(app, [three])
    assert commands("ls").err == ""
    assert [row["failures"] for row in commands("ls", "--json").rows] == [0, 0]


def test_ls_tells_how_often_in_a_row_the_reducer_of_an_instance_failed(commands: Commands, place: Path) -> None:
    app = job(
        place / "job",
        reducer=REDUCER.replace("return Step(job.evolve(where", "1 / 0\n    return Step(job.evolve(where"),
    )
    fill(app, [("job:1", "begin", {"what": "x"})])  # its effect's outcome fails in the reducer
    told = commands("ls")
    why = "job:1 refused 1 action because its reducer failed: job.made failed on 'busy': ZeroDivisionError: division by zero\n"
    assert told.err.startswith(why)
    (row,) = commands("ls", "--json").rows
    assert row["failures"] == 1
