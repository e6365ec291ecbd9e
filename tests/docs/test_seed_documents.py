"""Every document that the source documents name has a row: a home here, or a word on what is missing."""

from __future__ import annotations

from tests.laws.tree import ROOT

PAGE = ROOT / "docs" / "seed-documents.md"
NAMED = {
    "REDUCER_PATTERN_ENGINE_GUIDE",
    "SUBREDUCER_DEVELOPMENT",
    "WORKFLOW_ROUTING_CONFIGURATION",
    "container_dependency_injection",
    "error_handling_patterns",
    "PHASE_4_COORDINATION_ARCHITECTURE",
    "COORDINATION_QUICK_START",
    "COORDINATION_API_REFERENCE",
    "COORDINATION_INTEGRATION_GUIDE",
    "COORDINATION_PERFORMANCE_TUNING",
    "PHASE_4_WORKFLOWS_ARCHITECTURE",
    "CODE_GENERATION_WORKFLOW_QUICK_START",
    "WORKFLOWS_API_REFERENCE",
    "WORKFLOW_INTEGRATION_GUIDE",
    "WORKFLOW_PERFORMANCE_TUNING",
    "AI_QUORUM_README",
    "PHASE_4_OPTIMIZATION_GUIDE",
    "ERROR_RECOVERY_GUIDE",
    "PRODUCTION_DEPLOYMENT_GUIDE",
    "API_REFERENCE",
    "CODE_GENERATION_GUIDE",
    "CONSUL_PATTERNS_QUICK_REFERENCE",
    "EVENT_PUBLISHING_QUICK_REFERENCE",
    "METRICS_PATTERN_SUMMARY",
    "MIXIN_SELECTOR_QUICK_REFERENCE",
    "CONVENIENCE_WRAPPER_IMPLEMENTATION_SUMMARY",
    "PRODUCTION_NODE_PATTERNS",
    "PRODUCTION_VS_TEMPLATE_COMPARISON",
    "JINJA2_MIXIN_SELECTION_SUMMARY",
    "PURE_REDUCER_MIGRATION",
    "PURE_REDUCER_OPERATIONS",
}


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_each_document_has_one_row() -> None:
    listed = [document for document, _, _ in rows()]
    assert sorted(listed) == sorted(NAMED)


def test_a_row_has_a_home_or_says_what_is_missing() -> None:
    assert [
        document for document, home, missing in rows() if "](" not in home and (home != "later" or not missing)
    ] == []
