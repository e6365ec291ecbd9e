"""The demo's own report, in Markdown: what was done, what came of it, and how it was counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .verdict import ProofRow
from .workload import Workload

HOW = """\
## How it was counted

- The process that counts is not the engine and is never killed. It handed out the inputs, and after each kill sent
  again, under the same ids, those it had no answer for.
- Each effect, when it was done, told that process its idempotency key, instance, version, intent name and payload
  hash, and returned only after that was on the disk. *Lost*, *retried* and *repeated* were counted from those lines.
- The first kill came at a random moment between 25 and 50 % of the work, the second between 55 and 80 %, while the
  answer to an effect already done was held back: that effect had to run again, with the same key.
- Afterwards the whole log was read: every committed intent must have its outcome in the log or a row in the outbox,
  every effect seen outside a committed intent, every acknowledged action its row.
- Each instance was folded again from its log, in this process and in another one under another hash seed, and
  compared byte for byte with what was stored.
"""


def write_report(
    path: Path, workload: Workload, table: Sequence[ProofRow], faults: Sequence[str], commands: Sequence[str]
) -> None:
    """Raises OSError."""
    lines = ["# ONEX demo", "", f"The job: {workload.title}.", "", f"**{conclusion(faults)}**", ""]
    if faults:
        lines += [*(f"- {fault}" for fault in faults), ""]
    lines += ["| | | |", "|---|---:|---|", *(f"| {row.what} | {row.number} | {row.meaning} |" for row in table), ""]
    lines += [HOW, "## Look for yourself", "", "```bash", *commands, "```", ""]
    path.write_text("\n".join(lines))


def conclusion(faults: Sequence[str]) -> str:
    if faults:
        return "This run did not prove what it should. What is wrong:"
    return "Nothing was lost, nothing was done twice, and every byte of the log folds again to what was stored."
