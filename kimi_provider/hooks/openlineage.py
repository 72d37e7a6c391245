"""Lineage in OpenLineage's form, for ``apache-airflow-providers-openlineage``.

Only that provider asks for it, so its packages are imported here, inside functions, and are no
dependency of this one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import Dataset

    from kimi_provider.hooks.lineage import Lineage, Place, Query
    from kimi_provider.schemas import DatasetRef

log = logging.getLogger(__name__)

# An object store is told by its bucket, whatever library or protocol reads it.
_SCHEMES = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}


def operator_lineage(lineage: Lineage, asset: str | None) -> OperatorLineage[Any, Any] | None:
    """Return lineage as OpenLineage's provider takes it; ``None`` where that is not installed.

    :param lineage: what the task read and wrote.
    :param asset: the name that the task's outputs share over all runs: each run writes files of its own.
    """
    try:
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.event_v2 import InputDataset, OutputDataset
    except ImportError:
        return None
    inputs, jobs = _asked(lineage.query) if lineage.query else ([], {})
    inputs += [InputDataset(*_named(place.uri), facets=_facets(place)) for place in lineage.inputs]
    outputs = [
        OutputDataset(
            *_named(place.uri),
            facets=_facets(place) | _symlink(asset),
            outputFacets=_size(place.dataset),
        )
        for place in lineage.outputs
    ]
    return OperatorLineage(
        inputs=inputs, outputs=outputs, run_facets=_run_facets(lineage.facets), job_facets=jobs
    )


def _asked(query: Query) -> tuple[list[Dataset], dict[str, Any]]:
    """Return the tables that a statement reads, by the database's own names, and the statement."""
    from airflow.providers.openlineage.sqlparser import get_openlineage_facets_with_sql
    from airflow.sdk import BaseHook
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.facet_v2 import sql_job

    connection = BaseHook.get_connection(query.conn_id)
    hook: Any = connection.get_hook()  # type: ignore[no-untyped-call]
    statement, facets = _without_placeholders(query.sql), {"sql": sql_job.SQLJobFacet(query=query.sql)}
    try:
        # Columns are not asked for: the database has work to do, and they are told of what was fetched.
        found = get_openlineage_facets_with_sql(
            hook, statement, query.conn_id, connection.schema, use_connection=False
        )
    except Exception as error:  # noqa: BLE001 — each database's provider has code of its own here
        log.info("The database does not say what its tables are called (%s)", type(error).__name__)
        found = None
    if found is not None and found.inputs:
        return [*found.inputs], facets
    # Some providers, SQLite's among them, tell no database; the connection is what is known then.
    host, kind = connection.host or "", connection.conn_type
    port = f":{connection.port}" if connection.port else ""
    space, database = (kind, host) if kind == "sqlite" else (f"{kind}://{host}{port}", connection.schema)
    names = [".".join(filter(None, (database, *table))) for table in _tables(statement)]
    return [InputDataset(space, name) for name in names or [database or query.conn_id]], facets


def _tables(sql: str) -> list[tuple[str | None, str]]:
    from airflow.providers.openlineage.sqlparser import SQLParser

    parsed = SQLParser().parse(sql)
    return [(table.schema, table.name) for table in parsed.in_tables] if parsed else []


def _without_placeholders(sql: str) -> str:
    """Return a statement that OpenLineage's parser reads: it gives up at a driver's placeholder."""
    import sqlparse
    from sqlparse.tokens import Name

    parsed: Any = sqlparse.parse(sql)
    tokens = [token for one in parsed for token in one.flatten()]
    return "".join("NULL" if token.ttype in Name.Placeholder else token.value for token in tokens)


def _named(uri: str) -> tuple[str, str]:
    """Return namespace and name, as OpenLineage's naming has them for each kind of storage."""
    parts = urlsplit(uri)
    if parts.scheme in {"", "file"}:
        return "file", parts.path
    scheme = _SCHEMES.get(parts.scheme, parts.scheme)
    host = parts.netloc.rpartition("@")[2]
    if scheme in {"http", "https"}:
        return f"{scheme}://{host}", parts.path or "/"
    return f"{scheme}://{host}", parts.path.lstrip("/") or "/"


def _facets(place: Place) -> dict[str, Any]:
    from openlineage.client.facet_v2 import (
        dataset_version_dataset,
        datasource_dataset,
        schema_dataset,
        storage_dataset,
    )

    facets: dict[str, Any] = {
        "dataSource": datasource_dataset.DatasourceDatasetFacet(name=_named(place.uri)[0], uri=place.uri)
    }
    if (dataset := place.dataset) is not None:
        facets |= {
            "schema": schema_dataset.SchemaDatasetFacet(
                fields=[
                    schema_dataset.SchemaDatasetFacetFields(name=column.name, type=column.type)
                    for column in dataset.columns
                ]
            ),
            "version": dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=dataset.sha256),
            "storage": storage_dataset.StorageDatasetFacet(
                storageLayer=urlsplit(place.uri).scheme or "file", fileFormat=dataset.format
            ),
        }
    return facets


def _symlink(asset: str | None) -> dict[str, Any]:
    from openlineage.client.facet_v2 import symlinks_dataset

    if asset is None:
        return {}
    namespace, _, name = asset.partition("://")
    named = symlinks_dataset.Identifier(namespace=namespace, name=name, type="ASSET")
    return {"symlinks": symlinks_dataset.SymlinksDatasetFacet(identifiers=[named])}


def _size(dataset: DatasetRef | None) -> dict[str, Any]:
    from openlineage.client.facet_v2 import output_statistics_output_dataset

    if dataset is None:
        return {}
    size = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
        rowCount=dataset.rows, size=dataset.bytes, fileCount=1
    )
    return {"outputStatistics": size}


def _run_facets(told: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    from attrs import make_class
    from openlineage.client.facet_v2 import RunFacet

    facets: dict[str, Any] = {}
    for name, values in told.items():
        title = f"{name.title().replace('_', '')}RunFacet"
        facets[name] = make_class(title, [*values], bases=(RunFacet,), kw_only=True)(**values)
    return facets
