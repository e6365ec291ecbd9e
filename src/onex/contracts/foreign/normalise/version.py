"""Versions in all their spellings: ``{major, minor, patch}``, ``1.0.0``, ``v1_0_0``, ``1.0``, ``1``."""

from __future__ import annotations

import re

from ...text.yaml_tree import YamlEntry, YamlMap, YamlNode, YamlScalar
from .draft import Notes, made

PARTS = ("major", "minor", "patch")
_WRITTEN = re.compile(r"[vV]?(\d{1,9})(?:[._](\d{1,9}))?(?:[._](\d{1,9}))?")


def version(node: YamlNode, notes: Notes) -> YamlNode:
    """A mapping of three numbers; what is no version is returned as it is, and refused by the model."""
    if isinstance(node, YamlMap):
        entries = {name: _numbered(entry) if name in PARTS else entry for name, entry in node.entries.items()}
        if "major" in entries:
            for part in PARTS[1:]:
                entries.setdefault(part, made(part, YamlScalar(0, node.place)))
        return YamlMap(entries, node.place)
    if not isinstance(node, YamlScalar) or node.value is None or isinstance(node.value, bool):
        return node
    if isinstance(node.value, float):
        # 1.10 has become 1.1 in the reader: say so, since nobody can tell any more
        notes.info(
            node.place,
            "version_number",
            f"the version {node.value} is written as a number, which loses a zero at its end",
            f'write "{node.value}" in quotes, or {{major: .., minor: .., patch: ..}}',
        )
    written = str(node.value).strip()
    found = _WRITTEN.match(written)
    if found is None or (found.end() < len(written) and written[found.end()] not in "-+._ "):
        return node
    if found.end() < len(written):
        read = ".".join(part or "0" for part in found.groups())
        notes.warn(
            node.place,
            "version_suffix",
            f"the version {written[:60]!r} is read as {read}; what follows is not compared",
            "write the three numbers",
        )
    numbers = [int(part or 0) for part in found.groups()]
    return YamlMap(
        {part: made(part, YamlScalar(n, node.place)) for part, n in zip(PARTS, numbers, strict=True)}, node.place
    )


def _numbered(entry: YamlEntry) -> YamlEntry:
    node = entry.node
    if isinstance(node, YamlScalar) and isinstance(node.value, str) and re.fullmatch(r"\d{1,9}", node.value):
        return entry._replace(node=YamlScalar(int(node.value), node.place))
    return entry
