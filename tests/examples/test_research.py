"""The agent that writes a report: its model is a server of this test, which counts what it is asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.research.stand_in import server
from tests.examples.killed import EXAMPLES, ActionToSend, over_kills

FOLDER = EXAMPLES / "research"
ASKED = ActionToSend("research:1", "start", {"question": "tea"})
YES = ActionToSend("research:1", "review.approve", {"by": "ada"})
NO = ActionToSend("research:1", "review.reject", {"by": "ada", "note": "too short"})


class Model:
    """Text and key of each request that the server got. It answers a section when ``at_once`` of them are asked for."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.at_once = threading.Barrier(1)

    def hear(self, role: str, text: str, key: str) -> None:
        self.heard.append((text, key))
        if role.startswith("Write"):
            self.at_once.wait(timeout=60)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Model]:
    model = Model()
    with server(0, model.hear) as running:
        monkeypatch.setenv("ONEX_MODEL_AT", f"127.0.0.1:{running.server_port}")
        monkeypatch.setenv("ONEX_RESEARCH_DIR", str(tmp_path / "reports"))
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield model
        running.shutdown()
        thread.join()


def test_a_report_is_written_side_by_side_approved_and_published_over_kills(model: Model, tmp_path: Path) -> None:
    seen = over_kills(FOLDER, tmp_path, [ASKED, YES], {ASKED.key: "completed"}, ["model:3", "publish:1"])
    assert {target: len(keys) for target, keys in seen.keys.items()} == {"model": 5, "publish": 1}
    assert len(set(model.heard)) == len({text for text, key in model.heard}) == 5, (
        "the server has each text under one key"
    )
    (report,) = (tmp_path / "reports").iterdir()
    assert report.read_text().count("All that is known about tea") == 4
    assert seen.ended[ASKED.key]["publish"]["path"] == str(report)


def test_a_report_that_is_refused_is_not_published(model: Model, tmp_path: Path) -> None:
    model.at_once = threading.Barrier(4)
    seen = over_kills(FOLDER, tmp_path, [ASKED, NO], {ASKED.key: "failed"}, [])
    assert "too short" in seen.ended[ASKED.key]["plan"]["why"]
    assert "publish" not in seen.keys and len(model.heard) == 5, "four sections were asked for at once"
