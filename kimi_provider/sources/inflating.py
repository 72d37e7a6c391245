"""The body of an answer as it was before it was packed for the way."""

from __future__ import annotations

import zlib
from typing import Final

# Tells zlib to expect gzip's header, or none.
_GZIP: Final = zlib.MAX_WBITS | 16
_RAW: Final = -zlib.MAX_WBITS

ENCODINGS: Final = "gzip, deflate"
"""What may be asked for (``Accept-Encoding``)."""


class DamagedError(Exception):
    """What is packed is damaged, or its end is missing."""


class Inflater:
    """Unpacks a body as it comes: all members of it, and never half of one.

    :param encoding: the answer's ``Content-Encoding``.
    :raises ValueError: if it is none that was asked for.
    """

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding.strip().lower().removeprefix("x-")
        if self._encoding not in {"", "identity", "gzip", "deflate"}:
            raise ValueError(encoding)
        self._packed = self._encoding in {"gzip", "deflate"}
        self._member = self._new()
        self._begun = False

    def take(self, part: bytes) -> bytes:
        """Unpack the next part.

        :raises DamagedError: if it cannot be.
        """
        if not self._packed:
            return part
        unpacked = bytearray()
        while part:
            if self._member.eof:  # another may follow, or zeros that fill up
                part = part.lstrip(b"\0")
                if not part:
                    break
                self._member, self._begun = self._new(), False
            unpacked += self._inflated(part)
            part = self._member.unused_data
        return bytes(unpacked)

    def end(self) -> None:
        """Say that the body is over.

        :raises DamagedError: if what is packed is not.
        """
        if self._packed and self._begun and not self._member.eof:
            raise DamagedError

    def _inflated(self, part: bytes) -> bytes:
        first, self._begun = not self._begun, True
        try:
            return self._member.decompress(part)
        except zlib.error:
            if not first or self._encoding != "deflate":
                raise DamagedError from None
        # Some servers leave out the header that RFC 9110 asks for.
        self._member = zlib.decompressobj(_RAW)
        return self._inflated(part)

    def _new(self) -> zlib._Decompress:
        return zlib.decompressobj(_GZIP if self._encoding == "gzip" else zlib.MAX_WBITS)
