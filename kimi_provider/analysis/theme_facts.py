"""Themes as facts: which record belongs to which theme becomes a table, and SQL counts it."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from typing import TYPE_CHECKING

from kimi_provider.analysis.database import Database
from kimi_provider.analysis.facts import compute_facts
from kimi_provider.analysis.metrics import Metric
from kimi_provider.analysis.translations import translated, words_of
from kimi_provider.schemas import DatasetRef, FactSheet, FactTable, Lineage, TableColumn
from kimi_provider.storage import reading, writing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kimi_provider.analysis.merging import Theme
    from kimi_provider.storage import StoragePath

METRICS = tuple(
    map(
        Metric.model_validate,
        [
            {
                "id": "texts",
                "sql": "SELECT (SELECT count(*) FROM texts_read) AS records,"
                " (SELECT count(DISTINCT row) FROM labels) AS with_theme,"
                " (SELECT count(*) FROM texts_read WHERE row NOT IN (SELECT row FROM labels))"
                " AS without_theme, (SELECT count(DISTINCT theme) FROM labels) AS themes",
                "columns": {
                    "records": {"label": "Records read", "unit": "count", "kpi": True},
                    "with_theme": {"label": "Records with a theme", "unit": "count"},
                    "without_theme": {"label": "Records without a theme", "unit": "count"},
                    "themes": {"label": "Themes", "unit": "count"},
                },
            },
            {
                "id": "themes",
                "label": "Themes",
                "key": ["theme"],
                "sql": "SELECT theme, count(DISTINCT row) AS records,"
                " count(DISTINCT row) / (SELECT count(*) FROM texts_read) AS share"
                " FROM labels GROUP BY theme ORDER BY records DESC, theme",
                "columns": {
                    "theme": {"label": "Theme"},
                    "records": {"label": "Records", "unit": "count"},
                    "share": {"label": "Share of the records", "unit": "percent", "decimals": 1},
                },
            },
            {
                "id": "quotes",
                "label": "In their words",
                "key": ["theme", "record"],
                "sql": "SELECT theme, row AS record, quote FROM quotes ORDER BY theme, row",
                "columns": {"quote": {"label": "Quote", "unit": "text"}},
            },
        ],
    )
)
_QUOTES = "quotes"
_TRANSLATIONS = {
    "pl": {
        "Records read": "Przeczytane wpisy",
        "Records with a theme": "Wpisy z tematem",
        "Records without a theme": "Wpisy bez tematu",
        "Themes": "Tematy",
        "Theme": "Temat",
        "Records": "Wpisy",
        "Record": "Wpis",
        "Share of the records": "Udział wpisów",
        "In their words": "Ich słowami",
        "Quote": "Cytat",
    }
}


def announced(sheet: FactSheet) -> FactSheet:
    """Return the sheet with the tables that the themes will be, still empty, to check charts against."""
    tables = tuple(
        FactTable(
            id=metric.id,
            label=metric.label or metric.id,
            columns=(
                *(TableColumn(name=name, label=name, key=True) for name in metric.key),
                *(
                    TableColumn(name=name, label=column.label or name)
                    for name, column in metric.columns.items()
                    if name not in metric.key
                ),
            ),
            rows=(),
            lineage=Lineage(sql=metric.sql),
        )
        for metric in METRICS
        if metric.key
    )
    return FactSheet(facts=sheet.facts, tables=(*sheet.tables, *tables))


def theme_sheet(
    themes: Sequence[Theme],
    read: Sequence[int],
    folder: StoragePath,
    *,
    source: Mapping[str, str],
    period: str | None,
    language: str | None = None,
) -> FactSheet:
    """Count the records of each theme by SQL; blocks, so it belongs in a thread.

    :param themes: with the rows that belong to each; the same row may be in several.
    :param read: the rows that had a text.
    :param folder: gets ``labels.parquet`` (row, theme), ``texts_read.parquet`` (row) and
        ``quotes.parquet`` (theme, row, quote), which the facts' SQL reads: whoever doubts a count can
        look up each record that it counts.
    :param source: content hash of the dataset that was read, by its name; for the lineage.
    :param period: name of the period.
    :param language: what the labels are written in: ``pl``; English for others.
    :raises OSError: if the storage refuses.
    """
    tables: dict[str, tuple[str, list[list[object]]]] = {
        "texts_read": ("row BIGINT", [[row] for row in sorted(set(read))]),
        "labels": (
            "row BIGINT, theme VARCHAR",
            [[row, theme.label] for theme in themes for row in sorted(theme.rows)],
        ),
        _QUOTES: (
            "theme VARCHAR, row BIGINT, quote VARCHAR",
            [[theme.label, row, text] for theme in themes for row, text in theme.quotes.items()],
        ),
    }
    paths, refs = {}, {}
    for name, (columns, rows) in tables.items():
        path = folder / f"{name}.parquet"
        with writing(path) as file:
            _write(file, columns, rows)
            digest, size = hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_size
        paths[name] = path
        refs[name] = DatasetRef(
            uri=path.as_uri(), rows=len(rows), bytes=size, sha256=digest, source="themes", columns=()
        )
    words = words_of(_TRANSLATIONS, language)
    metrics = [
        translated(metric, words) for metric in METRICS if metric.id != _QUOTES or tables[_QUOTES][1]
    ]
    named = period and period.replace("{", "{{").replace("}", "}}")
    with ExitStack() as stack:
        files = {name: stack.enter_context(reading(path)) for name, path in paths.items()}
        database = stack.enter_context(Database(files))
        sheet = compute_facts(database, metrics, {}, datasets=refs, period=named)
    return _traced(sheet, source)


def _write(path: Path, columns: str, rows: list[list[object]]) -> None:
    """Write rows as Parquet; a list a column goes in at once, since a statement a row is slow."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE t ({columns})")
        if rows:
            values = [list(column) for column in zip(*rows, strict=True)]
            marks = ", ".join(f"unnest(${i})" for i in range(1, len(values) + 1))
            connection.execute(f"INSERT INTO t SELECT {marks}", values)
        quoted = str(path).replace("'", "''")
        connection.execute(f"COPY t TO '{quoted}' (FORMAT parquet)")


def _traced(sheet: FactSheet, source: Mapping[str, str]) -> FactSheet:
    """Name in each lineage the dataset that was read, beside the tables made of it."""
    facts = []
    for fact in sheet.facts:
        datasets = {**fact.lineage.datasets, **source}
        lineage = fact.lineage.model_copy(update={"datasets": datasets})
        facts.append(fact.model_copy(update={"lineage": lineage}))
    return FactSheet(facts=tuple(facts), tables=sheet.tables)
