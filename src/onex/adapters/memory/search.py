"""Search in a memory store: values beside the instances, and conditions asked of each row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ...kernel.action import WorkflowKey
from ...kernel.search import SearchCode, SearchField, SearchFill, SearchMove, SearchSpec
from ...kernel.search_query import SearchPlace, SearchQuery, holds
from ...ports import Stored
from .read import MemoryReads, Tables


class MemorySearch(MemoryReads):
    """All methods of ``SearchTables``."""

    async def search_specs(self) -> Mapping[str, SearchSpec]:
        return {name: spec for name, spec in self.tables.search_specs.items() if spec.fields}

    async def declare_search(self, wanted: Mapping[str, Sequence[SearchField]]) -> Mapping[str, SearchSpec]:
        tables = self.tables
        for name, fields in wanted.items():
            known = tables.search_specs.get(name)
            if tuple(fields) == (() if known is None else known.fields):
                continue
            begun = any(key.workflow_type == name for key in tables.stored)
            tables.last_spec += 1
            filled = not begun or not fields
            tables.search_specs[name] = SearchSpec(tables.last_spec, name, tuple(fields), filled)
            if not fields:
                for key in [key for key in tables.searched if key.workflow_type == name]:
                    del tables.searched[key]
        return await self.search_specs()

    async def unfilled(self, spec: SearchSpec, after: str, limit: int) -> Sequence[Stored]:
        behind = sorted(key for key in self._unfilled(spec) if key.instance_id > after)
        return [self.tables.stored[key] for key in behind[:limit]]

    def _unfilled(self, spec: SearchSpec) -> list[WorkflowKey]:
        tables = self.tables
        of_type = (key for key in tables.stored if key.workflow_type == spec.workflow_type)
        return [key for key in of_type if key not in tables.searched or tables.searched[key][0] != spec.id]

    async def fill_search(self, rows: Sequence[SearchFill]) -> None:
        standing = {(stored.instance, stored.version): key for key, stored in self.tables.stored.items()}
        for row in rows:
            if (key := standing.get((row.instance, row.version))) is not None:
                write_values(self.tables, key, row.move, is_new=True)

    async def search_filled(self, spec: SearchSpec) -> bool:
        if self._unfilled(spec):
            return False
        current = self.tables.search_specs[spec.workflow_type]
        if current.id == spec.id:
            self.tables.search_specs[spec.workflow_type] = current._replace(filled=True)
        return True

    async def find(
        self, query: SearchQuery, after: SearchPlace | None, limit: int
    ) -> Sequence[tuple[Stored, SearchCode]]:
        rows = self._found(query, query.order)
        if query.order is None:
            rows.sort(key=lambda row: row[0].key)
        else:
            with_value = [row for row in rows if row[1] is not None]
            with_value.sort(key=lambda row: row[0].key)
            with_value.sort(key=_code_of, reverse=query.descending)
            rows = with_value + sorted((row for row in rows if row[1] is None), key=lambda row: row[0].key)
        return [row for row in rows if after is None or _is_behind(row, after, query)][:limit]

    async def tally(self, query: SearchQuery, by: SearchField | None) -> Sequence[tuple[SearchCode, int]]:
        counted = Counter(code for _, code in self._found(query, by))
        if by is None:
            return [(None, counted.total())]
        missing: list[tuple[SearchCode, int]] = [(None, counted[None])] if None in counted else []
        return missing + sorted(((code, n) for code, n in counted.items() if code is not None), key=_first)

    def _found(self, query: SearchQuery, column: SearchField | None) -> list[tuple[Stored, SearchCode]]:
        found: list[tuple[Stored, SearchCode]] = []
        for key, stored in self.tables.stored.items():
            spec, values = self.tables.searched.get(key, (0, {}))
            built_in = self._built_in(key, stored)

            def value_of(
                field: SearchField,
                values: Mapping[int, SearchCode] = values,
                built_in: Mapping[str, SearchCode] = built_in,
            ) -> SearchCode:
                return values.get(field.slot) if field.slot >= 0 else built_in[field.name]

            if any(
                part.workflow_type in (None, key.workflow_type)
                and part.spec in (0, spec)
                and holds(part.condition, value_of)
                for part in query.parts
            ):
                found.append((stored, None if column is None else value_of(column)))
        return found

    def _built_in(self, key: WorkflowKey, stored: Stored) -> dict[str, SearchCode]:
        first = self.tables.log_of_key(key)[self.tables.versions[key][0] - 1]
        return {
            "type": key.workflow_type, "id": key.instance_id, "status": stored.status, "version": stored.version,
            "updated": stored.last_us, "began": first.row.issued_us or None, "held": int(bool(stored.held)),
            "ended": int(stored.terminal),
        }  # fmt: skip


def write_values(tables: Tables, key: WorkflowKey, move: SearchMove, *, is_new: bool) -> None:
    """What a commit or a fill writes. Values of another spec than those that are there are left out, as in SQL."""
    spec, values = tables.searched.get(key, (0, {}))
    moved = dict(zip(move.slots, move.values, strict=True))
    if is_new:
        tables.searched[key] = move.spec, moved
    elif spec == move.spec:
        tables.searched[key] = spec, {**values, **moved}


def _code_of(row: tuple[Stored, SearchCode]) -> tuple[int, str]:
    return _sortable(row[1])


def _first(row: tuple[SearchCode, int]) -> tuple[int, str]:
    return _sortable(row[0])


def _sortable(code: SearchCode) -> tuple[int, str]:
    return (code, "") if isinstance(code, int) else (0, code or "")


def _is_behind(row: tuple[Stored, SearchCode], after: SearchPlace, query: SearchQuery) -> bool:
    stored, code = row
    if query.order is None or code == after.value:
        return stored.key > after.key
    if code is None or after.value is None:
        return code is None
    return _sortable(code) < _sortable(after.value) if query.descending else _sortable(code) > _sortable(after.value)
