"""The result of a demo: the numbers that promise 26 names, what they mean, and what is wrong with them."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from .check import DemoCheck
from .kill_moments import KILLS
from .ledger import EffectCounts
from .trial import TrialResult

NAMED = 3
"""Faults of one kind that are named; the others are counted."""


class DemoResult(BaseModel):
    """What ``onex demo --json`` prints, in this order. ``p99_ms`` is from accepted to durable, while an engine ran.

    ``report`` is the page of the proof, ``work`` the page that the work made, '' when it made none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    instances: int
    actions: int
    intents: int
    kills: int
    effects_lost: int
    effects_retried: int
    effects_repeated: int
    replay_mismatches: int
    unverified: int
    actions_per_s: float
    p99_ms: float
    report: str
    work: str


class ProofRow(NamedTuple):
    """One row of the final table."""

    what: str
    number: str
    meaning: str


def demo_result(
    witnessed: TrialResult, tally: EffectCounts, checked: DemoCheck, report: str, work: str = ""
) -> DemoResult:
    """Counts as lost, too: an effect that was seen outside and is in no log row, since the commit that emitted it is gone."""
    return DemoResult(
        instances=checked.counts.instances,
        actions=checked.counts.actions,
        intents=checked.audit.intents,
        kills=witnessed.kills,
        effects_lost=len(checked.audit.lost) + len(checked.audit.strays),
        effects_retried=tally.retried,
        effects_repeated=len(tally.repeated),
        replay_mismatches=max(checked.here.mismatches, checked.elsewhere.mismatches),
        unverified=max(checked.here.unverified, checked.elsewhere.unverified),
        actions_per_s=round(checked.counts.actions / witnessed.wall_s, 1),
        p99_ms=round(witnessed.latency.quantile_s(0.99) * 1000, 2),
        report=report,
        work=work,
    )


def faults(found: DemoResult, tally: EffectCounts, checked: DemoCheck, kills_asked: int = 0) -> list[str]:
    """Sentences. There are none when the demo proves what it claims. ``kills_asked``: kills beside those that were drawn."""
    wrong: list[str] = []
    drawn = found.kills - kills_asked
    if drawn != len(KILLS):
        wrong.append(f"the engine was killed {drawn} times, not {len(KILLS)}: the work was done too soon")
    wrong += _named("lost", [str(one) for one in checked.audit.lost])
    wrong += _named("without a commit", [str(one) for one in checked.audit.strays])
    wrong += _named("repeated", [str(one) for one in tally.repeated])
    if not found.effects_retried:
        wrong.append("no effect was retried, although one acknowledgement was withheld")
    wrong += _named("acknowledged and not in the log", [f"{key}, action {id_}" for key, id_ in checked.audit.forgotten])
    if checked.audit.unsettled:
        wrong.append(f"{checked.audit.unsettled} outbox rows remain of intents that have ended")
    if found.replay_mismatches:
        wrong.append(f"{found.replay_mismatches} segments of the log do not replay to the bytes that were stored")
    if found.unverified:
        wrong.append(f"{found.unverified} log rows could not be checked under the code that made them")
    return wrong


def _named(what: str, found: list[str]) -> list[str]:
    if not found:
        return []
    more = f"; and {len(found) - NAMED:,} more" if len(found) > NAMED else ""
    return [f"{what}: {'; '.join(found[:NAMED])}{more}"]


def rows(found: DemoResult, tally: EffectCounts, checked: DemoCheck, workers: int | None = None) -> list[ProofRow]:
    """The rows of the final table. ``workers``: how many shared the store, None for one engine."""
    killed = ProofRow("engine killed", str(found.kills), "kill -9, and started again at once")
    if workers:
        again = f"kill -9 of one of {workers}; the others take over, and it joins again"
        killed = ProofRow("workers killed", str(found.kills), again)
    audit, verified = checked.audit, checked.counts.actions - found.unverified
    several = len({of_type for of_type, _ in checked.counts.by_status}) > 1
    statuses = ", ".join(
        f"{n:,} {f'{of_type} ' if several else ''}{status}"
        for (of_type, status), n in sorted(checked.counts.by_status.items(), key=lambda item: -item[1])
    )
    left = [
        f"{n:,} {word}" for n, word in ((audit.waiting, "waiting"), (audit.held, "held"), (audit.dead, "dead")) if n
    ]
    ended = f"each has its outcome{', or stands in the outbox: ' + ', '.join(left) if left else ''}"
    seen = f"by the process that counts, of {found.intents:,} intents; each writes or reports something"
    return [
        killed,
        ProofRow("effects seen", f"{len(tally.seen):,}", seen),
        ProofRow("effects lost", str(found.effects_lost), ended if not found.effects_lost else "SOME DID NOT HAPPEN"),
        ProofRow("effects retried", str(found.effects_retried), "ran again after a kill, with the same key: harmless"),
        ProofRow("effects repeated", str(found.effects_repeated), "seen under two keys, or with two payloads"),
        ProofRow(
            "replay mismatches", str(found.replay_mismatches), f"{verified:,} actions folded again, in two processes"
        ),
        ProofRow("instances", f"{found.instances:,}", statuses),
        ProofRow("actions committed", f"{found.actions:,}", f"{found.actions_per_s:,.0f} a second, restarts included"),
        ProofRow("p99", f"{found.p99_ms:g} ms", "from accepted to durable"),
    ]
