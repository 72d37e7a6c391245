"""What to read from files, and how."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

from kimi_provider.exceptions import ConfigurationError, SourceError

Format = Literal["csv", "tsv", "json", "jsonl", "parquet", "xlsx", "text"]

_SUFFIXES: dict[str, Format] = {
    "csv": "csv",
    "tsv": "tsv",
    "tab": "tsv",
    "json": "json",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "parquet": "parquet",
    "pq": "parquet",
    "xlsx": "xlsx",
    "xlsm": "xlsx",
    "log": "text",
    "txt": "text",
}
_COMPRESSIONS = {"gz", "gzip", "zst", "zstd"}


@dataclass(frozen=True, kw_only=True)
class CsvOptions:
    """How a CSV or TSV file is written.

    :param delimiter: between cells; by default a comma, or a tab in TSV.
    :param header: whether the first row has the names; or the names, where no row has. Without either
        the columns are ``column_1``, ``column_2``…
    :param nulls: cells that stand for no value, such as ``("", "NA")``.
    :param decimal: the decimal mark, ``.`` or ``,``. With a comma, a column all of whose values are
        numbers in that form (``1.234,5``) is read so; any other keeps its texts.
    :param quote: around cells that hold a delimiter.
    :param skip_rows: lines before the header.
    :raises ConfigurationError: if one is none.
    """

    delimiter: str | None = None
    header: bool | tuple[str, ...] = True
    nulls: tuple[str, ...] = ("",)
    decimal: str = "."
    quote: str = '"'
    skip_rows: int = 0

    def __post_init__(self) -> None:
        """Take lists as they come from JSON, and refuse what could only fail later."""
        for name in ("header", "nulls"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        if isinstance(self.nulls, str):
            raise ConfigurationError("csv has a text as nulls; it has to be a list of texts.")
        for name in ("delimiter", "quote"):
            value = getattr(self, name)
            if value is not None and (len(value) != 1 or value in "\r\n"):
                raise ConfigurationError(f"csv has the {name} {value!r}; it has to be one character.")
        if self.decimal not in {".", ","}:
            raise ConfigurationError(f"csv has the decimal {self.decimal!r}; it has to be '.' or ','.")
        if self.skip_rows < 0:
            raise ConfigurationError(f"csv has skip_rows={self.skip_rows}; it cannot be below 0.")


@dataclass(frozen=True, kw_only=True)
class FileRequest:
    """What to read.

    :param format: of all files; by default each file's name says it (``.csv.gz``, ``.log``), and all
        have to be of one.
    :param csv: how CSV and TSV are written.
    :param encoding: of CSV, TSV and text.
    :param records_path: where a JSON file holds its rows, such as ``data.items``; ``None`` where it is
        a list of them.
    :param sheet: of an XLSX file; by default the first.
    :param pattern: regular expression with named groups that a line of text is taken apart by; ``None``
        makes each line a row with the columns ``line`` and ``text``.
    :param unmatched: what becomes of lines that the pattern does not match.
    :param source_column: a column for the name of each row's file.
    :param max_files: files at most.
    :param max_rows: rows at most.
    :param max_bytes: size of all rows at most, in bytes of JSON.
    :param max_file_bytes: size of one file at most, in bytes, when it is unpacked too.
    :raises ConfigurationError: if one is none.
    """

    format: Format | None = None
    csv: CsvOptions = field(default_factory=CsvOptions)
    encoding: str = "utf-8"
    records_path: str | None = None
    sheet: str | None = None
    pattern: str | None = None
    unmatched: Literal["fail", "skip"] = "fail"
    source_column: str | None = None
    max_files: int = 10_000
    max_rows: int = 50_000_000
    max_bytes: int = 20 << 30
    max_file_bytes: int = 10 << 30

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        for name in ("max_files", "max_rows", "max_bytes", "max_file_bytes"):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"{name} is {getattr(self, name)}, but has to be above 0.")
        if self.format is not None and self.format not in get_args(Format):
            raise ConfigurationError(
                f"format is {self.format!r}, but has to be one of {', '.join(get_args(Format))}."
            )
        if self.unmatched not in {"fail", "skip"}:
            raise ConfigurationError(f"unmatched is {self.unmatched!r}, but has to be fail or skip.")
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            raise ConfigurationError(f"There is no encoding {self.encoding!r}.") from None
        if self.pattern is not None and not self.expression.groupindex:
            raise ConfigurationError(
                f"The pattern {self.pattern[:60]!r} names no groups; write (?P<level>…) for a column."
            )

    @cached_property
    def expression(self) -> re.Pattern[str]:
        """The pattern, compiled."""
        try:
            return re.compile(self.pattern or "(?P<text>.*)")
        except re.error as error:
            raise ConfigurationError(f"The pattern cannot be read: {error}.") from None

    def format_of(self, name: str) -> Format:
        """Return the format of a file.

        :param name: the file's.
        :raises SourceError: if it does not say.
        """
        if self.format is not None:
            return self.format
        suffixes = name.lower().split(".")[1:]
        while suffixes and suffixes[-1] in _COMPRESSIONS:
            suffixes.pop()
        found = _SUFFIXES.get(suffixes[-1]) if suffixes else None
        if found is None:
            raise SourceError(
                f"The name {name!r} does not say which format the file has. Set format to one of "
                f"{', '.join(get_args(Format))}, or match fewer files."
            )
        return found
