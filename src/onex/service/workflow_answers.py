"""What the API says of the app: workflows, the diagram of each, and how they are connected."""

from __future__ import annotations

from pydantic import Field, JsonValue

from ..contracts.draw.drawing import Drawing
from ..processes.app_facts import AppFacts, WorkflowFacts
from .answers import Answered


class StatusAnswer(Answered):
    """A status of a machine. ``timeout_s`` after it was entered, ``on_timeout`` is fired; 0 for none."""

    name: str
    initial: bool
    terminal: bool
    timeout_s: float
    on_timeout: str
    path: str
    line: int


class EdgeAnswer(Answered):
    """A transition, in the order in which they are tried. ``from_state`` may be ``*``: every status that is not terminal."""

    from_state: str
    to_state: str
    trigger: str
    guards: list[str]
    path: str
    line: int


class IntentAnswer(Answered):
    """An intent that the reducer may emit: who serves it, and what each outcome becomes."""

    name: str
    kind: str
    target: str
    outcomes: dict[str, str]
    sends_to: str


class BoxAnswer(Answered):
    """A box of a drawing: its middle and its size, in pixels. ``id`` is the status, or the task; of a machine the first box is
    where it begins. ``detail`` is a line of small type, ``note`` says more.
    """

    id: str
    lines: list[str]
    detail: str
    note: str
    kind: str
    x: float
    y: float
    width: float
    height: float


class LabelAnswer(Answered):
    lines: list[str]
    x: float
    y: float
    full: str


class LineAnswer(Answered):
    """A line of the drawing. ``path`` is the ``d`` of an SVG path; its arrow is at ``target``."""

    source: str
    target: str
    kind: str
    path: str
    label: LabelAnswer | None


class DrawingAnswer(Answered):
    """The diagram with places, so that a page need not lay it out."""

    width: float
    height: float
    boxes: list[BoxAnswer]
    lines: list[LineAnswer]


class WorkflowAnswer(Answered):
    """One workflow of the app. ``triggers`` has the JSON Schema of each payload; ``internal`` are those that no client may send."""

    name: str
    description: str
    contract_version: str
    code: str
    statuses: list[StatusAnswer]
    edges: list[EdgeAnswer]
    triggers: dict[str, JsonValue]
    internal: list[str]
    intents: list[IntentAnswer]
    consumed: list[str]
    published: list[str]
    drawing: DrawingAnswer
    plan: DrawingAnswer | None = Field(description="of an orchestration: its tasks, and what each waits for; else null")
    mermaid: str


class WorkflowSummary(Answered):
    """One line of the list of workflows."""

    name: str
    description: str
    contract_version: str
    code: str
    statuses: int
    triggers: int
    intents: int


class WorkflowsAnswer(Answered):
    """The workflows of the app; none where the service has no app."""

    app: str | None
    digest: str | None
    workflows: list[WorkflowSummary]


def workflow_answer(one: WorkflowFacts) -> WorkflowAnswer:
    return WorkflowAnswer(
        name=one.name,
        description=one.description,
        contract_version=one.contract_version,
        code=one.code,
        statuses=[StatusAnswer(**status._asdict()) for status in one.statuses],
        edges=[EdgeAnswer(**{**edge._asdict(), "guards": list(edge.guards)}) for edge in one.edges],
        triggers=dict(one.triggers),
        internal=sorted(one.internal),
        intents=[IntentAnswer(**{**intent._asdict(), "outcomes": dict(intent.outcomes)}) for intent in one.intents],
        consumed=list(one.consumed),
        published=list(one.published),
        drawing=drawing_answer(one.drawing),
        plan=None if one.plan is None else drawing_answer(one.plan),
        mermaid=one.mermaid,
    )


def drawing_answer(drawn: Drawing) -> DrawingAnswer:
    boxes = [
        BoxAnswer(
            id=box.node.id.replace("\0", "@"), lines=list(box.lines), detail=box.node.detail, note=box.node.note,
            kind=box.node.kind, x=box.x, y=box.y, width=box.width, height=box.height,
        )
        for box in drawn.boxes
    ]  # fmt: skip
    lines: list[LineAnswer] = []
    for line in drawn.lines:
        path = " ".join(
            f"{stroke.letter} " + " ".join(f"{point.x:.1f},{point.y:.1f}" for point in stroke.points)
            for stroke in line.strokes
        )
        label = line.label
        text = None if label is None else LabelAnswer(lines=list(label.lines), x=label.x, y=label.y, full=label.full)
        source, target = (end.replace("\0", "@") for end in (line.source, line.target))
        lines.append(LineAnswer(source=source, target=target, kind=line.kind, path=path, label=text))
    return DrawingAnswer(width=drawn.width, height=drawn.height, boxes=boxes, lines=lines)


def workflows_answer(facts: AppFacts | None) -> WorkflowsAnswer:
    if facts is None:
        return WorkflowsAnswer(app=None, digest=None, workflows=[])
    rows = [
        WorkflowSummary(
            name=one.name, description=one.description, contract_version=one.contract_version, code=one.code,
            statuses=len(one.statuses), triggers=len(one.triggers), intents=len(one.intents),
        )
        for one in facts.workflows.values()
    ]  # fmt: skip
    return WorkflowsAnswer(app=facts.name, digest=facts.digest, workflows=rows)
