"""An HTTP API that a contract declares is called without a function: requests, answers and outcomes, on real sockets."""

from __future__ import annotations

import asyncio
import json as json_text
from pathlib import Path

import httpx2
import pytest

import onex
from onex.adapters.clock import SystemClock
from onex.effects.http_call import CACHED_ANSWERS, CACHED_BYTES, AnswerCache
from onex.effects.http_exchange import HttpAnswer
from onex.kernel.errors import ContractError
from tests.effects.http_server import Answer, Got, HangUp, HttpServer, http_server, json
from tests.effects.pay import api, came_of, write_app

RECEIPT = '{"receipt": "r-1", "cents": 5, "new_field_of_the_api": true}'


def run_one(
    tmp_path: Path, reply: Answer, call: str = "method: POST, path: '/charges/{order}'", more: str = "", **app: object
) -> tuple[tuple[str, str], HttpServer]:
    """What came of one call, and the server that it met."""

    async def story() -> tuple[tuple[str, str], HttpServer]:
        async with http_server(lambda got: reply) as server:
            home = write_app(tmp_path, *api(server.url, call, more), **app)  # type: ignore[arg-type]
            return await came_of(home), server

    return asyncio.run(story())


def test_payload_is_the_request_and_the_answer_is_the_payload_of_success(tmp_path: Path) -> None:
    (status, said), server = run_one(tmp_path, json(RECEIPT), more=", idempotency_header: Idempotency-Key")
    assert (status, json_text.loads(said)) == ("done", {"receipt": "r-1", "cents": 5})
    (got,) = server.got
    assert (got.method, got.target) == ("POST", "/charges/o-1")
    body = json_text.loads(got.body)
    assert "order" not in body
    assert body["cents"] == 5
    assert got.headers["content-type"] == "application/json"
    assert len(got.headers["idempotency-key"]) == 36


def test_fields_go_into_path_and_query_percent_encoded(tmp_path: Path) -> None:
    async def story() -> Got:
        async with http_server(lambda got: json(RECEIPT)) as server:
            call = "method: GET, path: '/charges/{order}', query: [cents, tags]"
            home = write_app(tmp_path, *api(server.url, call))
            await came_of(home, {"order": "a/../b?c#d é", "tags": ["x y", "&"]})
            return server.got[0]

    got = asyncio.run(story())
    assert got.target == "/charges/a%2F..%2Fb%3Fc%23d%20%C3%A9?cents=5&tags=x+y&tags=%26"
    assert got.body == b""


@pytest.mark.parametrize("order", ["..", ".", ""])
def test_a_value_that_would_change_the_path_is_not_sent(tmp_path: Path, order: str) -> None:
    async def story() -> tuple[tuple[str, str], int]:
        async with http_server(lambda got: json(RECEIPT)) as server:
            home = write_app(tmp_path, *api(server.url))
            return await came_of(home, {"order": order}), len(server.got)

    (status, said), calls = asyncio.run(story())
    assert (status, calls) == ("lost", 0)
    assert "field_missing" in said


def test_a_form_is_sent_as_a_form(tmp_path: Path) -> None:
    _, server = run_one(tmp_path, json(RECEIPT), "method: POST, path: /c, body: form")
    assert server.got[0].headers["content-type"] == "application/x-www-form-urlencoded"
    assert b"order=o-1&cents=5&text=hello" in server.got[0].body


def test_text_and_bytes_become_payloads_too(tmp_path: Path) -> None:
    answer = Answer(200, "größe".encode("latin-1"), (("Content-Type", "text/plain; charset=latin-1"),))
    (status, said), _ = run_one(tmp_path, answer, "method: GET, path: /c, answer: text", answer="Page")
    assert (status, json_text.loads(said)) == ("done", {"text": "größe", "status": 200})
    large = Answer(200, b"x" * 300_000, (("Content-Type", "image/png"),))
    call = "method: GET, path: /c, answer: blob, max_bytes: 400000"
    (status, said), _ = run_one(tmp_path, large, call, answer="File")
    assert (status, json_text.loads(said)["blob"]["size"]) == ("done", 300_000)


OUTCOMES = [
    (Answer(200, RECEIPT.encode()), "POST", "done", '"r-1"'),
    (Answer(404, b"no such order"), "POST", "lost", "http_404"),
    (Answer(402, b"no money"), "POST", "lost", "no money"),
    (Answer(500, b"oops"), "POST", "unsure", "http_500"),
    (Answer(503, b"later", (("Retry-After", "0"),)), "POST", "lost", "http_503"),
    (Answer(503, b"later"), "POST", "unsure", "http_503"),
    (Answer(500, b"oops"), "GET", "lost", "http_500"),
    (Answer(304, b""), "POST", "unsure", "http_304"),
    (Answer(200, b"no json"), "POST", "unsure", "wrong_result"),
    (Answer(200, b'{"other": 1}'), "POST", "unsure", "wrong_result"),
    (Answer(200, b"[1]"), "GET", "lost", "wrong_result"),
    (Answer(200, b"x" * 300_000), "POST", "unsure", "answer_too_large"),
]


