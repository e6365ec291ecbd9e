"""What a workflow in one file says of its targets: how each is reached, and the intents that they serve without a function.

    billing.target("bank", http={"base_url": {"env": "BANK_URL"}, "idempotency_header": "Idempotency-Key"}, rate_per_s=50)
    charge = billing.call("charge", Charge, Receipt, target="bank", http={"path": "/charges/{order}"}, retry=5)

The words inside a block are those of the contract, and so are its checks: a mistake is found at the line of the call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import overload

from pydantic import BaseModel, JsonValue
from pydantic_core import from_json, to_json

from ..contracts.guard.problem import suggest
from ..contracts.model.target import BLOCKS
from ..contracts.text.yaml_tree import YamlMap
from ..kernel.action import Nothing
from ..kernel.retry import RetryPolicy
from ..nodes.io import FunctionShape
from .declared_problems import DeclaredProblems
from .intents import CalledIntent, DeclaredIntent, R, SourcePlace, contract_options, outcome_names
from .located_nodes import LocatedNodes

Block = Mapping[str, JsonValue | Sequence[str]]
"""A block of the contract, in its own words."""


class DeclaredTargets(DeclaredProblems):
    """Collects targets, and intents that they serve."""

    intents: list[DeclaredIntent]

    def __init__(self) -> None:
        super().__init__()
        self.targets: dict[str, tuple[dict[str, JsonValue], SourcePlace]] = {}

    def target(
        self,
        name: str,
        *,
        concurrency: int | None = None,
        rate_per_s: float | None = None,
        burst: int | None = None,
        circuit_breaker: Block | None = None,
        **block: Block,
    ) -> None:
        """How the target ``name`` is reached, ``http={"base_url": ...}``, and its policies; without a block, policies alone.

        Keys are those of ``targets`` in a contract.
        """
        place = SourcePlace.of_caller(1)
        if name in self.targets:
            message = f"target {name!r} is said on line {self.targets[name][1].line} too"
            self._problem("duplicate", place, message, "keep one of them")
        policies = {"concurrency": concurrency, "rate_per_s": rate_per_s, "burst": burst}
        said: dict[str, JsonValue] = {key: value for key, value in policies.items() if value is not None}
        if circuit_breaker is not None:
            said |= self._blocks({"circuit_breaker": circuit_breaker}, place)
        self.targets[name] = (said | self._blocks(self._known(block, place), place), place)

    @overload
    def call(
        self,
        name: str,
        payload: type[BaseModel],
        answer: type[R],
        /,
        *,
        target: str,
        retry: int | RetryPolicy | None = None,
        delivery: str | None = None,
        priority: str | None = None,
        timeout: timedelta | None = None,
        on_exit: str | None = None,
        detached: bool = False,
        **block: Block,
    ) -> CalledIntent[R]: ...
    @overload
    def call(
        self,
        name: str,
        payload: type[BaseModel],
        /,
        *,
        target: str,
        retry: int | RetryPolicy | None = None,
        delivery: str | None = None,
        priority: str | None = None,
        timeout: timedelta | None = None,
        on_exit: str | None = None,
        detached: bool = False,
        **block: Block,
    ) -> CalledIntent[Nothing]: ...
    def call(
        self,
        name: str,
        payload: type[BaseModel],
        answer: type[BaseModel] = Nothing,
        /,
        *,
        target: str,
        retry: int | RetryPolicy | None = None,
        delivery: str | None = None,
        priority: str | None = None,
        timeout: timedelta | None = None,
        on_exit: str | None = None,
        detached: bool = False,
        **block: Block,
    ) -> object:
        """An intent that ``target`` serves: ``payload`` is what is sent, ``answer`` what its success carries.

        One block says what is asked, under the key that the target has: ``http={"path": "/charges/{order}"}``. Others as for
        ``effect``. Its outcomes are ``charge.succeeded``, ``charge.failed`` and ``charge.unknown``.
        """
        place = SourcePlace.of_caller(1)
        options = contract_options(retry, delivery, priority, timeout, None, on_exit, detached)
        blocks = self._known(block, place)
        if len(blocks) != 1 and len(block) == len(blocks):
            message = f"call says {len(blocks)} things to ask of its target"
            self._problem("no_call", place, message, 'write one: http={"path": "/..."}')
        kind = BLOCKS[next(iter(blocks))] if blocks else "api_call"
        shape = FunctionShape(name, payload, answer, False)
        options |= self._blocks(blocks, place)
        declared = DeclaredIntent(
            name, kind, place, target, options=options, outcomes=outcome_names(name, "", "", ""), shape=shape
        )
        self.intents.append(declared)
        made: CalledIntent[BaseModel] = CalledIntent(declared)
        return made

    def target_nodes(self, nodes: LocatedNodes, top: SourcePlace) -> YamlMap:
        """``targets`` of the contract, each at the call that says it."""
        return nodes.mapping({name: nodes.of({**said}, place) for name, (said, place) in self.targets.items()}, top)

    def _known(self, given: Mapping[str, Block], place: SourcePlace) -> dict[str, Block]:
        known = {key: block for key, block in given.items() if key in BLOCKS}
        for key in given.keys() - known.keys():
            fix = suggest(key, list(BLOCKS)) or f"there is {', '.join(BLOCKS)}"
            self._problem("unknown_key", place, f"no target is reached by {key!r}", fix)
        return known

    def _blocks(self, given: Mapping[str, Block], place: SourcePlace) -> dict[str, JsonValue]:
        """As JSON, so that only what a contract can hold is left."""
        try:
            made: dict[str, JsonValue] = from_json(to_json({**given}))
        except (ValueError, TypeError):
            message = "a block holds what no contract can: " + ", ".join(given)
            self._problem("not_a_block", place, message, "use texts, numbers, true or false, lists and dicts")
            return {}
        return made
