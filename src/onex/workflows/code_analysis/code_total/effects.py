"""Writing the report: Markdown for a terminal or a pull request, one HTML file for a person."""

from __future__ import annotations

import asyncio
from pathlib import Path

from onex import EffectIO, ModelIntent, effect

from ..code_file.effects import replace_file
from ..markdown import render_markdown
from ..page import render_html
from ..report import build_report
from ..summary import unbundle
from .payloads import WasReported, WriteReport


@effect("report_writer")
async def report(intent: ModelIntent[WriteReport], io: EffectIO) -> WasReported:
    wanted = intent.payload
    blobs = [await io.read(bundle) for bundle in wanted.bundles]
    return await asyncio.to_thread(_write, wanted, blobs)


def _write(wanted: WriteReport, blobs: list[bytes]) -> WasReported:
    built = build_report(unbundle(blobs), wanted.title)
    folder = Path(wanted.out)
    markdown, html = folder / "report.md", folder / "report.html"
    replace_file(markdown, render_markdown(built).encode())
    replace_file(html, render_html(built).encode())
    return WasReported(markdown=str(markdown), html=str(html))
