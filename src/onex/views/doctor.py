"""A diagnosis of a repository as JSON."""

from __future__ import annotations

from ..doctor.doctor_finding import DoctorFinding
from ..doctor.examination import Examination
from ..doctor.topics import TopicUse
from ..kernel.finding import EnumSeverity
from .finding import finding_json


def diagnosis_json(diagnosis: Examination) -> dict[str, object]:
    names = {reading.path: contract for reading, contract in diagnosis.loaded}
    return {
        "root": str(diagnosis.root),
        "contracts": [
            {
                "path": one.path,
                "ok": one.ok,
                "name": names[one.path].name if one.path in names else None,
                "node_type": names[one.path].kind.value if one.path in names else None,
                "written": one.node_type or None,
                "family": one.family.value if one.family is not None else None,
            }
            for one in diagnosis.readings
        ],
        "kinds": diagnosis.kinds,
        "families": diagnosis.families,
        "python_files": len(diagnosis.tree.python),
        "modules_read": diagnosis.modules,
        "other_yaml": diagnosis.tree.other_yaml,
        "references": {"found": diagnosis.references, "outside": dict(sorted(diagnosis.outside.items()))},
        "topics": {
            "published": [_said(one) for one in diagnosis.traffic.published],
            "consumed": [_said(one) for one in diagnosis.traffic.consumed],
        },
        "claims": [
            {
                "contract": one.contract,
                "node": one.node,
                "claim": one.claim.written_as,
                "path": one.claim.place.path,
                "line": one.claim.place.line,
                "explicit": one.claim.explicit,
                "verdict": one.verdict.value,
                "functions": one.functions,
                "outside": one.outside,
            }
            for one in diagnosis.claims
        ],
        "symptoms": [_finding(one) for one in diagnosis.findings],
        "counts": {severity.value: diagnosis.counts()[severity.value] for severity in EnumSeverity},
    }


def _said(one: TopicUse) -> dict[str, object]:
    return {
        "topic": one.topic,
        "node": one.node,
        "path": one.place.path,
        "line": one.place.line,
        "external": one.external,
        "event": one.is_event,
    }


def _finding(one: DoctorFinding) -> dict[str, object]:
    return {
        "area": one.area.value,
        **finding_json(one.finding),
        "contracts": one.contracts,
        "chain": [link._asdict() for link in one.chain],
    }
