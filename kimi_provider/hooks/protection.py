"""The key by which columns are hashed: one for a deployment, so that its datasets can be joined."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from airflow.sdk import conf

from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from kimi_provider.sources.guard import Guard
    from kimi_provider.sources.protect import Columns


def column_guard(columns: Columns | None) -> Guard | None:
    """Return what protects a dataset's columns, ``None`` where nothing is to be protected.

    :raises ConfigurationError: if columns are to be hashed and there is no key.
    """
    if columns is None:
        return None
    from kimi_provider.sources.guard import Guard

    return Guard(columns, hash_key() if columns.hash else b"")


def hash_key() -> bytes:
    """Return ``[kimi] hash_key``, or a key made from the first of ``[core] fernet_key``.

    :raises ConfigurationError: if neither is set.

    Hashes change with the key, so a deployment that rotates its Fernet key sets ``hash_key``.
    """
    configured: str = conf.get("kimi", "hash_key", fallback="")
    if configured:
        return configured.encode()
    fernet: str = conf.get("core", "fernet_key", fallback="").split(",")[0].strip()
    if not fernet:
        raise ConfigurationError(
            "Columns are to be hashed, but neither [kimi] hash_key nor [core] fernet_key is set on this "
            "worker. Set hash_key to a secret text of at least 16 characters."
        )
    return hmac.digest(fernet.encode(), b"kimi hash_key", "sha256")
