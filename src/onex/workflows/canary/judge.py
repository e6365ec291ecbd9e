"""What is measured of two versions in one stage, and whether the new one may go on.

Two rules keep a judgement from being chance or another's fault. A figure counts against the new version only where it is worse
than the old one's in this rollout. And a share is taken of ``min_actions`` at least, so one error among three actions is no rate.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from onex import Payload

Count = Annotated[int, Field(ge=0)]
SLOW_SHARE: Final = 0.01
"""p99 is above a limit when more than this share of actions took longer."""
LEAK_SHARE: Final = 0.01
LEAK_BYTES: Final = 2.0
"""A state may grow by this share of its size, or these bytes, before it is called a leak: versions may differ by a word."""
LEAST: Final = 5
"""So many actions of a trigger, of both versions, are compared at least."""


class Criteria(Payload):
    """What a stage must keep to. See ``SuccessCriteria`` of the configuration, whose units these are."""

    error_rate: float = 0.01
    latency_p99_ms: float = 100.0
    leak_bytes: float = 0.0
    held: Count = 0
    differences: Count = 0
    min_actions: Annotated[int, Field(ge=1)] = 100


class Growth(Payload):
    """Of ``actions`` that changed a state: by ``added`` bytes together, to ``sizes`` bytes together."""

    actions: Count = 0
    added: int = 0
    sizes: Count = 0

    def plus(self, more: Growth) -> Growth:
        return Growth(actions=self.actions + more.actions, added=self.added + more.added, sizes=self.sizes + more.sizes)


class Figures(Payload):
    """Sums over actions of one version. ``slow`` took longer than the limit of p99. ``growth[trigger]``: how it changed states."""

    actions: Count = 0
    errors: Count = 0
    slow: Count = 0
    held: Count = 0
    growth: dict[str, Growth] = Field(default_factory=dict)

    def plus(self, more: Figures) -> Figures:
        growth = {**self.growth, **{name: self.growth.get(name, NONE).plus(one) for name, one in more.growth.items()}}
        return Figures(
            actions=self.actions + more.actions,
            errors=self.errors + more.errors,
            slow=self.slow + more.slow,
            held=self.held + more.held,
            growth=growth,
        )

    @property
    def judged(self) -> int:
        return self.actions + self.errors


NONE: Final = Growth()


def _share(part: int, of: int) -> float:
    return part / of if of else 0.0


def fault(criteria: Criteria, old: Figures, new: Figures) -> str:
    """Why the new version must not go on, in words; '' when it may."""
    of = max(new.judged, criteria.min_actions)
    errors = _share(new.errors, of)
    if errors > criteria.error_rate and errors > _share(old.errors, old.judged):
        return f"error rate: {new.errors} of {new.judged} actions failed; at most {criteria.error_rate:.2%} of {of} may"
    slow = _share(new.slow, of)
    if slow > SLOW_SHARE and slow > _share(old.slow, old.actions):
        limit = f"{criteria.latency_p99_ms:g} ms; at most {SLOW_SHARE:.0%} of {of} may"
        return f"p99: {new.slow} of {new.actions} actions took longer than {limit}"
    if new.held > criteria.held and new.held > old.held:
        return f"{new.held} instances were held; {criteria.held} may be"
    return _leak(criteria, old, new)


def _leak(criteria: Criteria, old: Figures, new: Figures) -> str:
    """Trigger by trigger: both versions may have had other work to do."""
    enough = max(LEAST, criteria.min_actions // 10)
    for name, grown in new.growth.items():
        before = old.growth.get(name, NONE)
        if min(grown.actions, before.actions) < enough:
            continue
        leak = grown.added / grown.actions - before.added / before.actions
        most = max(criteria.leak_bytes, LEAK_SHARE * grown.sizes / grown.actions, LEAK_BYTES)
        if leak > most:
            return (
                f"a state grows by {leak:.0f} bytes more at each {name!r} than under the old version; {most:.0f} may be"
            )
    return ""
