"""One dataset cut into several, a file for each value of a column."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from kimi_provider.exceptions import SourceError
from kimi_provider.sources.content import content_hash
from kimi_provider.sources.profile import profile
from kimi_provider.sources.scratch import USUAL, literal, quoted, scratch_database
from kimi_provider.storage import reading, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from duckdb import DuckDBPyConnection

    from kimi_provider.schemas import DatasetRef
    from kimi_provider.storage import StoragePath


def values_of(dataset: StoragePath, column: str, *, most: int) -> tuple[str, ...]:
    """Return the different values of a column as texts, in order; nulls have no slice.

    :param dataset: a Parquet file.
    :param most: as many are allowed.
    :raises SourceError: if there are more.
    """
    name = quoted(column)
    with (
        tempfile.TemporaryDirectory(prefix="kimi-slice-") as folder,
        reading(dataset) as file,
        scratch_database(Path(folder), USUAL) as connection,
    ):
        found = connection.execute(
            f"SELECT DISTINCT CAST({name} AS VARCHAR) AS value FROM read_parquet(?) "  # noqa: S608 — quoted
            f"WHERE {name} IS NOT NULL ORDER BY value LIMIT ?",
            [str(file), most + 1],
        ).fetchall()
    if len(found) > most:
        raise SourceError(
            f"The column {column!r} has more than {most} values, and each would be a report. Name those "
            "that are wanted in recipients, or raise max_slices."
        )
    return tuple(value for (value,) in found)


def cut(
    ref: DatasetRef,
    dataset: StoragePath,
    column: str,
    values: Iterable[str],
    target: Callable[[str], StoragePath],
) -> dict[str, DatasetRef]:
    """Write the rows of each value into a dataset of their own.

    :param ref: what is known of the dataset.
    :param dataset: its Parquet file.
    :param column: whose values tell the slices apart; it stays in them.
    :param values: the values wanted, as texts; one without rows gives a dataset without rows.
    :param target: where the slice of a value goes.
    :raises OSError: if the storage refuses.
    """
    slices: dict[str, DatasetRef] = {}
    with (
        tempfile.TemporaryDirectory(prefix="kimi-slice-") as folder,
        reading(dataset) as file,
        scratch_database(Path(folder), USUAL) as connection,
    ):
        for value in values:
            path = target(value)
            with writing(path) as written:
                _copy(connection, file, written, column, value)
                slices[value] = _described(connection, ref, written, path, f"{column}={value}")
    return slices


def _copy(connection: DuckDBPyConnection, source: Path, target: Path, column: str, value: str) -> None:
    rows = f"SELECT * FROM read_parquet({literal(str(source))})"  # noqa: S608 — a literal of ours
    connection.execute(
        f"COPY ({rows} WHERE CAST({quoted(column)} AS VARCHAR) = {literal(value)}) "
        f"TO {literal(str(target))} (FORMAT parquet, COMPRESSION zstd)"
    )


def _described(
    connection: DuckDBPyConnection, ref: DatasetRef, file: Path, path: StoragePath, which: str
) -> DatasetRef:
    view = f"read_parquet({literal(str(file))})"
    connection.execute(f"CREATE OR REPLACE VIEW slice AS SELECT * FROM {view}")  # noqa: S608 — a literal of ours
    columns = {column.name: column.type for column in ref.columns}
    described = profile(connection, "slice", columns)
    protected = {column.name: column.protected for column in ref.columns}
    nulls = {column.name: column.nulls for column in described}
    rows, sha256 = content_hash(connection, "slice", columns, nulls)
    return ref.model_copy(
        update={
            "uri": path.as_uri(),
            "rows": rows,
            "bytes": file.stat().st_size,
            "sha256": sha256,
            "source": f"{ref.source} ({which})",
            "columns": tuple(
                one.model_copy(update={"protected": protected[one.name]}) for one in described
            ),
        }
    )
