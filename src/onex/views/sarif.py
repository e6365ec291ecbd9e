"""Findings as SARIF 2.1.0 (OASIS), which code hosts show beside the lines they are about.

runs[0].tool.driver.rules   each code once, by name
runs[0].results             one per finding: ruleId, level, message, place, and a fingerprint that outlives moved lines
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pydantic import JsonValue

from ..kernel.finding import EnumSeverity, Finding

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {EnumSeverity.ERROR: "error", EnumSeverity.WARNING: "warning", EnumSeverity.INFO: "note"}


def sarif(findings: Sequence[Finding], version: str) -> dict[str, JsonValue]:
    """One run. Paths are given as they are found, relative ones relative to where the tool ran."""
    codes = sorted({finding.code for finding in findings})
    rules: list[JsonValue] = [{"id": code, "shortDescription": {"text": _rule_text(code)}} for code in codes]
    counts: dict[tuple[str, ...], int] = {}
    results: list[JsonValue] = []
    for finding in findings:
        same = (finding.code, finding.path, finding.message)
        counts[same] = counts.get(same, 0) + 1
        results.append(_result(finding, codes.index(finding.code), _fingerprint(*same, str(counts[same]))))
    driver: dict[str, JsonValue] = {"name": "onex", "version": version, "rules": rules}
    run: dict[str, JsonValue] = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(finding: Finding, rule: int, fingerprint: str) -> dict[str, JsonValue]:
    text = f"{finding.message}. Fix: {finding.fix}" if finding.fix else finding.message
    place: dict[str, JsonValue] = {"artifactLocation": {"uri": _uri(finding.path)}}
    if finding.line > 0:
        region: dict[str, JsonValue] = {"startLine": finding.line}
        if finding.column > 0:
            region["startColumn"] = finding.column
        place["region"] = region
    return {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": _LEVELS[finding.severity],
        "message": {"text": text},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"onexFinding/v1": fingerprint},
    }


def _uri(path: str) -> str:
    """A path as a URI reference: absolute ones as file:, relative ones never mistaken for a scheme."""
    plain = "".join(_quoted(byte) for byte in path.removeprefix("./").encode("utf-8", "surrogateescape"))
    return f"file://{plain}" if path.startswith("/") else plain


def _quoted(byte: int) -> str:
    """RFC 3986: everything but unreserved characters and the slash."""
    letter = chr(byte)
    return letter if letter in "-._~/" or (letter.isascii() and letter.isalnum()) else f"%{byte:02X}"


def _fingerprint(*words: str) -> str:
    return hashlib.blake2b("\0".join(words).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _rule_text(code: str) -> str:
    return code.replace("_", " ").capitalize()
