"""AlertWatch: reads the figures of a running engine, judges them, and tells the workflows ``onex_alert`` and ``onex_objectives``.

Theory of operation. A task of its own, on the engine's clock; without a file of alerts there is none. Each ``interval_s`` it makes
one reading:

1. The rows of ``/metrics`` that some rule needs become a sample (``history``).
2. Each rule is judged. A verdict that is other than the one told last is an action, ``breached`` or ``recovered``, of the
   instance ``onex_alert:RULE``. An engine that is well writes nothing. A breach that lasts is told again each RETELL_S, so that the
   value shown is not old.
3. When a minute is over, what was measured in it is one action of ``onex_objectives:store``, for all objectives together. What is
   recorded there is compared with the targets, and the result is told to ``onex_alert:sla_NAME`` as the verdict of a rule.

From there on it is a workflow: durable, with timers of the engine, told to receivers by intents of the outbox.

Several workers on one store each have a watch, with a ``teller`` that names it, and tell through a client of the store: the
instance may lie with another worker.

What may go wrong. The process ends: what was told last stands in the store, and the next watch begins with that. A rule that is no
longer in the file, and whose alert is open, is told to be over. The store refuses an action: it is told again at the next
reading; the engine and its work never wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, Protocol
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import JsonValue

from ...contracts.alerts.alerts_model import SLA, ModelAlerts, ModelObjective, ModelRule
from ...contracts.alerts.series import Labels, MetricSample, Point
from ...engine.pattern_engine import ReducerPatternEngine
from ...engine.pending import Committed
from ...kernel.errors import DuplicateActionError, EngineClosed, OnexError
from ...ports import Stored
from ...workflows.alerts.onex_alert.payloads import EVERYBODY, AlertRule, Breached, Receiver, Recovered
from ...workflows.alerts.onex_objectives.payloads import Minute, Objectives
from .compliance import MINUTE_US, OBJECTIVES_KEY, Compliance, report
from .history import History, Verdict, is_of_store, judge

ALERT: Final = "onex_alert"
ISSUER: Final = "alerts"
RETELL_S: Final = 300.0
CLOSE_S: Final = 2.0
PAGE: Final = 500
OPEN: Final = ("pending", "firing")

ReadPoints = Callable[[], Awaitable[list[Point]]]


class AlertSink(Protocol):
    """What takes the actions: an engine, or a client of one."""

    async def submit(
        self,
        key: str,
        kind: str,
        payload: Mapping[str, JsonValue],
        *,
        action_id: UUID | None = None,
        issuer: str = "",
    ) -> Committed: ...

    async def stored(self, key: str) -> Stored | None: ...


class ToldAlert(NamedTuple):
    """What was told of a rule last, and when on the engine's clock."""

    beyond: bool
    at_s: float


@asynccontextmanager
async def watched(
    engine: ReducerPatternEngine,
    alerts: ModelAlerts,
    points: ReadPoints,
    teller: str = "",
    sink: AlertSink | None = None,
) -> AsyncIterator[AlertWatch]:
    """Watched while the block runs. The last, unfinished minute is recorded at its end."""
    watch = AlertWatch(engine, alerts, points, teller, sink)
    task = asyncio.create_task(watch.run(), name="onex-alerts")
    try:
        yield watch
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await watch.close()


