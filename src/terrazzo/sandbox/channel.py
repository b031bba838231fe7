"""What passes between the server and a worker: JSON in frames, arrays in shared memory.

Nothing that comes from a worker is unpickled, and nothing is believed before it is checked.
"""

from __future__ import annotations

import fcntl
import json
import math
import mmap
import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MOST_BYTES = 4_000_000
"""Bytes of one message; labels are the most of it."""
_LENGTH = struct.Struct("<I")


def frame(message: Any) -> bytes:
    """Return a message as it is sent: its length, then JSON text."""
    content = json.dumps(message).encode()
    return _LENGTH.pack(len(content)) + content


def send(channel: socket.socket, message: Any, files: Sequence[int] = ()) -> None:
    """Send a message with open files."""
    content = frame(message)
    sent = socket.send_fds(channel, [content], list(files))
    channel.sendall(content[sent:])


def write(file: int, content: bytes) -> None:
    """Write all of it; unlike a socket's `send` this is allowed in a worker."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]


def receive(channel: socket.socket, files: int = 0) -> tuple[Any, list[int]]:
    """Wait for a message and the files that come with it; None at the end.

    Only for messages of the server: their length is believed.
    """
    head, opened, _, _ = socket.recv_fds(channel, _LENGTH.size, files)
    if not head:
        return None, []
    while len(head) < _LENGTH.size:
        head += os.read(channel.fileno(), _LENGTH.size - len(head))
    (length,) = _LENGTH.unpack(head)
    parts = []
    while length:
        part = os.read(channel.fileno(), min(length, 1 << 20))
        if not part:
            return None, []
        parts.append(part)
        length -= len(part)
    return json.loads(b"".join(parts)), opened


class Frames:
    """Messages out of a stream of bytes that may be anything."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self.size = 0
        """Bytes of the last message."""

    def add(self, received: bytes) -> None:
        """Take the next bytes."""
        self._bytes += received

    def next(self) -> Any:
        """Return the next message, or None while there is no whole one.

        Raises:
            ValueError: what is there is no message.
        """
        if len(self._bytes) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._bytes)
        if length > MOST_BYTES:
            raise ValueError(f"A message of {length} bytes.")
        end = _LENGTH.size + length
        if len(self._bytes) < end:
            return None
        content = bytes(self._bytes[_LENGTH.size : end])
        del self._bytes[:end]
        self.size = end
        try:
            message = json.loads(content, parse_constant=_finite, parse_float=_finite)
            if b"\\ud" in content.lower():  # half a character, perhaps, which no text file can hold
                text = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")
                message = json.loads(text)
        except RecursionError as error:
            raise ValueError("A message that is nested too deeply.") from error
        if not isinstance(message, dict):
            raise ValueError("A message that is no object.")  # noqa: TRY004 - of a stranger
        return message


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"A message with the number {text[:100]}.")
    return number


class SharedMemory:
    """Bytes that two processes see; their number is fixed, so that nobody can cut them short."""

    def __init__(self, size: int) -> None:
        self.size = max(size, 1)
        self.file = os.memfd_create("terrazzo-udf", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.file, self.size)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(self.file, fcntl.F_ADD_SEALS, seals)
            self.memory = mmap.mmap(self.file, self.size)
        except BaseException:
            os.close(self.file)
            raise

    def array(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Return an array on the first of its bytes."""
        return np.frombuffer(self.memory, dtype, math.prod(shape)).reshape(shape)

    def close(self) -> None:
        """Give the memory back, once arrays on it are gone."""
        os.close(self.file)
        with suppress(BufferError):  # an error that is on its way still holds one
            self.memory.close()
