"""An inspection of contracts and apps, as JSON."""

from __future__ import annotations

from collections import Counter

from ..app.load import LoadedWorkflow
from ..doctor.inspection import InspectedApp, Inspection
from ..kernel.finding import errors
from .finding import finding_json


def check_json(inspection: Inspection) -> dict[str, object]:
    findings = inspection.findings
    return {
        "ok": not errors(findings),
        "files": [
            {
                "path": one.path,
                "ok": one.ok,
                "node_type": one.kind or one.word or None,
                "family": one.family or None,
                "keys_honoured": one.honoured,
                "keys_reported": len(one.reported),
                "findings": [finding_json(finding) for finding in one.findings],
                "name": one.name or None,
                "written": one.word or None,
                "keys": one.keys,
                "reported": [key._asdict() for key in one.reported],
            }
            for one in inspection.files
        ],
        "beside": [finding_json(finding) for finding in inspection.beside],
        "skipped": [str(path) for path in inspection.skipped],
        "apps": [_app_json(app) for app in inspection.apps],
        "summary": {
            "files": len(inspection.files),
            "ok": sum(one.ok for one in inspection.files),
            "skipped": len(inspection.skipped),
            "findings": dict(Counter(str(one.severity) for one in findings)),
            "keys_honoured": sum(one.honoured for one in inspection.files),
            "keys_reported": sum(len(one.reported) for one in inspection.files),
        },
    }


def _app_json(app: InspectedApp) -> dict[str, object]:
    workflows = [
        {
            "name": one.name,
            "contract_version": one.code.contract_version,
            "code": one.code.digest.hex(),
            "statuses": len(one.reducer.machine.statuses),
            "triggers": len(triggers_of(one)),
            "intents": len(one.contract.intents),
        }
        for one in (app.app.written.values() if app.app else ())
    ]
    return {"path": str(app.path), "ok": app.app is not None, "files": app.files, "workflows": workflows}


def triggers_of(one: LoadedWorkflow) -> set[str]:
    return {transition.trigger for transition in one.reducer.machine.transitions}
