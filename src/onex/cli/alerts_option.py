"""A file of alerts, as an option of a command names it."""

from __future__ import annotations

from pathlib import Path

from ..contracts.alerts.alerts_file import alerts_of
from ..contracts.alerts.alerts_model import ModelAlerts
from ..repository.reference_files import UnreadableContract, contract_text
from .exit_codes import Misused


def read_alerts(path: Path) -> ModelAlerts:
    """Raises Misused for a file that cannot be read, ContractError with all that is wrong in it."""
    try:
        text = contract_text(path)
    except UnreadableContract as error:
        raise Misused(
            f"{path} cannot be read as a file of alerts: {error.finding.message}; {error.finding.fix}"
        ) from error
    return alerts_of(text, str(path))
