"""ONEX: long-lived workflows whose decisions are pure functions, ``delta(state, action) -> (state, intents)``.

The names most programs need. Each is loaded when it is first asked for, so that ``import onex`` costs next to nothing;
everything else is imported from its room.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what the table below says, in words a type checker reads
    from .app import App, load_app
    from .authoring.declaration import workflow
    from .authoring.event_handler import event_handler
    from .engine.pattern_engine import ReducerPatternEngine
    from .engine.pending import Committed
    from .kernel.action import Action, Blob, ModelAction, Nothing, OutcomeOf, Payload, WorkflowKey
    from .kernel.envelope import DataAvailableEvent
    from .kernel.errors import EffectFailed, EffectUnknown, OnexError, Refused
    from .kernel.intent import Failure, IntentDraft, ModelIntent, cancel, intent, send, timer
    from .kernel.machine import reducer
    from .kernel.migration import migrate
    from .kernel.quota import ResourceLimits
    from .kernel.rename import renames
    from .kernel.retry import BreakerPolicy, RetryPolicy
    from .kernel.secret import Secret
    from .kernel.step import State, Step
    from .nodes.chunks import cached, chunked
    from .nodes.compute import ComputeIO, compute
    from .nodes.effect import EffectIO, effect
    from .wiring.client import EngineClient, connect
    from .wiring.compute_workers import compute_workers
    from .wiring.engine import open
    from .wiring.store_access import open_reader, open_sender

    __version__: str

_HOMES = {
    "App": "app",
    "load_app": "app",
    "Committed": "engine.pending",
    "ReducerPatternEngine": "engine.pattern_engine",
    "Action": "kernel.action",
    "ModelAction": "kernel.action",
    "Nothing": "kernel.action",
    "OutcomeOf": "kernel.action",
    "Payload": "kernel.action",
    "WorkflowKey": "kernel.action",
    "Blob": "kernel.action",
    "DataAvailableEvent": "kernel.envelope",
    "EffectFailed": "kernel.errors",
    "EffectUnknown": "kernel.errors",
    "OnexError": "kernel.errors",
    "Refused": "kernel.errors",
    "Failure": "kernel.intent",
    "IntentDraft": "kernel.intent",
    "ModelIntent": "kernel.intent",
    "cancel": "kernel.intent",
    "intent": "kernel.intent",
    "migrate": "kernel.migration",
    "send": "kernel.intent",
    "timer": "kernel.intent",
    "reducer": "kernel.machine",
    "renames": "kernel.rename",
    "ResourceLimits": "kernel.quota",
    "BreakerPolicy": "kernel.retry",
    "RetryPolicy": "kernel.retry",
    "Secret": "kernel.secret",
    "State": "kernel.step",
    "Step": "kernel.step",
    "cached": "nodes.chunks",
    "chunked": "nodes.chunks",
    "ComputeIO": "nodes.compute",
    "compute": "nodes.compute",
    "EffectIO": "nodes.effect",
    "effect": "nodes.effect",
    "compute_workers": "wiring.compute_workers",
    "connect": "wiring.client",
    "EngineClient": "wiring.client",
    "open": "wiring.engine",
    "open_reader": "wiring.store_access",
    "open_sender": "wiring.store_access",
    "event_handler": "authoring.event_handler",
    "workflow": "authoring.declaration",
}

__all__ = [
    "Action",
    "App",
    "Blob",
    "BreakerPolicy",
    "Committed",
    "ComputeIO",
    "DataAvailableEvent",
    "EffectFailed",
    "EffectIO",
    "EffectUnknown",
    "EngineClient",
    "Failure",
    "IntentDraft",
    "ModelAction",
    "ModelIntent",
    "Nothing",
    "OnexError",
    "OutcomeOf",
    "Payload",
    "ReducerPatternEngine",
    "Refused",
    "ResourceLimits",
    "RetryPolicy",
    "Secret",
    "State",
    "Step",
    "WorkflowKey",
    "__version__",
    "cached",
    "cancel",
    "chunked",
    "compute",
    "compute_workers",
    "connect",
    "effect",
    "event_handler",
    "intent",
    "load_app",
    "migrate",
    "open",
    "open_reader",
    "open_sender",
    "reducer",
    "renames",
    "send",
    "timer",
    "workflow",
]


if not TYPE_CHECKING:  # to a type checker a name that is not above is a mistake

    def __getattr__(name: str) -> object:
        value: object
        if name == "__version__":
            from importlib.metadata import version

            value = version("onex")
        elif (home := _HOMES.get(name)) is not None:
            value = getattr(import_module(f".{home}", __name__), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value  # asked once
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
