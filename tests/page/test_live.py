"""The page beside an engine that works: what happens is seen as it happens; a door for who has no token; a long life in parts."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

import onex
from tests.page.browser import Browsing, browsing
from tests.service.service import ITEMS, made_tokens, running

COUNTER = """from __future__ import annotations

from typing import Literal

from onex import Action, Payload, State, Step, workflow


class Count(State):
    status: Literal["low", "high"] = "low"
    n: int = 0


class Add(Payload):
    by: int


counter = workflow("counter", Count)


@counter.on("low -> low", "high -> high")
def add(count: Count, action: Action[Add]) -> Step[Count]:
    return Step(count.evolve(n=count.n + action.payload.by))


counter.move("up", "low -> high")
"""
LIFE = 6000


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A store with one instance that has a long life."""
    place = tmp_path_factory.mktemp("long")
    app, store = place / "counter.py", f"sqlite:///{place}/s.db"
    app.write_text(COUNTER)

    async def go() -> None:
        async with await onex.open(store, app) as engine:
            for _ in range(LIFE // 1000):
                await asyncio.gather(*(engine.submit("counter:1", "add", {"by": 1}) for _ in range(1000)))

    asyncio.run(go())
    return store, app


@pytest.fixture(scope="module")
def browser(life: tuple[str, Path]) -> Iterator[Browsing]:
    with browsing() as found:
        yield found


def test_a_long_life_is_seen_as_a_whole_and_read_in_parts(browser: Browsing, life: tuple[str, Path]) -> None:
    store, app = life
    with running(store, app, engine=None) as service, browser.visit(service.address) as visitor:
        page = visitor.look("?key=counter:1")
        expect(page.get_by_role("complementary", name="This moment")).to_contain_text("before 5999→now 6000")
        whole = page.get_by_role("img", name="The whole life: 6000 events")
        box = whole.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 5, box["y"] + 10)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 10, steps=40)
        page.mouse.up()
        slider = page.get_by_role("slider")
        expect(slider).to_have_attribute("aria-valuetext", re.compile(r"^version (29|30)\d\d of 6000, add, low$"))
        version = int(slider.get_attribute("aria-valuenow") or "0")
        expect(page.get_by_role("complementary", name="This moment")).to_contain_text(
            f"before {version - 1}→now {version}"
        )
        expect(page.get_by_role("row", name=re.compile(f"Go to version {version}|^{version} "))).to_be_visible()
        assert page.locator("*").count() < 1500, "only what is near the playhead is in the document"


def test_what_other_code_does_not_make_again_is_unverified(
    browser: Browsing, life: tuple[str, Path], tmp_path: Path
) -> None:
    store, _ = life
    app = tmp_path / "counter.py"
    app.write_text(COUNTER.replace("count.n + action.payload.by", "count.n + 2 * action.payload.by"))
    with running(store, app, engine=None) as service, browser.visit(service.address) as visitor:
        page = visitor.look("?key=counter:1&version=3")
        moment = page.get_by_role("complementary", name="This moment")
        expect(moment).to_contain_text("Unverified:")
        expect(moment).to_contain_text("other code than that of the app here")
        page.get_by_role("button", name="Verify").click()
        expect(page.get_by_text(re.compile(r"^\d+ unverified$"))).to_be_visible()


def test_what_happens_is_seen_as_it_happens(browser: Browsing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEX_ORDERS_DIR", str(tmp_path / "out"))
    with running(f"sqlite:///{tmp_path}/s.db") as service, browser.visit(service.address) as visitor:
        page = visitor.look()
        expect(page.get_by_role("region", name="Figures of now")).to_contain_text("engine runs")
        expect(page.get_by_text("No instance fits.")).to_be_visible()
        service.post("submit", {"key": "orders:1", "trigger": "place", "payload": {"items": ITEMS}})
        page.get_by_role("link", name="orders:1").click()
        expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", "version 3 of 3, packed, shipped")
        service.post("submit", {"key": "orders:2", "trigger": "place", "payload": {"items": []}})
        page.keyboard.press("Home")
        expect(page.get_by_role("complementary", name="This moment")).to_contain_text("total_cents")
        page.get_by_role("button", name="Fork").click()
        fork = page.get_by_role("dialog", name="Fork at version 1")
        fork.get_by_label("Payload").fill('{"items": [{"sku": "tea", "quantity": 3, "cents": 450}]}')
        fork.get_by_role("button", name="See what follows").click()
        expect(fork).to_contain_text("Open from version 2 on")
        expect(fork).to_contain_text("total_cents 900 → 1350")
        expect(fork).to_contain_text("Effects fired: 0")
        assert visitor.barriers() == []
        fork.get_by_label("Payload").fill("{")
        fork.get_by_role("button", name="See what follows").click()
        expect(fork.get_by_role("alert")).to_contain_text("not JSON")
        fork.get_by_role("button", name="Close").click()
        page.get_by_role("link", name="ONEX").click()
        expect(page.get_by_role("region", name="What waits for a person")).to_contain_text("guard_failed")


def test_who_has_no_token_sees_a_door_and_a_blind_viewer_no_payload(browser: Browsing, life: tuple[str, Path]) -> None:
    store, app = life
    tokens, given = made_tokens()
    with running(store, app, tokens, engine=None) as service, browser.visit(service.address) as visitor:
        page = visitor.look("?key=counter:1&version=2")
        expect(page.get_by_role("heading", name="A token, please")).to_be_visible()
        assert visitor.barriers() == []
        page.get_by_label("Token").fill("onex_wrong")
        page.get_by_role("button", name="Enter").click()
        expect(page.get_by_role("alert")).to_contain_text("this token is not known here")
        page.get_by_label("Token").fill(given["blind"])
        page.get_by_role("button", name="Enter").click()
        moment = page.get_by_role("complementary", name="This moment")
        expect(moment).to_contain_text("Why")
        expect(moment).not_to_contain_text("by 1")
        expect(page.get_by_role("button", name="Export")).to_have_count(0)
        expect(page.get_by_role("slider")).to_have_attribute("aria-valuenow", "2")
        page.get_by_role("button", name="sign out").click()
        page.get_by_label("Token").fill(given["viewer"])
        page.get_by_role("button", name="Enter").click()
        expect(moment).to_contain_text("before 1→now 2")
        refused = [one for one in visitor.trouble if "401" in one]
        visitor.trouble = [one for one in visitor.trouble if one not in refused]
        assert refused, "the browser notes each answer that asks for a token"


@pytest.mark.long  # two kills and their proof take their time; tests/demo has the same without a browser
def test_the_button_of_the_demo_kills_its_engine_and_nothing_is_done_twice(browser: Browsing, tmp_path: Path) -> None:
    onex_program = str(Path(sys.executable).with_name("onex"))
    words = [onex_program, "demo", "--workflow", "orders", "--instances", "700", "--json"]
    demo = subprocess.Popen(
        [*words, "--store", f"sqlite:///{tmp_path}/demo.db"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert demo.stderr is not None
        address = next(found[0] for line in demo.stderr if (found := re.findall(r"http://127\.0\.0\.1:\d+", line)))
        with browser.visit(address) as visitor:
            page = visitor.look()
            page.get_by_role("button", name="kill -9 the engine").click()
            expect(page.get_by_role("region", name="The demo")).to_contain_text("Killed with SIGKILL")
            visitor.page.close()
        out, _ = demo.communicate(timeout=120)
    finally:
        demo.kill()
        demo.wait()
    told = json.loads(out.splitlines()[-1])
    assert (demo.returncode, told["kills"], told["effects_repeated"]) == (0, 3, 0)
