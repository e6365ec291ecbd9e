"""The page of a demo can kill its engine, and nothing is lost or done twice; no other service can."""

from __future__ import annotations

import io
import re
import threading
from pathlib import Path

from onex.cli.demo.command import perform
from onex.cli.demo.files import DemoFiles
from onex.cli.demo.page import DemoPage
from onex.cli.demo.workload import orders
from tests.service.service import Heard, Service, running


def test_the_engine_is_killed_from_the_page_and_the_proof_holds(tmp_path: Path) -> None:
    heard: dict[str, Heard] = {}

    def somebody(address: str) -> None:
        service = Service(address)
        heard["without the csrf"] = service.call("POST", "/api/demo/kill", {})
        while not service.get("demo").body["done"]:
            killed = service.post("demo/kill", {})
            if killed.body["killed"]:
                heard["killed"] = killed
                return

    def said(line: str) -> None:
        threading.Thread(target=somebody, args=(re.findall(r"http://[\d.:]+", line)[0],)).start()

    with DemoFiles(f"sqlite:///{tmp_path / 'proof.db'}") as place:
        work = orders(900, place.folder)  # long enough for somebody on a busy machine
        with DemoPage(place.store_url, work, said) as page:
            proof = perform(work, place, 3, io.StringIO(), ready=page.ready, proved=page.proved)
            told = Service(page.address).get("demo").body
    assert heard["without the csrf"].status == 403
    assert heard["killed"].body == {"killed": True}
    assert (proof.faults, proof.result.kills) == ([], 3)
    assert (told["done"], told["kills"], told["effects_seen"], told["effects_repeated"]) == (True, 3, 1800, 0)
    assert told["effects_retried"] == proof.result.effects_retried
    assert told["conclusion"][0].startswith("Nothing was lost")


def test_a_service_beside_an_engine_kills_nothing(tmp_path: Path) -> None:
    with running(f"sqlite:///{tmp_path}/s.db") as service:
        assert service.get("session").body["demo"] is False
        for answer in (service.get("demo"), service.post("demo/kill", {})):
            assert (answer.status, answer.body["code"]) == (404, "no_demo")
