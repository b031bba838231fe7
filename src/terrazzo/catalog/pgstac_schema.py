"""What Terrazzo adds to a database with pgSTAC: a schema of its own, and triggers that tell it.

Collections and items are in pgSTAC's tables. Here is what those have no place for: the version of
a collection, its survey, and what its document was to the last digit. Triggers on pgSTAC's tables
keep that true whoever writes.

pgSTAC 0.10 keeps with each item which base item it was stripped against. Our items name one of
ours, `{}`: they are kept whole, so that a change of the collection never changes them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from terrazzo.errors import CatalogUnusable

if TYPE_CHECKING:
    import psycopg

SCHEMA_VERSION: Final = 1
"""Version of the schema `terrazzo` that this code reads and writes."""
PGSTAC: Final = "0.10"
"""The pgSTAC that this code knows."""

_MAKING: Final = 0x7E44A221
"""Key of the lock under which the schema is made."""

_TABLES: Final = """
CREATE SCHEMA terrazzo;
CREATE TABLE terrazzo.schema_version (version integer NOT NULL);
CREATE TABLE terrazzo.collection (
    id text PRIMARY KEY REFERENCES pgstac.collections (id) ON UPDATE CASCADE ON DELETE CASCADE,
    version text NOT NULL,
    stated text,
    base integer,
    odd boolean NOT NULL DEFAULT false,
    kinds jsonb NOT NULL DEFAULT '{}',
    survey text
);
COMMENT ON COLUMN terrazzo.collection.version IS 'random; changes with the collection or an item';
COMMENT ON COLUMN terrazzo.collection.stated IS 'the document as stated; NULL: as pgSTAC has it';
COMMENT ON COLUMN terrazzo.collection.base IS 'pgstac.base_items.id of the base {}';
COMMENT ON COLUMN terrazzo.collection.odd IS 'others put items whose columns say less than they do';
COMMENT ON COLUMN terrazzo.collection.kinds IS 'wrappers of the queryables that were registered';
COMMENT ON COLUMN terrazzo.collection.survey IS 'what its items have; NULL is not known';

CREATE FUNCTION terrazzo.new_version() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT replace(gen_random_uuid()::text, '-', '')
$$;

CREATE FUNCTION terrazzo.grown(wanted tstzrange, known tstzrange, whole tstzrange)
RETURNS tstzrange LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    low timestamptz := lower(wanted);
    high timestamptz := upper(wanted);
    more interval;
BEGIN
    IF known IS NULL OR known @> wanted OR isempty(known)
        OR NOT isfinite(lower(known)) OR NOT isfinite(upper(known)) THEN
        RETURN wanted;
    END IF;
    more := least(greatest(high, upper(known)) - least(low, lower(known)), interval '50 years');
    IF low < lower(known) THEN
        low := greatest(low - more, lower(whole));
    END IF;
    IF high > upper(known) THEN
        high := greatest(high, least(high + more, upper(whole) - interval '1 microsecond'));
    END IF;
    RETURN tstzrange(low, high, '[]');
END $$;

CREATE FUNCTION terrazzo.own() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce(current_setting('terrazzo.writing', true), '') = 'on'
$$;

CREATE FUNCTION terrazzo.collection_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pgstac, public, pg_temp AS $$
BEGIN
    IF terrazzo.own() THEN
        INSERT INTO terrazzo.collection (id, version) VALUES (NEW.id, terrazzo.new_version())
        ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO terrazzo.collection (id, version) VALUES (NEW.id, terrazzo.new_version())
        ON CONFLICT (id) DO UPDATE SET version = excluded.version, stated = NULL;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION terrazzo.items_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pgstac, public, pg_temp AS $$
DECLARE
    names text[] := ARRAY(SELECT DISTINCT collection FROM changed ORDER BY 1);
BEGIN
    IF names = '{}' THEN
        RETURN NULL;
    END IF;
    PERFORM FROM terrazzo.collection WHERE id = ANY(names) ORDER BY id FOR UPDATE;
    UPDATE terrazzo.collection SET version = terrazzo.new_version() WHERE id = ANY(names);
    IF NOT terrazzo.own() THEN
        UPDATE terrazzo.collection SET survey = NULL WHERE id = ANY(names);
        UPDATE terrazzo.collection SET odd = true WHERE NOT odd AND id IN (
            SELECT collection FROM changed
            WHERE (datetime <> end_datetime AND content->'properties'->>'datetime' IS NOT NULL)
                OR ST_XMin(geometry) < -180 OR ST_XMax(geometry) > 180
                OR ST_XMax(geometry) - ST_XMin(geometry) > 180
        );
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER terrazzo_collection AFTER INSERT OR UPDATE ON pgstac.collections
    FOR EACH ROW EXECUTE FUNCTION terrazzo.collection_changed();
