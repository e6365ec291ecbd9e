"""Two versions of one contract: every difference, whom it breaks, and the version bump that it needs.

Theory of operation. ``_Walk`` goes through the two typed contracts side by side, field by field. It does not compare text, so
spelling, the order of keys and comments are no differences. For each field whose values differ (``blocks``, ``_field``):

1. The rule: ``diff_rules.rule_of`` finds it by class and field, else by the shape of the value. So a field without a rule of its
   own is compared too, and strictly. A field on which nobody acts has the rule ``_HELD``: its differences are ``notes``.
2. The value decides how the walk goes on. Blocks are compared field by field. Entries of lists are matched by what names them
   (``entry_matching``), so an entry that moved is not reported as one removed and one added; only a changed order is. JSON
   Schemas go to ``json_schema_diff``: of an input, writers break; of an output, readers. Any other value changed as a whole.
3. ``_add`` evaluates the rule to an ``Impact`` and records the places in both files.

Two things need care. Contracts of two classes have different fields: a field that one class lacks counts as its default there.
And states may be listed or only be named by transitions: both sides are first brought to lists (``_states``), since otherwise a
contract that begins to list its states would add all of them.

The classes a contract names are compared by their JSON Schemas (``shapes``), when the caller knows both. Then a renamed class is
no change, since its fields are compared. The bump that the whole needs is the largest of all changes; notes need none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, TypeGuard

from pydantic import BaseModel, JsonValue

from ..foreign.read_result import ReadResult
from ..load import dotted
from ..model.contract import ModelContractBase, ModelContractReducer
from ..model.fsm import ModelFSMState, ModelFSMSubcontract
from ..model.part import ModelContractVersion, use_of
from ..text.yaml_tree import Loc, YamlMap, YamlPlace, node_at, place_of, plain
from .diff_rules import ENTRY as _ENTRY
from .diff_rules import impact_of, mentioned, rule_of
from .entry_matching import identity, matched
from .impact import DiffRule, EnumBump, FieldPair, Impact, ImpactOf, made_between, owes_nothing
from .json_schema_diff import schema_changes

NOWHERE = YamlPlace(0, 0)


class EnumChange(StrEnum):
    """``moved``: the same entries are in another order."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    MOVED = "moved"


class ContractChange(NamedTuple):
    """``path`` shows list entries by name: ``state_machine.states[paid].timeout_ms``. Places count from 1."""

    path: str
    what: EnumChange
    old: JsonValue
    new: JsonValue
    bump: EnumBump
    reason: str
    old_place: YamlPlace = NOWHERE
    new_place: YamlPlace = NOWHERE

    @property
    def breaking(self) -> bool:
        return self.bump is EnumBump.MAJOR


class ContractDifference(NamedTuple):
    """``notes`` are differences on which nobody acts. ``made`` is None when the old contract has no version."""

    changes: tuple[ContractChange, ...]
    notes: tuple[ContractChange, ...]
    owed: EnumBump
    made: EnumBump | None

    @property
    def breaking(self) -> tuple[ContractChange, ...]:
        return tuple(change for change in self.changes if change.breaking)

    @property
    def is_short(self) -> bool:
        """The bump made is less than the one owed."""
        return self.made is not None and self.owed.weight > self.made.weight


Shapes = Mapping[str, JsonValue]
"""JSON Schemas of the classes a contract names: by trigger, by ``intents.<name>``, and ``state``."""


def difference(
    old: ModelContractBase,
    new: ModelContractBase,
    trees: tuple[YamlMap | None, YamlMap | None] = (None, None),
    shapes: tuple[Shapes, Shapes] = ({}, {}),
) -> ContractDifference:
    """``trees`` are both contracts normalised, for the lines; ``shapes`` are the schemas of the classes that they name."""
    walk = _Walk(old, new, trees, frozenset(shapes[0]) & frozenset(shapes[1]))
    walk.blocks(old, new, "", ((), ()), "")
    for name in shapes[0]:
        if name in shapes[1]:
            walk.shape(name, shapes[0][name], shapes[1][name])
    return _weighed(old, new, walk.changes, walk.notes)


