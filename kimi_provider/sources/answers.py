"""From the body of an answer to its rows. No I/O."""

from __future__ import annotations

import codecs
import csv
import io
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from kimi_provider.exceptions import SourceError
from kimi_provider.sources.json_values import Ambiguous, json_lines, json_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Format = Literal["json", "jsonl", "csv"]

_MOST_KEYS = 20
_LONGEST_KEY = 40


def decode(content: bytes, kind: Format, *, charset: str | None = None, is_page: bool = False) -> Any:
    """Return what a body holds: any JSON value, or the list of rows of JSON Lines and CSV.

    :param charset: the encoding that the answer says it has; a byte order mark goes before it.
    :param is_page: whether it says that it is a page of HTML.
    :raises SourceError: if the body is not of that kind.
    """
    if is_page and kind == "csv":  # for which any text would pass
        raise SourceError("is not CSV, but a page of HTML")
    try:
        return _DECODERS[kind](_utf8(content, charset))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, csv.Error) as error:
        # msgspec's messages name places and numbers, never what is there.
        detail = f" ({error})" if isinstance(error, msgspec.DecodeError) else ""
        raise SourceError(f"is not {_NAMES[kind]}{detail}") from None


def rows_at(body: Any, path: str | None) -> list[dict[str, Any]]:
    """Return the rows that lie at a dotted path.

    :param path: such as ``data.items``; ``None`` where the body is the list.
    :raises SourceError: if there is no list of objects; the message says what is there.
    """
    found = body
    walked: list[str] = []
    for name in path.split(".") if path else ():
        if not isinstance(found, dict) or name not in found:
            raise SourceError(f"has no {name!r} at {_place(walked)}, but {_described(found)}")
        found = found[name]
        walked.append(name)
    if not isinstance(found, list):
        raise SourceError(f"has no list of rows at {_place(walked)}, but {_described(found)}")
    for number, row in enumerate(found, start=1):
        if type(row) is not dict:
            if isinstance(row, Ambiguous):
                raise SourceError(
                    f"has at {_place(walked)} a list whose entry {number} has the column {row.twice!r} "
                    "twice; rename one at the source"
                )
            raise SourceError(
                f"has at {_place(walked)} a list whose entry {number} is no object with columns, but "
                f"{_described(row)}"
            )
    return found


def _place(walked: list[str]) -> str:
    return repr(".".join(walked)) if walked else "its top"


def _described(value: Any) -> str:
    if isinstance(value, dict):
        names = [repr(str(key)[:_LONGEST_KEY]) for key in list(value)[:_MOST_KEYS]]
        more = ", …" if len(value) > _MOST_KEYS else ""
        return f"an object with the keys {', '.join(names)}{more}" if names else "an empty object"
    kinds = {list: "a list", str: "a text", type(None): "null", bool: "true or false"}
    return kinds.get(type(value), "a number")


def _utf8(content: bytes, charset: str | None) -> bytes:
    """Return a text in UTF-8, without a byte order mark."""
    if content.startswith(codecs.BOM_UTF8):
        return content.removeprefix(codecs.BOM_UTF8)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        charset = "utf-16"
    with suppress(LookupError):  # a name that nobody knows says nothing
        if charset and codecs.lookup(charset).name not in {"utf-8", "ascii"}:
            return content.decode(charset).encode()
    return content


def _csv(content: bytes) -> list[dict[str, str | None]]:
    reader = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
    return list(_csv_rows(reader))


def _csv_rows(reader: Iterator[list[str]]) -> Iterator[dict[str, str | None]]:
    header = next((cells for cells in reader if cells), [])
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise SourceError(f"has the column {twice!r} twice; rename one at the source")
    for number, cells in enumerate(reader, start=1):
        if len(cells) > len(header):
            raise SourceError(f"has {len(cells)} cells in row {number}, but {len(header)} columns")
        if cells:  # a blank line
            padded = cells + [""] * (len(header) - len(cells))
            yield {name: cell or None for name, cell in zip(header, padded, strict=True)}


_DECODERS: Mapping[Format, Callable[[bytes], Any]] = {
    "json": json_value,
    "jsonl": json_lines,
    "csv": _csv,
}
_NAMES: Mapping[Format, str] = {"json": "JSON", "jsonl": "JSON Lines", "csv": "CSV in UTF-8"}
