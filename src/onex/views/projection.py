"""A projection as JSON: its rows, its watermark, and how far it is behind."""

from __future__ import annotations

from collections.abc import Sequence

from ..engine.projections import Lag
from ..ports import ProjectionRow
from .stored_value import parse_json, position_text


def projection_json(name: str, lag: Lag, rows: Sequence[ProjectionRow], *, late: bool, more: bool) -> dict[str, object]:
    """``more``: there are rows behind the last of ``rows``."""
    return {
        "projection": name,
        "watermark": position_text(lag.watermark),
        "lag_rows": lag.rows,
        "lag_ms": round(lag.lag_ms, 3),
        "late": late,
        "rows": [_projected_json(row) for row in rows],
        "more": more,
    }


def _projected_json(row: ProjectionRow) -> dict[str, object]:
    return {
        "key": str(row.key),
        "tag": row.tag,
        "version": row.version,
        "last_action": row.last_action,
        "fields": parse_json(row.fields),
    }
