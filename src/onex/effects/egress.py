"""Egress: which hosts an effect connects to, and at which addresses. A request that goes elsewhere never leaves the process.

Theory of operation. A host passes two gates, at different times.

1. The name, before a request is made (``Egress.check``): the host of ``base_url``, or one that ``hosts`` allows, on its port. A
   redirect passes the same gate as a new request. A user or password in a URL is refused: it hides the real host from a reader.
2. The addresses, when a connection is made (``PinnedBackend``): the name is resolved once, all its addresses are judged, and the
   connection goes to one of these addresses. It is not resolved again in between, so a server of names that answers twice
   differently (DNS rebinding) gains nothing. If one address is not public, none is used: a name with a public and a private
   address is an attempt, not a mistake. TLS still checks the certificate against the name.

Every spelling of an address (``2130706433``, ``0x7f.1``, ``[::ffff:127.0.0.1]``) goes through gate 2 as the address it resolves to,
so no spelling has a rule of its own. An address that holds another one (v4-mapped, 6to4, NAT64) is judged by both.

Connections that are kept open were judged when they were made, and belong to one name.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Protocol

import httpcore2

from ..contracts.model.target_http import is_allowed
from ..kernel.errors import EffectFailed

_NAT64 = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))
SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


Judge = Callable[[str], bool]
"""Whether an address, as text, may be connected to."""


class EgressRefused(EffectFailed):
    """A host or address that the contract does not allow. Nothing was sent."""

    code = "egress_refused"

    def __init__(self, message: str) -> None:
        super().__init__(message, code=self.code)


class Resolver(Protocol):
    """Names to addresses."""

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """As text, the preferred one first. Raises OSError."""


class SystemResolver:
    """As every other program of this machine resolves names."""

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return tuple(dict.fromkeys(str(one[4][0]) for one in found))


class Egress:
    """What one target may reach. ``base`` is ``(scheme, host, port)`` of its base_url."""

    def __init__(self, base: tuple[str, str, int], hosts: tuple[str, ...] = ()) -> None:
        self.base, self.hosts = base, hosts

    def check(self, scheme: str, host: str, port: int, *, has_user: bool) -> None:
        """Raises EgressRefused."""
        if has_user:
            raise EgressRefused(f"an address with a user in it is not called: {host}; send a header instead")
        if scheme not in ("https", self.base[0]):
            raise EgressRefused(f"{scheme or 'no scheme'}: {host} is not called: only https is")
        if not is_allowed((host, port), self.base, self.hosts):
            raise EgressRefused(f"the host {host}:{port} is not allowed; add it to hosts of the target, if it is meant")


def is_public(text: str) -> bool:
    """Whether an address, as text, is one of the internet, as are all addresses that are written inside it."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return all(one.is_global and not one.is_multicast for one in (address, *_inside(address)))


def is_any(text: str) -> bool:
    """For ``private: true``."""
    return True


def _inside(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    if isinstance(address, IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if any(address in net for net in _NAT64) or int(address) >> 32 == 0:
        yield IPv4Address(int(address) & 0xFFFFFFFF)


class PinnedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to an address that ``allowed`` judged."""

    def __init__(self, resolver: Resolver, allowed: Judge) -> None:
        self._resolver, self._allowed = resolver, allowed
        self._sockets = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # the signature of httpcore2
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Raises EgressRefused, httpcore2.ConnectError and ConnectTimeout."""
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._judged(host, port)
                return await self._first(addresses, port, local_address, socket_options)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(f"no connection to {host}:{port} within {timeout:g} s") from error

    async def _judged(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = await self._resolver.addresses(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError(f"the name {host} has no address: {error}") from error
        if not addresses:
            raise httpcore2.ConnectError(f"the name {host} has no address")
        refused = [one for one in addresses if not self._allowed(one)]
        if refused:
            raise EgressRefused(
                f"{host} has the address {refused[0]}, which is not public; add private: true to the target, if it is meant"
            )
        return addresses

    async def _first(
        self,
        addresses: Sequence[str],
        port: int,
        local_address: str | None,
        socket_options: Iterable[SocketOption] | None,
    ) -> httpcore2.AsyncNetworkStream:
        """A stream to the first address that takes one."""
        options = None if socket_options is None else list(socket_options)
        for address in addresses[:-1]:
            try:
                return await self._sockets.connect_tcp(address, port, None, local_address, options)
            except httpcore2.ConnectError:
                continue
        return await self._sockets.connect_tcp(addresses[-1], port, None, local_address, options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109  # the signature of httpcore2
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Never: it would reach what no address names."""
        raise EgressRefused(f"a socket of this machine is not called: {path}")

    async def sleep(self, seconds: float) -> None:
        await self._sockets.sleep(seconds)
