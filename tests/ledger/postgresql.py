"""A private PostgreSQL server for tests, and a fresh database in it for each."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def server(shared: Path) -> Iterator[str]:
    """Run a server on loopback, files in a folder of its own; yields the address of its root."""
    script = shared / "services" / "pgstac.sh"
    # Not pytest's folder: that is closed to the account `postgres`, under which root runs it.
    home = Path(tempfile.gettempdir()) / f"terrazzo-pg-{uuid.uuid4().hex[:12]}"
    settings = os.environ | {"PG_HOME": str(home), "PG_PORT": str(free_port())}
    settings.pop("PYPGSTAC", None)
    try:
        started = subprocess.run(
            ["bash", str(script), "start"], env=settings, capture_output=True, text=True, check=True
        )
        yield started.stdout.strip().splitlines()[-1]
    finally:
        subprocess.run(["bash", str(script), "stop"], env=settings, check=True)
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def fresh(root: str, template: str = "template0") -> Iterator[str]:
    """Make a database, empty or a copy of another one; yields its address."""
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(root, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template}")  # type: ignore[arg-type]
        try:
            yield f"{root.rpartition('/')[0]}/{name}"
        finally:
            connection.execute(f"drop database {name} with (force)")  # type: ignore[arg-type]
