"""The page of a demo's proof, one HTML file: what was killed, what ran again, what the outside saw, and how it was counted."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from .trial import EngineKill, TrialResult
from .verdict import DemoResult, ProofRow
from .workload import Workload

_STYLE = """\
:root { color-scheme: light dark; --ink: #1c2024; --dim: #60646c; --paper: #fcfcfd; --line: #e0e1e6; --good: #18794e;
  --bad: #cd2b31; }
@media (prefers-color-scheme: dark) { :root { --ink: #edeef0; --dim: #a0a4ad; --paper: #111315; --line: #34373c;
  --good: #3dd68c; --bad: #ff6369; } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.55 system-ui, sans-serif; }
main { max-width: 52rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.5rem; line-height: 1.3; margin: .25rem 0 1rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.good { color: var(--good); } .bad { color: var(--bad); } .dim, footer { color: var(--dim); }
table { border-collapse: collapse; width: 100%; } td { border-top: 1px solid var(--line); padding: .4rem .75rem .4rem 0;
  vertical-align: top; } td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid var(--line); border-radius: .4rem; }
.line { position: relative; height: 2.75rem; margin: 1rem 0; border-bottom: 3px solid var(--good); }
.line i { position: absolute; bottom: -.45rem; width: .75rem; height: .75rem; margin-left: -.375rem; border-radius: 50%;
  background: var(--bad); }
.line span { position: absolute; bottom: .5rem; transform: translateX(-50%); white-space: nowrap; font-size: .85rem; }
.line span:nth-of-type(even) { bottom: -1.75rem; } .line + table { margin-top: 2.75rem; }
"""
_HOW = (
    "The process that counts is not the engine and is never killed. It sends the inputs. After each kill it sends again, under "
    "the same ids, the inputs that have no answer.",
    "Each effect, when it is done, reports its idempotency key, instance, version, intent name and payload hash to that process, "
    "and returns only after the report is on the disk. Lost, retried and repeated are counted from these lines.",
    "The first kill comes at a random moment between 25 and 50 % of the work. The second comes between 55 and 80 %, while the "
    "acknowledgement of a finished effect is withheld: that effect must run again, with the same key.",
    "Afterwards the whole log is read. Every committed intent must have its outcome in the log or a row in the outbox, every "
    "effect seen outside must have a committed intent, and every acknowledged action must have a row.",
    "Each instance is folded again from its log, in this process and in another one with another hash seed, and compared byte "
    "for byte with the stored state.",
)


def write_page(
    path: Path,
    workload: Workload,
    witnessed: TrialResult,
    found: DemoResult,
    table: Sequence[ProofRow],
    faults: Sequence[str],
    commands: Sequence[str],
) -> None:
    """Raises OSError."""
    head, *more = conclusion(faults, found.effects_retried)
    parts = [
        "<!doctype html>",
        '<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>ONEX demo</title><style>{_STYLE}</style><main>",
        f'<p class="dim">ONEX demo: {escape(workload.title)}</p>',
        f'<h1 class="{"bad" if faults else "good"}">{escape(head)}</h1>',
        *(f"<p><strong>{escape(one)}</strong></p>" for one in more),
        *([f"<ul>{_items(faults)}</ul>"] if faults else []),
        _kills(witnessed.struck, workload.effects),
        "<table>",
        *(
            f'<tr><td>{escape(row.what)}</td><td class="number">{escape(row.number)}</td>'
            f"<td>{escape(row.meaning)}</td></tr>"
            for row in table
        ),
        "</table>",
        *([_work(path, workload.report)] if workload.report is not None else []),
        f"<h2>How it was counted</h2><ul>{_items(_HOW)}</ul>",
        *([f"<h2>See for yourself</h2><pre>{escape(chr(10).join(commands))}</pre>"] if commands else []),
        "</main>",
    ]
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")


def conclusion(faults: Sequence[str], retried: int) -> tuple[str, ...]:
    """Sentences: what the demo proves. The second explains two numbers that look like a contradiction."""
    if faults:
        return ("This run did not prove what it should:",)
    ran = "effect ran again with the key of its" if retried == 1 else "effects ran again with the key of their"
    return (
        "Nothing was lost, and every byte of the log folds again to what was stored.",
        f"Nothing was done twice: {retried:,} retried {ran} first run, so the outside counts one.",
    )


def _items(texts: Sequence[str]) -> str:
    return "".join(f"<li>{escape(text)}</li>" for text in texts)


def _kills(kills: Sequence[EngineKill], effects: int) -> str:
    """The work as a line from left to right, with a dot at each kill."""
    dots = [
        f'<i style="left:{share:.1f}%"></i><span style="left:{share:.1f}%">kill -9 at {int(share)} %'
        f"{', one effect unacknowledged' if kill.withheld else ''}</span>"
        for kill in kills
        for share in [min(100.0, 100 * kill.effects / max(1, effects))]
    ]
    return f'<div class="line">{"".join(dots)}</div>' if dots else ""


def _work(page: Path, report: Path) -> str:
    """A link to what the work itself made, relative if it lies below the page."""
    near = report.relative_to(page.parent.resolve()) if report.is_relative_to(page.parent.resolve()) else report
    return f'<h2>What the work made</h2><p><a href="{escape(near.as_posix())}">{escape(near.name)}</a></p>'