def file_difference(old: ReadResult, new: ReadResult, shapes: tuple[Shapes, Shapes] = ({}, {})) -> ContractDifference:
    """Of two files without errors. Keys that no field holds are compared as written, and are notes."""
    assert old.contract is not None and new.contract is not None, "only what loads is compared"
    made = difference(old.contract, new.contract, (old.shape, new.shape), shapes)
    return made._replace(notes=(*made.notes, *_unknown(old, new)))


def _weighed(
    old: ModelContractBase, new: ModelContractBase, changes: Sequence[ContractChange], notes: Sequence[ContractChange]
) -> ContractDifference:
    owed = max((change.bump for change in changes), key=lambda bump: bump.weight, default=EnumBump.NONE)
    ordered = sorted(changes, key=lambda change: -change.bump.weight)
    return ContractDifference(
        tuple(ordered), tuple(notes), owed, made_between(old.contract_version, new.contract_version)
    )


class _Walk:
    def __init__(
        self,
        old: ModelContractBase,
        new: ModelContractBase,
        trees: tuple[YamlMap | None, YamlMap | None],
        compared: frozenset[str],
    ) -> None:
        self.contracts = (old, new)
        self.trees = trees
        self.compared = compared
        self.changes: list[ContractChange] = []
        self.notes: list[ContractChange] = []

    def blocks(self, old: BaseModel, new: BaseModel, path: str, locs: tuple[Loc, Loc], role: str) -> None:
        """Field by field; ``role`` is the field that holds the block, as ``Class.field``."""
        known = (type(old).model_fields, type(new).model_fields)
        for field in dict.fromkeys((*known[0], *known[1])):
            owner = type(new) if field in known[1] else type(old)
            before, after = _value(old, field, owner), _value(new, field, owner)
            if isinstance(old, ModelFSMSubcontract) and isinstance(new, ModelFSMSubcontract) and field == "states":
                before, after = self._states(old, new, path, locs)
            if before == after and type(before) is type(after):
                continue
            inner = (f"{path}.{field}" if path else field, ((*locs[0], field), (*locs[1], field)))
            use = use_of(owner, field)
            rule = rule_of((type(new), type(old)), role, field, use, _shaped(before, after))
            if not use.by:
                rule = _HELD
            self._field(before, after, rule, (old, new), *inner, _declared(owner, field))

    def _field(
        self,
        old: object,
        new: object,
        rule: DiffRule,
        parents: tuple[BaseModel, BaseModel],
        path: str,
        locs: tuple[Loc, Loc],
        role: str,
    ) -> None:
        pair = FieldPair(path.rpartition(".")[2], old, new, parents, self.contracts, self.compared)
        if _is_block(old) and _is_block(new) and rule is not _HELD:
            self.blocks(old, new, path, locs, role)
        elif isinstance(old, tuple) and isinstance(new, tuple):
            self._entries(old, new, rule, pair, path, locs, role)
        elif isinstance(old, dict) and isinstance(new, dict) and any(map(_is_block, (*old.values(), *new.values()))):
            self._keyed(old, new, rule, pair, path, locs, role)
        elif role.endswith((".input_schema", ".output_schema", ".state_fields")):
            self._schema(old, new, path, locs, readers=role.endswith(".output_schema"))
        elif isinstance(old, dict) and isinstance(new, dict):
            for name in dict.fromkeys((*old, *new)):
                if old.get(name) != new.get(name) or (name in old) != (name in new):
                    inner = ((*locs[0], name), (*locs[1], name))
                    self._field(old.get(name), new.get(name), rule, parents, f"{path}.{name}", inner, role)
        else:
            gone, came = old in (None, ""), new in (None, "")
            judged, what = rule.changed, EnumChange.CHANGED
            if gone or came:
                judged, what = (rule.added, EnumChange.ADDED) if gone else (rule.removed, EnumChange.REMOVED)
            self._add(path, what, pair, judged, locs)

    # --- lists ------------------------------------------------------------------------------------------------------

    def _entries(
        self,
        old: tuple[object, ...],
        new: tuple[object, ...],
        rule: DiffRule,
        pair: FieldPair,
        path: str,
        locs: tuple[Loc, Loc],
        role: str,
    ) -> None:
        couples = matched(old, new)
        for before, after in couples:
            left = old[before] if before is not None else None
            right = new[after] if after is not None else None
            name = identity(left if left is not None else right)
            inner = ((*locs[0], before or 0), (*locs[1], after or 0))
            if left is not None and right is not None:
                if _is_block(left) and _is_block(right) and rule is not _HELD:
                    self.blocks(left, right, f"{path}[{name}]", inner, role)
                elif left != right:
                    one = pair._replace(name=name, old=left, new=right)
                    self._add(f"{path}[{name}]", EnumChange.CHANGED, one, rule.changed, inner)
                continue
            one = pair._replace(name=name, old=left, new=right)
            what, judged = (EnumChange.REMOVED, rule.removed) if right is None else (EnumChange.ADDED, rule.added)
            places = (inner[0] if left is not None else None, inner[1] if right is not None else None)
            self._add(f"{path}[{name}]", what, one, judged, places)
        stayed = [after for before, after in couples if before is not None and after is not None]
        if stayed != sorted(stayed):
            self._add(path, EnumChange.MOVED, pair._replace(old=None, new=None), rule.changed, locs)

    def _keyed(
        self,
        old: dict[str, object],
        new: dict[str, object],
        rule: DiffRule,
        pair: FieldPair,
        path: str,
        locs: tuple[Loc, Loc],
        role: str,
    ) -> None:
        """Blocks under the user's own names."""
        for name in dict.fromkeys((*old, *new)):
            before, after = old.get(name), new.get(name)
            inner = ((*locs[0], name), (*locs[1], name))
            if _is_block(before) and _is_block(after):
                self.blocks(before, after, f"{path}[{name}]", inner, role)
            elif before is None or after is None:
                what, judged = (
                    (EnumChange.ADDED, _ENTRY.added) if before is None else (EnumChange.REMOVED, _ENTRY.removed)
                )
                self._add(f"{path}[{name}]", what, pair._replace(name=name, old=before, new=after), judged, inner)

    def _states(
        self, old: ModelFSMSubcontract, new: ModelFSMSubcontract, path: str, locs: tuple[Loc, Loc]
    ) -> tuple[tuple[ModelFSMState, ...], tuple[ModelFSMState, ...]]:
        """Both as lists of states: without ``states`` the transitions say which there are."""
        if (old.states is None) != (new.states is None):
            reason = "states are listed now" if old.states is None else "states are listed no more"
            what = EnumChange.ADDED if old.states is None else EnumChange.REMOVED
            change = ContractChange(
                f"{path}.states", what, None, None, EnumBump.PATCH, reason, *self._places(locs, "states")
            )
            self.changes.append(change)
        return _all_states(old), _all_states(new)

    # --- shapes -----------------------------------------------------------------------------------------------------

    def _schema(self, old: object, new: object, path: str, locs: tuple[Loc, Loc], *, readers: bool) -> None:
        for found in schema_changes(_json(old), _json(new)):
            hurts = found.breaks_readers if readers else found.breaks_writers
            self._shape_change(f"{path}.{found.path}" if found.path else path, found.old, found.new, found.reason,
                               hurts, found.prose, self._places(locs))  # fmt: skip

    def shape(self, name: str, old: JsonValue, new: JsonValue) -> None:
        """The changes of a class that the contract names.

        What was sent to a trigger must still be accepted, and what an intent carries must still be understood. A state that
        stored states no longer fit breaks, unless a higher ``state_schema`` says that they are migrated.
        """
        if name == "state":
            where: Loc = ("state_model",)
            migrated = _schema_number(self.contracts[1]) > _schema_number(self.contracts[0])
        else:
            where = ("intents",) if name.startswith("intents.") else ("state_machine", "transitions")
        path = name if name == "state" or where == ("intents",) else f"triggers[{name}]"
        for found in schema_changes(old, new):
            hurts, reason = found.breaks_writers, found.reason
            if where == ("intents",):
                hurts = found.breaks_readers
            elif name == "state" and hurts:
                hurts = not migrated
                reason += "; stored states are migrated" if migrated else "; raise state_schema and write a migration"
            inner = f"{path}.{found.path}".removesuffix(".") if name == "state" else f"{path}.payload.{found.path}"
            place = self._places((where, where))
            self._shape_change(inner.removesuffix("."), found.old, found.new, reason, hurts, found.prose, place)

    def _shape_change(
        self,
        path: str,
        old: JsonValue,
        new: JsonValue,
        reason: str,
        hurts: bool,
        prose: bool,
        places: tuple[YamlPlace, YamlPlace],
    ) -> None:
        bump = EnumBump.MAJOR if hurts else EnumBump.PATCH if prose else EnumBump.MINOR
        what = EnumChange.ADDED if old is None and new is not None else EnumChange.CHANGED
        what = EnumChange.REMOVED if new is None and old is not None else what
        self.changes.append(ContractChange(path, what, old, new, bump, reason, *places))

    # --- changes ----------------------------------------------------------------------------------------------------

    def _add(
        self,
        path: str,
        what: EnumChange,
        pair: FieldPair,
        judged: Impact | ImpactOf | None,
        locs: tuple[Loc | None, Loc | None],
    ) -> None:
        found = impact_of(judged, pair)
        change = ContractChange(
            path, what, _json(pair.old), _json(pair.new), found.bump, found.reason, *self._places(locs)
        )
        (self.notes if judged in (_HELD.changed, _HELD.added, _HELD.removed) else self.changes).append(change)

    def _places(self, locs: tuple[Loc | None, Loc | None], *more: str) -> tuple[YamlPlace, YamlPlace]:
        found = [
            NOWHERE if tree is None or loc is None else place_of(tree, (*loc, *more))
            for tree, loc in zip(self.trees, locs, strict=True)
        ]
        return found[0], found[1]


