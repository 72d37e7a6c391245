"""Recipients that are kept elsewhere: in a table, in a Variable of Airflow's, in a file.

Declared in the DAG, read when the task runs::

    to = ["boss@example.org", FromQuery("SELECT email FROM subscribers WHERE active", "warehouse")]

What is read is checked like what is written in the DAG: each address, the allowed domains, none twice.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_COLUMNS = ("email", "e-mail", "mail", "address", "recipient")


@dataclass
class FromQuery:
    """The first column of a SELECT, one recipient a row; NULL and empty ones are passed by.

    :param sql: one SELECT. (templated)
    :param conn_id: a connection of any SQL database. (templated)
    :param parameters: values for the statement's placeholders, in the driver's own style. (templated)
    :param timeout: seconds that it may take.
    """

    template_fields: ClassVar[tuple[str, ...]] = ("sql", "conn_id", "parameters")

    sql: str
    conn_id: str
    parameters: Mapping[str, object] | Sequence[object] | None = field(default=None, repr=False)
    timeout: float = 60.0


@dataclass
class FromVariable:
    """A Variable of Airflow's: addresses with commas, semicolons or lines between, or a JSON list.

    :param key: of the Variable. (templated)
    """

    template_fields: ClassVar[tuple[str, ...]] = ("key",)

    key: str


@dataclass
class FromFile:
    """A file in object storage: ``.json`` (a list), ``.csv`` (a column), or text, one recipient a line.

    :param path: an absolute path or a URI. (templated)
    :param conn_id: the connection that opens it, where the URI names none. (templated)
    :param column: the CSV's column; by default ``email`` or the like.
    """

    template_fields: ClassVar[tuple[str, ...]] = ("path", "conn_id", "column")

    path: str
    conn_id: str | None = None
    column: str | None = None


Source = FromQuery | FromVariable | FromFile


def addresses_of_text(text: str, what: str) -> list[str]:
    """Return the recipients in a text: a JSON list, or lines, of which ``#`` starts a remark.

    :param what: how an error names the text.
    :raises ConfigurationError: if it is JSON, and no list of texts.
    """
    if text.lstrip().startswith(("[", "{")):
        return _addresses_of_json(text, what)
    lines = (line.strip() for line in text.lstrip("\ufeff").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def addresses_of_csv(text: str, column: str | None, what: str) -> list[str]:
    """Return a column of a CSV with a header.

    :param column: its name; by default ``email`` or the like, in any case.
    :param what: how an error names the file.
    :raises ConfigurationError: if there is no such column; names those there are.
    """
    rows = csv.DictReader(io.StringIO(text.lstrip("\ufeff"), newline=""))
    names = list(rows.fieldnames or ())
    wanted = (column,) if column else _COLUMNS
    by_name = {name.strip().casefold(): name for name in names}
    found = next((by_name[one.casefold()] for one in wanted if one.casefold() in by_name), None)
    if found is None:
        raise ConfigurationError(
            f"{what} has no column {' or '.join(wanted)}; it has: {', '.join(names) or 'none'}."
        )
    return [value for row in rows if (value := (row[found] or "").strip())]


def _addresses_of_json(text: str, what: str) -> list[str]:
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ConfigurationError(f"{what} must be a JSON list of addresses.")
    return [value for value in values if value.strip()]
