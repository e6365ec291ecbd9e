"""Many rows in one statement: the store holds what it would hold had they gone row by row, and a commit is few statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from onex.adapters.sqlite import statements
from onex.adapters.sqlite.core import SqliteCore
from onex.adapters.sqlite.statements import ANSWER, FEW, MOST, NOTE, SETTLE, UPDATE_STATE, RowStatement
from onex.kernel.action import WorkflowKey
from onex.ports import Applied, Commit, Conflict, EnumOutboxState, InboxAnswer, KeyChange, NewIntent, Note, Pointer
from onex.testing.conformance.owner import CODE, ENV, row

SIZES = [1, FEW - 1, FEW, FEW + 1, 100, MOST - 1, MOST, MOST + 1, MOST + FEW + 1]
TABLES = ("shards", "workflow_state", "log", "outbox", "inbox")


class Owner:
    """Commits one change of each of ``size`` instances: first they are made, then updated, then their intents are settled."""

    def __init__(self, path: Path, size: int) -> None:
        self.core = SqliteCore(path)
        self.fences = self.core.own("tester")
        self.code_id, self.env_id = self.core.intern(CODE, ENV)
        self.size = size

    def change(self, number: int, version: int, *, instance: int | None, text: int = 10) -> KeyChange:
        logged = row(f"{number}-{version}", NewIntent(0, 2, 7), NewIntent(1, 3))
        if number % 2:
            logged = logged._replace(cause=None)
        key, state = WorkflowKey("orders", str(number)), bytes([number % 256]) * text
        return KeyChange(
            key, instance, version, (logged,), state, 1, b"h%d" % number, "open", False, self.code_id, self.env_id
        )

    def made(self) -> list[Applied | Conflict]:
        return self.commit(*(self.change(number, 0, instance=None) for number in range(1, self.size + 1)))

    def updated(self, *, text: int = 10) -> list[Applied | Conflict]:
        return self.commit(*(self.change(number, 1, instance=number, text=text) for number in range(1, self.size + 1)))

    def commit(self, *changes: KeyChange) -> list[Applied | Conflict]:
        return list(self.core.commit(Commit(self.fences, changes, at_us=9)))

    def note(self) -> None:
        notes = [Note(Pointer(0, n, 0), attempt=n, started=True, error="no") for n in range(1, self.size + 1)]
        dead = notes[-1]._replace(state=EnumOutboxState.DEAD, result=b"r")
        self.core.commit(Commit(self.fences, notes=(*notes, dead), at_us=9))

    def answer(self) -> None:
        tickets = self.core.send_all([b"asked"] * self.size, 5)
        answers = [InboxAnswer(ticket, b"answer %d" % ticket, 9) for ticket in tickets]
        self.core.commit(Commit(self.fences, answers=(*answers, answers[0]._replace(answer=b"later")), at_us=9))

    def settle(self) -> None:
        settled = tuple(Pointer(0, n, 1) for n in range(1, self.size + 1))
        self.core.commit(Commit(self.fences, settled=settled, at_us=9))

    def rows(self) -> dict[str, list[tuple[object, ...]]]:
        execute = self.core._connection.execute
        return {table: execute(f"select *, typeof(cause) from {table}" if table == "log" else f"select * from {table}")
                .fetchall() for table in TABLES}  # fmt: skip

    def statements_of(self, act: Callable[[], object]) -> list[str]:
        """What SQLite is asked to execute, in order; ``executemany`` asks once for each row."""
        asked: list[str] = []
        self.core._connection.set_trace_callback(asked.append)
        act()
        self.core._connection.set_trace_callback(None)
        return asked


def filled(path: Path, size: int) -> dict[str, list[tuple[object, ...]]]:
    owner = Owner(path, size)
    owner.made()
    owner.updated()
    owner.note()
    owner.answer()
    owner.settle()
    found = owner.rows()
    owner.core.close()
    return found


@pytest.mark.parametrize("size", SIZES)
def test_rows_that_go_together_are_stored_as_rows_that_go_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    together = filled(tmp_path / "together.db", size)
    monkeypatch.setattr(statements, "FEW", 1 << 30)
    assert together == filled(tmp_path / "single.db", size)
    assert [len(together[table]) for table in TABLES] == [1, size, 2 * size, 3 * size, size]
    assert [row[7] for row in together["outbox"] if row[9]] == [*range(1, size + 1)]
    assert [row[6:] for row in together["outbox"] if row[0] == size and row[1] == 0] == [
        ("dead", size, 1, 1, 0, b"r", "no")
    ]
    assert [row[3] for row in together["inbox"]] == [b"answer %d" % ticket for ticket in range(1, size + 1)]


def test_a_commit_of_many_actions_is_few_statements(tmp_path: Path) -> None:
    owner = Owner(tmp_path / "store.db", MOST)
    made = owner.statements_of(owner.made)
    assert [one.split("(")[0].split(" set")[0] for one in made if one.startswith(("insert", "update"))] == [
        "update shards", "insert into workflow_state", "insert into log", "insert into outbox", "insert into outbox",
    ]  # fmt: skip
    assert len(owner.statements_of(owner.updated)) < 10
    assert len(owner.statements_of(owner.note)) < 6
    owner.core.send_all([b"asked"] * MOST, 5)
    answers = tuple(InboxAnswer(ticket, b"answer", 9) for ticket in range(1, MOST + 1))
    assert len(owner.statements_of(lambda: owner.core.commit(Commit(owner.fences, answers=answers, at_us=9)))) < 5
    assert len(owner.statements_of(owner.settle)) < 5
    owner.core.close()


def test_a_commit_with_much_text_goes_row_by_row(tmp_path: Path) -> None:
    """SQLite keeps a copy of what was bound to a statement, so that only a limited amount is bound at once."""
    owner = Owner(tmp_path / "store.db", MOST)
    owner.made()
    per_row = statements.TOGETHER_BYTES // MOST
    assert len(owner.statements_of(lambda: owner.updated(text=per_row + 1))) > 2 * MOST
    assert owner.core.load([WorkflowKey("orders", "7")])[WorkflowKey("orders", "7")].state == b"\x07" * (per_row + 1)
    owner.core.close()


@pytest.mark.parametrize("statement", [UPDATE_STATE, SETTLE, NOTE, ANSWER])
def test_each_row_is_found_by_a_key(tmp_path: Path, statement: RowStatement) -> None:
    core = SqliteCore(tmp_path / "store.db")
    asked = f"explain query plan {statement._text(FEW)}"
    plan = [step[3] for step in core._connection.execute(asked, (0,) * (FEW * statement.width + 1))]
    assert any("USING" in step and "SEARCH" in step for step in plan), plan
    assert not any(
        step.startswith("SCAN") and ("outbox" in step or "workflow" in step or "inbox" in step) for step in plan
    )
    core.close()


def test_one_change_that_does_not_fit_is_left_out_of_many(tmp_path: Path) -> None:
    owner = Owner(tmp_path / "store.db", 100)
    owner.made()
    with sqlite3.connect(tmp_path / "store.db") as other:
        other.execute("update workflow_state set version = 5 where instance = 60")
        other.execute("update workflow_state set lease_id = x'01' where instance = 61")
    other.close()
    answers = owner.updated()
    assert [type(answer) for answer in answers].count(Applied) == 98
    assert answers[59:61] == [Conflict(5, frozenset(), False), Conflict(1, frozenset(), True)]
    assert [len(owner.rows()[table]) for table in ("log", "outbox")] == [198, 396]
    owner.core.close()


def test_an_action_that_was_applied_before_is_left_out_of_many(tmp_path: Path) -> None:
    owner = Owner(tmp_path / "store.db", 100)
    owner.made()
    again = owner.change(30, 0, instance=30)._replace(based_on=1)
    others = [owner.change(number, 1, instance=number) for number in range(1, 100) if number != 30]
    answers = owner.commit(*others, again)
    assert answers[-1] == Conflict(1, frozenset({again.rows[0].action_id}), False)
    assert all(isinstance(answer, Applied) for answer in answers[:-1])
    owner.core.close()
