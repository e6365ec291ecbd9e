"""WorkflowStateManager of the source documents, a preset over the engine and over what keeps its store in order.

There a manager holds the states and gives each update an epoch. Here the engine does: an update is an action, decided by the
reducer and applied once, and its epoch is checked in the commit. What the documents ask of the manager beside that is done to
the store by ``wiring.store_upkeep.StoreUpkeep``, which it is given. It runs beside the engine and does not stop it.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from ..engine.pattern_engine import ReducerPatternEngine
from ..engine.pending import Committed
from ..kernel.action import ModelAction, WorkflowKey
from ..kernel.step import State
from .action_validator import ActionValidator


class Verified(Protocol):
    """``findings``: how many things speak against the store."""

    findings: int


class Upkeep(Protocol):
    """What ``wiring.store_upkeep.StoreUpkeep`` does."""

    async def verify(self) -> Verified: ...

    async def back_up(self, file: str) -> NamedTuple: ...


class WorkflowStateManager:
    """States of workflows: read, updated at an epoch, taken back, checked and saved."""

    def __init__(self, engine: ReducerPatternEngine, upkeep: Upkeep) -> None:
        self.engine, self.upkeep = engine, upkeep
        self._actions = ActionValidator(engine)

    async def get_state(self, key: WorkflowKey | str) -> State | None:
        """None for an instance that has not begun."""
        return await self.engine.state(key)

    async def get_current_epoch(self, key: WorkflowKey | str) -> int:
        """How many commands were applied under the workflow's lease; 0 for an instance that has not begun."""
        stored = await self.engine.stored(key)
        return 0 if stored is None else stored.epoch

    async def update_state_with_action(self, action: ModelAction) -> Committed:
        """The action is applied at its epoch, or not at all. Raises as ``ActionValidator.execute_validated_action``."""
        return await self._actions.execute_validated_action(action)

    async def restore_version(self, key: WorkflowKey | str, version: int) -> Committed:
        """An earlier state becomes the newest version; nothing of the history goes. Raises as ``engine.rollback``."""
        return await self.engine.rollback(key, version)

    async def check_integrity(self) -> bool:
        """Whether nothing in the store speaks against it; ``upkeep.verify`` tells what does."""
        return not (await self.upkeep.verify()).findings

    async def backup(self, file: str) -> NamedTuple:
        """The whole store as of one moment, while the engine runs; ``onex restore`` makes a store of the file."""
        return await self.upkeep.back_up(file)
