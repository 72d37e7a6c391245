"""Blotting out one person's address in what the provider has stored."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kimi_provider.hooks.storage import storage_root
from kimi_provider.hooks.stored import at, listing
from kimi_provider.storage import read_bytes, write_bytes

if TYPE_CHECKING:
    from kimi_provider.storage import StoragePath

ERASED = "erased@invalid"
"""What stands where the address stood: an address in form, that leads nowhere (RFC 6761)."""

_TEXTS = ("json", "jsonl", "entry", "claim", "html", "txt", "md", "csv")
_SEALED = ("parquet", "pdf", "xlsx")  # such as hold text that cannot be replaced in place


@dataclass(frozen=True)
class Erasure:
    """What was found and blotted out.

    :param files: below the root, each of which had the address.
    :param times: how often they had it together.
    :param sealed: how many files may hold it and were not looked into: Parquet, PDF, workbooks.
    """

    files: tuple[str, ...]
    times: int
    sealed: int


def erase(address: str, *, dry_run: bool = False, root: StoragePath | None = None) -> Erasure:
    """Blot out an address in traces, journals, ledgers, reports and alerts' books. It blocks.

    Nothing else changes: a ledger's entry is still found by the hash of the address, which its name is,
    so that a task that is run again mails nobody twice; and a journal's entry is still whole.

    :param address: an e-mail address, found in upper and lower case.
    :param dry_run: whether to change nothing.
    :param root: where to look; by default the provider's storage.
    :raises OSError: if the storage refuses; what was changed until then stays so.
    """
    root = root or storage_root()
    pattern = address_pattern(address)
    files, times, sealed = [], 0, 0
    for path in listing(root):
        ending = path.rpartition(".")[2]
        if ending in _SEALED:
            sealed += 1
        if ending not in _TEXTS:
            continue
        try:
            data = read_bytes(at(root, path))
        except FileNotFoundError:  # a run has tidied up meanwhile
            continue
        text = data.decode("utf-8", "surrogateescape")
        blotted, count = pattern.subn(ERASED, text)
        if count:
            files.append(path)
            times += count
            if not dry_run:
                blotted = _sealed_again(text, blotted) if ending == "entry" else blotted
                write_bytes(at(root, path), blotted.encode("utf-8", "surrogateescape"))
    return Erasure(tuple(sorted(files)), times, sealed)


def address_pattern(address: str) -> re.Pattern[str]:
    """Return what finds an address as it is, in any case, and not as a part of a longer one."""
    local, _, domain = address.rpartition("@")
    at_sign = r"(?:@|%40|&#64;|\\u0040)"
    found = f"{re.escape(local)}{at_sign}{re.escape(domain)}"
    return re.compile(rf"(?<![\w.%+-]){found}(?!-?\w|\.\w)", re.IGNORECASE)


def _sealed_again(before: str, after: str) -> str:
    """Return a journal's entry with the hash of what it says now, if it had the right one before."""
    checksum, _, body = before.partition("\n")
    if _sha256(body) != checksum:
        return after  # it was damaged, and stays no hit
    now = after.partition("\n")[2]
    return f"{_sha256(now)}\n{now}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
