from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from uuid import UUID

import pytest
from pydantic import BaseModel

from onex.kernel.action import Blob, Payload
from onex.kernel.errors import ContractError, EffectFailed, EffectUnknown, StateConsistencyError
from onex.kernel.intent import ModelIntent
from onex.nodes.effect import EFFECT, EffectIO, FunctionExecutor, effect
from onex.nodes.isolated_call import T
from onex.ports import Executor


class Fetch(Payload):
    page: Blob | None = None


class Fetched(Payload):
    text: str
    copy_of: Blob | None = None


class KeptBlobs:
    def __init__(self, kept: Mapping[bytes, bytes]) -> None:
        self.kept = kept

    async def read(self, digest: bytes) -> bytes:
        if digest not in self.kept:
            raise StateConsistencyError("no such blob")
        return self.kept[digest]


NO_BLOBS = KeptBlobs({})


def intent_of(payload: Fetch) -> ModelIntent[BaseModel]:
    one = UUID(int=1)
    return ModelIntent(
        intent_id=one, intent_type="api_call", target="pages", payload=payload, correlation_id=one, idempotency_key="k"
    )


def test_a_marked_function_is_the_same_function_and_carries_its_target() -> None:
    def fetch(intent: ModelIntent[Fetch]) -> Fetched:
        return Fetched(text=intent.target)

    assert effect("pages")(fetch) is fetch
    assert getattr(fetch, EFFECT) == "pages"
    with pytest.raises(ContractError, match="serves 'pages' already"):
        effect("other")(fetch)
    with pytest.raises(ContractError, match="needs the name of its target"):
        effect("")


def test_an_async_effect_is_awaited_and_its_result_taken() -> None:
    @effect("pages")
    async def fetch(intent: ModelIntent[Fetch]) -> Fetched:
        await asyncio.sleep(0)
        return Fetched(text=intent.idempotency_key)

    executor: Executor = FunctionExecutor(fetch, NO_BLOBS)
    result = asyncio.run(executor.execute(intent_of(Fetch())))
    assert (result.value, result.blobs) == (Fetched(text="k"), ())


def test_a_plain_effect_runs_where_it_does_not_hold_up_the_loop() -> None:
    threads: list[int] = []

    @effect("pages")
    def fetch(intent: ModelIntent[Fetch]) -> Fetched:
        threads.append(threading.get_ident())
        return Fetched(text=intent.target)

    asyncio.run(FunctionExecutor(fetch, NO_BLOBS).execute(intent_of(Fetch())))
    assert threads != [threading.get_ident()]


def test_where_a_plain_effect_runs_can_be_chosen() -> None:
    @effect("pages")
    def fetch(intent: ModelIntent[Fetch]) -> None:
        assert threading.current_thread() is threading.main_thread()

    async def here(call: Callable[[], T], /) -> T:
        return call()

    result = asyncio.run(FunctionExecutor(fetch, NO_BLOBS, here).execute(intent_of(Fetch())))
    assert result.value is None


def test_an_effect_reads_the_blobs_it_is_given_and_makes_its_own() -> None:
    page = EffectIO(NO_BLOBS).blob(b"a page", "text/html")

    @effect("pages")
    async def fetch(intent: ModelIntent[Fetch], io: EffectIO) -> Fetched:
        assert intent.payload.page is not None
        data = await io.read(intent.payload.page)
        made = io.blob(data.upper(), "text/html")
        assert await io.read(made) == b"A PAGE"
        return Fetched(text=data.decode(), copy_of=made)

    blobs = KeptBlobs({bytes.fromhex(page.digest): b"a page"})
    result = asyncio.run(FunctionExecutor(fetch, blobs).execute(intent_of(Fetch(page=page))))
    assert isinstance(result.value, Fetched)
    assert result.value.text == "a page"
    assert [(made.media_type, made.data) for made in result.blobs] == [("text/html", b"A PAGE")]


@pytest.mark.parametrize("raised", [EffectFailed("no", retryable=True, code="full"), EffectUnknown("perhaps")])
def test_what_an_effect_says_of_itself_reaches_the_relay(raised: EffectFailed | EffectUnknown) -> None:
    @effect("pages")
    def fetch(intent: ModelIntent[Fetch]) -> Fetched:
        raise raised

    with pytest.raises(type(raised)) as caught:
        asyncio.run(FunctionExecutor(fetch, NO_BLOBS).execute(intent_of(Fetch())))
    told = caught.value
    assert isinstance(told, EffectFailed | EffectUnknown)
    assert (told.message, told.retry, told.reason) == (raised.message, raised.retry, raised.reason)


def test_a_result_of_another_class_than_announced_is_no_failure_for_it_ran() -> None:
    async def fetch(intent: ModelIntent[Fetch]) -> Fetched:
        answer: object = intent.payload
        return answer  # type: ignore[return-value]  # what an untyped user does

    with pytest.raises(EffectUnknown, match="fetch returned Fetch; it is annotated to return Fetched") as caught:
        asyncio.run(FunctionExecutor(fetch, NO_BLOBS).execute(intent_of(Fetch())))
    assert (caught.value.retry, caught.value.reason) == (False, "wrong_result")