class AlertWatch:
    """``points`` reads the rows of ``/metrics``. ``teller`` names this process among others on the store; ``sink`` takes what it
    tells, by default the engine itself."""

    def __init__(
        self,
        engine: ReducerPatternEngine,
        alerts: ModelAlerts,
        points: ReadPoints,
        teller: str = "",
        sink: AlertSink | None = None,
    ) -> None:
        self._sink: AlertSink = sink or engine
        self._engine, self._alerts, self._points, self._teller = engine, alerts, points, teller
        self._history = History(alerts)
        self._names = alerts.names
        self._told: dict[str, ToldAlert] = {}
        self._minute: int | None = None
        self._first: MetricSample | None = None
        self._bad: dict[str, bool] = {}
        self._values: dict[str, float | None] = {}

    async def run(self) -> None:
        """Until it is cancelled, or the engine has closed."""
        clock = self._engine.clock
        known = False
        while True:
            try:
                known = known or await self._remember()
                await self.read()
            except EngineClosed:
                return
            except OnexError as error:
                self._engine.service.events("alert_not_recorded", alert="", error=error.message)
            await clock.sleep(self._alerts.interval_s)

    async def close(self) -> None:
        """Records what was measured of the minute that runs. The engine still takes actions."""
        if self._minute is not None and self._engine.service.closed is None:
            try:
                async with asyncio.timeout(CLOSE_S):
                    await self._end_minute(self._minute)
            except (OnexError, TimeoutError) as error:
                self._engine.service.events("alert_not_recorded", alert=OBJECTIVES_KEY, error=str(error))

    async def read(self) -> None:
        """One reading. Raises EngineClosed; what the store refuses is reported, and told again at the next one."""
        sample = MetricSample.of(self._engine.clock.monotonic(), await self._points(), self._names)
        self._history.add(sample)
        for name, rule in self._alerts.rules.items():
            verdict = judge(rule, self._history)
            self._values[name] = verdict.value
            await self._tell(name, verdict, self._rule(rule))
        await self._measure(sample)

    # --- alerts -------------------------------------------------------------------------------------------------------

    async def _remember(self) -> bool:
        """What was told before this process began; and open alerts whose rule is gone are told to be over."""
        names = {*self._alerts.rules, *(SLA + name for name in self._alerts.objectives)}
        for status in OPEN:
            after = None
            while rows := await self._engine.reader.instances(ALERT, status, after, PAGE):
                for row in rows:
                    name = row.key.instance_id
                    if name in names:
                        self._told[name] = ToldAlert(True, self._engine.clock.monotonic())
                    else:
                        gone = Recovered(teller=EVERYBODY, reason="The rule is no longer in the file of alerts.")
                        await self._submit(name, "recovered", gone.model_dump(mode="json"))
                after = rows[-1].key
        recorded = await self._recorded()
        if recorded is not None and recorded.counters:
            counters: dict[str, list[tuple[Labels, float]]] = {
                name: [({}, value)] for name, value in recorded.counters.items()
            }
            self._history.recorded = MetricSample(self._engine.clock.monotonic(), counters)
        return True

    async def _tell(self, name: str, verdict: Verdict, rule: AlertRule) -> None:
        now_s, told = self._engine.clock.monotonic(), self._told.get(name)
        beyond, value = verdict
        if beyond is None or (not beyond and (told is None or not told.beyond)):
            return
        if beyond and told is not None and told.beyond and now_s - told.at_s < RETELL_S:
            return
        if beyond:
            assert value is not None, "what has no value is beyond no bound"
            done = await self._submit(
                name, "breached", Breached(value=value, rule=rule, teller=self._teller).model_dump(mode="json")
            )
        else:
            done = await self._submit(
                name, "recovered", Recovered(value=value, teller=self._teller).model_dump(mode="json")
            )
        if done:
            self._told[name] = ToldAlert(beyond, now_s)

    async def _submit(self, name: str, trigger: str, payload: Mapping[str, JsonValue]) -> bool:
        try:
            await self._sink.submit(f"{ALERT}:{name}", trigger, payload, issuer=ISSUER)
        except EngineClosed:
            raise
        except OnexError as error:
            self._engine.service.events("alert_not_recorded", alert=name, error=error.message)
            return False
        return True

    def _rule(self, rule: ModelRule) -> AlertRule:
        return AlertRule(
            source=self._alerts.source,
            metric=rule.metric,
            bound=rule.bound,
            unit=rule.signal.unit,
            about=rule.description or rule.signal.about,
            severity=rule.severity.value,
            for_s=rule.for_s,
            settle_s=rule.settle_s,
            receivers=self._receivers(self._alerts.told(rule)),
        )

    def _receivers(self, names: tuple[str, ...]) -> tuple[Receiver, ...]:
        return tuple(Receiver(name=name, kind=self._alerts.receivers[name].kind) for name in names)

    # --- objectives ---------------------------------------------------------------------------------------------------

    async def _measure(self, sample: MetricSample) -> None:
        """A figure of the moment is bad for its minute when one reading is; what grows is judged over the whole minute."""
        if not self._alerts.objectives:
            return
        number = self._engine.clock.now_us() // MINUTE_US
        if self._minute is not None and number > self._minute:
            await self._end_minute(self._minute)
            self._bad, self._first = {}, None
        self._minute = number
        self._first = self._first or sample
        now = self._history.now
        for name, objective in self._alerts.objectives.items():
            value = None if objective.form.windowed or now is None else objective.form.value(now)
            if value is not None:
                self._bad[name] = self._bad.get(name, False) or not objective.is_met_by(value)

    async def _end_minute(self, number: int) -> None:
        good = {name: not bad for name, bad in self._bad.items()}
        now = self._history.now
        for name, objective in self._alerts.objectives.items():
            if objective.form.windowed and now is not None and self._first is not None:
                value = objective.form.value(now._replace(first=self._first))
                if value is not None:
                    good[name] = objective.is_met_by(value)
        windows_s = {name: one.window_s for name, one in self._alerts.objectives.items()}
        values = {name: float(f"{value:.6g}") for name, value in self._values.items() if value is not None}
        told = Minute(
            number=number, good=good, windows_s=windows_s, values=values, counters=self._counters()
        ).model_dump(mode="json")
        action_id = uuid5(NAMESPACE_URL, f"{OBJECTIVES_KEY}/{number}/{self._teller}")
        try:
            await self._sink.submit(OBJECTIVES_KEY, "minute", told, issuer=ISSUER, action_id=action_id)
        except DuplicateActionError:  # an engine that ran before in the same minute has told of it
            return
        for one in report(self._alerts.objectives, await self._recorded(), number + 1):
            objective = self._alerts.objectives[one.name]
            await self._tell(SLA + one.name, Verdict(not one.met, one.measured), self._objective(objective, one))

    def _counters(self) -> dict[str, float]:
        """Those of the whole store that some rule is about, as they were read last."""
        now = self._history.now
        names = {name for rule in self._alerts.rules.values() if is_of_store(rule) for name in rule.form.names}
        rows = {} if now is None else now.last.rows
        return {name: sum(value for _, value in rows[name]) for name in sorted(names) if name in rows}

    async def _recorded(self) -> Objectives | None:
        stored = await self._sink.stored(OBJECTIVES_KEY)
        return None if stored is None or not stored.version else Objectives.model_validate_json(stored.state)

    def _objective(self, objective: ModelObjective, result: Compliance) -> AlertRule:
        about = f"{objective.metric} is to be {objective.bound} in {objective.target:.6g} of the minutes of {result.window_s} s"
        return AlertRule(
            source=self._alerts.source,
            metric=f"{objective.metric} over {result.window_s} s",
            bound=f"below {objective.target:.6g}",
            about=objective.description or about,
            severity=objective.severity.value,
            for_s=0,
            settle_s=0,
            receivers=self._receivers(self._alerts.told(objective)),
        )
