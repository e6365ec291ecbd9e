"""What-if on the page, in a real browser: a run against a changed folder, its counter, and both branches side by side."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest
from playwright.sync_api import Page, expect

from tests.page.browser import Browsing, browsing
from tests.page.stories import HOSTILE, MARK, hostile, odd_instances, orders, served


class Places(NamedTuple):
    browser: Browsing
    orders: str
    odd: str


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with ExitStack() as stack:
        place = tmp_path_factory.mktemp("orders")
        shop = stack.enter_context(served(orders(place), place / "orders", place))
        place = tmp_path_factory.mktemp("hostile")
        store, app = hostile(place)
        shutil.copytree(app, place / "changed" / "odd", ignore=shutil.ignore_patterns("__pycache__"))
        reducer = place / "changed" / "odd" / "reducer.py"
        reducer.write_text(
            reducer.read_text().replace("text=action.payload.text)", 'text=action.payload.text + "<b>x")')
        )
        odd = stack.enter_context(served(store, app, place))
        browser = stack.enter_context(browsing())  # last: where Playwright runs, this thread has a loop
        yield Places(browser, shop, odd)


def run_what_if(page: Page, against: str) -> None:
    page.get_by_label("Other code").fill(against)
    page.get_by_role("button", name="Start").click()


def test_a_what_if_is_run_and_both_branches_are_opened(places: Places) -> None:
    with places.browser.visit(places.orders) as visitor:
        page = visitor.look("?screen=whatif")
        expect(page.locator("main")).to_contain_text("Nothing is fired")
        run_what_if(page, "changed/orders")
        result = page.get_by_role("region", name="What-if 1")
        expect(result.locator(".verdict")).to_have_text("4 same, 3 differ, first at event 1")
        expect(result.locator(".fired")).to_have_text("Effects fired: 0")
        expect(result.get_by_role("row")).to_have_count(4)
        row = result.get_by_role("row").filter(has_text="orders:2")
        expect(row).to_contain_text("total_cents 450, recorded 900")
        expect(row).to_contain_text("open from 2")
        assert visitor.barriers() == []
        row.get_by_role("link", name="Side by side").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("orders:2")
        first = page.locator("tr.first")
        expect(first).to_contain_text("first difference")
        expect(first).to_contain_text("total_cents 900 → 450")
        expect(first).to_contain_text("charge.payload.cents 900 → 450")
        expect(page.locator("td.open")).to_have_count(2)
        expect(page.get_by_role("cell", name="open from here: no answers exist")).to_be_visible()
        assert visitor.barriers() == []
        page.get_by_role("link", name="What-if 1").click()
        expect(page.get_by_role("region", name="The last runs").get_by_role("row")).to_have_count(2)


def test_a_what_if_that_cannot_run_says_why(places: Places) -> None:
    with places.browser.visit(places.odd) as visitor:
        page = visitor.look("?screen=whatif")
        run_what_if(page, HOSTILE[1])
        expect(page.get_by_role("alert")).to_contain_text(MARK)
        assert page.evaluate("window.pwned") is None


def test_hostile_text_is_text_on_both_sides(places: Places) -> None:
    with places.browser.visit(places.odd, 390, dark=True) as visitor:
        page = visitor.look("?screen=whatif")
        run_what_if(page, "changed/odd")
        expect(page.locator(".verdict")).to_have_text(re.compile("^0 same, 9 differ, first at event 1$"))
        expect(page.get_by_role("row").filter(has_text="Side by side")).to_have_count(len(odd_instances()))
        assert visitor.barriers() == []
        page.get_by_role("link", name="Side by side").first.click()
        expect(page.locator("tr.first")).to_contain_text("first difference")
        expect(page.locator("tr.other")).to_have_count(12)
        assert page.evaluate("window.pwned") is None
        assert visitor.barriers() == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the screen"