CREATE TRIGGER terrazzo_insert AFTER INSERT ON pgstac.items REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION terrazzo.items_changed();
CREATE TRIGGER terrazzo_update AFTER UPDATE ON pgstac.items REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION terrazzo.items_changed();
CREATE TRIGGER terrazzo_delete AFTER DELETE ON pgstac.items REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION terrazzo.items_changed();

INSERT INTO terrazzo.collection (id, version) SELECT id, terrazzo.new_version()
    FROM pgstac.collections;
UPDATE terrazzo.collection SET odd = true WHERE id IN (
    SELECT collection FROM pgstac.items
    WHERE (datetime <> end_datetime AND content->'properties'->>'datetime' IS NOT NULL)
        OR ST_XMin(geometry) < -180 OR ST_XMax(geometry) > 180
        OR ST_XMax(geometry) - ST_XMin(geometry) > 180
);
GRANT USAGE ON SCHEMA terrazzo TO pgstac_read, pgstac_ingest, pgstac_admin;
GRANT SELECT ON ALL TABLES IN SCHEMA terrazzo TO pgstac_read;
GRANT ALL ON ALL TABLES IN SCHEMA terrazzo TO pgstac_ingest, pgstac_admin;
"""

TRIGGERS: Final = frozenset(
    {"terrazzo_collection", "terrazzo_insert", "terrazzo_update", "terrazzo_delete"}
)
"""Names of our triggers on pgSTAC's tables."""


def prepare(
    connection: psycopg.Connection[Any], address: str, shown: str, *, read_only: bool
) -> None:
    """See that a database is a catalogue; make an empty one one, unless it is only to be read.

    Args:
        connection: to the database, in autocommit.
        address: of the database, for pgSTAC's own programme.
        shown: the address without its password.
        read_only: whether nothing may be changed.

    Raises:
        CatalogUnusable: pgSTAC is missing or another one, or ours is of a later Terrazzo.
    """
    connection.execute("SET search_path TO pgstac, public")
    version = _pgstac_version(connection)
    if version is None and not read_only:
        _migrate(connection, address, shown)
        version = _pgstac_version(connection)
    if version is None or not version.startswith(f"{PGSTAC}."):
        found = "no pgSTAC" if version is None else f"pgSTAC {version}"
        raise CatalogUnusable(
            f"The database {shown} has {found}; this Terrazzo needs pgSTAC {PGSTAC}. Bring it "
            f"there with `pip install 'pypgstac[psycopg]=={PGSTAC}.*'` and `pypgstac migrate`, "
            "which takes the same address in --dsn."
        )
    with connection.transaction():
        if not read_only:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MAKING,))
        ours = _our_version(connection)
        if ours is None and not read_only:
            connection.execute(_TABLES)
            connection.execute("INSERT INTO terrazzo.schema_version VALUES (%s)", (SCHEMA_VERSION,))
            ours = SCHEMA_VERSION
    if ours is None:
        raise CatalogUnusable(
            f"The database {shown} has pgSTAC, but Terrazzo has not been in it. Open it once "
            "without `read_only`."
        )
    if ours != SCHEMA_VERSION:
        raise CatalogUnusable(
            f"The catalogue {shown} has schema version {ours} and this Terrazzo reads version "
            f"{SCHEMA_VERSION}. Upgrade Terrazzo."
        )


def _pgstac_version(connection: psycopg.Connection[Any]) -> str | None:
    row = connection.execute("SELECT to_regproc('pgstac.get_version') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return None
    row = connection.execute("SELECT pgstac.get_version()").fetchone()
    return None if row is None else str(row[0])


def _our_version(connection: psycopg.Connection[Any]) -> int | None:
    row = connection.execute("SELECT to_regclass('terrazzo.schema_version') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return None
    row = connection.execute("SELECT version FROM terrazzo.schema_version").fetchone()
    return None if row is None else int(row[0])


def _migrate(connection: psycopg.Connection[Any], address: str, shown: str) -> None:
    """Put pgSTAC into a database that has none, if its programme is installed here."""
    try:
        database, migrate = import_module("pypgstac.db"), import_module("pypgstac.migrate")
    except ImportError:
        return
    # Held by the session: the programme has a connection of its own.
    connection.execute("SELECT pg_advisory_lock(%s)", (_MAKING,))
    try:
        if _pgstac_version(connection) is None:
            connection.execute("CREATE EXTENSION IF NOT EXISTS postgis SCHEMA public")
            with database.PgstacDB(dsn=address) as theirs:
                migrate.Migrate(theirs).run_migration()
    except Exception as problem:
        raise CatalogUnusable(
            f"pgSTAC could not be put into the database {shown}: {type(problem).__name__}. Give "
            "a user who may make extensions and roles, or run `pypgstac migrate` yourself."
        ) from problem
    finally:
        connection.execute("SELECT pg_advisory_unlock(%s)", (_MAKING,))
