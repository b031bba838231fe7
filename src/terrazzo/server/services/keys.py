"""Keys of services: with one in its address, tiles come to clients that cannot log in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from terrazzo.ledger import Principal, Signer


def key_of(signer: Signer, service: str) -> str:
    """Return the key of a service; it is good for as long as there is the service."""
    return signer.sign(_text(service))


def viewer(signer: Signer, who: Principal, service: str, key: str) -> Principal | None:
    """Return with whose eyes a service is looked at; None, those of its owner, with its key.

    A wrong key gives no more than none.
    """
    return None if key and signer.is_signed(_text(service), key) else who


def _text(service: str) -> str:
    return f"service {service}"
