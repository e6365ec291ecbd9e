"""ReducerRegistry: workflow type -> what runs it. Filled once when an app is opened, then only read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel

from ..kernel.action import WorkflowKey
from ..kernel.errors import InvalidStateTransitionError, UnknownWorkflow
from ..kernel.migration import Migrations
from ..kernel.quota import NO_LIMITS, ResourceLimits
from ..kernel.search import SearchPlan
from ..kernel.step import Reducer
from ..kernel.target_policy import TargetPolicy
from ..ports import Code, Executor
from .bus.topics import ConsumedTopic
from .internal_triggers import internal_triggers


@dataclass(frozen=True, slots=True)
class Workflow:
    """One loaded contract: its decisions, the code they came from, and who serves its intents (``executors[target]``)."""

    reducer: Reducer[Any]  # of any state type: each reads back only what it wrote
    code: Code
    executors: Mapping[str, Executor] = field(default_factory=dict)
    unleased: frozenset[str] = frozenset()
    migrations: Migrations = field(default_factory=Migrations)
    public: frozenset[str] = frozenset()
    """Internal triggers that clients may send too (promise 43)."""
    limits: ResourceLimits = NO_LIMITS
    """What one instance may take. Only an engine asks; who folds a history does not."""
    policies: Mapping[str, TargetPolicy] = field(default_factory=dict)
    """``policies[target]``, of the targets that have one."""
    ends: frozenset[str] = frozenset()
    """Triggers that end it, in whatever status they are accepted: what an abort may be sent by."""
    consumed: tuple[ConsumedTopic, ...] = ()
    """Topics whose messages become its actions."""
    search: SearchPlan | None = None
    """How its search fields are read, where it has any."""
    pinned: bool = False
    """An instance keeps this code for life (promise 48)."""
    variant: str = ""
    """Of a version beside the app's own: what tells it from others of its type. '' for the app's own."""

    @property
    def rules(self) -> str:
        """Under which name the rules of its folds stand."""
        return self.variant or self.code.workflow_type

    def payload_model(self, trigger: str) -> type[BaseModel]:
        """Raises InvalidStateTransitionError for a trigger the contract does not have, in any status."""
        try:
            return self.reducer.payloads[trigger]
        except KeyError:
            known = sorted(name for name in self.reducer.payloads if not name.startswith("@"))
            near = get_close_matches(trigger, known, 1)
            hint = f"did you mean {near[0]!r}? It knows" if near else "it knows"
            of = self.reducer.workflow_type
            brought = internal_triggers({of: self.reducer.intents})[of].keys() - self.public
            internal = [name for name in known if name in brought]
            sent = ", ".join(name for name in known if name not in brought) or "none that a client sends"
            also = f"; only the app itself brings {', '.join(internal)}" if internal else ""
            raise InvalidStateTransitionError(
                f"{of} has no trigger {trigger!r}; {hint} {sent}{also}",
                trigger=trigger,
                accepts=known,
            ) from None


class ReducerRegistry:
    """``registry[workflow_type]``. One reducer per type: the second one of a name is refused."""

    def __init__(self, workflows: tuple[Workflow, ...] = ()) -> None:
        self._by_type: dict[str, Workflow] = {}
        self.several = False
        """Whether an instance may run on other code than ``registry[workflow_type]``."""
        self.internal: Mapping[str, Mapping[str, str]] = {}
        """``internal[workflow type][trigger] -> what brings it``: no client may submit these (promise 43)."""
        for workflow in workflows:
            self.register(workflow)

    def register(self, workflow: Workflow) -> None:
        """Raises UnknownWorkflow when another reducer has the name."""
        name = workflow.reducer.workflow_type
        if name in self._by_type:
            raise UnknownWorkflow(f"two reducers are named {name!r}; a workflow type names one")
        self._by_type[name] = workflow
        self._find_internal()

    def _find_internal(self) -> None:
        found = internal_triggers({of: one.reducer.intents for of, one in self._by_type.items()})
        self.internal = {
            of: {trigger: by for trigger, by in brought.items() if trigger not in self._by_type[of].public}
            for of, brought in found.items()
        }

    def __getitem__(self, workflow_type: str) -> Workflow:
        """Raises UnknownWorkflow, naming those there are."""
        try:
            return self._by_type[workflow_type]
        except KeyError:
            known = ", ".join(sorted(self._by_type)) or "none"
            raise UnknownWorkflow(
                f"no reducer for workflow type {workflow_type!r}; this app has {known}", workflow_type=workflow_type
            ) from None

    def chosen(self, key: WorkflowKey, code_id: int) -> Workflow:
        """What judges this instance, which stands on the store's code ``code_id``. Raises UnknownWorkflow."""
        return self[key.workflow_type]

    def at_hand(self, workflow_type: str) -> tuple[Workflow, ...]:
        """Every version of this type. Raises UnknownWorkflow."""
        return (self[workflow_type],)

    @property
    def every(self) -> tuple[Workflow, ...]:
        """Every version of every type."""
        return self.workflows

    def number(self, code_id: int, workflow: Workflow) -> None:
        """``code_id`` is the store's number for its code."""

    def find(self, workflow_type: str) -> Workflow | None:
        """The same, and None for a type that has no reducer here."""
        return self._by_type.get(workflow_type)

    def __contains__(self, workflow_type: str) -> bool:
        return workflow_type in self._by_type

    @property
    def policies(self) -> Mapping[tuple[str, str], TargetPolicy]:
        """``policies[workflow type, target]``, of the targets that have one."""
        return {
            (name, target): policy
            for name, workflow in [(one.code.workflow_type, one) for one in reversed(self.every)]
            for target, policy in workflow.policies.items()
        }

    @property
    def limits(self) -> Mapping[str, ResourceLimits]:
        """``limits[workflow type]``: what one instance may take."""
        return {name: workflow.limits for name, workflow in self._by_type.items()}

    @property
    def workflows(self) -> tuple[Workflow, ...]:
        """In the order in which they were registered."""
        return tuple(self._by_type.values())
