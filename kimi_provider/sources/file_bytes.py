"""The bytes of a file: copied to this machine, unpacked on the way, never more than a bound."""

from __future__ import annotations

import gzip
import io
import zlib
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING, Any

from kimi_provider.exceptions import ConfigurationError, SourceError
from kimi_provider.storage import local_path, only_os_errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typing_extensions import Buffer

    from kimi_provider.storage import StoragePath

_STEP = 1 << 20
_GZIP = b"\x1f\x8b"
_LONGEST_HEADER = 18
_BLOCK_HEADER = 3
_SKIPPABLE = b"\x2a\x4d\x18"
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
# What --long=27 asks for; a frame could ask for gigabytes.
_LARGEST_WINDOW = 1 << 27


@contextmanager
def on_this_machine(path: StoragePath, scratch: Path, most: int) -> Iterator[Path]:
    """Give the file as a local one: itself where it is local, else a copy for as long as needed.

    :param scratch: where the copy goes.
    :param most: its size in bytes at most.
    :raises SourceError: if it is larger.
    :raises OSError: if the storage refuses; of a vendor's client too, which has errors of its own.
    """
    here = local_path(path)
    if here is not None:
        if here.stat().st_size > most:
            raise _too_large(most)
        yield here
        return
    try:
        with ExitStack() as stack:
            copy = stack.enter_context(scratch.open("wb"))
            with only_os_errors():
                source = stack.enter_context(path.open("rb"))
            while step := _step(source):
                if copy.tell() + len(step) > most:
                    raise _too_large(most)
                copy.write(step)
        yield scratch
    finally:
        scratch.unlink(missing_ok=True)


def _step(source: IO[bytes]) -> bytes:
    with only_os_errors():
        return source.read(_STEP)


def is_packed(file: Path) -> bool:
    """Whether a file is packed by gzip or Zstandard."""
    with file.open("rb") as stream:
        return stream.read(4).startswith((_GZIP, _ZSTANDARD))


@contextmanager
def unpacked(file: Path, most: int) -> Iterator[io.BufferedReader]:
    """Open a file that may be packed by gzip or Zstandard; its first bytes say so, not its name.

    :param most: size of what comes out at most, in bytes.
    :raises SourceError: if more comes out, or what is packed is damaged.
    """
    with ExitStack() as stack:
        stream: Any = stack.enter_context(file.open("rb"))
        start = stream.read(4)
        stream.seek(0)
        if start.startswith(_GZIP):
            stream = stack.enter_context(gzip.GzipFile(fileobj=stream))
        elif start == _ZSTANDARD:
            stream = stack.enter_context(_zstandard(stream))
        yield io.BufferedReader(_Bounded(stream, most), _STEP)


def _zstandard(stream: IO[bytes]) -> IO[bytes]:
    try:
        import zstandard
    except ImportError:
        raise ConfigurationError(
            "Zstandard files need the package zstandard: install airflow-provider-kimi[zstd]."
        ) from None
    try:
        whole = _has_all_blocks(stream)
    except zstandard.ZstdError as error:
        raise SourceError(f"is damaged: {str(error)[:100]}") from None
    if not whole:  # the library would take the end that is there for the end
        raise SourceError("is damaged: its end is missing")
    stream.seek(0)
    decompressor = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
    return decompressor.stream_reader(stream, read_across_frames=True)


def _has_all_blocks(stream: IO[bytes]) -> bool:
    """Walk over the frames of a Zstandard file (RFC 8878) by the sizes that they state."""
    import zstandard

    size = stream.seek(0, io.SEEK_END)
    place = 0
    while place < size:
        stream.seek(place)
        head = stream.read(_LONGEST_HEADER)
        if head[1:4] == _SKIPPABLE:
            place += 8 + int.from_bytes(head[4:8], "little")
            continue
        place += zstandard.frame_header_size(head)
        last = False
        while not last:
            stream.seek(place)
            block = stream.read(_BLOCK_HEADER)
            if len(block) < _BLOCK_HEADER:
                return False
            bits = int.from_bytes(block, "little")
            last, repeated = bool(bits & 1), bits >> 1 & 3 == 1
            place += _BLOCK_HEADER + (1 if repeated else bits >> 3)
        place += 4 if zstandard.get_frame_parameters(head).has_checksum else 0
    return place == size


class _Bounded(io.RawIOBase):
    """Passes a stream on, up to a number of bytes."""

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self._stream = stream
        self._most = most
        self._passed = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        view: Any = memoryview(buffer)
        try:
            step = self._stream.read(len(view))
        except (OSError, EOFError, zlib.error) as error:
            raise SourceError(f"is damaged: {str(error)[:100] or 'it cannot be unpacked'}") from None
        except Exception as error:
            if type(error).__name__ != "ZstdError":  # a library that may not be there
                raise
            raise SourceError(f"is damaged: {str(error)[:100]}") from None
        self._passed += len(step)
        if self._passed > self._most:
            raise _too_large(self._most)
        view[: len(step)] = step
        return len(step)


def _too_large(most: int) -> SourceError:
    return SourceError(
        f"has, unpacked, more bytes than max_file_bytes={most} allows; raise it if the file is meant"
    )
