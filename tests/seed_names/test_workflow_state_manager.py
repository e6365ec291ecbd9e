"""States read, updated at an epoch, taken back, checked and saved, while the engine runs."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from onex.kernel.action import ModelAction, WorkflowKey
from onex.kernel.errors import EpochMismatchError
from onex.replay.verify import VerifyResult
from onex.seed_names.workflow_state_manager import WorkflowStateManager
from onex.wiring.backup import restore_store
from onex.wiring.store_upkeep import StoreUpkeep
from tests.engine.conftest import OneStore
from tests.engine.jobs import Job

K = WorkflowKey("job", "1")


def test_the_manager_updates_at_an_epoch_takes_back_checks_and_saves(tmp_path: Path) -> None:
    async def go() -> None:
        path = tmp_path / "store.db"
        async with OneStore("sqlite", tmp_path).engine() as engine:
            manager = WorkflowStateManager(engine, StoreUpkeep(f"sqlite:///{path}"))
            assert (await manager.get_state(K), await manager.get_current_epoch(K)) == (None, 0)
            for amount in (2, 5):
                action = ModelAction(workflow_key=K, kind="add", command_payload={"amount": amount}, epoch=0)
                await manager.update_state_with_action(action)
            with pytest.raises(EpochMismatchError):
                await manager.update_state_with_action(ModelAction(workflow_key=K, kind="add", epoch=3))
            assert (await manager.restore_version(K, 1)).version == 3
            state = await manager.get_state(K)
            assert isinstance(state, Job)
            assert state.count == 2
            assert await manager.check_integrity()
            await manager.backup(str(tmp_path / "store.backup"))
        restore_store(tmp_path / "store.backup", f"sqlite:///{tmp_path / 'new.db'}")
        result: VerifyResult = await StoreUpkeep(f"sqlite:///{tmp_path / 'new.db'}").verify()
        assert (result.actions, result.findings) == (3, 0)
        with closing(sqlite3.connect(path)) as db:
            db.execute("update log set issuer = 'nobody' where n = 1")
            db.commit()
        assert not await WorkflowStateManager(engine, StoreUpkeep(f"sqlite:///{path}")).check_integrity()

    asyncio.run(go())
