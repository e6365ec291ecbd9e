"""Home and the system map in a real browser: what is well, what waits for a person, what is said when nobody answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.page.browser import Browsing, browsing
from tests.page.stories import hostile
from tests.service.service import ITEMS, running


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return hostile(tmp_path_factory.mktemp("odd"))


@pytest.fixture(scope="module")
def browser(odd: tuple[str, Path]) -> Iterator[Browsing]:  # last: where Playwright runs, this thread has a loop
    with browsing() as found:
        yield found


def test_no_light_is_green_when_the_service_is_gone(
    browser: Browsing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEX_ORDERS_DIR", str(tmp_path / "out"))
    store = f"sqlite:///{tmp_path}/s.db"
    with ExitStack() as services, ExitStack() as tabs:
        service = services.enter_context(running(store))
        service.post("submit", {"key": "orders:1", "trigger": "place", "payload": {"items": ITEMS}})
        visitor = tabs.enter_context(browser.visit(service.address))
        page = visitor.look()
        figures = page.get_by_role("region", name="Figures of now")
        expect(figures).to_contain_text("engine runs")
        page.get_by_role("navigation", name="Screens").get_by_role("link", name="System").click()
        engine = page.get_by_role("row", name=re.compile("^engine engine"))
        expect(engine).to_contain_text("well it holds the lock of the store")
        expect(page.locator("circle.lamp.well").nth(2)).to_be_visible()
        bank = page.get_by_role("row", name=re.compile("^bank target"))
        expect(bank).to_contain_text("not known")
        expect(bank).to_contain_text("from orders")
        assert visitor.barriers() == []
        page.get_by_role("row", name=re.compile("^orders workflow")).get_by_role("link", name="orders").click()
        expect(page).to_have_url(re.compile(r"\?type=orders$"))
        expect(page.get_by_role("button", name=re.compile("^orders.*remove this filter"))).to_be_visible()
        expect(figures).to_contain_text("engine runs")
        services.close()
        expect(page.get_by_role("status")).to_contain_text("The service does not answer")
        expect(figures).to_contain_text("not known: figures of")
        expect(figures.locator(".engine.off")).to_be_visible()
        page.get_by_role("link", name="System").click()
        expect(page.get_by_role("status")).to_contain_text("the service does not answer")
        expect(page.locator("circle.lamp.well").nth(1)).not_to_be_visible()
        visitor.trouble = [one for one in visitor.trouble if "net::ERR_" not in one]


def test_the_map_of_hostile_names_is_text(browser: Browsing, odd: tuple[str, Path]) -> None:
    store, app = odd
    with running(store, app, engine=None) as service, browser.visit(service.address, 390, dark=True) as visitor:
        page = visitor.look("?screen=system")
        expect(page.get_by_role("row", name=re.compile("^odd workflow"))).to_contain_text("9")
        assert page.evaluate("window.pwned") is None
        assert visitor.barriers() == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the screen"
