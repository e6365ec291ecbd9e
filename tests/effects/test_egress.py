"""Threat 5: no request reaches what the contract does not allow. A canary listens on this machine, and nobody may ring it."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from onex.effects.egress import Egress, SystemResolver, is_any, is_public
from onex.effects.http_exchange import HttpAnswer, HttpExchange, HttpRequest
from onex.effects.secrets import SettingValues
from onex.kernel.errors import EffectFailed, EffectUnknown
from tests.effects.http_server import Answer, Got, http_server, json
from tests.effects.pay import api, came_of, write_app

HOSTS = """
127.0.0.1 127.1 127.0.1 2130706433 0x7f000001 0x7f.1 0177.0.0.1 017700000001 0x7f.0x0.0x0.0x1 127.0.0.1.
127.255.255.254 0 0.0.0.0 00.00.00.00 localhost LOCALHOST localhost. [::1] [::] [0:0:0:0:0:0:0:1]
[::ffff:127.0.0.1] [::ffff:7f00:1] [::127.0.0.1] [64:ff9b::7f00:1] [2002:7f00:1::] [64:ff9b:1::7f00:1]
10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 192.168.1.254 100.64.0.1 169.254.169.254 2852039166
0xa9fea9fe [::ffff:169.254.169.254] [fd00:ec2::254] [fe80::1] [fc00::1] [fec0::1] 192.0.0.1 198.18.0.1 192.0.2.1
203.0.113.9 224.0.0.1 239.255.255.250 255.255.255.255 240.0.0.1 [ff02::1] [100::1] [2001:db8::1] [2001::1]
private.example both.example mapped.example metadata.example none.example
"""
OTHERS = ["file:///etc/passwd", "gopher://bank.example:{port}/", "http://bank.example@127.0.0.1:{port}/",
          "http://127.0.0.1:{port}#@bank.example/", "//127.0.0.1:{port}/", "http://user:pw@bank.example:{port}/",
          "ftp://127.0.0.1:{port}/", "http://127.0.0.1:{port}\\@bank.example/", "unix:///var/run/docker.sock"]  # fmt: skip
NAMES = {
    "private.example": ("10.1.2.3",),
    "both.example": ("93.184.216.34", "127.0.0.1"),
    "mapped.example": ("::ffff:127.0.0.1",),
    "metadata.example": ("169.254.169.254",),
    "none.example": (),
}


class StubNames:
    """Answers for the names of ``known``, the next one at each call; any other name is asked of the system."""

    def __init__(self, known: dict[str, list[Sequence[str]]] | None = None) -> None:
        self.known = known or {}
        self.calls: list[str] = []

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        self.calls.append(host)
        if host in NAMES:
            return NAMES[host]
        if host in self.known:
            return self.known[host].pop(0)
        return await SystemResolver().addresses(host, port)


def request(url: str, method: str = "GET", **headers: str) -> HttpRequest:
    return HttpRequest(method, url, headers, b"" if method == "GET" else b"{}", f"{method} test")


def exchange(names: StubNames, **options: object) -> HttpExchange:
    return HttpExchange(names, SettingValues(), **options)  # type: ignore[arg-type]  # options of it


def as_public(address: str) -> bool:
    """127.0.0.2 stands for the internet; this machine is 127.0.0.1."""
    return address == "127.0.0.2" or is_public(address)


def test_sixty_addresses_and_none_reaches_the_canary() -> None:
    hosts = HOSTS.split()
    assert len(hosts) + len(OTHERS) >= 60

    async def story() -> tuple[int, list[str]]:
        async with http_server() as canary:
            urls = [f"http://{host}:{canary.port}/" for host in hosts]
            urls += [one.format(port=canary.port) for one in OTHERS]
            sender, passed = exchange(StubNames()), []
            egress = Egress(("http", "bank.example", canary.port), ("*", f"*:{canary.port}"))
            for url in urls:
                try:
                    await sender.send(request(url), egress, 1000)
                except EffectFailed:
                    continue
                passed.append(url)
            await sender.close()
            return canary.connections, passed

    assert asyncio.run(story()) == (0, [])


def test_the_canary_rings_where_it_is_allowed_to() -> None:
    async def story() -> int:
        async with http_server() as canary:
            sender = exchange(StubNames(), allowed=is_any)
            egress = Egress(("http", "bank.example", canary.port), ("*", f"*:{canary.port}"))
            for host in ("127.1", "2130706433", "localhost"):
                await sender.send(request(f"http://{host}:{canary.port}/"), egress, 1000)
            await sender.close()
            return len(canary.got)

    assert asyncio.run(story()) == 3


@pytest.mark.parametrize("url", ["https://other.example/", "https://bank.example:8443/", "https://sub.bank.example/",
                                 "https://bank.example.evil.example/", "https://evilbank.example/"])  # fmt: skip
def test_a_name_that_is_not_listed_is_not_even_looked_up(url: str) -> None:
    names = StubNames()

    async def story() -> None:
        await exchange(names).send(request(url), Egress(("https", "bank.example", 443), ("*.cdn.example",)), 1000)

    with pytest.raises(EffectFailed, match="not allowed"):
        asyncio.run(story())
    assert names.calls == []


def test_a_name_is_looked_up_once_per_connection_and_judged_each_time() -> None:
    """DNS rebinding: the second answer is this machine. The first connection stays where it was judged."""

    async def story() -> tuple[int, list[str]]:
        async with http_server() as canary, http_server(host="127.0.0.2") as public:
            public.answer = lambda got: Answer(200, b"{}", (("Connection", "close"),))
            names = StubNames({"bank.example": [["127.0.0.2"], ["127.0.0.1"], ["127.0.0.2", "127.0.0.1"]]})
            sender = exchange(names, allowed=as_public)
            egress = Egress(("http", "bank.example", public.port))
            url = f"http://bank.example:{public.port}/"
            assert (await sender.send(request(url), egress, 1000)).status == 200
            for _ in range(2):
                with pytest.raises(EffectFailed, match="not public"):
                    await sender.send(request(url), egress, 1000)
            await sender.close()
            return canary.connections, names.calls

    assert asyncio.run(story()) == (0, ["bank.example"] * 3)


def redirecting(
    status: int, place: str, method: str = "GET", **headers: str
) -> tuple[HttpAnswer, list[Got], list[Got]]:
    """The answer to a request that a public server answers with a redirect, and what each server got."""

    async def story() -> tuple[HttpAnswer, list[Got], list[Got]]:
        async with (
            http_server(host="127.0.0.2") as other,
            http_server(host="127.0.0.2") as public,
            http_server() as canary,
        ):
            goal = place.format(canary=canary.port, other=other.port, public=public.port)
            other.answer = lambda got: json('{"from": "other"}')
            public.answer = lambda got: Answer(status, b"", (("Location", goal),)) if got.target == "/" else json("{}")
            names = StubNames({name: [["127.0.0.2"]] * 9 for name in ("bank.example", "other.example")})
            sender = exchange(names, allowed=as_public)
            hosts = (f"*:{canary.port}", f"other.example:{other.port}")
            try:
                answer = await sender.send(
                    request(f"http://bank.example:{public.port}/", method, **headers),
                    Egress(("http", "bank.example", public.port), hosts),
                    1000,
                )
            finally:
                await sender.close()
                assert canary.connections == 0
            return answer, public.got, other.got

    return asyncio.run(story())


@pytest.mark.parametrize(
    "place",
    ["http://127.0.0.1:{canary}/", "http://localhost:{canary}/", "http://private.example:{canary}/", "//127.1:{canary}/",
     "http://evil.example/", "file:///etc/passwd", "http://[::ffff:127.0.0.1]:{canary}/", "http://[oops/", "/"],
)  # fmt: skip
def test_a_redirect_passes_the_same_gates(place: str) -> None:
    """The last one leads to itself: three times, and no further."""
    with pytest.raises(EffectFailed):
        redirecting(302, place)


def test_no_header_of_the_target_goes_to_another_host() -> None:
    secret = {"Authorization": "Bearer x", "X-Key": "y", "Accept": "application/json"}
    answer, first, second = redirecting(307, "http://other.example:{other}/there", "POST", **secret)
    assert answer.body == b'{"from": "other"}'
    assert first[0].headers["authorization"] == "Bearer x"
    assert (second[0].method, second[0].body) == ("POST", b"{}")
    assert {"authorization", "x-key"}.isdisjoint(second[0].headers)
    assert second[0].headers["accept"] == "application/json"


@pytest.mark.parametrize("status", [301, 302])
def test_a_post_is_not_sent_again_elsewhere_and_may_have_been_done(status: int) -> None:
    with pytest.raises(EffectUnknown, match="POST is not sent again") as doubt:
        redirecting(status, "/there", "POST")
    assert doubt.value.retry is False


def test_see_other_is_read_and_what_fails_there_was_done_before() -> None:
    answer, got, _ = redirecting(303, "/there", "POST")
    assert [(one.method, one.target) for one in got] == [("POST", "/"), ("GET", "/there")]
    assert answer.status == 200
    with pytest.raises(EffectUnknown, match="it was done"):
        redirecting(303, "http://127.0.0.1:{canary}/", "POST")


def test_no_proxy_and_no_cookie_of_the_environment_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> tuple[int, list[dict[str, str]]]:
        async with http_server() as proxy, http_server() as server:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy.url)
            server.answer = lambda got: Answer(200, b'{"receipt": ""}', (("Set-Cookie", "a=b; Path=/"),))
            app = write_app(tmp_path, *api(server.url))
            for _ in range(2):
                assert (await came_of(app))[0] == "done"
            return proxy.connections, [dict(got.headers) for got in server.got]

    connections, headers = asyncio.run(story())
    assert connections == 0
    assert all("cookie" not in one for one in headers)


def test_a_private_address_is_refused_unless_the_contract_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> tuple[tuple[str, str], int]:
        async with http_server() as server:
            monkeypatch.setenv("BANK_URL", server.url)
            app = write_app(tmp_path, "bank: {http: {base_url: {env: BANK_URL}}}", "http: {path: /c}")
            return await came_of(app), server.connections

    (status, said), connections = asyncio.run(story())
    assert (status, connections) == ("lost", 0)
    assert "egress_refused" in said
    assert "private: true" in said


def test_a_certificate_is_checked_against_the_name_though_the_address_is_pinned(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=bank.example", "-addext",
             "subjectAltName=DNS:bank.example", "-keyout", str(key), "-out", str(certificate)]  # fmt: skip
    if shutil.which("openssl") is None or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("no openssl here: no certificate for a server with TLS")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def story() -> list[str]:
        said = []
        async with http_server(host="127.0.0.2", tls=context) as server:
            names = StubNames({name: [["127.0.0.2"]] * 9 for name in ("bank.example", "other.example")})
            for name, ca_file in (("bank", str(certificate)), ("other", str(certificate)), ("bank", None)):
                sender = exchange(names, allowed=as_public, ca_file=ca_file)
                url = f"https://{name}.example:{server.port}/"
                try:
                    answer = await sender.send(request(url), Egress(("https", f"{name}.example", server.port)), 1000)
                    said.append(str(answer.status))
                except EffectFailed as failed:
                    said.append(failed.reason)
                await sender.close()
        return said

    assert asyncio.run(story()) == ["200", "not_connected", "not_connected"]
