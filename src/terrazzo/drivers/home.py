"""Where a user's files are when nobody says: what the environment tells of it."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

HOME_VARIABLE = "TERRAZZO_HOME"
CATALOG_VARIABLE = "TERRAZZO_CATALOG"


def default_home(environment: Mapping[str, str], platform: str = sys.platform) -> Path:
    """Return where files are kept when nobody says: the platform's folder for data."""
    if platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "terrazzo"
    named = environment.get("XDG_DATA_HOME", "")
    base = Path(named) if Path(named).is_absolute() else Path.home() / ".local" / "share"
    return base / "terrazzo"


def own_home(environment: Mapping[str, str]) -> Path:
    """Return the folder that the environment names, or that for data."""
    named = environment.get(HOME_VARIABLE, "")
    return (Path(named) if named else default_home(environment)).expanduser().absolute()


def work_folder(home: Path, address: str) -> Path:
    """Return the folder in which the results of a run are put together that is kept elsewhere."""
    return home / "runs" / hashlib.sha256(address.rstrip("/").encode()).hexdigest()[:16]
