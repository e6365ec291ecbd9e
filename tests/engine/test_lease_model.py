"""Any sequence of requests and commands comes to what a model of promise 10 says."""

from __future__ import annotations

from random import Random
from uuid import UUID

import pytest

from onex.kernel.errors import (
    OnexError,
)
from onex.kernel.lease import RELEASE, RENEW, TAKE
from tests.engine.hand_clock import ONE, K, by_hand
from tests.engine.test_inbox import run


class Model:
    """What promise 10 says of one instance, counted by hand. ``holder`` leads up to ``until_us``; ``last`` was granted last."""

    def __init__(self) -> None:
        self.last: UUID | None = None
        self.until_us = self.epoch = self.version = 0

    def command(self, now_us: int, lease_id: UUID | None, epoch: int | None) -> str:
        runs = self.last is not None and now_us <= self.until_us
        if lease_id is not None and lease_id != self.last:
            return "lease_validation"
        if lease_id is not None and not runs:
            return "lease_expired"
        if lease_id is None and runs:
            return "lease_conflict"
        if epoch is not None and epoch != self.epoch:
            return "epoch_mismatch"
        self.version += 1
        self.epoch += lease_id is not None
        return ""

    def ask(self, kind: str, now_us: int, lease_id: UUID, duration_us: int) -> str:
        runs = self.last is not None and now_us <= self.until_us
        if kind == TAKE:
            if runs and lease_id != self.last:
                return "lease_conflict"
            kept_us = self.until_us if lease_id == self.last else 0
            self.last, self.until_us = lease_id, max(kept_us, now_us + duration_us)
            return ""
        if lease_id != self.last:
            return "lease_validation"
        if not runs:
            return "lease_expired"
        if kind == RELEASE:
            self.last, self.until_us = None, 0
        else:
            self.until_us = max(self.until_us, now_us + duration_us)
        return ""


@pytest.mark.parametrize("seed", range(12))
def test_any_sequence_of_requests_and_commands_comes_to_what_the_model_says(seed: int) -> None:
    chance = Random(seed)

    async def go() -> None:
        async with by_hand() as (engine, clock):
            await engine.submit(K, "add", ONE)
            model, ids = Model(), [UUID(int=n, version=4) for n in range(1, 4)]
            model.version = 1
            for _ in range(120):
                clock.forward(chance.choice((0, 0, 0, 1, 3)))
                who, duration_s = chance.choice(ids), chance.choice((1, 2, 5))
                kind = chance.choice((TAKE, RENEW, RELEASE, "add", "add", "add"))
                code, asked = "", 0
                try:
                    if kind == "add":
                        lease_id = chance.choice((None, who, who))
                        epoch = chance.choice((None, model.epoch, model.epoch, model.epoch + 1))
                        expected = model.command(clock.at_us, lease_id, epoch)
                        await engine.submit(K, "add", ONE, lease_id=lease_id, epoch=epoch)
                    else:
                        expected = model.ask(kind, clock.at_us, who, duration_s * 1_000_000)
                        if kind == TAKE:
                            asked = (await engine.take_lease(K, duration_s=duration_s, action_id=who)).until_us
                        elif kind == RENEW:
                            asked = (await engine.renew_lease(K, who, duration_s)).until_us
                        else:
                            await engine.release_lease(K, who)
                except OnexError as error:
                    code = error.code
                assert code == expected, f"{kind} by {who} at {clock.at_us}"
                assert asked in {0, model.until_us}
                stored = await engine.stored(K)
                assert stored is not None
                assert (stored.version, stored.epoch) == (model.version, model.epoch)
                assert (stored.lease_id, stored.lease_until_us) == (
                    None if model.last is None else model.last.bytes,
                    model.until_us,
                )

    run(go())
