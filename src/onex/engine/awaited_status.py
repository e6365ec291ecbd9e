"""AwaitedStatus: the status that somebody waits for. Has it come, and can it still come?

Pure: it is asked with a stored row, and reads nothing. Whether a status can come is read off the machine's table, from the
status at hand on. Guards are not asked, and going back to an earlier version is not counted. So "it can come" is no promise,
and "it cannot come" is sure as long as nobody goes back.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final

from ..kernel.action import WorkflowKey
from ..kernel.errors import StatusUnreachable, ValidationError
from ..kernel.machine import Machine, MachineReducer
from ..kernel.user_code import plain_text
from ..ports import Stored
from .registry import Workflow
from .step_budget import Budgeted

TERMINAL: Final = "terminal"


class AwaitedStatus:
    """``until`` is a status of the workflow, or TERMINAL for any that ends it.

    ``workflow`` is None where its code is not at hand. Then only the end of the instance shows that a status cannot come.
    """

    def __init__(self, key: WorkflowKey, until: str, workflow: Workflow | None) -> None:
        """Raises ValidationError for an empty text, and for a status that the workflow's machine does not have."""
        if not until:
            raise ValidationError(
                "the status to wait for is empty; name one, or terminal for any that ends the instance"
            )
        self.key, self.until = key, until
        self._workflow = workflow
        self._machine = None if workflow is None else _machine(workflow)
        if self._machine is not None and until != TERMINAL and until not in (known := self._machine.statuses):
            near = get_close_matches(plain_text(until)[:200], known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
            raise ValidationError(f"{key.workflow_type} has no status {plain_text(until)[:200]!r}; {hint}")

    def is_reached(self, stored: Stored | None) -> bool:
        """A status that was stored under an older schema counts under the name it has now."""
        if stored is None or not stored.version:
            return False
        return stored.terminal if self.until == TERMINAL else self._status(stored) == self.until

    def check(self, stored: Stored | None) -> None:
        """Raises StatusUnreachable where it is not reached, and no action can bring it any more."""
        begun = stored is not None and stored.version > 0
        if begun and stored is not None and stored.terminal:
            status = self._status(stored)
            raise self._unreachable(f"{self.key} has ended in {status!r}, and {self._wanted} cannot come", status, ())
        machine = self._machine
        if machine is None:
            return
        status = self._status(stored) if begun and stored is not None else machine.initial
        if status not in machine.table:  # stranded: onex run names it
            return
        can = machine.reachable(status)
        if machine.terminal & can if self.until == TERMINAL else self.until in can:
            return
        coming = tuple(one for one in machine.statuses if one in can)
        where = f"is in {status!r}" if begun else "has not begun"
        after = f"what can come: {', '.join(coming)}" if coming else "nothing can come"
        raise self._unreachable(
            f"{self.key} {where}, and {self._wanted} cannot come from there; {after}", status, coming
        )

    def late(self, stored: Stored | None, limit_s: float) -> TimeoutError:
        now = f"its status is {stored.status!r}" if stored is not None and stored.version else "it has not begun"
        return TimeoutError(f"{self.key} did not reach {self._wanted} in {limit_s:g} s; {now}")

    @property
    def _wanted(self) -> str:
        return "a terminal status" if self.until == TERMINAL else f"status {plain_text(self.until)[:200]!r}"

    def _status(self, stored: Stored) -> str:
        if self._workflow is None:
            return stored.status
        migrations, now = self._workflow.migrations, self._workflow.code.state_schema
        return migrations.status(stored.status, stored.state_schema, now)

    def _unreachable(self, message: str, status: str, coming: tuple[str, ...]) -> StatusUnreachable:
        return StatusUnreachable(message, status=status, until=self.until, reachable=list(coming))


def _machine(workflow: Workflow) -> Machine | None:
    """None for a reducer that is combined of several, or made by hand."""
    reducer = workflow.reducer
    if isinstance(reducer, Budgeted):
        reducer = reducer.reducer
    return reducer.machine if isinstance(reducer, MachineReducer) else None
