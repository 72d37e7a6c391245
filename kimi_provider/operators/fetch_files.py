"""Fetch: from files in object storage to a typed dataset."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from kimi_provider.hooks.assets import announce_dataset, default_outlets
from kimi_provider.hooks.failure import airflow_failures
from kimi_provider.hooks.storage import task_folder
from kimi_provider.operators.lineage import LineageOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from kimi_provider.hooks.lineage import Lineage
    from kimi_provider.sources.file_request import Format
    from kimi_provider.sources.protect import Columns

# Files that lineage names: each becomes a node of somebody's graph.
_MOST_TOLD = 50


class FileFetchOperator(LineageOperator):
    """Reads files into one dataset; returns a :class:`~kimi_provider.schemas.DatasetRef`.

    CSV, TSV, JSON, JSON Lines, Parquet, XLSX, logs and other text, also packed by gzip or Zstandard.
    Columns of many files are matched by name, and types are found over all rows of all of them. A row
    that does not fit is named by file and number, and nothing is stored.

    The task's ``outlets`` get an asset event with the dataset; without any, it is the asset
    ``x-kimi://{dag_id}/{task_id}``.

    :param path: an absolute path or a URI of object storage, with wildcards (``*``, ``?``, ``[…]``,
        ``**``); it may not climb by ``..``. (templated)
    :param storage_conn_id: the connection that opens it, where the URI names none. (templated)
    :param format: ``csv``, ``tsv``, ``json``, ``jsonl``, ``parquet``, ``xlsx`` or ``text``; by default
        what the files' names say.
    :param csv: any of ``delimiter``, ``header``, ``nulls``, ``decimal``, ``quote`` and ``skip_rows`` of
        :class:`~kimi_provider.sources.file_request.CsvOptions`; an empty cell is null by default.
    :param encoding: of CSV, TSV and text.
    :param records_path: where a JSON file holds its rows, such as ``data.items``.
    :param sheet: of an XLSX file; by default the first. (templated)
    :param pattern: regular expression with named groups that takes a line of text apart, a column a
        group; by default a line is a row with its text. File and line number are there either way.
    :param unmatched: ``skip`` leaves lines out that the pattern does not match; ``fail`` refuses them.
    :param source_column: a column for the name of each row's file.
    :param columns: what may be kept of each column; see
        :class:`~kimi_provider.sources.protect.Columns`. It holds before anything is stored.
    :param types: DuckDB types by column, in place of those found.
    :param allow_empty: whether no rows are a dataset, or an error.
    :param limits: any of ``max_files``, ``max_rows``, ``max_bytes`` and ``max_file_bytes`` of
        :class:`~kimi_provider.sources.file_request.FileRequest`.
    :raises SourceUnavailableError: if the storage cannot be reached.
    :raises SourceError: if no file matches, or one is not of its format.
    :raises ConfigurationError: if a parameter is wrong, or the library for a format is missing.
    """

    template_fields: Sequence[str] = ("path", "storage_conn_id", "sheet")
    ui_color = "#f3e8fd"

    def __init__(
        self,
        *,
        path: str,
        storage_conn_id: str | None = None,
        format: Format | None = None,  # noqa: A002 — what users call it
        csv: Mapping[str, Any] | None = None,
        encoding: str = "utf-8",
        records_path: str | None = None,
        sheet: str | None = None,
        pattern: str | None = None,
        unmatched: Literal["fail", "skip"] = "fail",
        source_column: str | None = None,
        columns: Columns | None = None,
        types: Mapping[str, str] | None = None,
        allow_empty: bool = False,
        limits: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.storage_conn_id = storage_conn_id
        self.format = format
        self.csv = csv or {}
        self.encoding = encoding
        self.records_path = records_path
        self.sheet = sheet
        self.pattern = pattern
        self.unmatched = unmatched
        self.source_column = source_column
        self.columns = columns
        self.types = types
        self.allow_empty = allow_empty
        self.limits = limits or {}
        self.outlets = self.outlets or default_outlets(self)

    def execute(self, context: Context) -> dict[str, Any]:
        """Read all files into the task's folder."""
        from kimi_provider.hooks.files import matching_files, shown
        from kimi_provider.hooks.lineage import Place
        from kimi_provider.hooks.metrics import measure_dataset
        from kimi_provider.hooks.protection import column_guard
        from kimi_provider.sources.files import CsvOptions, FileRequest, fetch_files

        with airflow_failures():
            request = FileRequest(
                format=self.format,
                csv=CsvOptions(**self.csv),
                encoding=self.encoding,
                records_path=self.records_path,
                sheet=self.sheet,
                pattern=self.pattern,
                unmatched=self.unmatched,
                source_column=self.source_column,
                **self.limits,
            )
            files = matching_files(self.path, conn_id=self.storage_conn_id)
            dataset = fetch_files(
                request,
                files,
                task_folder(context) / "dataset.parquet",
                source=shown(self.path),
                types=self.types,
                allow_empty=self.allow_empty,
                guard=column_guard(self.columns),
                on_progress=self.log.info,
            )
        announce_dataset(context, self.outlets, dataset)
        measure_dataset(context["ti"], dataset)
        inputs = [Place(file.as_uri()) for file in islice(files.values(), _MOST_TOLD)]
        self._tell(inputs=tuple(inputs), outputs=(Place(dataset.uri, dataset),))
        return dataset.model_dump(mode="json")

    def _planned(self) -> Lineage:
        from kimi_provider.hooks.files import place_of_path
        from kimi_provider.hooks.lineage import Lineage, Place

        return Lineage(inputs=(Place(place_of_path(self.path)),))
