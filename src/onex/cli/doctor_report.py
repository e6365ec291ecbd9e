"""Output of ``onex doctor``: counts first, then problems by area; lists are cut unless --all is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..doctor.doctor_finding import FINDING_TITLES, DoctorFinding, EnumArea
from ..doctor.examination import Examination
from ..doctor.purity_claims import EnumClaimVerdict, ExaminedClaim
from ..kernel.finding import EnumSeverity
from ..proof.reachability import CallSite
from .console import counted, harmless, say, styled

SHOWN = 5
_COLOURS = {"error": "red", "warning": "yellow", "info": "dim"}
_VERDICTS = {
    EnumClaimVerdict.BROKEN: "broken",
    EnumClaimVerdict.UNPROVEN: "unproven",
    EnumClaimVerdict.HOLDS: "confirmed",
    EnumClaimVerdict.NO_CODE: "code not found",
}


def show(diagnosis: Examination, *, every: bool) -> None:
    _head(diagnosis)
    for area in EnumArea:
        findings = [one for one in diagnosis.findings if one.area is area]
        summary = _sum(area, diagnosis)
        if not findings and not summary:
            continue
        say()
        say(
            styled("code named in contracts" if area is EnumArea.CODE else area.value, "bold")
            + (f"  {summary}" if summary else "")
        )
        _groups([one for one in findings if every or one.finding.severity is not EnumSeverity.INFO], every=every)
        if area is EnumArea.CLAIMS and every:
            _verdicts(diagnosis.claims)
    say()
    _foot(diagnosis, every=every)


def _head(diagnosis: Examination) -> None:
    kinds = ", ".join(f"{n} {kind}" for kind, n in diagnosis.kinds.most_common())
    families = ", ".join(f"{family} {n}" for family, n in sorted(diagnosis.families.items()))
    missing = len(diagnosis.tree.contracts) - len(diagnosis.loaded)
    more = f", {missing} not loaded" if kinds and missing else ""
    say(f"{counted(len(diagnosis.tree.contracts), 'contract')}: {kinds or 'none loads'}{more}")
    say(styled(f"families: {families}", "dim"))
    files = counted(len(diagnosis.tree.python), "Python file")
    others = counted(diagnosis.tree.other_yaml, "other YAML file")
    say(styled(f"{files}, {diagnosis.modules:,} read; {others} skipped", "dim"))


def _sum(area: EnumArea, diagnosis: Examination) -> str:
    """What was examined, so that a reader can tell an area without problems from one that was not examined."""
    match area:
        case EnumArea.CONTRACTS:
            missing = len(diagnosis.tree.contracts) - len(diagnosis.loaded)
            return f"{missing} {'does' if missing == 1 else 'do'} not load" if missing else ""
        case EnumArea.CLAIMS:
            verdicts = Counter(one.verdict for one in diagnosis.claims)
            parts = [f"{verdicts[verdict]} {summary}" for verdict, summary in _VERDICTS.items() if verdicts[verdict]]
            return f"{counted(len(diagnosis.claims), 'claim')}: {', '.join(parts)}" if diagnosis.claims else ""
        case EnumArea.TOPICS:
            said = {one.topic for one in diagnosis.traffic.published}
            heard = {one.topic for one in diagnosis.traffic.consumed}
            if not said | heard:
                return ""
            return f"{len(said | heard)}: {len(said)} published, {len(heard)} consumed, {len(said & heard)} both"
        case EnumArea.MACHINES:
            machines = sum(contract.state_machine is not None for _, contract in diagnosis.loaded)
            return counted(machines, "machine") if machines else ""
        case EnumArea.CODE:
            outside = ", ".join(f"{name} {n}" for name, n in sorted(diagnosis.outside.items()))
            if not diagnosis.references and not outside:
                return ""
            summary = f"{counted(diagnosis.references, 'name')} found"
            return summary + (f"; in packages that are not here: {outside}" if outside else "")


def _groups(findings: Sequence[DoctorFinding], *, every: bool) -> None:
    by_code: dict[str, list[DoctorFinding]] = {}
    for one in findings:
        by_code.setdefault(one.finding.code, []).append(one)
    for code, group in by_code.items():
        shown = group if every else group[:SHOWN]
        fixes = {one.finding.fix for one in group}
        say(f"  {FINDING_TITLES.get(code, code.replace('_', ' '))}: {len(group)} [{code}]")
        for one in shown:
            _one(one, show_fix=len(fixes) > 1 or len(group) == 1)
        if len(shown) < len(group):
            say(styled(f"    ... and {len(group) - len(shown)} more (--all)", "dim"))
        if len(fixes) == 1 and len(group) > 1:
            say(f"    fix: {fixes.pop()}")


def _verdicts(claims: Sequence[ExaminedClaim]) -> None:
    """Each claim by its verdict; an unproven one with the packages that were not followed."""
    for verdict, summary in _VERDICTS.items():
        for one in claims:
            if one.verdict is verdict:
                where = ", ".join(one.outside) if verdict is EnumClaimVerdict.UNPROVEN else ""
                why = f"; not followed: calls into {where}" if where else ""
                say(f"    {one.claim.place}: {summary}: {harmless(one.node)} ({harmless(one.claim.written_as)}){why}")


def _one(found: DoctorFinding, *, show_fix: bool) -> None:
    finding = found.finding
    place = f"{finding.path}:{finding.line}" if finding.line else finding.path
    severity = styled(finding.severity.value, _COLOURS[finding.severity.value])
    say(f"    {place}: {severity} {harmless(finding.message)}")
    if found.chain:
        say(styled(f"      by {' -> '.join(map(_link, found.chain[:-1]))}", "dim"))
    if show_fix and finding.fix:
        say(f"      fix: {harmless(finding.fix)}")


def _link(link: CallSite) -> str:
    return f"{link.name} ({link.path}:{link.line})"


def _foot(diagnosis: Examination, *, every: bool) -> None:
    counts = diagnosis.counts()
    parts = [counted(counts[severity], word) for severity, word in
             (("error", "error"), ("warning", "warning"), ("info", "note")) if counts[severity]]  # fmt: skip
    if not parts:
        say(styled("no problems found", "green"))
        return
    hidden = counts["info"] and not every
    say(f"{', '.join(parts)}{' (notes: --all)' if hidden else ''}")