_HELD = DiffRule.always(owes_nothing("nobody acts on it"))


def _declared(owner: type[BaseModel], field: str) -> str:
    """``Class.field`` with the class that first declared the field, for which the rules are written."""
    first = [one.__name__ for one in owner.__mro__ if field in getattr(one, "__annotations__", {})]
    return f"{first[-1]}.{field}"


def _value(model: BaseModel, field: str, owner: type[BaseModel]) -> object:
    """The field's value; its default when this class of contract does not have the field."""
    if field in type(model).model_fields:
        return getattr(model, field)
    return owner.model_fields[field].get_default(call_default_factory=True)


def _all_states(machine: ModelFSMSubcontract) -> tuple[ModelFSMState, ...]:
    if machine.states is not None:
        return machine.states
    return tuple(ModelFSMState(name=name) for name in mentioned(machine))


def _schema_number(contract: ModelContractBase) -> int:
    return contract.state_schema if isinstance(contract, ModelContractReducer) else 1


def _shaped(old: object, new: object) -> object:
    return old if old not in (None, ()) else new


def _is_block(value: object) -> TypeGuard[BaseModel]:
    """A version counts as one value."""
    return isinstance(value, BaseModel) and not isinstance(value, ModelContractVersion)


def _json(value: object) -> JsonValue:
    if isinstance(value, ModelContractVersion):
        return str(value)
    if isinstance(value, BaseModel):
        made: JsonValue = value.model_dump(mode="json", exclude_defaults=True)
        return made
    if isinstance(value, tuple | list):
        return [_json(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _json(one) for key, one in value.items()}
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _unknown(old: ReadResult, new: ReadResult) -> Iterator[ContractChange]:
    """Keys that no field holds, compared as they are written."""
    sides = [_unknown_of(reading) for reading in (old, new)]
    for path in dict.fromkeys((*sides[0], *sides[1])):
        before, after = sides[0].get(path), sides[1].get(path)
        if before is None or after is None or before[0] != after[0]:
            what = EnumChange.ADDED if before is None else EnumChange.REMOVED if after is None else EnumChange.CHANGED
            (left, here), (right, there) = before or (None, NOWHERE), after or (None, NOWHERE)
            reason = "no field holds it, and nobody acts on it"
            yield ContractChange(path, what, left, right, EnumBump.NONE, reason, here, there)


def _unknown_of(reading: ReadResult) -> dict[str, tuple[JsonValue, YamlPlace]]:
    found: dict[str, tuple[JsonValue, YamlPlace]] = {}
    above: Loc | None = None
    for key in reading.keys:
        if key.usage != "unknown" or (above is not None and key.loc[: len(above)] == above):
            continue
        above = key.loc
        value = node_at(reading.tree, key.loc)
        found[dotted(key.loc)] = (None if value is None else plain(value), key.leaf.place)
    return found
