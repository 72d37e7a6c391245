"""Recipients from where they are kept: the declarations of ``alerts.recipients_from``, by Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kimi_provider.alerts.recipients_from import (
    FromFile,
    FromQuery,
    FromVariable,
    addresses_of_csv,
    addresses_of_text,
)
from kimi_provider.exceptions import ConfigurationError, SourceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kimi_provider.alerts.recipients_from import Source

_MOST_ROWS = 100_000
_MOST_BYTES = 20_000_000


def read_recipients(value: str | Source | Iterable[str | Source]) -> list[str]:
    """Return recipients as texts, with those that are kept elsewhere read in their place.

    Blocks.

    :param value: one or several of texts, :class:`FromQuery`, :class:`FromVariable`, :class:`FromFile`.
    :raises ConfigurationError: if a source is not there or is of another kind than it should be.
    :raises SourceUnavailableError: if it cannot be reached.
    """
    values = [value] if isinstance(value, str | FromQuery | FromVariable | FromFile) else list(value)
    texts: list[str] = []
    for one in values:
        match one:
            case FromQuery():
                texts += _from_query(one)
            case FromVariable():
                texts += _from_variable(one)
            case FromFile():
                texts += _from_file(one)
            case _:
                texts.append(one)  # what is no text is refused with the others
    return texts


def _from_query(source: FromQuery) -> list[str]:
    from kimi_provider.hooks.sql import one_select, reading_cursor
    from kimi_provider.sources.sql import database_error

    statement = one_select(source.sql)
    with reading_cursor(source.conn_id, timeout=source.timeout) as reading:
        try:
            if source.parameters is None:
                reading.cursor.execute(statement)
            else:
                reading.cursor.execute(statement, source.parameters)
            rows = reading.cursor.fetchmany(_MOST_ROWS + 1)
        except Exception as error:
            raise database_error(error, reading.source) from error
    if len(rows) > _MOST_ROWS:
        raise ConfigurationError(
            f"The query for recipients returned more than {_MOST_ROWS} rows. Select fewer."
        )
    return [text for row in rows if row[0] is not None and (text := str(row[0]).strip())]


def _from_variable(source: FromVariable) -> list[str]:
    from airflow.sdk import Variable

    text = Variable.get(source.key, default=None)
    if text is None:
        raise ConfigurationError(
            f"There is no Variable {source.key!r} with recipients. Make it, or correct its name."
        )
    return addresses_of_text(str(text), f"The Variable {source.key!r}")


def _from_file(source: FromFile) -> list[str]:
    from kimi_provider.hooks.files import matching_files, shown

    what = f"The file {shown(source.path)}"
    found = list(matching_files(source.path, conn_id=source.conn_id).values())
    if len(found) != 1:
        raise ConfigurationError(f"{what} with recipients is {len(found)} files; it must be one.")
    try:
        with found[0].open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise SourceUnavailableError(f"{what} cannot be read ({type(error).__name__}).") from error
    if len(data) > _MOST_BYTES:
        raise ConfigurationError(f"{what} has more than {_MOST_BYTES // 1_000_000} MB of recipients.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{what} is not UTF-8 (byte {error.start}).") from None
    if source.column or source.path.casefold().endswith(".csv"):
        return addresses_of_csv(text, source.column, what)
    return addresses_of_text(text, what)
