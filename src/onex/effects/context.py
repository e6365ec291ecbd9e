"""EffectContext: what all built-in effects of one engine share, and what is closed with it."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable

from ..engine.external_call import CallAudit
from ..engine.metrics import Events
from ..kernel.errors import DependencyResolutionError, EffectFailed
from ..ports import Blobs, Clock, Telemetry
from .bus_connection import BusConnection
from .secrets import Secrets, SettingValues


class EffectContext:
    """Of one engine. Who opens a pool or a thread gives its end to ``closes``."""

    def __init__(
        self, blobs: Blobs, clock: Clock, *, secrets: Secrets | None = None, telemetry: Telemetry | None = None
    ) -> None:
        self.blobs, self.clock = blobs, clock
        self.settings = SettingValues(secrets)
        self.events = Events(telemetry)
        self.audit = CallAudit(self.events, clock)
        self.bus = BusConnection()
        self._closing: list[Callable[[], Awaitable[None]]] = []

    def closes(self, close: Callable[[], Awaitable[None]]) -> None:
        """``close`` is called when the engine ends; the last one given is called first."""
        self._closing.append(close)

    async def close(self) -> None:
        """Closes each, also when another raises. Idempotent."""
        while self._closing:
            close = self._closing.pop()
            try:
                await close()
            except Exception:  # noqa: S112  # what is left of a connection has no reader: the engine's own end goes on
                continue


def trusted(ca_file: str | None) -> ssl.SSLContext:
    """Certificates and names are checked, against those of the system or of ``ca_file``. Raises EffectFailed."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        message = f"the certificates in {ca_file} cannot be read: {error}; put them there in PEM"
        raise EffectFailed(message, code="setting_missing") from error


def not_installed(what: str, extra: str, error: ImportError) -> DependencyResolutionError:
    """A library of an extra is missing."""
    return DependencyResolutionError(
        f"{what} needs the package {error.name}, which is not installed; install it: "
        f"pip install 'PATH/TO/ONEX[{extra}]'"
    )
