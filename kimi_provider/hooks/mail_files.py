"""Files for a mail, from object storage; none is read further than a mail can hold."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.files import shown
from kimi_provider.hooks.storage import open_uri

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kimi_provider.alerts.message import Attachment, InlineFile

_PLAIN = "application/octet-stream"


def attachments(files: Iterable[Any]) -> tuple[Attachment, ...]:
    """Read the files that a mail takes along. Blocks.

    :param files: each a path or URI, or a mapping with ``uri`` and, if other than the path says,
        ``name`` and ``media_type``, as in the ``attachments`` of what :class:`ReportOperator` returns.
    :raises ConfigurationError: if one is not there, is empty, or they are too large together.
    """
    from kimi_provider.alerts.message import Attachment

    read = []
    left = _most_bytes()
    for file in files:
        given = file if isinstance(file, Mapping) else {"uri": str(file)}
        uri = str(given.get("uri") or "")
        content = _read(uri, left)
        left -= len(content)
        name = str(given.get("name") or uri.rstrip("/").rpartition("/")[2])
        media_type = str(given.get("media_type") or mimetypes.guess_type(name)[0] or _PLAIN)
        read.append(Attachment(name, content, media_type))
    return tuple(read)


def pictures(files: Mapping[str, str]) -> tuple[InlineFile, ...]:
    """Read the pictures that a mail's HTML shows. Blocks.

    :param files: path or URI by content id.
    :raises ConfigurationError: if one is not there, is empty, or they are too large together.
    """
    from kimi_provider.alerts.message import InlineFile

    read = []
    left = _most_bytes()
    for content_id, uri in files.items():
        content = _read(str(uri), left)
        left -= len(content)
        read.append(InlineFile(content_id, content, mimetypes.guess_type(str(uri))[0] or "image/png"))
    return tuple(read)


def _most_bytes() -> int:
    from kimi_provider.alerts.payload import MAX_BYTES

    return MAX_BYTES * 3 // 4  # Base64 makes four characters of three bytes


def _read(uri: str, most: int) -> bytes:
    try:
        with open_uri(uri).open("rb") as file:
            content: bytes = file.read(most + 1)
    except (FileNotFoundError, IsADirectoryError, ValueError) as error:
        raise ConfigurationError(
            f"The file {shown(uri)!r} for the mail cannot be read ({type(error).__name__})."
        ) from None
    if len(content) > most:
        raise ConfigurationError(
            f"With the file {shown(uri)!r} the mail is beyond the {_most_bytes() / 1e6:.1f} MB that "
            "SendGrid takes. Attach less, or link to the files instead."
        )
    return content
