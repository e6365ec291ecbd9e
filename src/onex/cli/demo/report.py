"""The demo's own report in Markdown: what was done, the result, and how it was counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .verdict import ProofRow
from .workload import Workload

HOW = """\
## How it was counted

- The process that counts is not the engine and is never killed. It sends the inputs. After each kill it sends again,
  under the same ids, the inputs that have no answer.
- Each effect, when it is done, reports its idempotency key, instance, version, intent name and payload hash to that
  process, and returns only after the report is on the disk. *Lost*, *retried* and *repeated* are counted from these lines.
- The first kill comes at a random moment between 25 and 50 % of the work. The second comes between 55 and 80 %, while
  the acknowledgement of a finished effect is withheld: that effect must run again, with the same key.
- Afterwards the whole log is read. Every committed intent must have its outcome in the log or a row in the outbox,
  every effect seen outside must have a committed intent, and every acknowledged action must have a row.
- Each instance is folded again from its log, in this process and in another one with another hash seed, and compared
  byte for byte with the stored state.
"""


def write_report(
    path: Path, workload: Workload, table: Sequence[ProofRow], faults: Sequence[str], commands: Sequence[str]
) -> None:
    """Raises OSError."""
    lines = ["# ONEX demo", "", f"The work: {workload.title}.", "", f"**{conclusion(faults)}**", ""]
    if faults:
        lines += [*(f"- {fault}" for fault in faults), ""]
    lines += ["| | | |", "|---|---:|---|", *(f"| {row.what} | {row.number} | {row.meaning} |" for row in table), ""]
    lines += [HOW, "## See for yourself", "", "```bash", *commands, "```", ""]
    path.write_text("\n".join(lines))


def conclusion(faults: Sequence[str]) -> str:
    if faults:
        return "This run did not prove what it should:"
    return "Nothing was lost, nothing was done twice, and every byte of the log folds again to what was stored."
