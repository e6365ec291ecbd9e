"""``python -m tests.page.pictures [NAME ...]`` takes those of docs/pictures, of stores that tests look at, and of a demo."""

from __future__ import annotations

import re
import sys
import tempfile
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, expect

from tests.laws.tree import ROOT
from tests.page.browser import Browsing, browsing
from tests.page.demos import staying
from tests.page.stories import RESEARCH, orders, research, served

PICTURES: Final = ROOT / "docs" / "pictures"
TAKEN: Final = {
    "home": ("", False),
    "system": ("?screen=system", False),
    "the-tape": ("?key=research:1&version=11", False),
    "the-tape-dark": ("?key=research:1&version=10", True),
}
OF_WHAT_IF: Final = ("what-if", "side-by-side")
OF_DEMO: Final = ("demo", "tour", "undone")


def main(names: Sequence[str]) -> None:
    PICTURES.mkdir(exist_ok=True)
    wanted = names or (*TAKEN, *OF_WHAT_IF, *OF_DEMO)
    with tempfile.TemporaryDirectory(prefix="onex-") as first, tempfile.TemporaryDirectory(prefix="onex-") as second:
        reports, shop = research(Path(first)), orders(Path(second))  # before Playwright, which takes this thread's loop
        with browsing() as browser:
            if set(TAKEN) & set(wanted):
                of_reports(browser, reports, wanted)
            if set(OF_WHAT_IF) & set(wanted):
                of_what_if(browser, shop, Path(second))
            if set(OF_DEMO) & set(wanted):
                of_demo(browser)


def of_reports(browser: Browsing, store: str, wanted: Sequence[str]) -> None:
    with served(store, RESEARCH) as address:
        for name in filter(wanted.__contains__, TAKEN):
            query, dark = TAKEN[name]
            with browser.visit(address, 1280, 800, dark=dark) as visitor:
                page = visitor.look(query)
                expect(page.get_by_role("row").nth(5)).to_be_visible()
                expect(page.locator(".stale")).to_have_count(0)
                take(page, name, "reports.db")


def of_what_if(browser: Browsing, store: str, place: Path) -> None:
    with served(store, place / "orders", place) as address, browser.visit(address, 1180, 620) as visitor:
        page = visitor.look("?screen=whatif")
        page.get_by_label("Other code").fill("changed/orders")
        page.get_by_role("button", name="Start").click()
        expect(page.locator(".verdict")).to_be_visible()
        take(page, "what-if", "orders.db")
        page.get_by_role("link", name="Side by side").first.click()
        expect(page.locator("tr.first")).to_be_visible()
        take(page, "side-by-side", "orders.db")


def of_demo(browser: Browsing) -> None:
    """It is killed in the middle of its work, and then stays."""
    with tempfile.TemporaryDirectory(prefix="onex-") as folder, staying(Path(folder)) as demo:
        with browser.visit(demo.address, 1280, 800) as visitor:
            page = visitor.look()
            region = page.get_by_role("region", name="The demo")
            page.get_by_role("button", name="No, thank you").click()
            expect(region).to_contain_text(re.compile(r"effects seen outside(1,[4-9]|[2-9],)"))
            page.get_by_role("button", name="kill -9 the engine").click()
            expect(region).to_contain_text("Killed with SIGKILL")
            take(page, "demo", ".onex/demo.db")
        demo.until_all_is_proved()
        with browser.visit(demo.address, 1280, 800) as visitor:
            page = visitor.look()
            page.get_by_role("button", name="Show me").click()
            expect(page.get_by_role("button", name="kill -9 the engine")).to_be_enabled()
            page.keyboard.press("n")
            expect(page.get_by_role("complementary", name="Tour")).to_contain_text("2 of 6")
            expect(page.locator(".ring")).to_be_visible()
            take(page, "tour", ".onex/demo.db")
            page.keyboard.press("Escape")
            page = visitor.look("?key=order_saga:far-island&version=4")
            expect(page.get_by_role("row").nth(5)).to_be_visible()
            take(page, "undone", ".onex/demo.db")
        demo.end()


def take(page: Page, name: str, store: str) -> None:
    """What is seen, with ``store`` instead of the place of a temporary folder."""
    page.evaluate(
        "store => { for (const one of document.querySelectorAll('.store')) one.lastChild.textContent = store }",
        f"sqlite:///{store}",
    )
    page.evaluate("Promise.all(document.getAnimations().map(one => one.finished))")
    shot = {"format": "webp", "quality": 82}  # Playwright's own pictures are three times as large
    taken = page.context.new_cdp_session(page).send("Page.captureScreenshot", shot)
    picture = PICTURES / f"{name}.webp"
    picture.write_bytes(b64decode(taken["data"]))
    sys.stdout.write(f"docs/pictures/{picture.name} {picture.stat().st_size // 1000} kB\n")


if __name__ == "__main__":
    main(sys.argv[1:])
