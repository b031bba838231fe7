"""Links that work for whoever has them: a path, signed with the server's secret."""

from __future__ import annotations

import hmac
import os
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from terrazzo.storage.writers.files import output_failed

if TYPE_CHECKING:
    from pathlib import Path

SECRET_FILE = "secret.key"  # noqa: S105 - a name
_BYTES = 32


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs texts so that nobody else can."""

    secret: bytes = field(repr=False)
    """At least 32 random bytes, the same on all machines of a server."""

    @classmethod
    def of(cls, home: Path) -> Signer:
        """Return the signer of a home folder; its secret is made once and readable by its owner.

        Raises:
            OutputFailed: the secret cannot be read or written.
        """
        path = home / SECRET_FILE
        try:
            home.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                part = home / f".{SECRET_FILE}.{secrets.token_hex(8)}"
                descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(secrets.token_bytes(_BYTES))
                try:
                    os.link(part, path)  # whoever comes first decides
                except FileExistsError:
                    pass
                finally:
                    part.unlink()
            return cls(path.read_bytes())
        except OSError as error:
            raise output_failed(path, error) from error

    def sign(self, text: str, expires: int = 0) -> str:
        """Return a signature of a text that is good until `expires` (Unix seconds; 0 = for ever).

        It holds characters that need no quoting in a URL.
        """
        mark = f"{expires:x}"
        return f"{mark}-{self._digest(text, mark)}"

    def is_signed(self, text: str, signature: str) -> bool:
        """Tell whether a signature is of this text and still good."""
        expires = self.expiry(text, signature)
        return expires is not None and (expires == 0 or time.time() < expires)

    def expiry(self, text: str, signature: str) -> int | None:
        """Return until when a signature is good, perhaps past; None if it is not of this text."""
        mark, _, digest = signature.partition("-")
        if not hmac.compare_digest(digest.encode(), self._digest(text, mark).encode()):
            return None
        return int(mark, 16)

    def _digest(self, text: str, mark: str) -> str:
        return hmac.new(self.secret, f"{mark}\n{text}".encode(), "sha256").hexdigest()
