"""Protecting rows on their way into a dataset, before they touch a disk."""

from __future__ import annotations

import hmac
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from kimi_provider.exceptions import ConfigurationError, SourceError
from kimi_provider.sources.personal import blot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kimi_provider.schemas import Column
    from kimi_provider.sources.protect import Columns

_MOST_REMEMBERED = 1_000
_LONGEST_NAME = 255
_MOST_SHOWN = 50
_SHORTEST_KEY = 16


class Guard:
    """Applies a policy to rows.

    :param columns: the policy.
    :param key: secret by which values are hashed; at least 16 bytes.
    :raises ConfigurationError: if columns are to be hashed and there is no such key.
    """

    def __init__(self, columns: Columns, key: bytes = b"") -> None:
        if columns.hash and len(key) < _SHORTEST_KEY:
            raise ConfigurationError(
                f"The columns {', '.join(map(repr, columns.hash))} are to be hashed, but the key has "
                f"{len(key)} bytes; at least {_SHORTEST_KEY} are needed. Set [kimi] hash_key."
            )
        self._columns = columns
        self._key = key
        self._allowed = None if columns.allow is None else frozenset(columns.allow)
        self._removed = frozenset(columns.drop)
        self._dropped: dict[str, None] = {}
        self._seen: set[str] = set()
        self._masked: set[str] = set()
        self._encoder = msgspec.json.Encoder(decimal_format="number")

    @property
    def fingerprint(self) -> str:
        """What tells this policy with its key from others, without telling the key."""
        digest = hmac.digest(self._key or b"none", b"fingerprint of the key", "sha256")
        return f"{self._columns!r} {digest.hex()[:16]}"

    @property
    def dropped(self) -> tuple[str, ...]:
        """Columns that the source had and the policy left out, as far as they are a thousand."""
        return tuple(self._dropped)

    def protect(self, record: Mapping[str, Any], row: int) -> dict[str, Any]:
        """Return a row as it may be stored.

        :param row: its number, for the message.
        :raises SourceError: if a cell is nested too deeply to be looked through.
        """
        try:
            return self._protected(self._kept(record))
        except RecursionError:
            raise SourceError(
                f"Row {row} has a cell that is nested too deeply to look for personal data in it. Drop "
                "its column."
            ) from None

    def _protected(self, kept: dict[str, Any]) -> dict[str, Any]:
        for name in self._columns.hash:
            if kept.get(name) is not None:
                kept[name] = self._digest(kept[name])
        for name in self._columns.mask:
            if kept.get(name) is not None:
                kept[name] = self._blotted(kept[name], whole=True)
        if self._columns.detect:
            for name, value in kept.items():
                if isinstance(value, str | dict | list) and name not in self._columns.hash:
                    kept[name] = clear = self._blotted(value, whole=False)
                    if clear is not value and clear != value:
                        self._masked.add(name)
        return kept

    def keeps(self, name: str) -> bool:
        """Whether the policy leaves a column as it is."""
        return not self._leaves_out(name) and name not in (*self._columns.hash, *self._columns.mask)

    def marked(self, profile: tuple[Column, ...]) -> tuple[Column, ...]:
        """Say in a profile what was done to which column."""
        done: dict[str, str] = dict.fromkeys((*self._columns.mask, *self._masked), "mask")
        done |= dict.fromkeys(self._columns.hash, "hash")
        return tuple(
            column.model_copy(update={"protected": done.get(column.name)}) for column in profile
        )

    def types(self, asked: Mapping[str, str]) -> dict[str, str]:
        """Return the types that still hold: none for what is left out, and text for what is replaced."""
        kept = {name: kind for name, kind in asked.items() if not self._leaves_out(name)}
        replaced = {*self._columns.mask, *self._masked} & self._seen
        return kept | {name: "VARCHAR" for name in kept if name in replaced | {*self._columns.hash}}

    def check(self, source: str) -> None:
        """Refuse a policy that names a column that no row had, which may be a slip of the pen.

        :raises SourceError: with the columns that there are.
        """
        unknown = [name for name in self._columns.named if name not in self._seen]
        if unknown:
            there = sorted(self._seen | self._dropped.keys())
            more = ", …" if len(there) > _MOST_SHOWN else ""
            raise SourceError(
                f"The policy for columns names {', '.join(map(repr, unknown))}, which {source} does not "
                f"have. It has {', '.join(map(repr, there[:_MOST_SHOWN]))}{more}."
            )

    def _kept(self, record: Mapping[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for name, value in record.items():
            if self._leaves_out(name):
                self._drop(name)
            else:
                kept[name] = value
        if not kept.keys() <= self._seen:
            self._seen |= kept.keys()
        return kept

    def _leaves_out(self, name: str) -> bool:
        return name in self._removed or (self._allowed is not None and name not in self._allowed)

    def _drop(self, name: str) -> None:
        if name in self._removed:
            self._seen.add(name)
        if len(self._dropped) < _MOST_REMEMBERED:
            shown = name if name.isprintable() else ascii(name)[1:-1]
            self._dropped[shown[:_LONGEST_NAME]] = None

    def _digest(self, value: Any) -> str:
        return hmac.digest(self._key, self._text(value).encode(), "sha256").hex()

    def _text(self, value: Any) -> str:
        """Return the text that equal values share, whatever source they came from: 7, 7.0 and "7"."""
        if isinstance(value, str):
            return value
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            text = f"{Decimal(str(value)):f}"
            return text.rstrip("0").rstrip(".") if "." in text else text
        return self._encoder.encode(value).decode()

    def _blotted(self, value: Any, *, whole: bool) -> Any:
        if isinstance(value, str):
            return blot(value, whole=whole)
        if isinstance(value, dict):
            return {
                blot(str(name), whole=whole): self._blotted(part, whole=whole)
                for name, part in value.items()
            }
        if isinstance(value, list):
            return [self._blotted(part, whole=whole) for part in value]
        if not whole or value is None or isinstance(value, bool):
            return value
        text = self._text(value)
        clear = blot(text, whole=True)
        return value if clear == text else clear
