"""IntegrationBridge: an engine and its node become services of a container, as a contract says.

    contract -> ReducerPatternEngine, NodeReducerPatternEngine      (services, started and stopped by the container)
    services of the container -> the targets of the app, telemetry, the bus

Theory of operation. ``register`` puts two recipes into the container, and opens nothing. The engine needs the services that serve
targets, so the container makes them first. At its start it opens the engine, then the node; it stops them in reverse: the node
takes no calls any more and lets those that run end, then the engine closes, then the services that it used.

What may go wrong is found early: a contract that is none raises when the bridge is made, a service or a target that does not
exist when the container starts, before the store is touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

from ..app import App
from ..bus import EventBus
from ..container import Key, ONEXContainer
from ..contracts.foreign.foreign_reader import read_contract
from ..contracts.model.reducer_pattern import NODE_CLASS, ModelContractReducerPattern, ModelEngineSubcontract
from ..engine.pattern_engine import ReducerPatternEngine
from ..kernel.errors import ContractError
from ..kernel.finding import errors
from ..nodes import reducer_pattern
from ..nodes.given import GivenEffect
from ..nodes.reducer_pattern import NodeReducerPatternEngine
from ..nodes.services import ProtocolReducerPatternEngine
from ..ports import Telemetry
from .engine import open as open_engine

CONTRACT: Final = Path(reducer_pattern.__file__).with_name("reducer_pattern_engine.yaml")
"""The contract that stands for itself; it names no app."""
_TELEMETRY, _BUS = "telemetry ", "bus "  # no target has a space


def read_node_contract(path: Path | str = CONTRACT) -> ModelContractReducerPattern:
    """Raises ContractError, whose ``findings`` are all that is wrong with the file."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise ContractError(f"{path} cannot be read: {error}") from error
    read = read_contract(text, str(path))
    if isinstance(read.contract, ModelContractReducerPattern):
        return read.contract
    found = errors(read.findings)
    if not found:
        raise ContractError(
            f"{path} is no contract of an engine as a node; give it node_type: reducer and node_class: {{name: {NODE_CLASS}}}"
        )
    raise ContractError("\n".join(map(str, found)), tuple(found))


class IntegrationBridge:
    """``app`` and ``store_url`` win over the contract's; a relative ``engine.app`` begins at the contract's folder.

    ``bus`` and ``telemetry`` are keys of services of the container, of a bus or a listener that the engine is to use.
    """

    def __init__(
        self,
        contract: Path | str | ModelContractReducerPattern = CONTRACT,
        *,
        app: App | Path | str | None = None,
        store_url: str | None = None,
        effects: Mapping[str, Key] | None = None,
        bus: Key | None = None,
        telemetry: Key | None = None,
    ) -> None:
        """Raises ContractError for a contract that is none, or an app that neither it nor the caller names."""
        given = isinstance(contract, ModelContractReducerPattern)
        self.contract = contract if isinstance(contract, ModelContractReducerPattern) else read_node_contract(contract)
        self._engine = self.contract.engine or ModelEngineSubcontract()
        folder = Path() if given else Path(cast("Path | str", contract)).parent
        if app is None and self._engine.app is None:
            raise ContractError(f"{self.contract.name} names no app; add engine: {{app: PATH}} to it, or give app=")
        self._app = app if app is not None else folder / str(self._engine.app)
        self._store_url = store_url or self._engine.store_url
        self._needs: dict[str, Key] = {**self._engine.effects, **(effects or {})}
        self._needs |= {name: key for name, key in ((_BUS, bus), (_TELEMETRY, telemetry)) if key is not None}

    def register(self, container: ONEXContainer) -> None:
        """``ReducerPatternEngine``, ``NodeReducerPatternEngine`` and ``ProtocolReducerPatternEngine``, which is the same node.

        Raises DependencyResolutionError for a key that is taken.
        """
        container.register(ReducerPatternEngine, self._open, self._needs)
        container.register(NodeReducerPatternEngine, self._node, {"engine": ReducerPatternEngine})
        container.register(ProtocolReducerPatternEngine, _same, {"node": NodeReducerPatternEngine})

    async def _open(self, **services: object) -> ReducerPatternEngine:
        bus, telemetry = services.pop(_BUS, self._engine.bus_url), services.pop(_TELEMETRY, None)
        return await open_engine(
            self._store_url,
            self._app,
            workers=self._engine.workers,
            executors=cast("dict[str, GivenEffect]", services),  # each is examined there
            telemetry=cast("Telemetry | None", telemetry),
            bus=cast("EventBus | str | None", bus),
        )

    def _node(self, engine: ReducerPatternEngine) -> NodeReducerPatternEngine:
        return NodeReducerPatternEngine(engine, self.contract)


def _same(node: NodeReducerPatternEngine) -> NodeReducerPatternEngine:
    return node
