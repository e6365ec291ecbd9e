"""What each fact does to a rollout.

Everything that decides is here, as state. Who measures only tells facts: ``onex deploy`` what it found on recorded runs and in the
shadow, each engine what its versions did (``sampled``). So a rollout goes on after any of them was killed.

An engine reads ``status`` and ``share`` and acts by them: at a share of 0 no instance begins under the new code.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from onex import Action, IntentDraft, Nothing, Step, cancel, reducer, timer

from .judge import Figures, fault
from .payloads import Adopt, Canary, Codes, Found, Propose, StageSample, Why

AnyAction = Action[Any]
KNOWN_MOST: Final = 100

rollouts = reducer(Canary)


@rollouts.on("propose")
def propose(now: Canary, action: Action[Propose]) -> Step[Canary]:
    """A new rollout. The version that the one before made the base is known to the engines."""
    asked, went_live = action.payload, now.status == "promoted"
    bases = {name: one.new if went_live else one.base for name, one in now.codes.items()}
    return Step(
        now.evolve(
            new_app=asked.new_app,
            base_app=now.new_app if went_live else now.base_app,
            codes={name: Codes(base=bases.get(name, ""), new=one.new) for name, one in asked.codes.items()},
            criteria=asked.criteria,
            stages=asked.stages,
            stage_s=asked.stage_s,
            stage=0,
            share=0.0,
            since=action.issued_at,
            waited=0,
            old=Figures(),
            new=Figures(),
            found={},
            reason="",
            by=asked.by,
            alerts=asked.alerts,
            dashboard=asked.dashboard,
        )
    )


@rollouts.on("adopt")
def adopt(now: Canary, action: Action[Adopt]) -> Step[Canary]:
    bases = action.payload.bases
    codes = {name: Codes(base=bases.get(name, ""), new=one.new) for name, one in now.codes.items()}
    known = dict.fromkeys([*now.known, action.payload.base_app, now.new_app])
    return Step(now.evolve(codes=codes, base_app=action.payload.base_app, known=tuple(known)[-KNOWN_MOST:]))


@rollouts.on("checked")
def checked(now: Canary, action: Action[Found]) -> Step[Canary]:
    return Step(_with(now, action.payload))


@rollouts.on("shadowed")
def shadowed(now: Canary, action: Action[Found]) -> Step[Canary]:
    told = _with(now, action.payload)
    return Step(told) if told.reason else _begin(told, 0, action)


@rollouts.on("sampled")
def sampled(now: Canary, action: Action[StageSample]) -> Step[Canary]:
    """A sample of an earlier stage, or of another rollout, comes too late and counts nothing."""
    told = action.payload
    if told.new_app != now.new_app or told.stage != now.stage:
        return Step(now)
    now = now.evolve(old=now.old.plus(told.old), new=now.new.plus(told.new))
    return _end(_stopped(now, fault(now.criteria, now.old, now.new)))


@rollouts.on("stage_over")
def stage_over(now: Canary, action: Action[Nothing]) -> Step[Canary]:
    """The stage is over. With too few actions it lasts as long again."""
    if reason := fault(now.criteria, now.old, now.new):
        return Step(_stopped(now, reason))
    if now.new.judged < now.criteria.min_actions:
        return Step(now.evolve(waited=now.waited + 1), _over(now, action))
    if now.stage + 1 < len(now.stages):
        return _begin(now, now.stage + 1, action)
    return Step(now.evolve(share=0.0))


@rollouts.on("roll_back")
def roll_back(now: Canary, action: Action[Why]) -> Step[Canary]:
    """By an operator, or because no engine can load the version."""
    return _end(_stopped(now, action.payload.reason or "an operator took it back"))


@rollouts.on("promote")
def promote(now: Canary, action: Action[Why]) -> Step[Canary]:
    """By an operator, who does not wait for the rest."""
    return Step(now.evolve(share=0.0, by=action.payload.reason or now.by), cancel("stage_over"))


def _with(now: Canary, found: Found) -> Canary:
    return _stopped(now.evolve(found={**now.found, **found.counts}), found.fault)


def _end(now: Canary) -> Step[Canary]:
    """Without its timer, where it was taken back."""
    return Step(now, cancel("stage_over")) if now.reason else Step(now)


def _stopped(now: Canary, reason: str) -> Canary:
    return now.evolve(reason=reason, share=0.0) if reason else now


def _begin(now: Canary, stage: int, action: AnyAction) -> Step[Canary]:
    now = now.evolve(stage=stage, share=now.stages[stage], since=action.issued_at, waited=0, new=Figures())
    return Step(now, _over(now, action))


def _over(now: Canary, action: AnyAction) -> IntentDraft:
    return timer("stage_over", action.issued_at + timedelta(seconds=now.stage_s))
