"""Judging by samples, as pure functions of values: what a window holds, and whether a rule is breached.

The samples of one process, the oldest first. ``seen`` gives both ends of a window. A window that reaches back before the first
sample is not *whole*: a value that it has counts, and where it has none nothing is decided yet. A whole window in which nothing
happened is within every bound: an alert on the rate of errors ends when nobody sends any more.

A counter of the whole store goes on over restarts. What it grew by while no process watched lies before the first sample: there
``recorded``, what was known of it last, is the beginning of a window that is not whole.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import NamedTuple

from ...contracts.alerts.alerts_model import ModelAlerts, ModelRule
from ...contracts.alerts.series import Form, MetricSample, Seen


class History:
    """As many samples as the longest window of ``alerts`` needs."""

    def __init__(self, alerts: ModelAlerts) -> None:
        self.span_s = max([60, *(rule.span_s for rule in alerts.rules.values())])
        self._samples: deque[MetricSample] = deque()
        self.recorded: MetricSample | None = None

    def add(self, sample: MetricSample) -> None:
        """Not older than the last one: the clock that it was read by never goes back."""
        samples = self._samples
        samples.append(sample)
        while len(samples) > 1 and samples[1].at_s <= sample.at_s - self.span_s:
            samples.popleft()

    def seen(self, window_s: float) -> Seen | None:
        """The last sample, and the newest that is at least so much older; the oldest where none is. None before two samples."""
        samples = self._samples
        if len(samples) < 2:
            return None
        begins_s = samples[-1].at_s - window_s
        at = bisect_right(samples, begins_s, key=lambda one: one.at_s, hi=len(samples) - 1) - 1
        return Seen(samples[max(0, at)], samples[-1], whole=at >= 0)

    @property
    def now(self) -> Seen | None:
        """The last sample alone."""
        return Seen(self._samples[-1], self._samples[-1]) if self._samples else None


class Verdict(NamedTuple):
    """``beyond`` is None where nothing can be said yet; ``value`` None where nothing was measured."""

    beyond: bool | None
    value: float | None = None


def judge(rule: ModelRule, history: History) -> Verdict:
    form = rule.form
    seen = history.seen(rule.span_s) if form.windowed else history.now
    if history.recorded is not None and history.now is not None and is_of_store(rule):
        seen = seen if seen is not None and seen.whole else history.now._replace(first=history.recorded, whole=False)
    if seen is None:
        return Verdict(None)
    value = form.value(seen)
    if value is None:
        return Verdict(False if form.windowed and seen.whole and _is_told(form, seen) else None)
    return Verdict(rule.is_beyond(value), value)


def is_of_store(rule: ModelRule) -> bool:
    """Whether its metric is a counter of the whole store."""
    return rule.form.windowed and rule.signal.scope == "store"


def _is_told(form: Form, seen: Seen) -> bool:
    """Whether there are such rows at all."""
    return any(name in seen.last.rows for name in form.names)
