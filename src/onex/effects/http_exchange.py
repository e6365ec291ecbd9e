"""HttpExchange: one request over HTTP and its answer, or an error that says whether the request may have been carried out.

Theory of operation of ``send``:

1. ``Egress`` checks scheme, host and port. Then the transport sends the request, on a connection that ``PinnedBackend`` made. No
   proxy, cookie or password of the environment is used, and nothing is sent that the caller did not give.
2. A redirect is a new request, checked like the first, three times at most. A 301 or 302 is followed for a read only: to send a
   POST again, or as a GET, is a guess. A 303 asks for the answer by GET, so what was asked before is done. A 307 or 308 sends the
   same again. To another host, port or scheme no header of the target goes along.
3. The answer is read to ``max_bytes`` and no further, counted after it is unpacked.

What went wrong is one of two things. Nothing was sent (no connection, an address that is refused): EffectFailed. The request, or a
part of it, was sent, and no whole answer came: EffectUnknown; but a read changes nothing, so its failure is EffectFailed too.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urljoin

import httpcore2
import httpx2

from ..contracts.model.target_http import READS
from ..kernel.errors import EffectFailed, EffectUnknown
from ..kernel.user_code import describe
from .context import trusted
from .egress import Egress, EgressRefused, Judge, PinnedBackend, Resolver, is_public
from .secrets import SettingValues

REDIRECTS = 3
CONNECT_S = 10.0
KEPT_OPEN = 20
KEPT_S = 5.0
EXCERPT_BYTES = 4096
_MOVED, _SEE_OTHER = (301, 302, 307, 308), 303
_OWN_HEADERS = ("content-type", "accept", "accept-encoding", "user-agent", "content-length", "host")


class HttpRequest(NamedTuple):
    """``shown`` names it in errors and audit records: method, host and path, without values."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    shown: str

    @property
    def reads(self) -> bool:
        return self.method in READS


