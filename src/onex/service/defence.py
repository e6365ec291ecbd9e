"""What stands before every route: who asks, from where, how much, and which headers each answer has.

Theory of operation. For each request, in this order; the first that fails answers, and no route is reached:

1. Host. A page of a foreign site may let its own name point to 127.0.0.1 and ask from the visitor's browser (DNS rebinding).
   Its requests carry that name as Host. So Host is an IP address, ``localhost``, or a name that was given to ``onex serve``.
2. Origin. A browser says from which page a request comes. Where it says so (``Origin``, ``Sec-Fetch-Site``), it must be this host.
3. Token: ``Authorization: Bearer``. There is no cookie, so no browser sends anything by itself.
4. CSRF. A request that changes something and has no token (on the loopback) must carry the secret of ``/api/session`` as
   ``X-CSRF-Token``. A foreign page can neither read that secret nor send the header.
5. Size. A body is at most BODY_BYTES, by its header or as it comes.

Answers say that nothing of them may be loaded from elsewhere, framed, guessed or kept. Scripts and styles come from here only.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Iterable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..kernel.errors import OnexError, PayloadTooLarge
from .access import LOCAL, NOBODY, NotAllowed, NotAuthenticated, Principal, Tokens
from .audit import CommandAudit
from .problem import problem_response

BODY_BYTES: Final = 512 * 1024
CSRF_HEADER: Final = "x-csrf-token"
SAFE: Final = ("GET", "HEAD", "OPTIONS")
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Defence:
    """The outermost layer of the service. ``names`` are host names beside ``localhost`` and addresses."""

    def __init__(self, app: ASGIApp, tokens: Tokens, csrf: str, audit: CommandAudit, names: Iterable[str] = ()) -> None:
        self.inner, self._tokens, self._csrf, self._audit = app, tokens, csrf, audit
        self._names = frozenset({"localhost", *(name.lower() for name in names)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                if "cache-control" not in headers:
                    headers["cache-control"] = "no-store"
            await send(message)

        try:
            bounded = self._checked(scope, receive)
        except OnexError as error:
            if isinstance(error, NotAllowed | NotAuthenticated):
                who: Principal = scope.get("onex.principal", NOBODY)
                self._audit.denied(who, scope["method"], scope["path"], error.code)
            await problem_response(error)(scope, receive, sent)
            return
        await self.inner(scope, bounded, sent)

    def _checked(self, scope: Scope, receive: Receive) -> Receive:
        """The request, bounded. Raises NotAllowed, NotAuthenticated, PayloadTooLarge."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        self._check_host(host)
        _check_origin(headers, host)
        principal = self._tokens.who(headers.get("authorization", ""))
        scope["onex.principal"] = principal
        if scope["method"] not in SAFE and principal is LOCAL:
            given = headers.get(CSRF_HEADER, "")
            if not hmac.compare_digest(given.encode(), self._csrf.encode()):
                raise NotAllowed(
                    "a request that changes something needs a token, or the csrf of GET /api/session as X-CSRF-Token"
                )
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > BODY_BYTES:
            raise PayloadTooLarge(f"a body has at most {BODY_BYTES:,} bytes")
        return _bounded(receive)

    def _check_host(self, host: str) -> None:
        name = _name_of(host)
        if name in self._names:
            return
        try:
            ipaddress.ip_address(name)
        except ValueError:
            raise NotAllowed(
                f"this service is not called {name[:80]!r}; onex serve --host-name NAME adds a name"
            ) from None


def _check_origin(headers: Headers, host: str) -> None:
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
    if site not in ("none", "same-origin") and headers.get("sec-fetch-mode") != "navigate":
        raise NotAllowed("a page of another site may not ask this service")
    if origin is not None and origin.partition("://")[2] != host:
        raise NotAllowed("a page of another origin may not ask this service")


def _name_of(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()


def _bounded(receive: Receive) -> Receive:
    came = 0

    async def bounded() -> Message:
        nonlocal came
        message = await receive()
        if message["type"] == "http.request":
            came += len(message.get("body", b""))
            if came > BODY_BYTES:  # while FastAPI reads the body: it lets this kind alone pass
                raise HTTPException(413, f"a body has at most {BODY_BYTES:,} bytes")
        return message

    return bounded


def new_csrf() -> str:
    return secrets.token_urlsafe(32)