@pytest.mark.parametrize(("answer", "method", "status", "words"), OUTCOMES, ids=lambda value: str(value)[:30])
def test_the_status_decides_the_outcome(tmp_path: Path, answer: Answer, method: str, status: str, words: str) -> None:
    came, _ = run_one(tmp_path, answer, f"method: {method}, path: /c")
    assert came[0] == status, came[1]
    assert words in came[1]


def test_a_server_that_hangs_up_may_have_done_it(tmp_path: Path) -> None:
    def hang_up(got: Got) -> Answer:
        raise HangUp

    async def story(method: str) -> tuple[str, str]:
        async with http_server(hang_up) as server:
            return await came_of(write_app(tmp_path, *api(server.url, f"method: {method}, path: /c")))

    status, said = asyncio.run(story("POST"))
    assert (status, "connection_lost" in said) == ("unsure", True)
    status, said = asyncio.run(story("GET"))
    assert (status, "connection_lost" in said) == ("lost", True)


def test_nobody_there_is_not_done(tmp_path: Path) -> None:
    async def story() -> tuple[str, str]:
        async with http_server() as server:
            closed = server.url
        return await came_of(write_app(tmp_path, *api(closed)))

    status, said = asyncio.run(story())
    assert (status, "not_connected" in said) == ("lost", True)


def test_a_refusal_for_now_is_tried_again_with_the_same_key(tmp_path: Path) -> None:
    answers = iter(
        [Answer(429, b"", (("Retry-After", "0"),)), Answer(503, b"", (("Retry-After", "0"),)), json(RECEIPT)]
    )

    async def story() -> tuple[str, list[str]]:
        async with http_server(lambda got: next(answers)) as server:
            targets, call = api(server.url, more=", idempotency_header: X-Key")
            status, _ = await came_of(write_app(tmp_path, targets, call, tries=5))
            return status, [got.headers["x-key"] for got in server.got]

    status, keys = asyncio.run(story())
    assert (status, len(keys), len(set(keys))) == ("done", 3, 1)


def test_an_equal_read_is_answered_from_memory_for_its_time(tmp_path: Path) -> None:
    async def story() -> int:
        async with http_server(lambda got: json(RECEIPT)) as server:
            call = "method: GET, path: '/c/{order}', cache: {ttl_ms: 60000}"
            home = write_app(tmp_path, *api(server.url, call))
            async with await onex.open("memory:", home) as engine:
                for n, order in enumerate(["a", "a", "b", "a"]):
                    await engine.submit(f"pay:{n}", "begin", {"order": order})
                    await engine.wait(f"pay:{n}", "terminal", 20)
            return len(server.got)

    assert asyncio.run(story()) == 2


def test_kept_answers_are_few_and_small() -> None:
    cache = AnswerCache(SystemClock())
    headers = httpx2.Headers()
    for n in range(CACHED_ANSWERS + 10):
        cache.put(f"GET {n}", HttpAnswer(200, headers, b""), 60_000)
    assert (cache.get("GET 9"), cache.get("GET 10")) == (None, HttpAnswer(200, headers, b""))
    cache.put("GET large", HttpAnswer(200, headers, bytes(CACHED_BYTES)), 60_000)
    assert cache.get("GET large") is not None
    cache.put("GET other", HttpAnswer(200, headers, b"x"), 60_000)
    assert cache.get("GET large") is None
    assert cache.get("GET other") is not None
    cache.put("GET old", HttpAnswer(200, headers, b"x"), 0)
    assert cache.get("GET old") is None


def test_connections_are_kept_and_end_with_the_engine(tmp_path: Path) -> None:
    async def story() -> tuple[int, int]:
        async with http_server(lambda got: json(RECEIPT)) as server:
            home = write_app(tmp_path, *api(server.url))
            async with await onex.open("memory:", home) as engine:
                for n in range(5):
                    await engine.submit(f"pay:{n}", "begin", {})
                    await engine.wait(f"pay:{n}", "terminal", 20)
            return len(server.got), server.connections

    assert asyncio.run(story()) == (5, 1)


def test_a_program_may_serve_the_target_itself(tmp_path: Path) -> None:
    home = write_app(tmp_path, *api("http://127.0.0.1:9"))
    status, said = asyncio.run(came_of(home, executors={"bank": lambda intent: {"receipt": "mine"}}))
    assert (status, json_text.loads(said)["receipt"]) == ("done", "mine")


def test_a_function_beside_a_block_is_refused(tmp_path: Path) -> None:
    home = write_app(tmp_path, *api("http://127.0.0.1:9"))
    (home / "effects.py").write_text(
        "from __future__ import annotations\n\nfrom onex import ModelIntent, effect\n\n"
        "from .payloads import Begin, Receipt\n\n\n"
        '@effect("bank")\ndef charge(intent: ModelIntent[Begin]) -> Receipt:\n    return Receipt(receipt="")\n'
    )
    with pytest.raises(ContractError, match=r"effects.py:9:1: error .served_twice."):
        onex.load_app(home)
