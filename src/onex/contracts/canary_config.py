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
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field, ValidationError
from pydantic_core import to_json

from ..kernel.finding import EnumSeverity, Finding
from .guard.problem import suggest
from .load import dotted, translate
from .model.key_usage import models_of
from .model.part import STRICT, Part
from .text.yaml_tree import FINDINGS_MAX, Loc, YamlMap, YamlPlace, plain, read_yaml

STAGES: Final = (5.0, 25.0, 50.0, 100.0)
Percent = Annotated[float, Field(gt=0, le=100)]
Number = Annotated[int, Field(ge=0, le=10**9)]


class SuccessCriteria(Part):
    """What a stage must keep to. Each is of the actions of the new version in that stage.

    ``error_rate_threshold``: reducers that failed and intents that were given up, of all actions. ``latency_p99_threshold_ms``:
    from accepted to durable. ``memory_leak_threshold``: bytes by which a state grows per action, behind an instance's first, beyond
    what it grows under the old version. ``held_threshold``: instances held. ``difference_threshold``: differences of the shadow.
    """

    error_rate_threshold: Annotated[float, Field(ge=0, le=1)] = 0.01
    latency_p99_threshold_ms: Annotated[float, Field(gt=0, le=3_600_000)] = 100.0
    memory_leak_threshold: Annotated[float, Field(ge=0, le=10**9)] = 0.0
    held_threshold: Number = 0
    difference_threshold: Number = 0


class CanaryMonitoring(Part):
    """``metrics_collection_enabled`` must be true: a canary that nobody measures cannot be judged. ``alerting_enabled``: a
    rollback is told as an event. ``dashboard_integration``: its stage is among the metrics."""

    metrics_collection_enabled: Literal[True] = True
    alerting_enabled: bool = True
    dashboard_integration: bool = True


class ShadowStep(Part):
    """How long the new version is folded beside the old one, writing nothing: until ``actions`` were folded, or for ``for_s``."""

    actions: Number = 1_000
    for_s: Annotated[float, Field(ge=0, le=86_400)] = 60.0


class CheckStep(Part):
    """How long recorded histories, and instances in flight, are tried with the new version, and how many at most."""

    budget_s: Annotated[float, Field(ge=0, le=86_400)] = 60.0
    instances: Annotated[int, Field(ge=1, le=10**7)] = 10_000


class CanaryConfig(Part):
    """One rollout. ``stage_s``: how long a stage lasts at least; ``min_actions``: of the new version, before a stage is over."""

    rollout_strategy: Literal["gradual", "immediate"] = "gradual"
    initial_traffic_percentage: Percent | None = None
    increment_percentage: Percent | None = None
    stages: Annotated[tuple[Percent, ...], Field(min_length=1, max_length=100)] | None = None
    stage_s: Annotated[float, Field(gt=0, le=30 * 86_400)] = 300.0
    min_actions: Annotated[int, Field(ge=1, le=10**9)] = 100
    success_criteria: SuccessCriteria = SuccessCriteria()
    monitoring: CanaryMonitoring = CanaryMonitoring()
    shadow: ShadowStep = ShadowStep()
    what_if: CheckStep = CheckStep()

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
    reducer_pattern_engine: CanaryConfig = CanaryConfig()


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
        return LoadedCanary(None, (_finding(path, place, "not_a_mapping", "it is a mapping of keys", fix),))
    try:
        config = CanaryFile.model_validate_json(to_json(plain(tree)), context=STRICT).reducer_pattern_engine
    except ValidationError as error:
        found: list[Finding] = []
        for detail in error.errors(include_url=False)[:FINDINGS_MAX]:
            if detail["type"] == "extra_forbidden":
                found.append(_unknown(tree, path, detail["loc"]))
            else:
                one = translate(tree, path, detail)
                found.append(one)
        return LoadedCanary(None, tuple(found))
    stages = config.stages or ()
    if any(after <= before for before, after in pairwise(stages)):
        loc: Loc = ("reducer_pattern_engine", "stages")
        say = f"stages must rise, and are {', '.join(f'{one:g}' for one in stages)}"
        return LoadedCanary(None, (_at(tree, path, loc, "bad_value", say, "write them from small to large, to 100"),))
    if config.stages is not None and (config.initial_traffic_percentage or config.increment_percentage):
        loc = ("reducer_pattern_engine", "stages")
        say = "stages and initial_traffic_percentage or increment_percentage say the same twice"
        return LoadedCanary(None, (_at(tree, path, loc, "bad_value", say, "keep one of them"),))
    return LoadedCanary(config, ())


def _unknown(tree: YamlMap, path: str, loc: Loc) -> Finding:
    model: type[Part] = CanaryFile
    for step in loc[:-1]:
        found = [one for one in models_of(model.model_fields[str(step)].annotation) if issubclass(one, Part)]
        model = found[0]
    known = list(model.model_fields)
    fix = suggest(str(loc[-1]), known) or f"it knows {', '.join(known)}"
    within = dotted(loc[:-1]) or "the file"
    return _at(tree, path, loc, "unknown_key", f"{within} has no key {str(loc[-1])!r}", fix)


def _at(tree: YamlMap, path: str, loc: Loc, code: str, message: str, fix: str) -> Finding:
    entry, above = None, tree
    for step in loc:
        entry = above.entries.get(str(step))
        if entry is None or not isinstance(entry.node, YamlMap):
            break
        above = entry.node
    return _finding(path, tree.place if entry is None else entry.key.place, code, message, fix)


def _finding(path: str, place: YamlPlace, code: str, message: str, fix: str) -> Finding:
    return Finding(code, EnumSeverity.ERROR, *place.spot(path), message, fix)
