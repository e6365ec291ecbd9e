"""The audit log: a line for each command, who gave it, what came of it, and for each request that was not allowed. No payload."""

from __future__ import annotations

from uuid import UUID

from ..kernel.action import WorkflowKey
from ..wiring.log_listener import Logger
from .access import Principal


class CommandAudit:
    """Tells ``logger``; None: nobody listens."""

    def __init__(self, logger: Logger | None) -> None:
        self._logger = logger

    def tell(
        self,
        asking: Principal,
        command: str,
        key: WorkflowKey | str,
        trigger: str,
        action_id: UUID | None,
        outcome: str,
    ) -> None:
        if self._logger is None:
            return
        fields = {"by": asking.name, "role": asking.role.value, "key": str(key), "trigger": trigger, "outcome": outcome}
        if action_id is not None:
            fields["action_id"] = str(action_id)
        self._logger.info(f"api_{command.replace('-', '_')}", **fields)

    def denied(self, asking: Principal, method: str, path: str, code: str) -> None:
        """A request was answered 401 or 403. ``path`` is what was asked for, without its query."""
        if self._logger is not None:
            fields = {"by": asking.name, "role": asking.role.value, "method": method, "path": path[:200], "code": code}
            self._logger.warning("api_denied", **fields)
