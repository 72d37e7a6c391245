"""Whole tables as CSV (RFC 4180): numbers as numbers, and no text that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kimi_provider.reports.document import Cell, DataColumn, DataTable

# Excel, LibreOffice and Google Sheets take text that starts so for a formula (OWASP, CSV injection).
# Full-width forms too: some turn them into their narrow twins first.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
# Excel reads a file without it as the machine's own 8-bit encoding.
_BYTE_ORDER_MARK = "\ufeff"


def table_csv(table: DataTable, words: Mapping[str, str], *, byte_order_mark: bool = True) -> bytes:
    """Write a table.

    :param words: the fixed words of the report's language.
    :param byte_order_mark: whether the file starts with the mark by which Excel knows UTF-8; some
        other programs take it for a part of the first heading.
    :return: UTF-8. Numbers have all their digits, a point and no unit: the heading has it. A percent is
        a fraction, a date ISO 8601. Text that a spreadsheet would take for a formula has an apostrophe
        before it.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow([harmless(_heading(column, words)) for column in table.columns])
    writer.writerows([_field(cell) for cell in row] for row in table.rows)
    return ((_BYTE_ORDER_MARK if byte_order_mark else "") + buffer.getvalue()).encode()


def harmless(text: str) -> str:
    """Return text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def plain_number(value: Decimal) -> str:
    """Write a number with all its digits, without exponent and without zeros at its end."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _heading(column: DataColumn, words: Mapping[str, str]) -> str:
    unit = words["fraction"] if column.pattern.endswith("%") else column.unit
    return f"{column.label}, {unit}" if unit else column.label


def _field(cell: Cell) -> str:
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return plain_number(value)
    return harmless(value) if isinstance(value, str) else value.isoformat()
