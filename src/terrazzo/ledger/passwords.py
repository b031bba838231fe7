"""Passwords: argon2 hashes, made and checked a few at a time because each takes 64 MB."""

from __future__ import annotations

import threading
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from terrazzo.errors import TerrazzoError

SHORTEST = 10
LONGEST = 1000
_AT_ONCE = threading.BoundedSemaphore(2)
_HASHER = PasswordHasher()
_NOBODY: list[str] = []


class PasswordInvalid(TerrazzoError):
    """A password cannot be used."""

    code, status = "PasswordInvalid", 400


def hashed(password: str) -> str:
    """Return the argon2id hash of a new password, with its salt and costs.

    Raises:
        PasswordInvalid: it is too short or too long.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise PasswordInvalid(
            f"The password has {len(password)} letters. Take {SHORTEST} to {LONGEST}, for example "
            "four words that nobody would guess."
        )
    with _AT_ONCE:
        return _HASHER.hash(_bytes(password))


def is_password(password: str, hash_: str) -> bool:
    """Tell whether a password belongs to a hash.

    An empty hash, that of nobody, takes as long as any other, so that the time does not tell which
    names there are.
    """
    with _AT_ONCE:
        try:
            _HASHER.verify(hash_ or _hash_of_nobody(), _bytes(password[: LONGEST + 1]))
        except (VerificationError, InvalidHashError):
            return False
    return bool(hash_)


def is_outdated(hash_: str) -> bool:
    """Tell whether a hash was made with other costs than new ones are."""
    return _HASHER.check_needs_rehash(hash_)


def _hash_of_nobody() -> str:
    if not _NOBODY:
        _NOBODY.append(_HASHER.hash(b"nobody has this password"))
    return _NOBODY[0]


def _bytes(password: str) -> bytes:
    """Return the same bytes however a keyboard composes its letters."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
