"""The page of a demo that stays: its tour, the expense that waits for the visitor, and a kill while all of it is alive."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.page.browser import Browsing, Visitor, browsing

STEPS = ["Kill the engine", "Somebody waits for you", "The Tape", "Drag the playhead", "Why", "What if?"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browsing]:
    with browsing() as found:
        yield found


class StayingDemo:
    """A demo of a few files. ``end`` is Ctrl-C in its terminal; it returns the demo's JSON."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process, self.address = process, address

    def end(self) -> dict[str, object]:
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, err
        told: dict[str, object] = json.loads(out.splitlines()[-1])
        return told


@contextmanager
def staying(place: Path) -> Iterator[StayingDemo]:
    tree = place / "tree"
    tree.mkdir()
    for n in range(12):
        (tree / f"part_{n}.py").write_text(f"def part_{n}(x: int) -> int:\n    return x + {n}\n")
    words = [str(Path(sys.executable).with_name("onex")), "demo", "--path", str(tree), "--stay", "--json"]
    process = subprocess.Popen(
        [*words, "--store", f"sqlite:///{place}/demo.db"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        stays = next((line for line in process.stderr if "until Ctrl-C" in line), "")
        yield StayingDemo(process, re.findall(r"http://127\.0\.0\.1:\d+", stays)[0])
    finally:
        process.kill()
        process.communicate()


def stepped(page: Page, n: int) -> None:
    """The card of step ``n``, and what it points at."""
    expect(page.get_by_role("complementary", name="Tour")).to_contain_text(f"{n + 1} of 6 {STEPS[n]}")
    expect(page.locator(".ring")).to_be_visible()


def on_a_phone(visitor: Visitor) -> None:
    page = visitor.look()
    tour = page.get_by_role("complementary", name="Tour")
    tour.get_by_role("button", name="Show me").click()
    for n in range(6):
        stepped(page, n)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        tour.get_by_role("button", name="Next" if n < 5 else "Done").click()
    assert visitor.barriers() == []
    expect(tour).to_have_count(0)


def test_a_visitor_takes_the_tour_kills_the_engine_and_answers(browser: Browsing, tmp_path: Path) -> None:
    with staying(tmp_path) as demo:
        with browser.visit(demo.address) as visitor:
            page = visitor.look()
            tour = page.get_by_role("complementary", name="Tour")
            expect(tour).to_contain_text("New here?")
            page.keyboard.press("n")
            stepped(page, 0)
            assert visitor.barriers() == []
            page.get_by_role("button", name="kill -9 the engine").click()
            expect(page.get_by_role("region", name="The demo")).to_contain_text("Killed with SIGKILL")
            tour.get_by_role("button", name="Next").click()
            stepped(page, 1)
            for n in range(2, 6):
                page.keyboard.press("n")
                stepped(page, n)
            expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", re.compile(", failed$"))
            page.keyboard.press("b")
            stepped(page, 4)
            page.reload()
            stepped(page, 4)
            assert visitor.barriers() == []
            page.keyboard.press("Escape")
            expect(tour).to_have_count(0)
            page.reload()
            expect(page.get_by_role("slider")).to_be_visible()
            expect(tour).to_have_count(0)

            page.get_by_role("link", name="ONEX").click()
            page.get_by_role("button", name="Approve").click()
            expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", "version 3 of 3, was_paid, paid")
            page.get_by_role("link", name="ONEX").click()
            expect(page.get_by_role("list", name="Living examples")).to_contain_text("approval:ada paid")
            expect(page.get_by_role("button", name="Approve")).to_have_count(0)
            page.get_by_role("button", name="Take the tour").click()
            stepped(page, 0)
        for dark in (False, True):
            with browser.visit(demo.address, 390, 844, dark=dark) as visitor:
                on_a_phone(visitor)
        told = demo.end()
    assert (told["kills"], told["effects_lost"], told["effects_repeated"], told["replay_mismatches"]) == (3, 0, 0, 0)
    assert len(list((tmp_path / "demo" / "approval" / "payments").iterdir())) == 1
