"""The fan-out: a thousand pages, each an instance of its own, and a kill in the middle."""

from __future__ import annotations

import json
from pathlib import Path

from tests.examples.killed import EXAMPLES, ActionToSend, over_kills

PAGES = 1_000
AT_ONCE = 50


def test_a_thousand_pages_are_read_once_each_over_a_kill(tmp_path: Path) -> None:
    book = ActionToSend("fan_out:1", "start", {"title": "tea", "pages": PAGES})
    seen = over_kills(EXAMPLES / "fan_out", tmp_path, [book], {book.key: "terminal"}, [f"read:{PAGES // 2}"])
    state = seen.ended[book.key]
    assert state["status"] == "completed"
    assert (state["pages"]["succeeded"], state["pages"]["failed"], state["pages"]["open"]) == (PAGES, 0, [])
    assert state["summary"]["words"] == sum(300 + page % 7 for page in range(PAGES))
    read = [seen.payloads[key]["page"] for key in seen.keys["read"]]
    assert sorted(read) == list(range(PAGES)), "each page under one key"
    assert len(seen.keys["publish"]) == 1
    assert seen.again["read"] <= AT_ONCE, "only what ran when it was killed ran again"
    assert len(json.dumps(state)) < 2_000
