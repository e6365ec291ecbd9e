"""A drawing as one SVG file. It scales, follows light and dark mode, has a title for screen readers, and loads nothing.

Text of contracts is never markup: all of it is escaped by ``_text``.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from .drawing import LINE, SMALL, TYPE, Drawing, EdgeLabel, EdgeLine, NodeBox

_STYLE = """
.onex{--paper:#fff;--ink:#1c2430;--faint:#5b6675;--line:#6b7686;--fill:#f3f5f8;--edge:#9aa5b4;--late:#9a5b00;--bad:#b3261e;
--state:#e8f0fd;--state-edge:#4f7fc9;--end:#e3f4e8;--end-edge:#3d8f5a;--effect:#fdeee2;--effect-edge:#c9793a;
--compute:#e6f4f1;--compute-edge:#2f8f80;--orchestrator:#f1eafb;--orchestrator-edge:#8060b8;--topic:#fbf6da;--topic-edge:#a58a1c;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-size:13px}
@media (prefers-color-scheme:dark){.onex{--paper:#12161c;--ink:#e4e9f0;--faint:#98a4b3;--line:#8793a3;--fill:#1f2630;
--edge:#5a6676;--late:#e0a04a;--bad:#ff8a80;--state:#1b2b46;--state-edge:#6c9be6;--end:#17352280;--end-edge:#5cb57c;
--effect:#3b2617;--effect-edge:#e09a5c;--compute:#12332f;--compute-edge:#4fb5a5;--orchestrator:#2c2341;
--orchestrator-edge:#a68be0;--topic:#35301299;--topic-edge:#cdb24a}}
.onex .paper{fill:var(--paper)}
.onex text{fill:var(--ink);text-anchor:middle}
.onex .small{font-size:11px;fill:var(--faint)}
.onex .box{fill:var(--fill);stroke:var(--edge);stroke-width:1.2}
.onex .state .box,.onex .reducer .box{fill:var(--state);stroke:var(--state-edge)}
.onex .terminal .box{fill:var(--end);stroke:var(--end-edge)}
.onex .ring{fill:none;stroke:var(--end-edge);stroke-width:1}
.onex .effect .box{fill:var(--effect);stroke:var(--effect-edge)}
.onex .compute .box{fill:var(--compute);stroke:var(--compute-edge)}
.onex .orchestrator .box{fill:var(--orchestrator);stroke:var(--orchestrator-edge)}
.onex .topic .box{fill:var(--topic);stroke:var(--topic-edge)}
.onex .any .box,.onex .outside .box{stroke-dasharray:4 3}
.onex .missing .box{stroke:var(--bad);stroke-dasharray:4 3}
.onex .dot{fill:var(--ink)}
.onex .line{fill:none;stroke:var(--line);stroke-width:1.3}
.onex .tip{fill:var(--line)}
.onex .timeout .line,.onex .weak .line,.onex .missed .line{stroke-dasharray:5 4}
.onex .missed .line{stroke:var(--bad)}
.onex .missed text{fill:var(--bad)}
.onex .timeout .line{stroke:var(--late)}
.onex .timeout text{fill:var(--late)}
.onex .behind{fill:var(--paper)}
"""
ROUND = 7
PILL = ("topic",)


def svg(drawing: Drawing, title: str, description: str = "") -> str:
    """The whole file, with a line break at the end. The same arguments give the same bytes."""
    return "\n".join(_parts(drawing, title, description)) + "\n"


def _parts(drawing: Drawing, title: str, description: str) -> Iterator[str]:
    width, height = ceil(drawing.width), ceil(drawing.height)
    desc = f"<desc>{_text(description)}</desc>" if description else ""
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="onex" role="img" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}"><title>{_text(title)}</title>{desc}'
    )
    yield f"<style>{_STYLE}</style>"
    yield (
        '<defs><marker id="tip" class="tip" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8" '
        'markerUnits="userSpaceOnUse" orient="auto"><path d="M0,0.6L8,4L0,7.4Z"/></marker></defs>'
    )
    yield f'<rect class="paper" width="{width}" height="{height}"/>'
    for line in drawing.lines:
        yield _line(line)
    for line in drawing.lines:  # labels lie above every line
        if line.label is not None:
            yield _label(line, line.label)
    for box in drawing.boxes:
        yield _box(box)
    yield "</svg>"


def _line(line: EdgeLine) -> str:
    path = "".join(
        stroke.letter + " ".join(f"{_number(point.x)},{_number(point.y)}" for point in stroke.points)
        for stroke in line.strokes
    )
    return f'<g{_class(line.kind)}><path class="line" marker-end="url(#tip)" d="{path}"/></g>'


def _label(line: EdgeLine, label: EdgeLabel) -> str:
    x, y = label.x - label.width / 2, label.y - label.height / 2
    more = f"<title>{_text(label.full)}</title>" if label.full else ""
    rect = (
        f'<rect class="behind" x="{_number(x)}" y="{_number(y)}" width="{_number(label.width)}" '
        f'height="{_number(label.height)}"/>'
    )
    return f"<g{_class(line.kind)}>{more}{rect}{_words(label.lines, label.x, label.y)}</g>"


def _box(box: NodeBox) -> str:
    node = box.node
    x, y = box.x - box.width / 2, box.y - box.height / 2
    title = f"<title>{_text(node.note)}</title>" if node.note else ""
    if node.kind == "start":
        shape = f'<circle class="dot" cx="{_number(box.x)}" cy="{_number(box.y)}" r="{_number(box.width / 2)}"/>'
        return f"<g{_class(node.kind)}>{title}{shape}</g>"
    radius = box.height / 2 if node.kind in PILL else ROUND
    shape = _rect("box", x, y, box.width, box.height, radius)
    if node.kind == "terminal":
        shape += _rect("ring", x + 3, y + 3, box.width - 6, box.height - 6, radius - 3)
    if node.detail:
        words = _words(box.lines, box.x, box.y - LINE * SMALL / TYPE / 2)
        below = box.y + len(box.lines) * LINE / 2 + 4
        words += f'<text class="small" x="{_number(box.x)}" y="{_number(below)}">{_text(node.detail)}</text>'
    else:
        words = _words(box.lines, box.x, box.y)
    return f"<g{_class(node.kind)}>{title}{shape}{words}</g>"


def _rect(kind: str, x: float, y: float, width: float, height: float, radius: float) -> str:
    return (
        f'<rect class="{kind}" x="{_number(x)}" y="{_number(y)}" width="{_number(width)}" height="{_number(height)}" '
        f'rx="{_number(radius)}"/>'
    )


def _words(lines: tuple[str, ...], x: float, y: float) -> str:
    # 4.5 px: from the middle of a 13 px line down to its baseline
    first = y - (len(lines) - 1) * LINE / 2 + 4.5
    return "".join(
        f'<text x="{_number(x)}" y="{_number(first + n * LINE)}">{_text(line)}</text>' for n, line in enumerate(lines)
    )


def _class(kind: str) -> str:
    """The class attribute. Escaped, so that no kind can end the attribute."""
    return f' class="{_text(kind)}"' if kind else ""


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})


def _text(words: str) -> str:
    """Escaped for XML. Characters that XML 1.0 does not allow are shown as ``\\uXXXX``."""
    return "".join(c if c in "\t\n" or c.isprintable() else f"\\u{ord(c):04x}" for c in words).translate(_ENTITIES)
