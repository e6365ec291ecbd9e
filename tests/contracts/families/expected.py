"""Cases as a reader sees them: a contract, and below ``=>`` all that came of it, line by line.

path.of.a.field: value        each typed field that is not as by default
keys: 12 = 10 honoured + 2 held or unknown
line:column severity code: message | fix
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from onex.contracts.foreign.foreign_reader import read_contract
from onex.contracts.foreign.read_result import ReadResult

HERE = Path(__file__).parent
ARROW = "\n=>\n"


class Case(NamedTuple):
    title: str
    text: str
    reported: str


def cases(name: str) -> list[Case]:
    """Those of ``name``, in its order. What stands before the first title is for readers."""
    found = []
    for block in (HERE / name).read_text().split("\n=== ")[1:]:
        title, _, rest = block.partition("\n")
        text, _, reported = rest.partition(ARROW)
        found.append(Case(title.strip(), text.strip("\n") + "\n", reported.strip("\n")))
    return found


def came_of(reading: ReadResult) -> str:
    lines = [f"{reading.family} {reading.node_type or 'nothing'}{'' if reading.ok else ', refused'}"]
    if reading.contract is not None:
        dump = reading.contract.model_dump(mode="json", exclude_defaults=True)
        lines += [line for line in flat(dump) if not line.startswith("node_type:")]
    lines.append(f"keys: {len(reading.keys)} = {reading.honoured} honoured + {reading.reported} reported")
    for one in reading.findings:
        fixed = f" | {one.fix}" if one.fix else ""
        lines.append(f"{one.line}:{one.column} {one.severity} {one.code}: {one.message}{fixed}")
    return "\n".join(lines)


def flat(value: JsonValue, path: str = "") -> Iterator[str]:
    """A line per value; a version on one line."""
    if isinstance(value, dict) and set(value) == {"major", "minor", "patch"}:
        yield f"{path}: {value['major']}.{value['minor']}.{value['patch']}"
    elif isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from flat(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value and not any(isinstance(item, dict | list) for item in value):
        yield f"{path}: [{', '.join(map(str, value))}]"
    elif isinstance(value, list) and value:
        for n, inner in enumerate(value):
            yield from flat(inner, f"{path}[{n}]")
    else:
        yield f"{path}: {value!r}" if value in ("", [], {}) else f"{path}: {' '.join(str(value).split())}"


def read(case: Case) -> ReadResult:
    return read_contract(case.text, "shop/contract.yaml")


def write(name: str) -> None:
    """Fills in what came of each case; for whoever adds one, who then reads it."""
    page = (HERE / name).read_text()
    head, *blocks = page.split("\n=== ")
    made = [head]
    for block in blocks:
        title, _, rest = block.partition("\n")
        text = rest.partition(ARROW)[0].strip("\n") + "\n"
        made.append(f"{title}\n{text.rstrip()}{ARROW}{came_of(read(Case(title, text, '')))}\n")
    (HERE / name).write_text("\n=== ".join(made))


if __name__ == "__main__":
    for page in sorted(HERE.glob("*.txt")):
        write(page.name)
