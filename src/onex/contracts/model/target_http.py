"""The block ``http``: an HTTP API, and one call of it.

targets:
  bank:
    http:
      base_url: {env: BANK_URL}
      headers: {Authorization: {env: BANK_TOKEN, prefix: "Bearer "}}
      idempotency_header: Idempotency-Key
intents:
  - {name: charge, type: api_call, target: bank, payload: Charge, http: {method: POST, path: "/charges/{order}"}}
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from .part import ENGINE, Milliseconds, Part, Word
from .setting import ModelSetting, Setting
from .target_block import ModelCallBlock, ModelTargetBlock

ANSWER_BYTES = 256 * 1024
ANSWER_BYTES_MOST = 256 * 1024 * 1024
RETRYABLE = (408, 425, 429, 503)
"""Statuses by which a server says that it did nothing and takes the same request later."""
READS = ("GET", "HEAD", "OPTIONS")

Header = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]
Host = Annotated[str, Field(pattern=r"^(\*|(\*\.)?[A-Za-z0-9._-]{1,250})(:[0-9]{1,5})?$")]
Status = Annotated[int, Field(ge=300, le=599)]
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[^/?#@:\[\]\s]+)(?::(?P<port>[0-9]{1,5}))?(?=[/?#]|$)"
)


class ModelAnswerCache(Part):
    """Answers are kept in this process: an equal request within ``ttl_ms`` is answered from memory."""

    ttl_ms: Annotated[Milliseconds, ENGINE]


class ModelHttpTarget(ModelTargetBlock):
    """An HTTP API. Only ``base_url``'s host and ``hosts`` are ever connected to, and only at public addresses."""

    base_url: Annotated[Setting, Field(description="https://HOST or https://HOST/PATH"), ENGINE]
    headers: Annotated[dict[Header, Setting], Field(max_length=50, description="sent with each call"), ENGINE] = Field(
        default_factory=dict
    )
    idempotency_header: Annotated[Header | None, Field(description="carries the intent's key"), ENGINE] = None
    hosts: Annotated[
        tuple[Host, ...],
        Field(
            max_length=100, description="other hosts that a path or a redirect may lead to: HOST, HOST:PORT, *.DOMAIN"
        ),
        ENGINE,
    ] = ()
    private: Annotated[bool, Field(description="addresses of a private network are allowed too"), ENGINE] = False
    ca_file: Annotated[Setting | None, Field(description="certificates to trust in place of the system's"), ENGINE] = (
        None
    )

    def takes_key(self) -> bool:
        return self.idempotency_header is not None

    def idempotency_field(self) -> str:
        return "" if self.idempotency_header else "idempotency_header"


class ModelHttpCall(ModelCallBlock):
    """One call. Fields of the payload that neither ``path`` nor ``query`` names are the body."""

    method: Annotated[Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"], ENGINE] = "POST"
    path: Annotated[
        str,
        Field(max_length=4000, description="behind base_url, {field} is percent-encoded; or https://HOST/PATH"),
        ENGINE,
    ] = ""
    query: Annotated[tuple[Word, ...], Field(max_length=100, description="fields that go behind the ?"), ENGINE] = ()
    body: Annotated[
        Literal["json", "form", "none"] | None,
        Field(description="json, unless the method only reads or deletes"),
        ENGINE,
    ] = None
    answer: Annotated[
        Literal["json", "text", "blob", "none"] | None,
        Field(description="how the answer is read: json, or none where the success carries nothing"),
        ENGINE,
    ] = None
    failed: Annotated[
        tuple[Status, ...],
        Field(max_length=100, description="statuses beside 4xx that say that surely nothing was done"),
        ENGINE,
    ] = ()
    retryable: Annotated[
        tuple[Status, ...],
        Field(max_length=100, description="of those that are `failed`: after these it is tried again"),
        ENGINE,
    ] = RETRYABLE
    max_bytes: Annotated[int, Field(ge=1, le=ANSWER_BYTES_MOST, description="a longer answer is not taken"), ENGINE] = (
        ANSWER_BYTES
    )
    cache: Annotated[ModelAnswerCache | None, ENGINE] = None

    def templates(self) -> Iterator[tuple[str, str]]:
        yield "path", self.path

    def payload_fields(self) -> Iterator[tuple[str, str]]:
        yield from super().payload_fields()
        yield from (("query", name) for name in self.query)

    def changes_something(self) -> bool:
        return self.method not in READS

    @property
    def sends(self) -> Literal["json", "form", "none"]:
        """How the body is written."""
        return self.body or ("none" if self.method in (*READS, "DELETE") else "json")

    def misfits(self) -> Iterator[tuple[str, str, str]]:
        if self.cache is not None and self.method not in READS:
            yield "cache", f"an answer to {self.method} is not kept: such a call changes something", "remove cache"
        if self.method in READS and self.sends != "none":
            yield "body", f"a {self.method} has no body", "write query: [FIELD], or method: POST"
        if self.path and not self.path.startswith(("/", "?")) and _URL.match(self.path) is None:
            yield "path", f"the path {self.path!r} begins with neither / nor https://HOST/", f"write /{self.path}"


def host_of(url: ModelSetting | str) -> tuple[str, str, int] | None:
    """``(scheme, host, port)`` of a URL that stands in a contract; None where it is known at the call only, or is no URL."""
    text = url if isinstance(url, str) else url.text
    found = _URL.match(text) if text is not None else None
    if found is None:
        return None
    port = int(found["port"] or (443 if found["scheme"] == "https" else 80))
    return found["scheme"], found["host"].strip("[]").lower().rstrip("."), port


def is_allowed(place: tuple[str, int], base: tuple[str, str, int], hosts: tuple[str, ...]) -> bool:
    """Whether ``(host, port)`` is that of ``base``, ``(scheme, host, port)``, or one of ``hosts``.

    A host without a port stands for the usual one: 443, and 80 where ``base`` is http. ``*.a.example`` is every name below
    a.example; ``*`` is every name.
    """
    host, port = place
    scheme, base_host, base_port = base
    if (host, port) == (base_host, base_port):
        return True
    for one in hosts:
        name, _, said = one.partition(":")
        ports = (int(said),) if said else (443, 80) if scheme == "http" else (443,)
        name = name.lower().rstrip(".")
        if port in ports and (name in ("*", host) or (name.startswith("*.") and host.endswith(name[1:]))):
            return True
    return False
