"""What the operator of a server chose; read once by the command line, passed down."""

from __future__ import annotations

from dataclasses import dataclass, field

KEPT_BYTES = 64_000_000
"""Bytes of encoded tiles that are kept, some thousand of them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for; checked before any work."""

    pixels: int = 250_000_000
    """Pixels (of all dates and bands) of a synchronous result; jobs may have more."""
    job_pixels: int = 1_000_000_000_000
    """Pixels of a job's result."""
    input_bytes: int = 20_000_000_000
    """Bytes that a synchronous result may read."""
    nodes: int = 10_000
    """Nodes of a process graph."""
    body_bytes: int = 20_000_000
    """Bytes of a request's body, uploads aside."""
    upload_bytes: int = 5_000_000_000
    """Bytes of one uploaded file."""
    quota_bytes: int = 20_000_000_000
    """Bytes of all files of a user, unless their account says otherwise."""


@dataclass(frozen=True, slots=True)
class OidcProvider:
    """An OpenID Connect provider whose tokens are accepted."""

    id: str
    """Short name, part of the tokens that openEO clients send."""
    issuer: str
    """Its address, without a trailing slash."""
    title: str = ""
    """What people call it."""
    client: str = ""
    """Id of the public client for openEO's clients (device code with PKCE); empty = none."""
    audience: str = ""
    """What the tokens' `aud` must hold; empty accepts the client's id."""
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    """What clients ask for."""
    groups_claim: str = "eduperson_entitlement"
    """The claim that lists groups."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """All choices of a server."""

    database: str = ""
    """URL of the database; empty is the embedded one in the home folder."""
    public_url: str = ""
    """Address under which clients reach the server; empty is that of each request."""
    open: bool = True
    """Whether everybody is the one local user; only on loopback and without users."""
    providers: tuple[OidcProvider, ...] = ()
    """OpenID Connect providers."""
    limits: Limits = field(default_factory=Limits)
    """What one request may ask for."""
    threads: int = 0
    """How many results and tiles are computed at a time; 0 = one per core."""
    kept_bytes: int = KEPT_BYTES
    """Bytes of encoded tiles that are kept for those who ask next; 0 = none."""
    job_workers: int = 1
    """Processes that run jobs beside the server; 0 leaves them to `terrazzo worker`."""
    token_hours: float = 24.0
    """How long a log-in with a password lasts."""
    link_hours: float = 24.0
    """How long a signed link to a result works."""
