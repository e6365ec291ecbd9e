"""Notifications that a contract declares: a webhook, a chat, PagerDuty and mail, each on a real socket."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json as json_text
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.effects.http_server import Answer, Got, HttpServer, http_server
from tests.effects.pay import came_of, write_app

OK = Answer()


def notified(
    tmp_path: Path, block: str, call: str, reply: Answer = OK, begin: dict[str, str] | None = None
) -> tuple[tuple[str, str], HttpServer]:
    """What came of it, and the server that was told. ``{url}`` in ``block`` is the server's."""

    async def story() -> tuple[tuple[str, str], HttpServer]:
        async with http_server(lambda got: reply) as server:
            target = f"bank: {{{block.replace('{url}', server.url)}}}"
            app = write_app(tmp_path, target, call, kind="notification", answer="")
            return await came_of(app, dict(begin or {})), server

    return asyncio.run(story())


def body(got: Got) -> dict[str, object]:
    made = json_text.loads(got.body)
    assert isinstance(made, dict)
    return made


def test_a_webhook_gets_the_payload_with_a_key_and_a_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_KEY", "hook-key-1")
    block = "webhook: {url: '{url}/in', idempotency_header: X-Id, signing_key: {env: HOOK_KEY}, private: true}"
    (status, _), server = notified(tmp_path, block, "webhook: {event: order.paid}")
    (got,) = server.got
    assert (status, got.method, got.target) == ("done", "POST", "/in")
    assert body(got)["event"] == "order.paid"
    assert isinstance(data := body(got)["data"], dict)
    assert data["order"] == "o-1"
    expected = hmac.new(b"hook-key-1", got.body, hashlib.sha256).hexdigest()
    assert got.headers["x-signature-256"] == f"sha256={expected}"
    assert len(got.headers["x-id"]) == 36


def test_a_chat_gets_a_text_with_fields(tmp_path: Path) -> None:
    block = "chat: {url: '{url}/services/T0/B0', private: true}"
    call = "chat: {text: 'Order {order}: {cents} {{cents}}', channel: '#{text}'}"
    (status, _), server = notified(tmp_path, block, call)
    assert (status, body(server.got[0])) == ("done", {"text": "Order o-1: 5 {cents}", "channel": "#hello"})


@pytest.mark.parametrize(
    ("reply", "status", "words"),
    [
        (Answer(404, b"no_service"), "lost", "http_404"),
        (Answer(429, b"slow down", (("Retry-After", "1"),)), "lost", "http_429"),
        (Answer(500, b"oops"), "unsure", "http_500"),
        (Answer(302, b"", (("Location", "https://evil.example/"),)), "unsure", "redirect_refused"),
    ],
)
def test_a_chat_that_refuses(tmp_path: Path, reply: Answer, status: str, words: str) -> None:
    came, _ = notified(tmp_path, "chat: {url: '{url}/x', private: true}", "chat: {text: '{order}'}", reply)
    assert (came[0], words in came[1]) == (status, True)


