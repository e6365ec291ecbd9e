"""The page of a demo that stays: its tour, the expense that waits for the visitor, and a kill while all of it is alive."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.page.browser import Browsing, Visitor, browsing
from tests.page.demos import staying

STEPS = ["Kill the engine", "Somebody waits for you", "The Tape", "Drag the playhead", "Why", "What if?"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browsing]:
    with browsing() as found:
        yield found


def of_a_few_files(place: Path) -> tuple[str, ...]:
    tree = place / "tree"
    tree.mkdir()
    for n in range(12):
        (tree / f"part_{n}.py").write_text(f"def part_{n}(x: int) -> int:\n    return x + {n}\n")
    return "--path", str(tree)


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
    with staying(tmp_path, *of_a_few_files(tmp_path)) as demo:
        demo.until_all_is_proved()
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
            page.get_by_role("list", name="Living examples").get_by_role("button", name="Approve").click()
            expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", "version 3 of 3, was_paid, paid")
            page.get_by_role("link", name="ONEX").click()
            expect(page.get_by_role("list", name="Living examples")).to_contain_text("approval:ada paid")
            expect(page.get_by_role("list", name="Living examples").get_by_role("button")).to_have_count(0)
            page.get_by_role("button", name="Take the tour").click()
            stepped(page, 0)
        for dark in (False, True):
            with browser.visit(demo.address, 390, 844, dark=dark) as visitor:
                on_a_phone(visitor)
        told = demo.end()
    assert (told["kills"], told["effects_lost"], told["effects_repeated"], told["replay_mismatches"]) == (3, 0, 0, 0)
    assert len(list((tmp_path / ".onex" / "demo" / "approval" / "payments").iterdir())) == 1
