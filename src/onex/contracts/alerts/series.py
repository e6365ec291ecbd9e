"""A value over time: which series of ``/metrics`` it is made of, how it is computed here, and how Prometheus is asked for it.

A signal has one *form*. A form says both: ``value(seen)`` computes it from samples of this process, and ``promql(window)`` is the
expression that means the same. So an alert of the engine and the rule for Prometheus cannot differ.

    Gauge       the last value: the sum, the least or the greatest over its series
    Equals      how many of its series have one value
    Increase    how much a counter grew within the window
    Ratio       the growth of some counters as a part of the growth of all
    Quantile    of a histogram, within the window, by the rule of Prometheus: straight lines between the bounds

``value`` is None where nothing is known: no series, or nothing happened within the window. Counters only grow: samples are of one
process since it started.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Literal, NamedTuple, Protocol

Labels = Mapping[str, str]
Point = tuple[str, Labels, float]
"""Name, labels and value of one row of ``/metrics``."""


class Series(NamedTuple):
    """The rows of one name whose labels fit: ``only`` are equal, ``without`` are not."""

    name: str
    only: tuple[tuple[str, str], ...] = ()
    without: tuple[tuple[str, str], ...] = ()

    def fits(self, labels: Labels) -> bool:
        return all(labels.get(name) == value for name, value in self.only) and all(
            labels.get(name) != value for name, value in self.without
        )

    def narrowed(self, labels: Labels) -> Series:
        return self._replace(only=(*self.only, *sorted(labels.items())))

    def promql(self, name: str = "") -> str:
        words = [f"{label}={quoted(value)}" for label, value in self.only]
        words += [f"{label}!={quoted(value)}" for label, value in self.without]
        return f"{name or self.name}{{{','.join(words)}}}" if words else name or self.name


class MetricSample(NamedTuple):
    """What was read at one moment: ``rows[name] -> its rows``. Only names that some signal needs are kept."""

    at_s: float
    rows: Mapping[str, Sequence[tuple[Labels, float]]]

    @classmethod
    def of(cls, at_s: float, points: Iterable[Point], names: frozenset[str]) -> MetricSample:
        rows: dict[str, list[tuple[Labels, float]]] = {}
        for name, labels, value in points:
            if name in names:
                rows.setdefault(name, []).append((labels, value))
        return cls(at_s, rows)

    def values(self, series: Series) -> list[float]:
        return [value for labels, value in self.rows.get(series.name, ()) if series.fits(labels)]


class Seen(NamedTuple):
    """The two ends of a window. ``whole``: the samples reach back as far as the window does."""

    first: MetricSample
    last: MetricSample
    whole: bool = True

    def growth(self, series: Series) -> float | None:
        """None where the counter is not there."""
        now = self.last.values(series)
        return sum(now) - sum(self.first.values(series)) if now else None

    def growths(self, several: Iterable[Series]) -> float | None:
        found = [grown for one in several if (grown := self.growth(one)) is not None]
        return sum(found) if found else None


class Form(Protocol):
    """How a signal is computed. ``windowed``: it needs two samples."""

    @property
    def windowed(self) -> bool: ...

    @property
    def names(self) -> frozenset[str]:
        """The names of ``/metrics`` that it reads."""

    def narrowed(self, labels: Labels) -> Form:
        """The same of rows with these labels only."""

    def value(self, seen: Seen) -> float | None: ...

    def promql(self, window_s: int, by: str) -> str:
        """``by``: the labels that stay, as ``job, instance``."""


@dataclass(frozen=True)
class Gauge:
    series: Series
    over: Literal["sum", "min", "max"] = "max"
    windowed: Literal[False] = False

    @property
    def names(self) -> frozenset[str]:
        return frozenset({self.series.name})

    def narrowed(self, labels: Labels) -> Gauge:
        return Gauge(self.series.narrowed(labels), self.over)

    def value(self, seen: Seen) -> float | None:
        found = seen.last.values(self.series)
        if not found:
            return None
        return sum(found) if self.over == "sum" else min(found) if self.over == "min" else max(found)

    def promql(self, window_s: int, by: str) -> str:
        return f"{self.over} by ({by}) ({self.series.promql()})"


@dataclass(frozen=True)
class Equals:
    series: Series
    wanted: int
    windowed: Literal[False] = False

    @property
    def names(self) -> frozenset[str]:
        return frozenset({self.series.name})

    def narrowed(self, labels: Labels) -> Equals:
        return Equals(self.series.narrowed(labels), self.wanted)

    def value(self, seen: Seen) -> float | None:
        found = seen.last.values(self.series)
        return float(found.count(self.wanted)) if found else None

    def promql(self, window_s: int, by: str) -> str:
        return f"sum by ({by}) ({self.series.promql()} == bool {self.wanted})"


@dataclass(frozen=True)
class Increase:
    series: Series
    windowed: Literal[True] = True

    @property
    def names(self) -> frozenset[str]:
        return frozenset({self.series.name})

    def narrowed(self, labels: Labels) -> Increase:
        return Increase(self.series.narrowed(labels))

    def value(self, seen: Seen) -> float | None:
        return seen.growth(self.series)

    def promql(self, window_s: int, by: str) -> str:
        return f"sum by ({by}) (increase({self.series.promql()}[{window_s}s]))"


@dataclass(frozen=True)
class Ratio:
    """``part`` is among ``whole``. None while nothing of the whole happened."""

    part: tuple[Series, ...]
    whole: tuple[Series, ...]
    windowed: Literal[True] = True

    @property
    def names(self) -> frozenset[str]:
        return frozenset(one.name for one in (*self.part, *self.whole))

    def narrowed(self, labels: Labels) -> Ratio:
        return Ratio(
            tuple(one.narrowed(labels) for one in self.part), tuple(one.narrowed(labels) for one in self.whole)
        )

    def value(self, seen: Seen) -> float | None:
        whole = seen.growths(self.whole)
        return (seen.growths(self.part) or 0.0) / whole if whole else None

    def promql(self, window_s: int, by: str) -> str:
        def grown(several: tuple[Series, ...]) -> str:
            return " + ".join(f"sum by ({by}) (increase({one.promql()}[{window_s}s]))" for one in several)

        part, whole = grown(self.part), grown(self.whole)
        return f"{f'({part})' if len(self.part) > 1 else part} / {f'({whole})' if len(self.whole) > 1 else whole}"


@dataclass(frozen=True)
class Quantile:
    q: float
    series: Series
    windowed: Literal[True] = True

    @property
    def names(self) -> frozenset[str]:
        return frozenset({f"{self.series.name}_bucket"})

    def narrowed(self, labels: Labels) -> Quantile:
        return Quantile(self.q, self.series.narrowed(labels))

    def value(self, seen: Seen) -> float | None:
        before, now = self._buckets(seen.first), self._buckets(seen.last)
        return quantile(self.q, {bound: count - before.get(bound, 0.0) for bound, count in now.items()})

    def _buckets(self, sample: MetricSample) -> dict[float, float]:
        found: dict[float, float] = {}
        for labels, count in sample.rows.get(f"{self.series.name}_bucket", ()):
            if self.series.fits(labels):
                bound = float(labels["le"])
                found[bound] = found.get(bound, 0.0) + count
        return found

    def promql(self, window_s: int, by: str) -> str:
        rate = f"rate({self.series.promql(f'{self.series.name}_bucket')}[{window_s}s])"
        return f"histogram_quantile({self.q}, sum by ({by}, le) ({rate}))"


def quantile(q: float, at_most: Mapping[float, float]) -> float | None:
    """``at_most[bound]`` is how many were at most so much, with one bound of infinity. None for no observation.

    As ``histogram_quantile`` of Prometheus: what lies beyond the last finite bound counts as that bound.
    """
    bounds = sorted(at_most)
    total = at_most[bounds[-1]] if bounds else 0.0
    if total <= 0:
        return None
    rank = q * total
    for below, bound in pairwise((0.0, *bounds)):
        if at_most[bound] >= rank:
            if bound == inf:
                return below
            before = at_most.get(below, 0.0)
            inside = at_most[bound] - before
            return below + (bound - below) * ((rank - before) / inside if inside else 1.0)
    return bounds[-1]


def quoted(text: str) -> str:
    """A text of PromQL."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
