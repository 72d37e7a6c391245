"""The files that go with a report: PDF, workbook, CSV."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kimi_provider.exceptions import ConfigurationError, ReportError
from kimi_provider.reports.pdf import pdf
from kimi_provider.reports.tables_csv import table_csv
from kimi_provider.reports.text import one_line
from kimi_provider.reports.workbook import workbook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from kimi_provider.reports.brand import Brand
    from kimi_provider.reports.document import DataTable, Document
    from kimi_provider.reports.format import Formatter

log = logging.getLogger(__name__)

FORMATS = ("pdf", "xlsx", "csv")
_MEDIA_TYPES = {
    "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv",
}
_NAME_LIMIT = 80


@dataclass(frozen=True, slots=True)
class File:
    """A file as it will be stored and attached."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Workshop:
    """Makes files of one report.

    :param template: name of the report's template, for the PDF.
    :param search_path: folders of templates.
    :param byte_order_mark: whether a CSV starts with the mark by which Excel knows UTF-8.
    """

    formatter: Formatter
    brand: Brand
    template: str
    search_path: Sequence[Path]
    now: datetime
    byte_order_mark: bool = True

    def make(
        self, document: Document, formats: Sequence[str], file_name: str
    ) -> tuple[list[File], list[str]]:
        """Make the files that are wanted.

        :param formats: any of :data:`FORMATS`.
        :param file_name: of PDF and workbook, without what follows the dot.
        :return: the files, and for each that could not be made a sentence that says so.
        """
        words = self.formatter.words
        makers: dict[str, Callable[[], bytes]] = {
            "pdf": lambda: pdf(
                document,
                self.formatter,
                self.brand,
                template=self.template,
                search_path=self.search_path,
                now=self.now,
            ),
            "xlsx": lambda: workbook(document, words, self.brand, now=self.now),
        }
        files: list[File] = []
        failures: list[str] = []
        for kind in (kind for kind in makers if kind in formats):
            name = f"{file_name}.{kind}"
            try:
                files.append(File(name, _MEDIA_TYPES[kind], makers[kind]()))
            except ReportError as error:
                log.warning("The file %s could not be made: %s", name, error)
                failures.append(_failure(words["attachment_failed"], name, str(error)))
            except Exception as error:
                # The report must not be lost for the sake of a copy of it.
                log.exception("The file %s could not be made", name)
                failures.append(_failure(words["attachment_failed"], name, type(error).__name__))
        if "csv" in formats:
            first = [document.key_figures] if document.key_figures else []
            files += self.tables([*first, *document.data])
        return files, failures

    def tables(self, tables: Iterable[DataTable]) -> list[File]:
        """Write tables as CSV, a file each."""
        words, mark = self.formatter.words, self.byte_order_mark
        return [
            File(
                f"{table.name}.csv",
                _MEDIA_TYPES["csv"],
                table_csv(table, words, byte_order_mark=mark),
            )
            for table in tables
        ]


def check_formats(formats: Sequence[str] | str) -> tuple[str, ...]:
    """Return the formats, each once.

    :param formats: names, or a text with commas between them (a rendered template is one).
    :raises ConfigurationError: if there is none of a name.
    """
    if isinstance(formats, str):
        formats = formats.split(",")
    wanted = tuple(dict.fromkeys(one_line(kind).lower() for kind in formats if kind.strip()))
    unknown = [kind for kind in wanted if kind not in FORMATS]
    if unknown:
        raise ConfigurationError(
            f"Format {unknown[0]!r} is not known. Formats are: {', '.join(FORMATS)}."
        )
    return wanted


def file_name(wanted: str | None, *, title: str, period: str) -> str:
    """Return a name for PDF and workbook, fit for every file system; by default of title and period."""
    given = wanted if wanted is not None else f"{title} {period}"
    return re.sub(r"[^\w.-]+", "-", one_line(given)).strip("-.")[:_NAME_LIMIT].strip("-.") or "report"


def _failure(sentence: str, name: str, reason: str) -> str:
    return sentence.format(name=name, reason=one_line(reason, 300).rstrip("."))
