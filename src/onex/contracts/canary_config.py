"""``canary_deployment_config.yaml``: in which steps a new version goes live, and what takes it back (seed 000, section 8.1).

    reducer_pattern_engine:
      rollout_strategy: gradual          # or immediate: one stage of 100 %
      stages: [5, 25, 50, 100]           # percent; left out: initial and increment, if either is there
      success_criteria: {error_rate_threshold: 0.01, latency_p99_threshold_ms: 100, memory_leak_threshold: 0}
      monitoring: {metrics_collection_enabled: true, alerting_enabled: true, dashboard_integration: true}

``stage_s``, ``min_actions``, ``held_threshold``, ``difference_threshold``, ``shadow`` and ``what_if`` are ours; each has a default.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Final, Literal, NamedTuple, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import to_json

from ..kernel.finding import EnumSeverity, Finding
from .load import translate
from .model.part import ENGINE, STRICT, Part
from .text.yaml_tree import FINDINGS_MAX, YamlMap, YamlPlace, plain, read_yaml

STAGES: Final = (5.0, 25.0, 50.0, 100.0)
WHOLE: Final = "the file"
Percent = Annotated[float, Field(gt=0, le=100)]
Number = Annotated[int, Field(ge=0, le=10**9), ENGINE]
Positive = Annotated[int, Field(ge=1, le=10**9), ENGINE]
Seconds = Annotated[float, Field(ge=0, le=86_400), ENGINE]
Switch = Annotated[bool, ENGINE]


class SuccessCriteria(Part):
    """What a stage must keep to. Each is of the actions of the new version in that stage.

    ``error_rate_threshold``: reducers that failed and intents that were given up, of all actions. ``latency_p99_threshold_ms``:
    from accepted to durable. ``memory_leak_threshold``: bytes by which a state grows per action, behind an instance's first, beyond
    what it grows under the old version. ``held_threshold``: instances held. ``difference_threshold``: differences of the shadow.
    """

    error_rate_threshold: Annotated[float, Field(ge=0, le=1), ENGINE] = 0.01
    latency_p99_threshold_ms: Annotated[float, Field(gt=0, le=3_600_000), ENGINE] = 100.0
    memory_leak_threshold: Annotated[float, Field(ge=0, le=10**9), ENGINE] = 0.0
    held_threshold: Number = 0
    difference_threshold: Number = 0


class CanaryMonitoring(Part):
    """``metrics_collection_enabled`` must be true: a canary that nobody measures cannot be judged. ``alerting_enabled``: a
    rollback is told as an event. ``dashboard_integration``: its stage is among the metrics."""

    metrics_collection_enabled: Annotated[Literal[True], ENGINE] = True
    alerting_enabled: Switch = True
    dashboard_integration: Switch = True


class ShadowStep(Part):
    """How long the new version is folded beside the old one, writing nothing: until ``actions`` were folded, or for ``for_s``."""

    actions: Number = 1_000
    for_s: Seconds = 60.0


class CheckStep(Part):
    """How long recorded histories, and instances in flight, are tried with the new version, and how many at most."""

    budget_s: Seconds = 60.0
    instances: Positive = 10_000


class CanaryConfig(Part):
    """One rollout. ``stage_s``: how long a stage lasts at least; ``min_actions``: of the new version, before a stage is over."""

    rollout_strategy: Annotated[Literal["gradual", "immediate"], ENGINE] = "gradual"
    initial_traffic_percentage: Annotated[Percent | None, ENGINE] = None
    increment_percentage: Annotated[Percent | None, ENGINE] = None
    stages: Annotated[tuple[Percent, ...] | None, Field(min_length=1, max_length=100), ENGINE] = None
    stage_s: Annotated[float, Field(gt=0, le=30 * 86_400), ENGINE] = 300.0
    min_actions: Positive = 100
    success_criteria: Annotated[SuccessCriteria, ENGINE] = SuccessCriteria()
    monitoring: Annotated[CanaryMonitoring, ENGINE] = CanaryMonitoring()
    shadow: Annotated[ShadowStep, ENGINE] = ShadowStep()
    what_if: Annotated[CheckStep, ENGINE] = CheckStep()

    @field_validator("stages")
    @classmethod
    def _rising(cls, stages: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if any(after <= before for before, after in pairwise(stages or ())):
            raise ValueError("stages must rise; write them from small to large, to 100")
        return stages

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        if self.stages is not None and (self.initial_traffic_percentage or self.increment_percentage):
            raise ValueError(
                "stages and initial_traffic_percentage or increment_percentage say the same twice; keep one"
            )
        return self

    @property
    def shares(self) -> tuple[float, ...]:
        """The stages in percent, rising, the last 100."""
        if self.rollout_strategy == "immediate":
            return (100.0,)
        if self.stages is not None:
            return self.stages if self.stages[-1] == 100 else (*self.stages, 100.0)
        if self.initial_traffic_percentage is None and self.increment_percentage is None:
            return STAGES
        first, step = self.initial_traffic_percentage or 5.0, self.increment_percentage or 10.0
        below = [first + n * step for n in range(int((100 - first) / step) + 1)]
        return (*(share for share in below if share < 100), 100.0)


class CanaryFile(Part):
    reducer_pattern_engine: Annotated[CanaryConfig, ENGINE] = CanaryConfig()


class LoadedCanary(NamedTuple):
    """``config`` is None when there are findings."""

    config: CanaryConfig | None
    findings: tuple[Finding, ...]


def load_canary_config(text: str, path: str) -> LoadedCanary:
    """Never raises. ``path`` only names the text in findings."""
    source = read_yaml(text, path)
    if source.findings:
        return LoadedCanary(None, source.findings)
    tree = source.tree
    if not isinstance(tree, YamlMap):
        place = YamlPlace(1, 1) if tree is None else tree.place
        fix = "begin with reducer_pattern_engine:"
        wrong = Finding("not_a_mapping", EnumSeverity.ERROR, *place.spot(path), "it is a mapping of keys", fix)
        return LoadedCanary(None, (wrong,))
    try:
        made = CanaryFile.model_validate_json(to_json(plain(tree)), context=STRICT)
    except ValidationError as error:
        details = error.errors(include_url=False)[:FINDINGS_MAX]
        return LoadedCanary(None, tuple(translate(tree, path, one, CanaryFile, WHOLE) for one in details))
    return LoadedCanary(made.reducer_pattern_engine, ())
