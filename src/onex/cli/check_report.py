"""Output of ``onex check``: findings as a compiler shows them, a line per file (or a table), and totals."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from ..app.load import LoadedWorkflow
from ..doctor.inspection import PASSED_OVER, InspectedFile, Inspection
from ..kernel.finding import EnumSeverity, Finding, errors
from ..views.check import triggers_of
from .console import counted, harmless, say, show_findings, styled, table

FEW = 5


def show(inspection: Inspection, *, every: bool) -> None:
    """Errors and warnings; with ``every`` also notes."""
    found = [one for one in inspection.findings if every or one.severity is not EnumSeverity.INFO]
    show_findings(found, sys.stdout)
    for beside in () if every else inspection.beside:
        if beside.code == PASSED_OVER:
            say(styled(f"{harmless(beside.path)} {beside.message}", "dim"))
    for app in inspection.apps:
        for workflow in app.app.written.values() if app.app else ():
            say(_of_workflow(workflow))
    alone = _alone(inspection)
    if len(alone) <= FEW:
        for one in alone:
            say(_of_file(one, every=every))
    else:
        _sum(inspection.files, every=every)
    if inspection.skipped and alone:
        others = counted(len(inspection.skipped), "YAML file")
        single = len(inspection.skipped) == 1
        why = (
            "has no node_type at the top level: not a contract"
            if single
            else "have no node_type at the top level: not contracts"
        )
        say(styled(f"{others} {why}{':' if every else ''}", "dim"))
        for path in inspection.skipped if every else ():
            say(styled(f"  {harmless(str(path))}", "dim"))


def _of_workflow(one: LoadedWorkflow) -> str:
    return (
        f"{one.name} {one.code.contract_version}: ok. {len(one.reducer.machine.statuses)} statuses, "
        f"{counted(len(triggers_of(one)), 'trigger')}, {counted(len(one.contract.intents), 'intent')}"
    )


def _alone(inspection: Inspection) -> list[InspectedFile]:
    """Files that were read as contracts and belong to no app."""
    of_apps = {path for app in inspection.apps for path in app.files}
    return [one for one in inspection.files if one.path not in of_apps]


def _of_file(one: InspectedFile, *, every: bool) -> str:
    if not one.ok:
        return f"{harmless(one.path)}: {styled('refused', 'red')}, {counted(len(errors(one.findings)), 'error')}"
    kind = harmless(f"{one.kind} {one.name}")
    written = f", written {one.word!r}" if one.word.lower().removesuffix("_generic") != one.kind else ""
    return f"{harmless(one.path)}: ok. {kind}, family {one.family}{written}; {_keys([one], every=every)}"


def _keys(files: Sequence[InspectedFile], *, every: bool) -> str:
    keys, reported = sum(one.keys for one in files), sum(len(one.reported) for one in files)
    if not reported:
        return f"{counted(keys, 'key')}, all honoured"
    where = "" if every else " (--all shows each)"
    return f"{keys - reported:,} of {counted(keys, 'key')} honoured, {reported:,} kept without effect{where}"


def _sum(files: Sequence[InspectedFile], *, every: bool) -> None:
    kinds = sorted({one.kind or "-" for one in files})
    families = sorted({one.family or "-" for one in files})
    table(
        ["family", *kinds, "files", "ok"],
        [
            [
                family,
                *(_count(one for one in files if (one.family or "-", one.kind or "-") == (family, k)) for k in kinds),
                _count(one for one in files if (one.family or "-") == family),
                _count(one for one in files if (one.family or "-") == family and one.ok),
            ]
            for family in families
        ],
        right=range(1, len(kinds) + 3),
    )
    bad = sum(not one.ok for one in files)
    say(f"{counted(len(files), 'contract')}: {len(files) - bad:,} ok{f', {bad:,} refused' if bad else ''}")
    say(_keys(files, every=every))


def _count(of: Iterable[InspectedFile]) -> str:
    number = sum(1 for _ in of)
    return f"{number:,}" if number else "."


def severe(findings: Sequence[Finding], *, strict: bool) -> bool:
    """Whether they fail the check: errors do, and with ``strict`` warnings too."""
    return any(
        one.severity is EnumSeverity.ERROR or (strict and one.severity is EnumSeverity.WARNING) for one in findings
    )
