"""Made-up fields in files, and what becomes of them in a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import geopandas
import shapely
from tests.drivers.scenes import job_of, node

from terrazzo.drivers.ingest import IngestOptions, ingest

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.cube import Geometries
    from terrazzo.drivers.ingest import IngestReport
    from terrazzo.drivers.job import Workspace

DAY = "2020-05-01"


def squares(count: int, *, left: float = 500_000.0, step: float = 100.0) -> list[Any]:
    """Return squares side by side, from west to east."""
    return [shapely.box(left + n * step, 5e6, left + n * step + 50, 5e6 + 50) for n in range(count)]


def frame(shapes: list[Any], **columns: Any) -> geopandas.GeoDataFrame:
    columns = columns or {"name": [f"s{n}" for n in range(len(shapes))]}
    return geopandas.GeoDataFrame(columns, geometry=shapes, crs=32633)


def taken_in(
    path: Path, workspace: Workspace, name: str = "fields", **options: Any
) -> IngestReport:
    options = options if "date" in options else {"datetime": DAY, **options}
    return ingest([path], name, workspace, options=IngestOptions(**options))


def item_of(workspace: Workspace, name: str = "fields") -> dict[str, Any]:
    with workspace.catalog() as catalog:
        (found,) = catalog.search((name,))
    return found


def table_of(workspace: Workspace, name: str = "fields") -> str:
    href: str = item_of(workspace, name)["assets"]["data"]["href"]
    return href


def loaded(workspace: Workspace, name: str = "fields", **arguments: Any) -> Any:
    """Return the cube of a collection."""
    given = {"id": name, "spatial_extent": None, "temporal_extent": None, **arguments}
    job = job_of({"load": node("load_collection", True, **given)})
    return job.infer(workspace).cube("load").result


def held(workspace: Workspace, name: str = "fields", **arguments: Any) -> Geometries:
    found: Geometries = loaded(workspace, name, **arguments).geometries
    return found
