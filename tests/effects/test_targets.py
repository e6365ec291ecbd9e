"""A contract's targets against the classes of its app: what cannot fit is a finding at its line, before anything is called."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

import onex
from onex.codegen.stubs import missing_stubs
from onex.kernel.errors import ContractError, DependencyResolutionError
from onex.testing.virtual_time import virtual
from tests.effects.pay import came_of, write_app

BANK = "bank: {http: {base_url: 'https://bank.example'}}"
CHAT = "bank: {chat: {url: {file: /dev/null}}}"

WRONG = [
    (BANK, "http: {path: '/c/{ordr}'}", "Receipt", "call_field", "Begin has no field 'ordr'", "did you mean 'order'?"),
    (
        BANK,
        "http: {path: /c, query: [ordr]}",
        "Receipt",
        "call_field",
        "Begin has no field 'ordr'",
        "did you mean 'order'?",
    ),
    (
        BANK,
        "http: {path: /c, answer: text}",
        "Receipt",
        "call_answer",
        "answer: text brings text and status",
        "field text",
    ),
    (
        BANK,
        "http: {path: /c, answer: blob}",
        "Page",
        "call_answer",
        "answer: blob brings blob and status",
        "field blob",
    ),
    (BANK, "http: {path: /c, answer: none}", "Receipt", "call_answer", "answer: none brings nothing", "answer: json"),
    (CHAT, "chat: {text: '{txt}'}", "", "call_field", "Begin has no field 'txt'", "did you mean 'text'?"),
    (CHAT, "chat: {text: '{text}'}", "Receipt", "call_answer", "brings nothing back", "remove payload"),
]


@pytest.mark.parametrize(("target", "call", "answer", "code", "message", "fix"), WRONG)
def test_a_call_that_does_not_fit_the_classes(
    tmp_path: Path, target: str, call: str, answer: str, code: str, message: str, fix: str
) -> None:
    kind = "notification" if target is CHAT else "api_call"
    app = write_app(tmp_path, target, call, kind=kind, answer=answer)
    with pytest.raises(ContractError) as raised:
        onex.load_app(app)
    (found,) = [one for one in raised.value.findings if getattr(one, "code", "") == code]
    assert message in str(found)
    assert fix in str(found)
    assert "contract.yaml:1" in str(found)


def test_no_function_is_asked_for_where_a_block_serves(tmp_path: Path) -> None:
    app = write_app(tmp_path, BANK, "http: {path: '/c/{order}'}")
    assert onex.load_app(app).findings == ()
    assert [text.path.name for text in missing_stubs(app / "contract.yaml") if text.added] == []


def test_a_field_that_a_read_does_not_send_is_told(tmp_path: Path) -> None:
    for call, told in (("method: GET, path: '/c/{order}'", 1), ("method: GET, path: '/c/{order}', body: none", 0)):
        app = onex.load_app(write_app(tmp_path, BANK, f"http: {{{call}}}"))
        found = [one for one in app.findings if one.code == "field_not_sent"]
        assert len(found) == told
    assert (
        "query: [order, cents, text" in onex.load_app(write_app(tmp_path, BANK, "http: {method: GET}")).findings[0].fix
    )


def test_a_library_that_is_missing_is_named_when_the_engine_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [one for one in sys.modules if one.startswith(("onex.effects.http", "onex.effects.egress"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(DependencyResolutionError, match=r"'bank' needs the package httpx2.*\[http\]"):
        asyncio.run(came_of(write_app(tmp_path, BANK, "http: {path: /c}")))


def test_a_run_in_virtual_time_reaches_nothing_outside(tmp_path: Path) -> None:
    app = write_app(tmp_path, BANK, "http: {path: '/c/{order}'}")
    with virtual(app) as run:
        run.submit("pay:1", "begin", {})
        assert run.wait("pay:1").status == "lost"
        assert "not_reached" in str(run.state("pay:1"))
    with virtual(app, executors={"bank": lambda intent: {"receipt": "r"}}) as run:
        run.submit("pay:1", "begin", {})
        assert run.wait("pay:1").status == "done"
