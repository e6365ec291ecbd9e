"""Real packages of the Python that runs: nothing raises, what is known of them is found, states stay small."""

from __future__ import annotations

import sysconfig
from functools import cache
from pathlib import Path

from pydantic import BaseModel

from onex.workflows.code_analysis.analysis import FileAnalysis, analyse
from onex.workflows.code_analysis.gather import Gathering
from onex.workflows.code_analysis.markdown import render_markdown
from onex.workflows.code_analysis.page import render_html
from onex.workflows.code_analysis.report import build_report
from onex.workflows.code_analysis.summary import bundle, line, tally_of, unbundle

LIBRARY = Path(sysconfig.get_paths()["stdlib"])
PACKAGES = ("json", "email", "asyncio")
STATE_BYTES_MAX = 64 * 1024


class Reference(BaseModel):
    """As large as a reference to a blob gets: hash, size, media type."""

    digest: str
    size_bytes: int
    media_type: str = "application/x-ndjson"


@cache
def analyses() -> tuple[FileAnalysis, ...]:
    found = []
    for package in PACKAGES:
        for path in sorted((LIBRARY / package).rglob("*.py")):
            name = path.relative_to(LIBRARY).as_posix()
            module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            found.append(analyse(path.read_bytes(), name, module))
    return tuple(found)


def test_every_file_of_them_is_read() -> None:
    assert [analysis.path for analysis in analyses() if not analysis.ok] == []
    assert len(analyses()) > 50


def test_lines_add_up() -> None:
    for counts in (analysis.counts for analysis in analyses()):
        assert counts.lines == counts.code + counts.comment + counts.blank + counts.docstring


def test_findings_are_rare_enough_to_be_read() -> None:
    totals = build_report(analyses()).totals
    assert totals.finding_count < totals.code / 100


def test_the_imports_of_json_are_known() -> None:
    decoder = next(analysis for analysis in analyses() if analysis.module == "json.decoder")
    assert ("json", ("scanner",)) in {(found.name, found.members) for found in decoder.imports}


def test_the_parts_of_asyncio_hang_together() -> None:
    report = build_report(analyses())
    hubs = {row.module: row for row in report.hubs}
    assert hubs["asyncio.events"].fan_in > 5
    assert hubs["asyncio"].fan_out > 10


def test_states_of_the_gatherers_stay_under_64_kib() -> None:
    blobs: dict[str, bytes] = {}

    def put(blob: bytes) -> Reference:
        reference = Reference(digest=f"{len(blobs):064x}", size_bytes=len(blob))
        blobs[reference.digest] = blob
        return reference

    gathering: Gathering[Reference] = Gathering(expected=900)
    sizes = []
    for number in range(900):
        analysis = analyses()[number % len(analyses())]
        gathering = gathering.arrive(tally_of(analysis), [put(line(analysis))])
        sizes.append(len(gathering.model_dump_json()))
        while gathering.to_pack:
            gathering = gathering.pack()
            sizes.append(len(gathering.model_dump_json()))
            gathering = gathering.packed(put(bundle(blobs[part.digest] for part in gathering.packing)))
    assert gathering.complete
    assert max(sizes) < STATE_BYTES_MAX / 2
    assert sum(1 for _ in unbundle(blobs[part.digest] for part in gathering.bundles)) == 900


def test_what_a_file_sends_to_its_directory_is_small() -> None:
    assert max(len(tally_of(analysis).model_dump_json()) for analysis in analyses()) < 1_024


def test_both_reports_are_drawn() -> None:
    report = build_report(analyses(), "Three packages")
    text, page = render_markdown(report), render_html(report)
    assert text.startswith("# Three packages\n")
    assert "<title>Three packages</title>" in page
    assert all(row.path in text and row.path in page for row in report.first)
