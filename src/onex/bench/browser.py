"""What a person waits for on the page: measured in a real Chromium, on the store and the service of ``onex bench page``.

Playwright is no part of ONEX. Where it or a Chromium is missing, this says so in a sentence, and the bench goes on without.
The browser is the one that TEST_CHROMIUM names, else one of this machine, else the one that the tests of the page have fetched.

Times are those of the page's own clock, from the beginning of its navigation or from the input, until what was asked for is
shown. A frame is late when it comes more than FRAME_MS after the one before, while the playhead is dragged over the Tape. The heap
is measured after a collection. The conditions are texts, which the page's content security policy would refuse; this tab has none.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from playwright.sync_api import Page

FRAME_MS: Final = 25.0
"""One and a half frames of a screen that shows 60 a second: what comes later has left one out."""
STEPS: Final = 180
FETCHED: Final = Path(".cache", "page-tests", "browser", "chromium")
INSTALLED: Final = ("chromium", "chromium-browser", "google-chrome")
FLAGS: Final = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking")
WAIT_MS: Final = 60_000
FRAMES: Final = """() => { window.frames_ms = []; let last = performance.now();
    const each = now => { window.frames_ms.push(now - last); last = now; window.frames_id = requestAnimationFrame(each) };
    window.frames_id = requestAnimationFrame(each) }"""


class BrowserFigures(NamedTuple):
    """``late_frames`` of ``frames`` came too late while the playhead was dragged."""

    home_ms: float
    filter_ms: float
    next_page_ms: float
    instance_ms: float
    frames: int
    late_frames: int
    longest_frame_ms: float
    heap_mb: float


def chromium() -> str:
    """The program; '' where there is none."""
    found = os.environ.get("TEST_CHROMIUM") or next(filter(None, map(shutil.which, INSTALLED)), "")
    return found or (str(FETCHED.absolute()) if FETCHED.exists() else "")


def measured_in_browser(address: str, instances: int, events: int) -> BrowserFigures | str:
    """On a service of ``count:0`` to ``count:N`` and of ``count:long`` with so many events; else why not, in words."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return "not measured: Playwright is not installed here (pip install playwright)"
    program = chromium()
    if not program:
        return "not measured: no browser; TEST_CHROMIUM names one"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        try:
            page = browser.new_page(bypass_csp=True, viewport={"width": 1280, "height": 860})
            page.set_default_timeout(WAIT_MS)
            return _figures(page, address, instances, events)
        finally:
            browser.close()


def _figures(page: Page, address: str, instances: int, events: int) -> BrowserFigures:
    rows = "document.querySelectorAll('.list td.key a')"
    page.goto(address, wait_until="commit")
    home_ms = _shown(page, 0, f"{rows}.length > 0")
    begun = _now(page)
    page.get_by_role("button", name="Next").click()
    next_ms = _shown(page, begun, f"{rows}[0]?.textContent !== 'count:0'")
    begun = _now(page)
    page.get_by_role("searchbox").fill(f"count:{instances - 1}")
    filter_ms = _shown(page, begun, f"{rows}.length === 1")
    page.goto(f"{address}/?key=count:long", wait_until="commit")
    at_end = f"document.querySelector('[role=slider]')?.getAttribute('aria-valuenow') === '{events}'"
    instance_ms = _shown(page, 0, f"{at_end} && document.querySelector('aside.right')?.textContent.includes('sum')")
    frames = _scrubbed(page)
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    heap = session.send("Runtime.getHeapUsage")["usedSize"]
    late = [one for one in frames if one > FRAME_MS]
    return BrowserFigures(
        home_ms, filter_ms, next_ms, instance_ms, len(frames), len(late), max(frames, default=0.0), heap / 1_000_000
    )


def _now(page: Page) -> float:
    return float(page.evaluate("performance.now()"))


def _shown(page: Page, begun_ms: float, condition: str) -> float:
    """Milliseconds since then until the condition, a text of JavaScript, holds."""
    page.wait_for_function(condition, polling="raf")
    return _now(page) - begun_ms


def _scrubbed(page: Page) -> list[float]:
    """The playhead is dragged over the Tape, there and back: milliseconds of each frame."""
    box = page.get_by_role("slider").bounding_box()
    assert box is not None, "the Tape is shown"
    y, left, right = box["y"] + 120, box["x"] + 30, box["x"] + box["width"] - 30
    page.mouse.move(right, y)
    page.mouse.down()
    page.evaluate(FRAMES)
    page.mouse.move(left, y, steps=STEPS)
    page.mouse.move(right, y, steps=STEPS)
    page.mouse.up()
    return [
        float(one) for one in page.evaluate("() => { cancelAnimationFrame(window.frames_id); return window.frames_ms }")
    ]