def test_pagerduty_opens_and_resolves_one_incident(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PD_KEY", "routing-key-1")
    block = "pagerduty: {routing_key: {env: PD_KEY}, url: '{url}/v2/enqueue', private: true}"
    call = "pagerduty: {summary: '{summary} at {order}', severity: critical, incident: 'order {order}'}"
    _, server = notified(tmp_path, block, call)
    event = body(server.got[0])
    assert (event["routing_key"], event["event_action"], event["dedup_key"]) == (
        "routing-key-1",
        "trigger",
        "order o-1",
    )
    assert isinstance(payload := event["payload"], dict)
    assert (payload["summary"], payload["source"], payload["severity"]) == ("it burns at o-1", "onex", "critical")
    _, server = notified(tmp_path, block, "pagerduty: {action: resolve, incident: 'order {order}'}")
    assert body(server.got[0]) == {
        "routing_key": "routing-key-1", "event_action": "resolve", "dedup_key": "order o-1"
    }  # fmt: skip


def test_without_an_incident_each_intent_has_one_of_its_own(tmp_path: Path) -> None:
    _, server = notified(tmp_path, "pagerduty: {routing_key: k, url: '{url}/', private: true}", "pagerduty: {}")
    assert len(str(body(server.got[0])["dedup_key"])) == 36


# --- mail ---------------------------------------------------------------------------------------------------------------


class Post:
    """What a mail server got. It refuses receivers that begin with ``no``, and drops the connection in a letter that says so."""

    def __init__(self) -> None:
        self.letters: list[Envelope] = []
        self.refusal = ""

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("no"):
            return "550 no such user"
        if address.startswith("later"):
            return "451 not now"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.letters.append(envelope)
        if b"hang up" in (envelope.original_content or b""):
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return self.refusal or "250 taken"


@asynccontextmanager
async def mail_server(post: Post) -> AsyncIterator[int]:
    """Its port. It asks for a user and a password."""

    def allow(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
        assert isinstance(data, LoginPassword)
        right = (data.login, data.password) == (b"ann", b"mail-password")
        return AuthResult(success=right, handled=right)

    def protocol() -> SMTP:
        warnings.simplefilter("ignore")  # a password without TLS is what this server is asked for
        return SMTP(
            post, authenticator=allow, auth_require_tls=False, auth_required=True, enable_SMTPUTF8=False, loop=loop
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def mailed(
    tmp_path: Path, post: Post, monkeypatch: pytest.MonkeyPatch, begin: dict[str, str], password: str = "mail-password"
) -> tuple[str, str]:
    monkeypatch.setenv("MAIL_PASSWORD", password)

    async def story() -> tuple[str, str]:
        async with mail_server(post) as port:
            target = (
                f"bank: {{mail: {{host: 127.0.0.1, port: {port}, security: none, username: ann, "
                "password: {env: MAIL_PASSWORD}, sender: 'Shop <shop@example.com>'}}"
            )
            call = "mail: {subject: 'Order {order}', text: 'Dear {to}, {text}'}"
            return await came_of(write_app(tmp_path, target, call, kind="notification", answer=""), dict(begin))

    return asyncio.run(story())


def test_a_letter_arrives_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    post = Post()
    status, _ = mailed(
        tmp_path, post, monkeypatch, {"text": "grüße\n.\nend", "to": "Ann <ann@example.com>, bob@x.example"}
    )
    (letter,) = post.letters
    assert (status, letter.mail_from) == ("done", "shop@example.com")
    assert letter.rcpt_tos == ["ann@example.com", "bob@x.example"]
    content = letter.original_content
    assert content is not None
    read = message_from_bytes(content, policy=default)
    assert (read["Subject"], read["From"]) == ("Order o-1", "Shop <shop@example.com>")
    assert read.get_content().replace("\r\n", "\n") == "Dear Ann <ann@example.com>, bob@x.example, grüße\n.\nend\n"
    assert read["Message-ID"].endswith("@example.com>")


@pytest.mark.parametrize(
    ("begin", "status", "words", "letters"),
    [
        ({"to": "nobody@x.example"}, "lost", "smtp_550", 0),
        ({"to": "ann@example.com, nobody@x.example"}, "lost", "smtp_550", 0),
        ({"to": "later@x.example"}, "lost", "smtp_451", 0),
        ({"to": "no address"}, "lost", "bad_receiver", 0),
        ({"order": "x\r\nBcc: evil@x.example"}, "lost", "bad_letter", 0),
        ({"text": "hang up"}, "unsure", "connection_lost", 1),
    ],
)
def test_what_may_go_wrong_with_a_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: dict[str, str], status: str, words: str, letters: int
) -> None:
    post = Post()
    came = mailed(tmp_path, post, monkeypatch, begin)
    assert (came[0], words in came[1], len(post.letters)) == (status, True, letters), came[1]


def test_a_server_that_takes_no_letter_or_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    post = Post()
    post.refusal = "554 spam"
    assert mailed(tmp_path, post, monkeypatch, {})[0] == "lost"
    status, said = mailed(tmp_path, Post(), monkeypatch, {}, password="wrong-password")
    assert (status, "smtp_535" in said, "wrong-password" in said) == ("lost", True, False), said
