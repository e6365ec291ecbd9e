"""The verdict: the numbers of one demo in promise 26's words, what they mean, and what is wrong with them."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from .check import DemoCheck
from .ledger import EffectCounts
from .trial import KILLS, TrialResult

NAMED = 3
"""How many of a kind of fault are named; the report has the rest."""


class DemoResult(BaseModel):
    """What ``onex demo --json`` prints, in this order. ``p99_ms`` is from mailbox to durable, while an engine ran."""

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


class ProofRow(NamedTuple):
    """One line of the final table."""

    what: str
    number: str
    meaning: str


def demo_result(witnessed: TrialResult, tally: EffectCounts, checked: DemoCheck, report: str) -> DemoResult:
    """An effect that was seen outside and stands in no log row is lost too: the commit that promised it is gone."""
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
    )


def faults(found: DemoResult, tally: EffectCounts, checked: DemoCheck) -> list[str]:
    """Sentences; none: the demo proves what it says."""
    told: list[str] = []
    if found.kills != len(KILLS):
        told.append(f"the engine was killed {found.kills} times, not {len(KILLS)}: the job was over too soon")
    told += _named("lost", [str(one) for one in checked.audit.lost])
    told += _named("without a commit", [str(one) for one in checked.audit.strays])
    told += _named("repeated", [str(one) for one in tally.repeated])
    if not found.effects_retried:
        told.append("no effect was retried, though an answer was withheld from one")
    told += _named("acknowledged and not in the log", [f"{key}, action {id_}" for key, id_ in checked.audit.forgotten])
    if checked.audit.unsettled:
        told.append(f"{checked.audit.unsettled} outbox rows are left of intents that have ended")
    if found.replay_mismatches:
        told.append(f"{found.replay_mismatches} segments of the log do not replay to the bytes that were stored")
    if found.unverified:
        told.append(f"{found.unverified} log rows could not be checked under the code that made them")
    return told


def _named(what: str, found: list[str]) -> list[str]:
    if not found:
        return []
    more = f"; and {len(found) - NAMED:,} more" if len(found) > NAMED else ""
    return [f"{what}: {'; '.join(found[:NAMED])}{more}"]


def rows(found: DemoResult, tally: EffectCounts, checked: DemoCheck) -> list[ProofRow]:
    """The table, each number with what it says."""
    audit, verified = checked.audit, checked.counts.actions - found.unverified
    several = len({of_type for of_type, _ in checked.counts.by_status}) > 1
    statuses = ", ".join(
        f"{n:,} {f'{of_type} ' if several else ''}{status}"
        for (of_type, status), n in sorted(checked.counts.by_status.items(), key=lambda item: -item[1])
    )
    left = [
        f"{n:,} {word}" for n, word in ((audit.waiting, "waiting"), (audit.held, "held"), (audit.dead, "dead")) if n
    ]
    ended = f"each came to its end{': ' + ', '.join(left) + ' in the outbox' if left else ''}"
    return [
        ProofRow("instances", f"{found.instances:,}", statuses),
        ProofRow("actions committed", f"{found.actions:,}", f"{found.actions_per_s:,.0f} a second, restarts included"),
        ProofRow("intents committed", f"{found.intents:,}", f"of which {len(tally.seen):,} effects were seen outside"),
        ProofRow("engine killed", str(found.kills), "kill -9, and started again at once"),
        ProofRow("effects lost", str(found.effects_lost), ended if not found.effects_lost else "SOME DID NOT HAPPEN"),
        ProofRow("effects retried", str(found.effects_retried), "ran again after a kill, with the same key: harmless"),
        ProofRow("effects repeated", str(found.effects_repeated), "under a second key, or with another body: never"),
        ProofRow(
            "replay mismatches", str(found.replay_mismatches), f"{verified:,} actions folded again, in two processes"
        ),
        ProofRow("p99", f"{found.p99_ms:g} ms", "from mailbox to durable"),
    ]