class HttpAnswer(NamedTuple):
    """``body`` is cut at EXCERPT_BYTES where the status is no success."""

    status: int
    headers: httpx2.Headers
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class HttpExchange:
    """Sends requests of one target over connections that it keeps open."""

    def __init__(
        self,
        resolver: Resolver,
        settings: SettingValues,
        *,
        allowed: Judge = is_public,
        at_once: int = 10,
        ca_file: str | None = None,
    ) -> None:
        """``allowed`` judges addresses; ``at_once``: connections at most. Raises EffectFailed where ``ca_file`` cannot be read."""
        self._settings = settings
        self._transport = _PinnedTransport(PinnedBackend(resolver, allowed), at_once, trusted(ca_file))

    async def send(self, request: HttpRequest, egress: Egress, max_bytes: int) -> HttpAnswer:
        """The last answer, whatever its status. Raises EffectFailed, EffectUnknown."""
        done = False  # a 303 has said that what was asked is done
        for _ in range(REDIRECTS + 1):
            try:
                answer = await self._one(request, egress, max_bytes)
                followed = self._redirected(request, answer)
            except EffectFailed as failed:
                if done:
                    raise EffectUnknown(
                        f"it was done, but its answer: {failed.message}", code=failed.reason
                    ) from failed
                raise
            if followed is None:
                return answer
            done = done or (answer.status == _SEE_OTHER and not request.reads)
            request = followed
        message = f"{request.shown} leads on and on: more than {REDIRECTS} redirects"
        if done:
            raise EffectUnknown(message, retryable=False, code="redirect_refused")
        raise EffectFailed(message, code="redirect_refused")

    async def close(self) -> None:
        await self._transport.aclose()

    # --- one request ------------------------------------------------------------------------------------------------

    async def _one(self, request: HttpRequest, egress: Egress, max_bytes: int) -> HttpAnswer:
        try:
            url = httpx2.URL(request.url)
            made = httpx2.Request(
                request.method, url, headers=dict(request.headers), content=request.body or None,
                extensions={"timeout": {"connect": CONNECT_S}},
            )  # fmt: skip
        except (httpx2.InvalidURL, ValueError, TypeError) as error:
            raise self._not_sent(request, error) from None
        port = url.port or (443 if url.scheme == "https" else 80)
        host = url.raw_host.decode("ascii").lower().rstrip(".")
        egress.check(url.scheme, host, port, has_user=bool(url.userinfo))
        try:
            response = await self._transport.handle_async_request(made)
            try:
                body = await self._body(request, response, max_bytes)
            finally:
                await response.aclose()
        except EgressRefused:
            raise
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            message = f"{request.shown}: no connection: {self._settings.masked(describe(error))}"
            raise EffectFailed(message, retryable=True, code="not_connected") from error
        except (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError) as error:
            raise self._not_sent(request, error) from None
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            message = f"{request.shown}: no whole answer: {self._settings.masked(describe(error))}"
            raise uncertain(request, message, "connection_lost") from error
        return HttpAnswer(response.status_code, response.headers, body)

    async def _body(self, request: HttpRequest, response: httpx2.Response, max_bytes: int) -> bytes:
        """Raises what ``uncertain`` gives for an answer that is too long."""
        success = 200 <= response.status_code < 300
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if not success and len(body) >= EXCERPT_BYTES:
                return bytes(body[:EXCERPT_BYTES])
            if len(body) > max_bytes:
                message = (
                    f"{request.shown} was answered with more than {max_bytes:,} bytes; raise max_bytes of the call"
                )
                raise uncertain(request, message, "answer_too_large", retryable=False)
        return bytes(body)

    def _not_sent(self, request: HttpRequest, error: Exception) -> EffectFailed:
        """Without the text of ``error``, which may show the value of a header."""
        return EffectFailed(f"{request.shown} cannot be sent: {type(error).__name__}", code="not_sent")

    def _redirected(self, request: HttpRequest, answer: HttpAnswer) -> HttpRequest | None:
        """The request that a redirect asks for; None where the answer is no redirect. Raises EffectFailed, EffectUnknown."""
        place = answer.headers.get("location")
        if place is None or answer.status not in (*_MOVED, _SEE_OTHER):
            return None
        if not request.reads and answer.status in (301, 302):
            message = (
                f"{request.shown} was answered {answer.status}, and a {request.method} is not sent again elsewhere"
            )
            # many servers do what was asked and answer 302: it may have been done
            raise EffectUnknown(f"{message}; call the new address", retryable=False, code="redirect_refused")
        try:
            url = urljoin(request.url, place)
            before, after = httpx2.URL(request.url), httpx2.URL(url)
        except (httpx2.InvalidURL, ValueError):
            message = f"{request.shown} was answered with a redirect to what is no address"
            raise EffectFailed(message, code="redirect_refused") from None
        headers = dict(request.headers)
        if _origin(before) != _origin(after):
            headers = {name: value for name, value in headers.items() if name.lower() in _OWN_HEADERS}
        shown = f"{request.shown} -> {after.host}"
        if answer.status == _SEE_OTHER:
            headers = {name: value for name, value in headers.items() if not name.lower().startswith("content-")}
            return HttpRequest("GET", url, headers, b"", shown)
        return request._replace(url=url, headers=headers, shown=shown)


class _PinnedTransport(httpx2.AsyncHTTPTransport):
    """The transport of httpx2 over a pool that connects by ``backend`` alone."""

    def __init__(self, backend: PinnedBackend, at_once: int, trust: ssl.SSLContext | None) -> None:
        # not the constructor of the class above: it would make a pool that resolves names by itself
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=trust,
            max_connections=at_once,
            max_keepalive_connections=min(at_once, KEPT_OPEN),
            keepalive_expiry=KEPT_S,
            network_backend=backend,
        )


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def uncertain(request: HttpRequest, message: str, code: str, *, retryable: bool = True) -> EffectFailed | EffectUnknown:
    """The request was sent. A read has changed nothing, whatever came of it."""
    if request.reads:
        return EffectFailed(message, retryable=retryable, code=code)
    return EffectUnknown(message, retryable=retryable, code=code)
