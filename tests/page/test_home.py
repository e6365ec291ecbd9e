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
from tests.service.service import ITEMS, ROOT, running

SAGA = ROOT / "examples" / "order_saga"


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


def test_an_approval_is_given_on_home(browser: Browsing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEX_SAGA_DIR", str(tmp_path / "out"))
    with running(f"sqlite:///{tmp_path}/s.db", SAGA, engine=SAGA) as service, browser.visit(service.address) as visitor:
        for name in ("yes", "no"):
            payload = {"id": name, "sku": "tea", "cents": 60_000}
            service.post("submit", {"key": f"order_saga:{name}", "trigger": "start", "payload": payload})
        page = visitor.look()
        waits = page.get_by_role("region", name="What waits for a person")
        expect(waits.get_by_role("listitem")).to_have_count(2)
        expect(waits).to_contain_text("order_saga:yes review asked")
        expect(page.get_by_role("row", name=re.compile("order_saga:yes"))).to_contain_text(
            "review waits for an approval"
        )
        assert visitor.barriers() == []
        for name, answer in {"yes": "Approve", "no": "Reject"}.items():
            waits.get_by_role("button", name=f"{answer} review of order_saga:{name}").click()
            dialog = page.get_by_role("dialog", name="Confirm")
            expect(dialog).to_contain_text(f"{answer} review of order_saga:{name}?")
            dialog.get_by_role("button", name="Do it").click()
            expect(waits.get_by_role("status")).to_contain_text(f"order_saga:{name}: done")
            expect(waits.get_by_role("button", name=f"{answer} review of order_saga:{name}")).to_have_count(0)
        expect(page.get_by_role("row", name=re.compile("order_saga:yes"))).to_contain_text("completed")
        log = service.get("instance/log", key="order_saga:no").body["actions"]
        assert [one["payload"]["by"] for one in log if one["trigger"] == "review.reject"] == ["local"]


def test_an_address_that_there_is_not_is_said_on_the_page(browser: Browsing, odd: tuple[str, Path]) -> None:
    store, app = odd
    with running(store, app, engine=None) as service, browser.visit(service.address) as visitor:
        page = visitor.look("nowhere")
        expect(page.get_by_role("heading", level=1)).to_have_text("Not found")
        expect(page.get_by_text("This service has nothing at /nowhere")).to_be_visible()
        page.get_by_role("link", name="Go home").click()
        expect(page.get_by_role("region", name="Figures of now")).to_be_visible()
        visitor.trouble = [one for one in visitor.trouble if "status of 404" not in one]
        assert service.call("GET", "/nowhere").body["code"] == "bad_request"
        assert service.call("GET", "/api/nowhere", headers={"Accept": "text/html"}).body["status"] == 404


def test_the_map_of_hostile_names_is_text(browser: Browsing, odd: tuple[str, Path]) -> None:
    store, app = odd
    with running(store, app, engine=None) as service, browser.visit(service.address, 390, dark=True) as visitor:
        page = visitor.look("?screen=system")
        expect(page.get_by_role("row", name=re.compile("^odd workflow"))).to_contain_text("9")
        assert page.evaluate("window.pwned") is None
        assert visitor.barriers() == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the screen"
