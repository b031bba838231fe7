"""The tables of the ledger, the same on SQLite and PostgreSQL.

Times are RFC 3339 texts in UTC with microseconds, so that they sort; documents are JSON texts.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA_VERSION = 1
"""Version of the tables that this code reads and writes."""

metadata = MetaData()

version = Table("ledger_version", metadata, Column("version", Integer, primary_key=True))

user = Table(
    "account",
    metadata,
    Column("id", Text, primary_key=True),
    Column("provider", Text, nullable=False),  # "basic", or the id of an OpenID provider
    Column("subject", Text, nullable=False),  # the log-in name, or `sub`
    Column("name", Text, nullable=False, default=""),
    Column("password", Text, nullable=False, default=""),  # argon2 hash; empty for OpenID
    Column("groups", Text, nullable=False, default="[]"),  # that the operator put them in
    Column("claimed", Text, nullable=False, default="[]"),  # that their provider says they are in
    Column("admin", Boolean, nullable=False, default=False),
    Column("enabled", Boolean, nullable=False, default=True),
    Column("quota", BigInteger),  # bytes of files; null = the server's default
    Column("created", Text, nullable=False),
    UniqueConstraint("provider", "subject"),
)

token = Table(
    "token",
    metadata,
    Column("digest", Text, primary_key=True),  # SHA-256 of the token, which is not kept
    Column("account", Text, ForeignKey("account.id", ondelete="CASCADE"), nullable=False),
    Column("created", Text, nullable=False),
    Column("expires", Text, nullable=False),
)

failure = Table(
    "failure",  # log-ins that failed, of one name from one address
    metadata,
    Column("digest", Text, primary_key=True),
    Column("count", Integer, nullable=False),
    Column("last", Text, nullable=False),
)

licence = Table(
    "licence",
    metadata,
    Column("id", Text, primary_key=True),
    Column("title", Text, nullable=False, default=""),
    Column("href", Text, nullable=False, default=""),  # where its text is
)

acceptance = Table(
    "acceptance",
    metadata,
    Column("account", Text, primary_key=True),
    Column("licence", Text, primary_key=True),
    Column("accepted", Text, nullable=False),
)


def _owned() -> tuple[Column[str], Column[str], Column[str]]:
    """Return the columns by which `access.visible` decides."""
    return (
        Column("owner", Text, nullable=False),
        Column("visibility", Text, nullable=False, default="private"),
        Column("audience", Text, nullable=False, default=""),  # the group or licence
    )


collection = Table(
    "collection_access",  # a collection without a row here is public
    metadata,
    Column("id", Text, primary_key=True),
    *_owned(),
)

process = Table(
    "process",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("visibility", Text, nullable=False, default="private"),
    Column("audience", Text, nullable=False, default=""),
    Column("document", Text, nullable=False),
    Column("updated", Text, nullable=False),
)

job = Table(
    "job",
    metadata,
    Column("id", Text, primary_key=True),
    *_owned(),
    Column("title", Text),
    Column("description", Text),
    Column("process", Text, nullable=False),
    Column("processes", Text, nullable=False, default="{}"),  # those of the user that it calls
    Column("options", Text, nullable=False, default="{}"),
    Column("status", Text, nullable=False),  # see `jobs.Status`
    Column("progress", Float, nullable=False, default=0.0),
    Column("created", Text, nullable=False),
    Column("updated", Text, nullable=False),
    Column("queued", Text),  # since when it waits; those who wait longest come first
    Column("started", Text),
    Column("finished", Text),
    Column("worker", Text),  # who has it
    Column("run", Integer, nullable=False, default=0),  # how often it was started by its owner
    Column("lost", Integer, nullable=False, default=0),  # see `queue.MOST_LOST`
    Column("usage", Text, nullable=False, default="{}"),
    Index("job_of_owner", "owner", "created"),
    Index("job_in_queue", "status", "queued"),
)

worker = Table(
    "worker",
    metadata,
    Column("id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("seen", Text, nullable=False),
)

entry = Table(
    "entry",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("kind", Text, nullable=False),  # "job" or "service"
    Column("object", Text, nullable=False),
    Column("level", Text, nullable=False),
    Column("event", Boolean, nullable=False, default=False),  # not told by the graph
    Column("body", Text, nullable=False),  # the openEO log entry without its id
    Index("entry_of_object", "kind", "object", "number"),
    sqlite_autoincrement=True,  # a number that is free again must not name another entry
)

service = Table(
    "service",
    metadata,
    Column("id", Text, primary_key=True),
    *_owned(),
    Column("title", Text),
    Column("description", Text),
    Column("type", Text, nullable=False),
    Column("process", Text, nullable=False),
    Column("processes", Text, nullable=False, default="{}"),  # those of the user that it calls
    Column("configuration", Text, nullable=False, default="{}"),
    Column("enabled", Boolean, nullable=False, default=True),
    Column("options", Text, nullable=False, default="{}"),
    Column("created", Text, nullable=False),
    Column("updated", Text, nullable=False),
    Index("service_of_owner", "owner", "created"),
)

layer = Table(
    "layer",
    metadata,
    Column("id", Text, primary_key=True),  # digest of the graph
    Column("owner", Text, primary_key=True),  # account that opened it; empty for nobody
    Column("title", Text, nullable=False, default=""),
    Column("process", Text, nullable=False),
    Column("processes", Text, nullable=False, default="{}"),  # those of the user that it calls
    Column("opened", Text, nullable=False),  # the last time
    Index("layer_of_owner", "owner", "opened"),
)
