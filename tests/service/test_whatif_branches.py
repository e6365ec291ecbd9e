"""Both branches of one instance of a what-if: windows of versions, where they part, and who sees what of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from tests.cli.test_hostile_text import CONTRACT, PAYLOADS, REDUCER, yaml
from tests.service.service import Service, filled, made_tokens, running

LAST = 40
PART = 21
"""The text of version n is ``t{n + 9}``; the other code says more from ``t30`` on."""


class Ran(NamedTuple):
    service: Service
    tokens: dict[str, str]
    number: int

    def branch(self, who: str = "viewer", key: str = "odd:a", number: int = 0, **query: object) -> tuple[int, Any]:
        path = f"/api/whatif/{number or self.number}/branch?{urlencode({'key': key, **query})}"
        heard = self.service.call("GET", path, token=self.tokens[who])
        return heard.status, heard.body


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    place = tmp_path_factory.mktemp("branches")
    other = ("text=action.payload.text)", "text=action.payload.text + ('!' if action.payload.text >= 't30' else ''))")
    for folder, reducer in (("odd", REDUCER), ("changed/odd", REDUCER.replace(*other))):
        app = place / folder
        app.mkdir(parents=True)
        (app / "contract.yaml").write_text(yaml(CONTRACT))
        (app / "payloads.py").write_text(PAYLOADS)
        (app / "reducer.py").write_text(reducer)
    store = f"sqlite:///{place}/s.db"
    said = [("odd:a", "say", {"text": f"t{n + 9}"}) for n in range(1, LAST + 1)]
    filled(store, place / "odd", [*said, ("odd:b", "say", {"text": "t1"})])
    tokens, given = made_tokens()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        with running(store, place / "odd", tokens, engine=None) as service:
            yield Ran(service, given, _run(service, given["admin"], "changed/odd"))


def _run(service: Service, token: str, against: str) -> int:
    begun = service.call("POST", "/api/whatif", {"against": against}, token=token).body
    number = int(begun["number"])
    told = begun
    while told["state"] == "running":
        told = service.call("GET", f"/api/whatif/{number}?wait_s=30", token=token).body
    return number


def test_the_first_window_stands_around_the_first_difference(ran: Ran) -> None:
    status, told = ran.branch(limit=10)
    assert (status, told["first"], told["opened"], told["effects_fired"]) == (200, PART, None, 0)
    assert [one["version"] for one in told["steps"]] == list(range(PART - 5, PART + 5))
    assert [one["state"]["total"] for one in told["steps"]] == [0] * 5 + [1] * 5
    before, at = told["steps"][4:6]
    assert before["other"] == before["recorded"]
    assert at["state"]["first"] == [{"path": "text", "old": '"t30"', "new": '"t30!"'}]
    assert at["other"]["changes"]["first"] == [{"path": "text", "old": '"t29"', "new": '"t30!"'}]
    assert told["why"] == 'text "t30!", recorded "t30"'


def test_windows_lie_end_to_end(ran: Ran) -> None:
    seen: list[int] = []
    after: int | None = 0
    while after is not None:
        _, told = ran.branch(after=after, limit=15)
        seen += [one["version"] for one in told["steps"] if one["state"]["total"]]
        after = told["next"]
    assert seen == list(range(PART, LAST + 1))


def test_who_sees_no_payloads_sees_where_they_part_and_no_value(ran: Ran) -> None:
    status, told = ran.branch("blind", limit=10)
    assert (status, told["first"]) == (200, PART)
    assert told["steps"][5]["state"]["first"] == [{"path": "text", "old": "***", "new": "***"}]
    assert "t30" not in json.dumps(told)


def test_what_has_no_branches_is_said(ran: Ran) -> None:
    status, told = ran.branch(key="odd:b")
    assert (status, "tells of no difference in odd:b" in told["detail"]) == (404, True)
    wrong = _run(ran.service, ran.tokens["admin"], "no-such-revision")
    status, told = ran.branch(number=wrong)
    assert (status, "has no result: it is failed" in told["detail"]) == (404, True)
    assert ran.branch(number=999)[0] == 404


def test_a_reducer_that_hangs_is_ended_and_refuses_that_action(ran: Ran) -> None:
    app = Path("changed/odd/reducer.py")
    text = app.read_text()
    app.write_text(text.replace("    if action", "    while action.payload.text == 't31': pass\n    if action"))
    status, told = ran.branch(limit=10)
    app.write_text(text)
    assert (status, told["steps"][6]["refused"]) == (200, "reducer_failed")
    assert ran.branch(limit=10)[1]["steps"][6]["refused"] == ""
