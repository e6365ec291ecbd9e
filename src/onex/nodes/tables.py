"""Tables: plain JSON values as an Arrow table or a Polars frame. Both libraries are extras, imported when they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import JsonValue

from ..kernel.errors import DependencyResolutionError, ValidationError

if TYPE_CHECKING:
    import polars
    import pyarrow


def arrow_table(value: JsonValue) -> pyarrow.Table:
    """Of rows, or of columns by name. Raises ValidationError; DependencyResolutionError without ``onex[arrow]``."""
    try:
        import pyarrow
    except ImportError as error:
        raise _missing("dataframe", "arrow", error) from error
    try:
        return pyarrow.Table.from_pydict(_columns(value))
    except pyarrow.ArrowException as error:
        raise ValidationError(f"no table: {error}") from error


def polars_frame(value: JsonValue) -> polars.DataFrame:
    """The same for Polars. Raises ValidationError; DependencyResolutionError without ``onex[polars]``."""
    try:
        import polars
    except ImportError as error:
        raise _missing("polars", "polars", error) from error
    try:
        return polars.DataFrame(_columns(value))
    except (polars.exceptions.PolarsError, TypeError) as error:
        raise ValidationError(f"no frame: {error}") from error


def _columns(value: JsonValue) -> dict[str, list[JsonValue]]:
    """Rows become columns, in the order in which names first occur; a row that lacks a name has None there."""
    if isinstance(value, dict):
        columns = {name: column for name, column in value.items() if isinstance(column, list)}
        if len(columns) == len(value) and len({len(column) for column in columns.values()}) <= 1:
            return columns
        raise ValidationError("a mapping is a table if its values are lists of one length")
    if isinstance(value, list):
        rows = [row for row in value if isinstance(row, dict)]
        if len(rows) == len(value):
            names = dict.fromkeys(name for row in rows for name in row)
            return {name: [row.get(name) for row in rows] for name in names}
        if not rows:
            return {"value": value}
    raise ValidationError("a table is a list of rows (mappings), a list of values, or columns by name")


def _missing(form: str, extra: str, error: ImportError) -> DependencyResolutionError:
    return DependencyResolutionError(
        f"output format {form!r} needs the extra: pip install 'PATH/TO/ONEX[{extra}]' ({error})"
    )
