"""The search fields of an app and its store: declared at the start, and filled in for instances that were there before them.

Theory of operation. ``declare`` is called by the owner before its first fold: from then on each commit writes what it changes
(``Folded``). A store where the fields are other ones than before has a new spec, which is not filled: no query is answered by it.
Then ``fill`` reads instances without values, page by page, makes the values of their states, and writes them.

What may go wrong, and why the end is still right:

- A commit changes an instance between the two: the fill names the version that it read, so the store leaves it out. The next pass
  finds it, since it has no values of this spec.
- A state cannot be read by this code: it has no values, and is found by its built-in columns alone.
- The process ends: the next owner goes on with the instances that have none.
- Several workers fill at once: they write the same values.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from ..kernel.errors import OnexError
from ..kernel.search import SearchFill, SearchMove, SearchPlan, SearchSpec
from ..ports import Clock, SearchTables, Stored
from .metrics import Events
from .registry import ReducerRegistry, Workflow
from .schema_upgrade import stored_state

PAGE: Final = 200
AGAIN_S: Final = 0.05
AFTER_ERROR_S: Final = 1.0


class SearchFields:
    """Of one engine. ``specs[workflow type]`` are those that it writes under."""

    def __init__(self, tables: SearchTables, registry: ReducerRegistry, clock: Clock, events: Events) -> None:
        self.tables, self._registry, self._clock, self.events = tables, registry, clock, events
        self._task: asyncio.Task[None] | None = None
        self.specs: Mapping[str, SearchSpec] = {}
        self._plans: dict[str, SearchPlan] = {}

    async def declare(self) -> Mapping[str, SearchPlan]:
        """``{workflow type: plan}``, each with its spec. Raises what the store raises."""
        workflows = {one.reducer.workflow_type: one.search for one in self._registry.workflows}
        wanted = {name: () if plan is None else plan.fields for name, plan in workflows.items()}
        found = await self.tables.declare_search(wanted)
        self.specs = {name: spec for name, spec in found.items() if name in wanted}
        self._plans = {name: plan.under(self.specs[name].id) for name, plan in workflows.items() if plan is not None}
        return self._plans

    def start_filling(self) -> None:
        """In the background, where something is not filled."""
        left = [spec for spec in self.specs.values() if not spec.filled]
        if left:
            self._task = asyncio.create_task(self._fill_all(left), name="onex-search-fill")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _fill_all(self, specs: list[SearchSpec]) -> None:
        while specs:
            try:
                written = await self._fill(specs[0])
            except OnexError as error:
                self.events("search_fill_failed", workflow_type=specs[0].workflow_type, error=error.message)
                await self._clock.sleep(AFTER_ERROR_S)
            else:
                self.events("search_filled", workflow_type=specs[0].workflow_type, instances=written)
                del specs[0]

    async def _fill(self, spec: SearchSpec) -> int:
        workflow, written = self._registry[spec.workflow_type], 0
        while True:
            after = ""
            while rows := await self.tables.unfilled(spec, after, PAGE):
                await self.tables.fill_search(
                    [_fill_of(workflow, self._plans[spec.workflow_type], one) for one in rows]
                )
                after, written = rows[-1].key.instance_id, written + len(rows)
            if await self.tables.search_filled(spec):
                return written
            await self._clock.sleep(AGAIN_S)


def _fill_of(workflow: Workflow, plan: SearchPlan, stored: Stored) -> SearchFill:
    nothing = SearchMove(plan.spec, (), ())
    try:
        move = plan.move(None, stored_state(workflow, stored.state_schema, stored.state))
    except OnexError:
        move = None
    return SearchFill(stored.instance, stored.version, move or nothing)
