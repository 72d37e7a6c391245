"""From the body of an answer to its rows. No I/O."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from kimi_provider.exceptions import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Format = Literal["json", "jsonl", "csv"]

_MOST_KEYS = 20
_LONGEST_KEY = 40


def decode(content: bytes, kind: Format) -> Any:
    """Return what a body holds: any JSON value, or the list of rows of JSON Lines and CSV.

    :raises SourceError: if the body is not of that kind.
    """
    try:
        return _DECODERS[kind](content)
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
            if isinstance(row, _Ambiguous):
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


class _Ambiguous(dict[str, Any]):
    """An object that names something twice.

    :ivar twice: what.
    """

    twice: str


def _json(content: bytes) -> Any:
    body = msgspec.json.decode(content)
    return json.loads(content, object_pairs_hook=_pairs) if _maybe_twice(content, body) else body


def _jsonl(content: bytes) -> list[Any]:
    rows = msgspec.json.Decoder().decode_lines(content)
    if not _maybe_twice(content, rows):
        return rows
    lines = content.decode().split("\n")
    return [json.loads(line, object_pairs_hook=_pairs) for line in lines if line.strip()]


def _maybe_twice(content: bytes, body: Any) -> bool:
    """Whether a name may be in one object twice, of which the decoder would keep the last.

    The names are counted in the text. Texts that hold JSON, or spaces before colons, count wrongly:
    then the page is read again by a slower decoder, which looks.
    """
    written = content.count(b'":')
    return written != _names(body, deep=False) and written != _names(body, deep=True)


def _names(value: Any, *, deep: bool) -> int:
    """Count the names in all objects; if not deep, without the cells of rows."""
    if type(value) is dict:
        inner = sum(_names(part, deep=deep) for part in value.values() if type(part) in {dict, list})
        return len(value) + inner
    if type(value) is list:
        if deep:
            return sum(_names(part, deep=True) for part in value)
        return sum(len(part) for part in value if type(part) is dict)
    return 0


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    ambiguous = _Ambiguous(found)
    ambiguous.twice = next(name for name in names if names.count(name) > 1)
    return ambiguous


def _csv(content: bytes) -> list[dict[str, str | None]]:
    reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
    return list(_csv_rows(reader))


def _csv_rows(reader: Iterator[list[str]]) -> Iterator[dict[str, str | None]]:
    header = next(reader, [])
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
    "json": _json,
    "jsonl": _jsonl,
    "csv": _csv,
}
_NAMES: Mapping[Format, str] = {"json": "JSON", "jsonl": "JSON Lines", "csv": "CSV in UTF-8"}
