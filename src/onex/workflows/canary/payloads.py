"""What is told of a rollout, and how far it is. Digests are hexadecimal text: of an app's files, or of one workflow's code."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from onex import Payload, State

from .judge import Criteria, Figures

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Percent = Annotated[float, Field(gt=0, le=100)]


class Codes(Payload):
    """The digests of one workflow's code. ``base`` is '' until an engine has told what it runs."""

    base: str = ""
    new: Digest


class Canary(State):
    """``codes[workflow type]``. ``known`` are apps that were rolled out here: an engine that is started with one of them obeys.
    ``old`` is what was measured since the first stage, since few begin under it in the last one; ``new`` of this stage.
    ``waited``: how often a stage was over and had too few actions to be judged. ``found``: what checks and shadow counted."""

    status: Literal["none", "proposed", "checking", "shadowing", "rolling", "promoted", "rolled_back"] = "none"
    new_app: str = ""
    base_app: str = ""
    known: tuple[str, ...] = ()
    codes: dict[str, Codes] = Field(default_factory=dict)
    criteria: Criteria = Criteria()
    stages: tuple[Percent, ...] = (100.0,)
    stage_s: float = 300.0
    stage: int = 0
    share: float = 0.0
    since: AwareDatetime | None = None
    waited: int = 0
    old: Figures = Figures()
    new: Figures = Figures()
    found: dict[str, int] = Field(default_factory=dict)
    reason: str = ""
    by: str = ""
    alerts: bool = True
    dashboard: bool = True


class Propose(Payload):
    """A version that is to go live. ``new_app`` names its files, ``codes[workflow type]`` its code. ``alerts``: engines tell when
    it is taken back; ``dashboard``: its stage is among their metrics."""

    new_app: Digest
    codes: dict[str, Codes] = Field(min_length=1)
    criteria: Criteria = Criteria()
    stages: tuple[Percent, ...] = Field(default=(5.0, 25.0, 50.0, 100.0), min_length=1, max_length=100)
    stage_s: float = Field(default=300.0, gt=0)
    by: str = ""
    alerts: bool = True
    dashboard: bool = True


class Adopt(Payload):
    """An engine has both versions. ``bases[workflow type]`` is the code it runs."""

    base_app: Digest
    bases: dict[str, Digest]


class Found(Payload):
    """What a check counted. ``fault`` says why the version must not go on; '' when it may."""

    counts: dict[str, int] = Field(default_factory=dict)
    fault: str = ""


class StageSample(Payload):
    """What one engine measured since it last told, in the stage that it then knew."""

    new_app: Digest
    stage: int
    old: Figures = Figures()
    new: Figures = Figures()


class Why(Payload):
    reason: str = ""
