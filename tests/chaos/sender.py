"""A client process: it sends through the inbox, asks until it is told, and writes down what it was told. It may be killed.

    python -m tests.chaos.sender STORE_URL NAME SEED

One line of JSON on standard output per answer. It goes on until its standard input ends, then waits for what is under way.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from typing import NamedTuple
from uuid import UUID, uuid4

from onex import wiring
from onex.kernel.action import ModelAction, WorkflowKey
from onex.kernel.errors import OnexError
from onex.kernel.route import shard_of

AT_ONCE = 6
ASK_S, ASK_S_MAX = 0.004, 0.05
AGAIN_S = 0.1
PATIENCE_S = 15.0  # then it is sent again under the same id, as anybody would


class Sent(NamedTuple):
    action: ModelAction
    ticket: int
    again: bool
    begun_s: float


class Client:
    def __init__(self, url: str, name: str, seed: int) -> None:
        self.url, self.name = url, name
        self.chance = random.Random(seed)
        self.over = asyncio.Event()
        self.errands = 0
        self._sender: wiring.ClosableSender | None = None
        self._opening = asyncio.Lock()

    async def run(self) -> None:
        asyncio.get_running_loop().run_in_executor(None, sys.stdin.read).add_done_callback(lambda _: self.over.set())
        await asyncio.gather(*(self.work() for _ in range(AT_ONCE)))

    async def work(self) -> None:
        while not self.over.is_set():
            self.errands += 1
            await self.errand(f"{self.name}-{self.errands}", self.errands)

    async def errand(self, instance: str, number: int) -> None:
        chance = self.chance
        first = self.action(instance, "begin", {"number": number, "text": "x" * chance.randrange(0, 200)})
        if chance.random() < 0.3:
            await self.tell(await self.send(self.action(instance, "note", {"text": "before it began"})))
        await self.tell(await self.send(first))
        for _ in range(chance.randrange(1, 4)):
            sent = [
                await self.send(self.action(instance, "note", {"text": f"{n}" * chance.randrange(1, 50)}))
                for n in range(chance.randrange(1, 4))
            ]
            for one in sent:  # without waiting in between: they are applied in this order
                await self.tell(one)
        if chance.random() < 0.3:  # a client that is not sure whether it was heard
            await self.tell(await self.send(first, again=True))

    def action(self, instance: str, kind: str, payload: dict[str, object]) -> ModelAction:
        return ModelAction.model_validate(
            {
                "workflow_key": WorkflowKey("errand", instance),
                "kind": kind,
                "command_payload": payload,
                "action_id": UUID(bytes=self.chance.randbytes(16), version=4) if self.name else uuid4(),
                "issuer": self.name,
            }
        )

    async def send(self, action: ModelAction, *, again: bool = False) -> Sent:
        """Until the store has kept it."""
        body, begun_s = action.model_dump_json(exclude_none=True).encode(), time.monotonic()
        while True:
            try:
                sender = await self.sender()
                shard = shard_of(action.workflow_key, sender.shards)
                return Sent(action, await sender.send(body, time.time_ns() // 1000, shard), again, begun_s)
            except OnexError as error:
                await self.meet(error)
                again = True

    async def tell(self, sent: Sent) -> None:
        """Until it was told what came of it."""
        while True:
            answer = await self.answered(sent)
            if answer is None:
                self.say(trouble="no_answer")
            elif (error := answer.get("error")) is None:
                self.say(**self.which(sent), version=answer["version"], status=answer["status"])
                return
            elif not isinstance(error, dict) or not error.get("retryable"):
                self.say(**self.which(sent), refused=error.get("code") if isinstance(error, dict) else str(error))
                return
            else:
                self.say(trouble=error.get("code"))
                await asyncio.sleep(AGAIN_S)
            sent = await self.send(sent.action, again=True)

    async def answered(self, sent: Sent) -> dict[str, object] | None:
        until, pause_s = time.monotonic() + PATIENCE_S, ASK_S
        while time.monotonic() < until:
            try:
                found = await (await self.sender()).answer(sent.ticket)
            except OnexError as error:
                await self.meet(error)
                found = None
            if found is not None:
                answer: dict[str, object] = json.loads(found)
                return answer
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, ASK_S_MAX)
        return None

    async def meet(self, error: OnexError) -> None:
        """A trouble of the store. What will not pass by itself may pass for one who opens it anew."""
        self.say(trouble=error.code)
        await asyncio.sleep(AGAIN_S)
        if not error.retryable:
            async with self._opening:
                if self._sender is not None:
                    await self._sender.close()
                    self._sender = None

    async def sender(self) -> wiring.ClosableSender:
        async with self._opening:
            if self._sender is None:
                self._sender = await wiring.open_sender(self.url)
            return self._sender

    def which(self, sent: Sent) -> dict[str, object]:
        action = sent.action
        assert action.action_id is not None
        return {
            "key": str(action.workflow_key),
            "action_id": action.action_id.hex,
            "ticket": sent.ticket,
            "again": sent.again,
            "begun_s": sent.begun_s,
            "told_s": time.monotonic(),
        }

    def say(self, **told: object) -> None:
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(Client(sys.argv[1], sys.argv[2], int(sys.argv[3])).run())
