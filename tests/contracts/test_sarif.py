"""Findings as code hosts read them."""

from __future__ import annotations

import json
from typing import Any

from onex.kernel.finding import EnumSeverity, Finding
from onex.views.sarif import sarif

ONE = Finding("unknown_key", EnumSeverity.ERROR, "a/contract.yaml", 3, 5, "no key 'paylod'", "did you mean 'payload'?")
WHOLE = Finding("yaml_empty", EnumSeverity.WARNING, "./b c.yaml", 0, 0, "the file holds no document")
NOTE = Finding("unknown_key", EnumSeverity.INFO, "/x/ü.yaml", 7, 1, "no key 'x'")


def log(*findings: Finding) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(json.dumps(sarif(findings, "1.2.3")))
    return read


def test_a_log_has_one_run_of_this_tool() -> None:
    found = log()
    assert found["version"] == "2.1.0"
    assert found["$schema"].endswith("sarif-2.1.0.json")
    (run,) = found["runs"]
    assert run["tool"]["driver"] == {"name": "onex", "version": "1.2.3", "rules": []}
    assert run["results"] == []


def test_each_code_is_a_rule_once_and_results_point_to_it() -> None:
    (run,) = log(ONE, WHOLE, NOTE)["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["unknown_key", "yaml_empty"]
    assert all(rule["shortDescription"]["text"] for rule in rules)
    assert [(one["ruleId"], rules[one["ruleIndex"]]["id"]) for one in run["results"]] == [
        ("unknown_key", "unknown_key"), ("yaml_empty", "yaml_empty"), ("unknown_key", "unknown_key"),
    ]  # fmt: skip


def test_a_result_says_level_words_and_place() -> None:
    result = log(ONE)["runs"][0]["results"][0]
    assert result["level"] == "error"
    assert result["message"] == {"text": "no key 'paylod'. Fix: did you mean 'payload'?"}
    assert result["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "a/contract.yaml"},
                "region": {"startLine": 3, "startColumn": 5},
            }
        }
    ]


def test_what_is_about_a_whole_file_has_no_region_and_paths_are_uris() -> None:
    whole, note = log(WHOLE, NOTE)["runs"][0]["results"]
    assert whole["locations"] == [{"physicalLocation": {"artifactLocation": {"uri": "b%20c.yaml"}}}]
    assert (whole["level"], note["level"]) == ("warning", "note")
    assert note["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "file:///x/%C3%BC.yaml"


def test_a_fingerprint_outlives_moved_lines_and_tells_twins_apart() -> None:
    def prints(*findings: Finding) -> list[str]:
        return [one["partialFingerprints"]["onexFinding/v1"] for one in log(*findings)["runs"][0]["results"]]

    assert prints(ONE) == prints(ONE._replace(line=99, column=1))
    assert len(set(prints(ONE, ONE._replace(line=9)))) == 2
