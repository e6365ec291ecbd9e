"""What-if and compare in a real browser: a run against a changed folder, both branches of an instance, and two instances."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from page.build import PAGE, WORK, find_node, install, lay_out
from tests.page.browser import Browsing, browsing
from tests.page.stories import HOSTILE, MARK, ORDERS, hostile, odd_instances, orders, served
from tests.service.service import made_tokens, running


class Places(NamedTuple):
    browser: Browsing
    orders: str
    odd: str


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with ExitStack() as stack:
        place = tmp_path_factory.mktemp("orders")
        store = orders(place)
        shutil.copytree(place / "changed", place / "hangs")
        reducer = place / "hangs" / "orders" / "reducer.py"
        reducer.write_text(reducer.read_text() + "\nwhile True:\n    pass\n")
        shop = stack.enter_context(served(store, place / "orders", place))
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


def test_two_instances_are_compared_and_their_playheads_move(places: Places) -> None:
    with places.browser.visit(places.orders) as visitor:
        page = visitor.look("?key=orders:1")
        page.get_by_role("link", name="Compare with…").click()
        page.get_by_label("Compare with").fill("7")
        page.get_by_role("button", name="Compare").click()
        expect(page.locator(".verdict")).to_have_text("They part at event 1 and 1, after 0 equal events")
        expect(page.locator(".histories tbody tr")).to_have_count(3)
        page.get_by_label("Compare with").fill("orders:2")
        page.get_by_role("button", name="Compare").click()
        expect(page.locator(".verdict")).to_have_text("All 3 events have the same steps")
        unlike = page.get_by_role("region", name="Difference of the states")
        expect(unlike).to_contain_text("total_cents 450 → 900")
        expect(unlike).to_contain_text("parcel")
        one, other = page.get_by_label("Playhead of orders:1"), page.get_by_label("Playhead of orders:2")
        page.get_by_role("button", name="Move the playhead to event 1 of orders:1").click()
        expect(other).to_have_value("1")
        expect(unlike).not_to_contain_text("parcel")
        page.get_by_label("Move together").uncheck()
        one.focus()
        page.keyboard.press("End")
        expect(one).to_have_value("3")
        expect(other).to_have_value("1")
        expect(unlike).to_contain_text('status "shipped" → "charging"')
        expect(page).to_have_url(re.compile("version=3&with_version=1$"))
        assert visitor.barriers() == []
        visitor.look("?" + page.url.partition("?")[2])
        expect(unlike).to_contain_text('status "shipped" → "charging"')


@pytest.mark.long
def test_histories_are_aligned_by_a_longest_common_subsequence() -> None:
    draw = random.Random(7)
    pairs = [["".join(draw.choices("abc", k=draw.randrange(9))) for _ in "lr"] for _ in range(200)]
    node, npm = find_node()
    lay_out(PAGE, WORK)
    install(node, npm, WORK)
    script = (
        "const ts = require('typescript'), module_ = {exports: {}};"
        "const text = require('fs').readFileSync('src/compare/align.ts', 'utf8');"
        "const made = ts.transpileModule(text, {compilerOptions: {module: 'commonjs', target: 'es2022'}}).outputText;"
        "new Function('exports', made)(module_.exports);"
        "const {align} = module_.exports;"
        "const steps = text => [...text].map((to, n) => ({version: n + 1, trigger: to, from: '', to, emitted: []}));"
        "const pairs = require('fs').readFileSync(0, 'utf8');"
        "console.log(JSON.stringify(JSON.parse(pairs).map(([a, b]) => align(steps(a), steps(b)))))"
    )
    done = subprocess.run(
        [str(node), "-e", script], cwd=WORK, input=json.dumps(pairs), capture_output=True, text=True, check=True
    )
    for (left, right), rows in zip(pairs, json.loads(done.stdout), strict=True):
        for side, text in (("left", left), ("right", right)):
            assert "".join(row[side]["to"] for row in rows if row[side]) == text, "nothing is lost, nothing moved"
        assert all(row["left"]["to"] == row["right"]["to"] for row in rows if row["same"])
        assert sum(row["same"] for row in rows) == common(left, right)


def common(left: str, right: str) -> int:
    """How long a longest common subsequence is."""
    if not left or not right:
        return 0
    if left[0] == right[0]:
        return 1 + common(left[1:], right[1:])
    return max(common(left[1:], right), common(left, right[1:]))


def test_a_what_if_whose_code_hangs_is_cancelled(places: Places) -> None:
    with places.browser.visit(places.orders) as visitor:
        page = visitor.look("?screen=whatif")
        run_what_if(page, "hangs/orders")
        run = page.get_by_role("region", name=re.compile("^What-if"))
        expect(run.get_by_role("progressbar")).to_be_visible()
        run.get_by_role("button", name="Cancel").click()
        expect(run.get_by_role("status")).to_contain_text("It was cancelled after 0 actions")


def test_who_is_no_admin_is_told_why_they_may_not_start_one(places: Places, tmp_path: Path) -> None:
    tokens, given = made_tokens()
    with (
        running(f"sqlite:///{tmp_path}/s.db", ORDERS, tokens, engine=None) as service,
        places.browser.visit(service.address) as visitor,
    ):
        page = visitor.look("?screen=whatif")
        page.get_by_label("Token").fill(given["operator"])
        page.get_by_role("button", name="Enter").click()
        expect(page.locator("main")).to_contain_text("Only an admin may start a what-if")
        expect(page.get_by_role("button", name="Start")).to_have_count(0)
        visitor.trouble[:] = [one for one in visitor.trouble if "401" not in one]  # a browser notes what is refused


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
        one, other, *_ = odd_instances()
        visitor.look("?" + urlencode({"screen": "compare", "key": one, "with": other}))
        expect(page.locator(".verdict")).to_have_text("All 12 events have the same steps")
        page.get_by_role("button", name="6 equal events").click()
        expect(page.locator(".histories tbody tr")).to_have_count(12)
        expect(page.get_by_role("region", name="Difference of the states")).to_contain_text(MARK)
        assert page.evaluate("window.pwned") is None
        assert visitor.barriers() == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the screen"
