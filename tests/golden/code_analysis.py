"""Analyses of small trees: one that goes well but for some of its files, and one for each way that gathering may fail."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from onex.adapters.memory.store import MemoryStore
from onex.app import App
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import EffectFailed
from onex.kernel.intent import ModelIntent
from onex.nodes.compute import ComputeAddress, ComputeIO, perform
from onex.nodes.compute_executor import ComputeExecutor
from onex.nodes.io import NewBlobs, compute_shape
from onex.ports import Clock, Executor, NewBlob, Result
from onex.workflows.code_analysis.tree import begin

TREE = {
    "shop/__init__.py": '"""A shop."""\n\nfrom shop.basket import Basket\n\n__all__ = ["Basket"]\n',
    "shop/basket.py": (
        '"""Baskets."""\nfrom __future__ import annotations\n\nimport shop.price as price\n\n\nclass Basket:\n'
        '    """What somebody wants."""\n\n    def __init__(self, items=[]):\n        self.items = items\n\n'
        "    def total(self) -> int:\n        return sum(price.of(item) for item in self.items)\n"
    ),
    "shop/price.py": (
        "import shop.basket\n\n\ndef of(item, rebate=None, vat=19, country='de', currency='EUR', day=None):\n"
        "    if item == None:\n        return 0\n    try:\n        if rebate and rebate > 0:\n            for n in range(3):\n"
        "                if n and item.price > n or day:\n                    return item.price - rebate\n"
        "        return item.price\n    except:\n        pass\n"
    ),
    "shop/stock/__init__.py": "",
    "shop/stock/shelf.py": "'''Shelves: \N{CIRCLED DIGIT ONE}'''\nDEPTH = 3  # boards\n\n\ndef reach(n): return n*DEPTH\n",
    "shop/stock/broken.py": "def half(:\n    return\n",
    "shop/stock/latin.py": "# -*- coding: latin-1 -*-\nNAME = 'Z\xfcrich'\n",
    "shop/stock/tabs.py": "if True:\n\tx = 1\n        y = 2\n",
    "shop/stock/empty.py": "\n\n\n",
    "tools/run.py": "#!/usr/bin/env python\nimport os, sys\nfrom os.path import *\n\nprint(eval(sys.argv[1]))\n",
    "tools/deep.py": "x = " + "(" * 40 + "1" + ")" * 40 + "\n",
    "tools/long.py": "\n".join(f"def f{n}(a, b):\n    assert (a, b)\n    return a if a else b\n" for n in range(30)),
    "tools/unreadable.py": "",
    "tools/slow.py": "",
    "tools/unwritable.py": "'''Its report cannot be written.'''\n",
    "setup.py": "from setuptools import setup\n\nsetup(name='shop')\n",
}
SMALL = ["setup.py", "shop/basket.py", "tools/run.py"]
JOBS = {
    "shop": list(TREE),
    "no-room-for-a-directory": SMALL,
    "no-room-for-the-total": SMALL,
    "no-room-for-the-report": SMALL,
}


FAILURES: dict[tuple[str, str, str], Exception] = {
    ("code_file", "shop/tools/unreadable.py", "read"): OSError("the disk does not answer"),
    ("code_file", "shop/tools/slow.py", "analyse"): EffectFailed("it took longer than 60 s", code="timeout"),
    ("code_file", "shop/tools/unwritable.py", "write"): EffectFailed("no space is left", code="unwritable"),
    ("code_directory", "no-room-for-a-directory/shop", "pack"): EffectFailed("no memory is left", code="memory"),
    ("code_total", "no-room-for-the-total", "pack"): EffectFailed("no memory is left", code="memory"),
    ("code_total", "no-room-for-the-report", "report"): EffectFailed("no space is left", code="unwritable"),
}


class CodeAnalysis:
    """The jobs, the disk they read from and write to, and the workers, which are this very process."""

    max_workers = 1

    def __init__(self, app: App, store: MemoryStore, clock: Clock) -> None:
        self.app, self.store, self.clock = app, store, clock

    async def tell(self, engine: ReducerPatternEngine) -> None:
        for job, paths in JOBS.items():
            for one in begin(job, "src", paths, f"out/{job}", f"Job {job}"):
                await engine.submit(one.key, one.trigger, one.payload)
        for job in JOBS:
            await engine.wait(f"code_total:{job}", timeout_s=3600)

    def executors(self, workflow: str) -> dict[str, Executor]:
        own = self.app.workflows[workflow]
        computed = {
            name: ComputeExecutor(self, self, where=("", "", workflow, name), function=function)
            for name, function in own.computes.items()
        }
        return {spec.target: Played(self, computed.get(spec.target)) for spec in own.reducer.intents.by_name.values()}

    async def run(
        self, where: ComputeAddress, payload: bytes, blobs: Mapping[bytes, bytes], timeout_s: float | None = None
    ) -> tuple[bytes, tuple[NewBlob, ...]]:
        function = self.app.workflows[where[2]].computes[where[3]]
        return perform(function, compute_shape(function, ComputeIO), payload, blobs)

    async def read(self, digest: bytes) -> bytes:
        data = await self.store.blob(digest)
        assert data is not None
        return data


class Played:
    """One target: a compute function as it is, an effect as the story has it, and the failures of both."""

    def __init__(self, jobs: CodeAnalysis, computed: ComputeExecutor | None) -> None:
        self.jobs, self.computed = jobs, computed

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        key = intent.workflow_key
        assert key is not None
        await self.jobs.clock.sleep(0.02)
        failure = FAILURES.get((key.workflow_type, key.instance_id, intent.name))
        if failure is not None:
            raise failure
        if self.computed is not None:
            return await self.computed.execute(intent)
        sent = intent.payload.model_dump()
        if intent.name == "read":
            io = NewBlobs()
            blob = io.blob(
                TREE[sent["path"]].encode("latin-1" if "latin" in sent["path"] else "utf-8"), "text/x-python"
            )
            return Result(self._answer(key, "was_read", source=blob), io.made)
        if intent.name == "write":
            return Result(self._answer(key, "was_written", report=f"{sent['out']}/files/{sent['path']}.json"))
        reports = {"markdown": f"{sent['out']}/report.md", "html": f"{sent['out']}/report.html"}
        return Result(self._answer(key, "was_reported", **reports))

    def _answer(self, key: WorkflowKey, trigger: str, **fields: object) -> BaseModel:
        return self.jobs.app.workflows[key.workflow_type].reducer.payloads[trigger](**fields)
