"""Who may ask what: every route by every role, foreign pages, other names of the host, and a start that would expose the store."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import JsonValue

from onex.service.access import EnumRole, InvalidTokens, Tokens, hash_of
from onex.service.answers import changes_between
from onex.service.api import openapi_document
from onex.service.policy import POLICIES, GuardedRoute, PolicyMissing
from onex.service.run import ServiceExposed, check_exposure
from onex.service.whatif_runs import without_secrets
from onex.views.hidden import HiddenFields
from tests.service.service import ITEMS, ORDERS, Service, filled, made_tokens, running

ROLES = ("anonymous", "viewer", "operator", "admin")
HASH = hash_of("x")
STREAMS = ("/api/summary/live", "/api/instance/live")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, dict[str, str]]]:
    """A service that wants tokens, without an app and without an engine: it is about who may ask."""
    place = tmp_path_factory.mktemp("guarded")
    store = f"sqlite:///{place}/s.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONEX_ORDERS_DIR", str(place / "out"))
        filled(store, ORDERS, [("orders:1", "place", {"items": ITEMS, "password": "hunter2"})])
        filled(store, ORDERS, [("orders:1", "place", {"items": ITEMS})])
    tokens, given = made_tokens()
    with running(store, None, tokens, engine=None) as service:
        yield service, given


@pytest.fixture(scope="module")
def open_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service on the loopback, where nobody needs a token."""
    with running(f"sqlite:///{tmp_path_factory.mktemp('open')}/s.db", None, engine=None) as service:
        yield service


def concrete(path: str) -> str:
    return path.replace("{number}", "1").replace("{path:path}", "x")


@pytest.mark.parametrize(("method", "path"), [route for route in POLICIES if route[1] not in STREAMS])
def test_each_route_lets_in_who_may_and_nobody_else(
    guarded: tuple[Service, dict[str, str]], method: str, path: str
) -> None:
    service, given = guarded
    needs = POLICIES[method, path]
    for who in ROLES:
        role = EnumRole.ANYONE if who == "anonymous" else EnumRole(who)
        heard = service.call(method, concrete(path), token=given.get(who, ""), body={} if method == "POST" else None)
        if role.includes(needs):
            assert heard.status not in (401, 403), (who, heard)
        else:
            assert heard.status == (401 if who == "anonymous" else 403), (who, heard)
            assert heard.body["code"] == ("not_authenticated" if who == "anonymous" else "not_allowed")
        assert heard.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in heard.headers["content-security-policy"]
        assert "unsafe" not in heard.headers["content-security-policy"]


@pytest.mark.parametrize("path", STREAMS)
def test_a_stream_lets_in_a_viewer_and_nobody_else(guarded: tuple[Service, dict[str, str]], path: str) -> None:
    service, given = guarded
    assert service.call("GET", f"{path}?key=orders:1").status == 401
    token = {"Authorization": f"Bearer {given['viewer']}"}
    name, _, _ = next(service.events(f"{path}?key=orders:1&after=0", token))
    assert name in ("summary", "action")


def test_a_token_that_is_not_known_is_refused_everywhere(guarded: tuple[Service, dict[str, str]]) -> None:
    service, _ = guarded
    for path in ("/api/session", "/health"):
        assert service.call("GET", path, token="onex_wrong").status == 401
    assert service.call("GET", "/api/session", headers={"Authorization": "Basic YTpi"}).status == 401


def test_a_path_that_ends_like_an_open_one_is_not_open(guarded: tuple[Service, dict[str, str]]) -> None:
    service, _ = guarded
    for path in ("/api/instances/health", "/api/session/health", "//health", "/api/instances;/health"):
        assert service.call("GET", path).status in (401, 403, 404)
    assert service.call("HEAD", "/api/session").status in (401, 405)


def test_a_route_without_a_policy_cannot_be_made() -> None:
    async def endpoint() -> None: ...

    with pytest.raises(PolicyMissing, match=re.escape("GET /api/new")):
        GuardedRoute("/api/new", endpoint)


def test_who_may_not_see_payloads_sees_which_fields_changed_and_which_intents_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEX_ORDERS_DIR", str(tmp_path / "out"))
    store = f"sqlite:///{tmp_path}/s.db"
    filled(store, ORDERS, [("orders:1", "place", {"items": ITEMS})])
    tokens, given = made_tokens()
    with running(store, ORDERS, tokens, engine=None) as service:
        told = service.call("GET", "/api/instance?key=orders:1&version=2", token=given["blind"]).body
    assert (told["status_before"], told["status"]) == ("charging", "paid")
    assert [(one["path"], one["old"], one["new"]) for one in told["changes"]["first"]] == [
        ("status", "***", "***"),
        ("receipt", "***", "***"),
    ]
    (intent,) = told["action"]["intents"]
    assert intent["name"] == "pack" and set(map(str, intent["payload"]["items"][0].values())) == {"***"}


def test_who_may_not_see_payloads_sees_none_of_them(guarded: tuple[Service, dict[str, str]]) -> None:
    service, given = guarded
    for what in ("instance", "instance/log", "instance/causes", "rejections"):
        heard = service.call("GET", f"/api/{what}?key=orders:1&version=1", token=given["blind"])
        assert heard.status == 200
        assert "tea" not in str(heard.body), what
        assert "***" in str(heard.body) or what == "rejections"
        assert "tea" in str(service.call("GET", f"/api/{what}?key=orders:1&version=1", token=given["viewer"]).body) or (
            what == "rejections"
        )
    fork = {"key": "orders:1", "version": 1}
    for method, what, body in (("GET", "export?key=orders:1", None), ("POST", "fork", fork)):
        assert service.call(method, f"/api/instance/{what}", body, token=given["blind"]).status == 403


