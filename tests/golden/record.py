"""Records a golden history that does not exist yet: ``python -m tests.golden.record orders-2``.

The engine is the real one, on the memory store, in simulated time, so that a week passes at once. The app's effects are
played by a world that fails where the story says so; only what replay reads is kept, the code beside it.
"""

from __future__ import annotations

import shutil
import sys

from onex.adapters.memory.store import MemoryStore
from onex.app import App, load_app
from onex.app.folder import AppFolder
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.registry import ReducerRegistry, Workflow
from onex.replay.history_export import export_history
from onex.repository.contract_files import CONTRACT
from onex.simulation.seeded_run import Sim, run
from onex.wiring.environment import environment
from tests.golden.code_analysis import CodeAnalysis
from tests.golden.corpus import CORPUS, HERE, Golden
from tests.golden.orders import Orders

STORIES: dict[str, type[Orders] | type[CodeAnalysis]] = {"orders": Orders, "code_analysis": CodeAnalysis}


def freeze(golden: Golden) -> App:
    """Copies what an app's codes are made of: contracts, and all that payloads, reducers and compute import.

    Not its effects: no digest covers them and no replay runs them, and they would have to load for ever.
    """
    folder = AppFolder(golden.today)
    wanted: list[str] = []
    for workflow in folder.workflows:
        place = golden.app.joinpath(*workflow.split("."))
        place.mkdir(parents=True)
        (place / CONTRACT).write_bytes(folder.contract(workflow)[1])
        wanted += [name for part, name in folder.parts(workflow).items() if part != "effects"]
    modules, findings = folder.closure(wanted)
    assert not findings, findings
    for module in modules.values():
        if module.path.is_file():
            copy = golden.app / module.path.relative_to(folder.root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(module.text)
    frozen, today = load_app(golden.app, golden.served), load_app(golden.today, golden.served)
    codes = [{name: one.code for name, one in app.workflows.items()} for app in (frozen, today)]
    assert codes[0] == codes[1], "what was copied is not the code"
    return frozen


async def record(golden: Golden, app: App, sim: Sim) -> None:
    store, clock = MemoryStore(), sim.world.clock
    story = STORIES[golden.name.rpartition("-")[0]](app, store, clock)
    registry = ReducerRegistry(
        tuple(
            Workflow(one.reducer, one.code, story.executors(one.name), one.unleased) for one in app.workflows.values()
        )
    )
    env = environment(app.root)
    engine = ReducerPatternEngine(store, store, registry, clock, sim.world.ids, env, check_all=True)
    async with await engine.start("recorder"):
        await story.tell(engine)
        with golden.history.open("x", encoding="utf-8", newline="\n") as out:
            await export_history(store, out)
        counts = await store.counts()
    print(f"{golden.history.relative_to(HERE)}: {counts.instances} instances, {counts.actions} actions")


def main(name: str) -> int:
    golden = next((one for one in CORPUS if one.name == name), None)
    if golden is None:
        print(f"{name!r} is not in tests/golden/corpus.py; add it there first", file=sys.stderr)
        return 2
    if golden.history.exists() or golden.app.exists():
        print(f"{name} is there, and golden histories are never recorded again; take the next number", file=sys.stderr)
        return 2
    try:
        app = freeze(golden)
        run(lambda sim: record(golden, app, sim), seed=1).result()
    except BaseException:
        shutil.rmtree(golden.app, ignore_errors=True)
        golden.history.unlink(missing_ok=True)
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) if len(sys.argv) == 2 else "name the history to record, for example orders-2")
