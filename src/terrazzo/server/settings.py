"""What the operator of a server chose; read once by the command line, passed down."""

from __future__ import annotations

from dataclasses import dataclass, field

from terrazzo.ledger.elsewhere import Elsewhere

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
    images: int = 5_000
    """Images of one collection that are looked at for a synchronous result or a validation."""
    nodes: int = 10_000
    """Nodes of a process graph."""
    body_bytes: int = 20_000_000
    """Bytes of a request's body, uploads aside."""
    items_bytes: int = 30_000_000
    """Bytes of a request that adds items, some 4000 of them."""
    items: int = 10_000
    """Items that one request may add."""
    collections: int = 100
    """Collections that somebody who is no admin may have."""
    collection_items: int = 1_000_000
    """Items of such a collection."""
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
    """The claim that lists groups, with dots into objects; empty takes none."""
    members: tuple[str, ...] = ()
    """Groups of which one is needed to use this server; empty lets everybody in."""
    redirect_urls: tuple[str, ...] = ()
    """Pages to which the client may send people back; with some it offers authorization codes."""
    description: str = ""
    """How to get an account there."""
    opaque: str = ""
    """How tokens that are no JWT are checked: `introspection`, `userinfo`; empty refuses them."""
    introspection_client: str = ""
    """Client as which this server asks the provider about tokens."""
    introspection_secret: str = field(default="", repr=False)
    """Its secret."""


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
    job_memory_bytes: int = 2_000_000_000
    """Memory for the blocks of each job; of Slurm of each task."""
    elsewhere: Elsewhere = field(default_factory=Elsewhere)
    """Who computes the blocks of jobs."""
    workers: int = 1
    """Processes that answer requests."""
    grace_seconds: float = 10.0
    """How long a server that is told to stop waits for requests that it has begun to answer."""
    slow_seconds: float = 30.0
    """How long a client may take for the next part of its request or of what it is sent."""
    metrics_token: str = field(default="", repr=False)
    """Token that reads /metrics; without one only this machine does."""
    cors: str = ""
    """Where pages may come from that ask a server without log-ins; empty is nowhere else."""
    hosts: tuple[str, ...] = ()
    """Names under which requests may come; empty is any."""
    secret: str = field(default="", repr=False)
    """First part of all paths, which only those know who may ask; empty for none."""
    log: str = "auto"
    """Form of log lines: json, text, or auto."""
