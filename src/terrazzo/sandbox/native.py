"""Functions of the C library that Python does not have."""

from __future__ import annotations

import ctypes
import os

_C = ctypes.CDLL(None, use_errno=True)


def call_c(name: str, *arguments: int) -> int:
    """Call a function of the C library that takes and returns whole numbers.

    Raises:
        OSError: it returned -1.
    """
    function = getattr(_C, name)
    function.restype = ctypes.c_long
    result: int = function(*(ctypes.c_long(argument) for argument in arguments))
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def address_of(content: bytes) -> int:
    """Return where bytes lie; they must outlive the use of it."""
    return ctypes.cast(ctypes.c_char_p(content), ctypes.c_void_p).value or 0
