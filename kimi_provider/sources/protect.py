"""What may be kept of each column. DAG files import this, so it costs only the standard library."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Protects columns of a dataset before anything of it is stored.

    :param allow: the only columns to keep; ``None`` keeps all.
    :param drop: columns to leave out.
    :param hash: columns whose values become a keyed digest (HMAC-SHA256, 64 hexadecimal digits). Equal
        values stay equal, so they can still be counted and joined with other datasets of the same
        deployment; null stays null. The key is ``[kimi] hash_key``, or made from Airflow's Fernet key.
    :param mask: columns in whose texts e-mail addresses, phone numbers, payment cards (Luhn) and IBANs
        (mod 97) are blotted out; so is a cell that is nothing but digits as long as those.
    :param detect: blot the same out of the texts of all other columns, where it is plainly written as
        what it is. Names and addresses are not found.
    :raises ConfigurationError: if a column is named twice, or hashed or masked but not allowed.
    """

    allow: Sequence[str] | None = None
    drop: Sequence[str] = ()
    hash: Sequence[str] = ()
    mask: Sequence[str] = ()
    detect: bool = False

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        for field in fields(self)[:4]:
            names = getattr(self, field.name)
            if isinstance(names, str):
                raise ConfigurationError(
                    f"{field.name} of the columns is the text {names!r}, but has to be a list of names."
                )
            object.__setattr__(self, field.name, names if names is None else tuple(names))
        if self.allow is not None and not self.allow:
            raise ConfigurationError("allow of the columns is empty, so nothing would be left.")
        named = (*self.drop, *self.hash, *self.mask)
        twice = next((name for name in named if named.count(name) > 1), None)
        if twice is not None:
            raise ConfigurationError(
                f"The column {twice!r} is named twice in drop, hash and mask. Choose one."
            )
        if self.allow is None:
            return
        for name in self.drop:
            if name in self.allow:
                raise ConfigurationError(f"The column {name!r} is in allow and in drop. Choose one.")
        for name in (*self.hash, *self.mask):
            if name not in self.allow:
                raise ConfigurationError(
                    f"The column {name!r} is to be hashed or masked, but is not in allow. Add it there."
                )

    @property
    def named(self) -> tuple[str, ...]:
        """All columns that the policy names."""
        return tuple(dict.fromkeys((*(self.allow or ()), *self.drop, *self.hash, *self.mask)))