def test_a_page_of_another_origin_is_refused(open_one: Service) -> None:
    csrf = open_one.get("session").body["csrf"]
    foreign = (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{open_one.port + 1}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example"},
        {"Host": f"localhost.evil.example:{open_one.port}"},
    )
    body = {"key": "orders:1", "trigger": "place"}
    for headers in foreign:
        for method, path in (("GET", "/api/session"), ("GET", "/health"), ("POST", "/api/submit?wait_s=0")):
            heard = open_one.call(method, path, body if method == "POST" else None, {"X-CSRF-Token": csrf, **headers})
            assert (heard.status, heard.body["code"]) == (403, "not_allowed"), (headers, heard)
    own = {"Origin": open_one.address, "Sec-Fetch-Site": "same-origin", "X-CSRF-Token": csrf}
    assert open_one.call("POST", "/api/submit?wait_s=0", body, own).status == 202
    assert open_one.call("GET", "/api/session", headers={"Host": f"localhost:{open_one.port}"}).status == 200


def test_a_change_without_token_needs_the_csrf(open_one: Service) -> None:
    body = {"key": "orders:1", "trigger": "place"}
    for headers in ({}, {"X-CSRF-Token": "wrong"}, {"X-CSRF-Token": "\xff"}):
        assert open_one.call("POST", "/api/submit?wait_s=0", body, headers).status == 403
        assert open_one.call("DELETE", "/api/whatif/1", None, headers).status == 403


def test_a_body_that_is_too_long_is_refused(open_one: Service) -> None:
    heard = open_one.post("submit", b"x" * 600_000)
    assert (heard.status, heard.body["code"]) == (413, "payload_too_large")
    csrf = open_one.get("session").body["csrf"]
    connection = http.client.HTTPConnection(open_one.host, open_one.port, timeout=30)
    pieces = (b"x" * 65_536 for _ in range(16))
    connection.request("POST", "/api/submit", pieces, {"X-CSRF-Token": csrf}, encode_chunked=True)
    assert connection.getresponse().status in (400, 413, 422)
    connection.close()


def test_a_service_that_others_reach_does_not_start_without_tokens() -> None:
    tokens, _ = made_tokens()
    for host in ("0.0.0.0", "10.1.2.3", "::", "onex.example"):
        with pytest.raises(ServiceExposed, match="onex token"):
            check_exposure(host, Tokens())
        check_exposure(host, tokens)
    for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8"):
        check_exposure(host, Tokens())


WRONG = (
    "ada",
    "ada viewer",
    f"ada king {HASH}",
    "ada viewer sha256:00",
    f"a/b viewer {HASH}",
    f"ada viewer {HASH} all",
)


@pytest.mark.parametrize("line", WRONG)
def test_a_line_that_is_no_token_is_told_with_its_place(line: str) -> None:
    with pytest.raises(InvalidTokens, match="file:2"):
        Tokens(["# who", line], "file")


def test_a_file_without_a_token_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("# none yet\n")
    with pytest.raises(InvalidTokens, match="has no token"):
        Tokens.read(tmp_path / "tokens")
    with pytest.raises(InvalidTokens, match="cannot be read"):
        Tokens.read(tmp_path / "nowhere")


def test_the_document_says_which_role_each_route_needs() -> None:
    document = openapi_document()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["x-onex-role"] == POLICIES[method.upper(), path].value


def test_a_secret_shows_in_no_difference() -> None:
    hide = HiddenFields(("card",))
    told: dict[str, JsonValue] = {
        "state": [
            {"path": "buyer.card", "recorded": "1234", "now": "5678"},
            {"path": "cards[0].number", "recorded": 1, "now": 2},
        ],
        "intents": [
            {
                "changes": [{"path": "card.holder", "recorded": "ann", "now": "bob"}],
                "recorded": {"card": "1234"},
                "now": None,
            }
        ],
        "first": {"version": 1, "why": "card is 5678, recorded 1234"},
    }
    shown = str(without_secrets(told, hide))
    assert not [one for one in ("1234", "5678", "ann", "bob") if one in shown]
    assert "cards[0].number" in shown
    assert "'recorded': 1" in shown
    assert changes_between({"card": "1234"}, {"card": "5678"}, hide).total == 0


class Lines:
    """An audit log that is kept."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, object]]] = []

    def info(self, event: str, **fields: object) -> None:
        self.told.append((event, fields))

    warning = error = debug = info


def test_what_was_not_allowed_is_a_line_of_the_audit_log_too(tmp_path: Path) -> None:
    tokens, given = made_tokens()
    lines = Lines()
    with running(f"sqlite:///{tmp_path}/s.db", None, tokens, engine=None, audit=lines) as service:
        service.call("POST", "/api/release", {"key": "orders:1"}, token=given["viewer"])
        service.call("GET", "/api/session", token="onex_wrong")
        service.call("GET", "/api/session", headers={"Origin": "https://evil.example"}, token=given["viewer"])
        service.call("GET", "/api/session", token=given["viewer"])
    assert [(event, one["by"], one["path"], one["code"]) for event, one in lines.told] == [
        ("api_denied", "viewer", "/api/release", "not_allowed"),
        ("api_denied", "", "/api/session", "not_authenticated"),
        ("api_denied", "", "/api/session", "not_allowed"),
    ]
