"""The page in a real browser, on a real service over a store that a real run has made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Page, expect

from tests.page.browser import Browsing, browsing
from tests.page.stories import HOSTILE, RESEARCH, SAID, hostile, lake, odd_instances, research, served
from tests.service.service import running

STEERS = "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"


class Places(NamedTuple):
    browser: Browsing
    research: str
    hostile: str
    lake: str


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with ExitStack() as stack:
        reports = stack.enter_context(served(research(tmp_path_factory.mktemp("research")), RESEARCH))
        store, app = hostile(tmp_path_factory.mktemp("hostile"))
        odd = stack.enter_context(running(store, app, engine=app))
        store, app = lake(tmp_path_factory.mktemp("lake"))
        shore = stack.enter_context(running(store, app, engine=None))
        browser = stack.enter_context(browsing())  # last: where Playwright runs, this thread has a loop
        yield Places(browser, reports, odd.address, shore.address)


def at_version(page: Page, version: int) -> None:
    expect(page.get_by_role("slider")).to_have_attribute("aria-valuenow", str(version))
    expect(page).to_have_url(re.compile(rf"version={version}$"))


def test_home_tells_figures_and_leads_to_instances(places: Places) -> None:
    with places.browser.visit(places.research) as visitor:
        page = visitor.look()
        figures = page.get_by_role("region", name="Figures of now")
        expect(figures).to_contain_text("no engine runs")
        expect(figures).to_contain_text("10")
        expect(page.get_by_role("row")).to_have_count(11)
        page.get_by_role("button", name="completed 8").click()
        expect(page.get_by_role("row")).to_have_count(9)
        page.get_by_role("button", name=re.compile("remove this filter")).click()
        page.get_by_label("Find by the beginning of the id").fill("research:2")
        expect(page.get_by_role("row")).to_have_count(2)
        page.get_by_label("Find by the beginning of the id").fill("version > 'x'")
        expect(page.get_by_role("alert")).to_contain_text("version is an integer")
        visitor.trouble = [one for one in visitor.trouble if "status of 422" not in one]
        page.get_by_label("Find by the beginning of the id").fill("id in ('1', '2') and version > 0")
        expect(page.get_by_role("row")).to_have_count(3)
        page.get_by_role("table").get_by_role("link", name="research:2", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("research:2")
        expect(page.get_by_role("complementary", name="This moment")).to_contain_text("It waits for")
        page.go_back()
        expect(figures).to_be_visible()


def test_the_playhead_is_dragged_and_goes_by_keys(places: Places) -> None:
    with places.browser.visit(places.research) as visitor:
        page = visitor.look("?key=research:1")
        at_version(page, 12)
        moment = page.get_by_role("complementary", name="This moment")
        expect(moment).to_contain_text("the outcome of publish")
        expect(page.get_by_role("slider")).to_contain_text("5 h 12 min")  # idle time is folded
        box = page.get_by_role("slider").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] * 0.95, box["y"] + 120)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 120, steps=12)
        page.mouse.move(box["x"] + 22, box["y"] + 120, steps=12)
        page.mouse.up()
        at_version(page, 1)
        expect(moment).to_contain_text("sent by a client")
        for key, version in {"ArrowRight": 2, "PageUp": 12, "ArrowLeft": 11, "Home": 1, "End": 12}.items():
            page.keyboard.press(key)
            at_version(page, version)
        page.keyboard.press("r")
        at_version(page, 10)
        expect(moment).to_contain_text("Refused here: invalid_payload")
        expect(moment).to_contain_text("plan.tasks.review")
        page.keyboard.press(" ")
        at_version(page, 12)
        page.get_by_role("button", name="Verify").click()
        expect(page.get_by_text("all verified")).to_be_visible()


def test_a_link_leads_to_the_same_moment_and_on_to_the_instance_that_caused_it(places: Places) -> None:
    with places.browser.visit(places.research) as visitor:
        page = visitor.look("?key=research:1&version=7")
        at_version(page, 7)
        moment = page.get_by_role("complementary", name="This moment")
        moment.get_by_role("link", name="research_sections:1/sections/").click()
        at_version(page, 2)
        expect(page.get_by_role("heading", level=1)).to_contain_text("research_sections:1/sections/")
        moment.get_by_role("button", name="Follow its causes").click()
        moment.get_by_role("link", name="research:1 2").click()
        at_version(page, 2)
        with page.expect_download() as coming:
            page.get_by_role("link", name="Export").click()
        assert coming.value.suggested_filename == "research_1.onexrun"
        assert Path(coming.value.path()).read_text().startswith('{"line":"head","format":"onexrun"')


def test_tasks_are_drawn_as_far_as_they_were_and_lead_to_their_moments(places: Places) -> None:
    with places.browser.visit(places.research) as visitor:
        page = visitor.look("?key=research:1&version=5")
        at_version(page, 5)
        tasks = page.get_by_role("region", name="Tasks", exact=True)
        expect(tasks.get_by_role("button", name="outline done")).to_be_visible()
        expect(tasks.get_by_role("button", name="sections 0 of 4 done")).to_be_visible()
        expect(tasks.get_by_role("button", name="review approval")).to_have_attribute("aria-disabled", "true")
        page.get_by_role("slider").press("End")
        expect(tasks.get_by_role("button", name="sections 4 of 4 done")).to_be_visible()
        tasks.get_by_role("button", name="review done 5 h 12 min").click()
        at_version(page, 10)
        expect(tasks.get_by_role("button", name="review waiting")).to_be_visible()
        tasks.get_by_role("button", name="review waiting").press("Enter")
        at_version(page, 10)  # it had not ended by then


def test_an_event_of_another_instance_leads_there(places: Places) -> None:
    with places.browser.visit(places.lake) as visitor:
        page = visitor.look("?key=tables:north")
        at_version(page, 1)
        moment = page.get_by_role("complementary", name="This moment")
        expect(moment).to_contain_text("an event of uploads:1")
        moment.get_by_role("link", name="uploads:1").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("uploads:1")
        expect(page.get_by_role("slider").get_by_text("DataAvailableEvent: it has no outcome")).to_be_attached()
        page.get_by_role("button", name="Diagram").click()
        expect(page.get_by_role("dialog", name="Diagram of uploads")).to_be_visible()


def test_an_address_that_leads_nowhere_says_so(places: Places) -> None:
    with places.browser.visit(places.research) as visitor:
        page = visitor.look("?key=research:1&version=99")
        at_version(page, 12)
        expect(page.get_by_role("status").get_by_text("The newest is 12.")).to_be_visible()
        page = visitor.look("?key=nonsense")
        expect(page.get_by_role("main")).to_contain_text("nonsense is no key of an instance")
        page.get_by_role("link", name="All instances").click()
        expect(page.get_by_role("region", name="Figures of now")).to_be_visible()


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_nothing_keeps_people_out(places: Places, width: int, dark: bool) -> None:
    with places.browser.visit(places.research, width, dark=dark) as visitor:
        page = visitor.look()
        expect(page.get_by_role("row")).to_have_count(11)
        found = visitor.barriers()
        visitor.look("?key=research:1&version=10")
        at_version(page, 10)
        expect(page.get_by_role("complementary", name="This moment")).to_contain_text("plan.tasks.review")
        assert found + visitor.barriers() == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the screen"


def test_hostile_text_is_text(places: Places) -> None:
    assert len(HOSTILE) >= 200
    with places.browser.visit(places.hostile) as visitor:
        page = visitor.look()
        stuck = page.get_by_role("region", name="What waits for a person")
        expect(stuck).to_contain_text("stuck")
        expect(stuck).to_contain_text("illegal_transition")
        stuck.get_by_role("button", name="Release").click()
        page.get_by_role("dialog", name="Confirm").get_by_role("button", name="Do it").click()
        expect(stuck.get_by_role("status")).to_contain_text("done")
        expect(stuck.get_by_text("stuck", exact=True)).to_have_count(0)
        for key in odd_instances():
            expect(page.get_by_role("region", name="Instances", exact=True)).to_contain_text(visible_here(key))
        for key, texts in odd_instances().items():
            page.evaluate("key => { history.pushState(null, '', '/?' + new URLSearchParams({key, version: 1})); "
                          "dispatchEvent(new PopStateEvent('popstate')) }", key)  # fmt: skip
            moment = page.get_by_role("complementary", name="This moment")
            for n in range(0, len(texts), SAID):
                at_version(page, 1 + n // SAID)
                expect(moment).to_contain_text(visible_here(" ".join(texts[n : n + SAID])))
                page.keyboard.press("ArrowRight")
        page.get_by_role("button", name="Diagram").click()
        assert page.evaluate("window.pwned") is None
        assert page.locator("iframe, object, base, meta[http-equiv], #page img, #page script").count() == 0


def visible_here(text: str) -> str:
    """As the page shows it: what steers is its code point."""
    return re.sub(STEERS, lambda one: f"\\u{{{ord(one.group()):x}}}", text)
