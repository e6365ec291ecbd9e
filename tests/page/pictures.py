"""``python -m tests.page.pictures`` takes the pictures of docs/pictures, on the store that the tests of the page look at."""

from __future__ import annotations

import sys
import tempfile
from base64 import b64decode
from pathlib import Path
from typing import Final

from playwright.sync_api import expect

from tests.laws.tree import ROOT
from tests.page.browser import browsing
from tests.page.stories import RESEARCH, research, served

PICTURES: Final = ROOT / "docs" / "pictures"
TAKEN: Final = {
    "home": ("", False),
    "the-tape": ("?key=research:1&version=11", False),
    "the-tape-dark": ("?key=research:1&version=10", True),
}


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="onex-") as folder:
        store = research(Path(folder))
        with served(store, RESEARCH) as address, browsing() as browser:
            for name, (query, dark) in TAKEN.items():
                with browser.visit(address, 1280, 800, dark=dark) as visitor:
                    page = visitor.look(query)
                    expect(page.get_by_role("row").nth(5)).to_be_visible()
                    page.evaluate("folder => { for (const one of document.querySelectorAll('.store')) one.lastChild.textContent = "
                                  "'sqlite:///reports.db' }", folder)  # fmt: skip
                    expect(page.locator(".stale")).to_have_count(0)
                    page.evaluate("Promise.all(document.getAnimations().map(one => one.finished))")
                    shot = {"format": "webp", "quality": 82}  # Playwright's own pictures are three times as large
                    taken = page.context.new_cdp_session(page).send("Page.captureScreenshot", shot)
                    picture = PICTURES / f"{name}.webp"
                    picture.write_bytes(b64decode(taken["data"]))
                    sys.stdout.write(f"docs/pictures/{picture.name} {picture.stat().st_size // 1000} kB\n")


if __name__ == "__main__":
    main()
