"""Vector cubes as files, read back by geopandas, pyogrio, pyarrow and xarray."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pyproj
import pytest
import shapely
import xarray as xr

from terrazzo.cube import Cube, Dimension, Geometries, Kind
from terrazzo.errors import ArgumentInvalid, FormatUnsuitable, FormatUnsupported
from terrazzo.storage.writers.columns import rows_of
from terrazzo.storage.writers.geojson import in_degrees, write_geojson
from terrazzo.storage.writers.netcdf_vector import write_vector_netcdf
from terrazzo.storage.writers.table import write_geotable, write_table

if TYPE_CHECKING:
    from pathlib import Path

TIMES = ("2020-06-01T00:00:00Z", "2020-07-01T00:00:00Z")
BANDS = ("red", "nir")
HOLED = shapely.Polygon(
    shapely.box(500_000, 5_500_000, 500_100, 5_500_100).exterior,
    [shapely.box(500_020, 5_500_020, 500_040, 5_500_040).exterior],
)
SHAPES = (
    HOLED,
    shapely.MultiPolygon(
        [
            shapely.box(501_000, 5_500_000, 501_010, 5_500_010),
            shapely.box(502_000, 5_500_000, 502_010, 5_500_010),
        ]
    ),
    shapely.Polygon(),
)
PROPERTIES: tuple[dict[str, Any], ...] = (
    {"name": "north", "n": 1, "tags": ["a", "b"]},
    {"name": "süd", "n": None, "tags": None},
    {"n": 3.5},
)


def cube(
    shapes: tuple[Any, ...] = SHAPES,
    *,
    dtype: str = "float64",
    crs: str = "EPSG:32633",
    properties: tuple[dict[str, Any], ...] = PROPERTIES,
    labels: tuple[Any, ...] = ("a", "b", "c"),
) -> Cube:
    """Return (geometry, t, bands): numbers, of which one is no-data and one NaN if it can be."""
    size = len(shapes)
    values = (np.arange(size * 4).reshape(size, 2, 2) * 0.5).astype(dtype)
    valid = np.ones(values.shape, np.bool_)
    if size:
        valid[0, 1, 0] = False
        if values.dtype.kind == "f":
            values[0, 0, 1] = np.nan
    dimensions = (
        Dimension("geometry", Kind.GEOMETRY, labels[:size]),
        Dimension("t", Kind.TEMPORAL, TIMES),
        Dimension("bands", Kind.BANDS, BANDS),
    )
    return Cube(values, valid, dimensions, geometries=Geometries(shapes, crs, properties[:size]))


def bare(shapes: tuple[Any, ...], *, valid: bool = False) -> Cube:
    held = Geometries(shapes, "EPSG:32633", ({},) * len(shapes), bare=True)
    dimension = Dimension("geometry", Kind.GEOMETRY, tuple(range(len(shapes))))
    return Cube(np.zeros(len(shapes)), np.full(len(shapes), valid), (dimension,), geometries=held)


def plain(column: Any) -> list[Any]:
    return column.tolist() if isinstance(column, np.ndarray) else list(column)


NAMES = [f"{time}~{band}" for time in TIMES for band in BANDS]


def test_a_wide_table_has_a_row_per_geometry_and_a_column_per_label():
    given = cube()

    columns = rows_of(given, long=False).columns()

    assert list(columns) == ["id", "name", "n", "tags", *NAMES]
    assert plain(columns["id"]) == ["a", "b", "c"]
    assert plain(columns["name"]) == ["north", "süd", None]
    numbers = np.ma.MaskedArray(given.values, ~given.valid).reshape(3, 4)
    for position, name in enumerate(NAMES):
        np.testing.assert_array_equal(columns[name].mask, numbers.mask[:, position])
        np.testing.assert_array_equal(columns[name].filled(0), numbers[:, position].filled(0))


def test_a_long_table_has_a_row_per_value():
    given = cube()

    columns = rows_of(given, long=True).columns()

    assert list(columns) == ["id", "name", "n", "tags", "t", "bands", "value"]
    assert plain(columns["id"]) == [name for name in "abc" for _ in range(4)]
    assert plain(columns["t"]) == [TIMES[0], TIMES[0], TIMES[1], TIMES[1]] * 3
    assert plain(columns["bands"]) == [*BANDS, *BANDS] * 3
    np.testing.assert_array_equal(columns["value"].mask, ~given.valid.ravel())


def test_the_axis_of_the_geometries_may_be_any():
    given = cube()
    turned = Cube(
        given.values.transpose(1, 0, 2),
        given.valid.transpose(1, 0, 2),
        (given.dimensions[1], given.dimensions[0], given.dimensions[2]),
        geometries=given.geometries,
    )

    for long in (False, True):
        here, there = (rows_of(one, long=long).columns() for one in (given, turned))
        assert list(here) == list(there)
        for name, column in here.items():
            assert repr(plain(column)) == repr(plain(there[name]))


def test_names_that_are_taken_get_a_mark_and_values_take_the_place_of_their_property():
    point = Geometries((shapely.Point(1, 2),), "EPSG:4326", ({"value": 7, "id": 8, "pop": 3},))
    geometry = Dimension("geometry", Kind.GEOMETRY, ("x",))
    single = Cube(np.array([5.0]), np.array([True]), (geometry,), geometries=point)
    second = Dimension("properties", Kind.OTHER, ("pop",))
    pair = Cube(np.array([[6.0]]), np.array([[True]]), (geometry, second), geometries=point)

    one, two = (rows_of(given, long=False).columns("geometry") for given in (single, pair))

    assert {name: plain(column) for name, column in one.items()} == {
        "id": ["x"],
        "value": [7],
        "id_": [8],
        "pop": [3],
        "value_": [5.0],
    }
    assert {name: plain(column) for name, column in two.items()} == {
        "id": ["x"],
        "value": [7],
        "id_": [8],
        "pop": [6.0],
    }


def test_geometries_without_values_have_no_column_of_values():
    shapes = (shapely.Point(0, 0), shapely.Point(1, 1))

    assert list(rows_of(bare(shapes), long=False).columns()) == ["id"]
    assert list(rows_of(bare(shapes), long=True).columns()) == ["id"]
    assert list(rows_of(bare(shapes, valid=True), long=False).columns()) == ["id", "value"]


def test_a_cube_without_geometries_is_long():
    t, band = Dimension("t", Kind.TEMPORAL, TIMES), Dimension("bands", Kind.BANDS, BANDS)
    table = Cube(np.arange(4.0).reshape(2, 2), np.ones((2, 2), np.bool_), (t, band))
    single = Cube(np.array(4.0), np.array(True), ())

    assert list(rows_of(table, long=False).columns()) == ["t", "bands", "value"]
    assert plain(rows_of(single, long=False).columns()["value"]) == [4.0]


def test_geojson_is_in_degrees_and_read_by_gdal(tmp_path: Path):
    given = cube()
    rows = rows_of(given, long=False)

    path = write_geojson(
        tmp_path / "a.geojson", rows.ids or (), rows.columns(named=False), SHAPES, "EPSG:32633"
    )

    document = json.loads(path.read_text())
    assert [feature["id"] for feature in document["features"]] == ["a", "b", "c"]
    assert document["features"][0]["properties"]["tags"] == ["a", "b"]
    assert document["features"][0]["properties"][NAMES[1]] is None  # NaN
    assert document["features"][0]["properties"][NAMES[2]] is None  # no-data
    assert document["features"][2]["geometry"] is None
    frame = pyogrio.read_dataframe(path)
    assert frame.crs.to_epsg() == 4326
    expected = geopandas.GeoSeries(list(SHAPES[:2]), crs=32633).to_crs(4326)
    for mine, theirs in zip(frame.geometry[:2], expected, strict=True):
        assert shapely.equals_exact(mine.normalize(), theirs.normalize(), 1e-9)
    assert frame[NAMES[3]].tolist() == given.values[:, 1, 1].tolist()


def test_rings_run_as_geojson_wants_them():
    clockwise = shapely.Polygon(list(HOLED.exterior.coords)[::-1])

    (shape,) = in_degrees([clockwise], "EPSG:32633")

    assert shape.exterior.is_ccw


def test_what_crosses_the_antimeridian_is_cut_there():
    # A square of 40 km in UTM zone 1, whose west is beyond 180 degrees; one that runs to 190.
    to = pyproj.Transformer.from_crs(4326, 32601, always_xy=True)
    x, y = to.transform(-180, 10)
    square = shapely.box(x - 20_000, y - 20_000, x + 20_000, y + 20_000)
    wide = shapely.box(170, -10, 190, 10)

    (cut,) = in_degrees([square], "EPSG:32601")
    (turned,) = in_degrees([wide], "EPSG:4326")

    assert cut.geom_type == "MultiPolygon"
    assert max(part.bounds[2] - part.bounds[0] for part in cut.geoms) < 1
    back = shapely.transform(cut, to.transform, interleaved=False)
    assert back.area == pytest.approx(square.area, rel=1e-3)
    assert sorted(part.bounds for part in turned.geoms) == [
        (-180.0, -10.0, -170.0, 10.0),
        (170.0, -10.0, 180.0, 10.0),
    ]


def test_what_is_only_wide_is_not_cut():
    whole = shapely.box(-170, -60, 170, 60)
    to = pyproj.Transformer.from_crs(4326, 3857, always_xy=True)
    mercator = shapely.transform(whole, to.transform, interleaved=False)

    (here,) = in_degrees([whole], "EPSG:4326")
    (there,) = in_degrees([mercator], "EPSG:3857")

    assert here.equals(whole)
    assert shapely.equals_exact(there.normalize(), whole.normalize(), 1e-9)


def test_a_vertex_off_the_globe_is_told():
    with pytest.raises(ArgumentInvalid, match="GeoParquet"):
        in_degrees([shapely.Point(1e9, 1e9)], "EPSG:3035")


def test_geoparquet_keeps_crs_no_data_and_nan(tmp_path: Path):
    given = cube()

    path = write_geotable(
        tmp_path / "a.parquet",
        rows_of(given, long=False).columns("geometry"),
        SHAPES,
        "EPSG:32633",
    )

    frame = geopandas.read_parquet(path)
    assert frame.crs.to_epsg() == 32633
    assert list(frame.geometry) == list(SHAPES)
    assert frame["id"].tolist() == ["a", "b", "c"]
    table = pq.read_table(path)
    numbers = table.column(NAMES[1]).to_pylist()
    assert np.isnan(numbers[0])
    assert table.column(NAMES[2]).to_pylist()[0] is None
    assert table.column("tags").to_pylist()[0] == ["a", "b"]
    facts = json.loads(table.schema.metadata[b"geo"])["columns"]["geometry"]
    assert facts["geometry_types"] == ["MultiPolygon", "Polygon"]
    assert tuple(facts["bbox"]) == tuple(geopandas.GeoSeries(SHAPES[:2]).total_bounds)


def test_geoparquet_takes_mixed_types_heights_and_nothing(tmp_path: Path):
    shapes = [shapely.Point(1, 2, 3), shapely.LineString([(0, 0), (1, 1)])]

    mixed = write_geotable(tmp_path / "a.parquet", {"it": [1, "x"]}, shapes, "EPSG:4326")
    empty = write_geotable(tmp_path / "b.parquet", {"it": []}, [], "EPSG:4326")

    frame = geopandas.read_parquet(mixed)
    assert frame["it"].tolist() == ["1", "x"]
    assert frame.geometry[0].z == 3
    assert len(geopandas.read_parquet(empty)) == 0


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint8", "bool"])
def test_tables_keep_types(tmp_path: Path, dtype: str):
    given = cube(dtype=dtype)
    columns = rows_of(given, long=True).columns()

    table = pq.read_table(write_table(tmp_path / "a.parquet", columns))

    assert table.column("value").type.to_pandas_dtype() == np.dtype(dtype)
    wanted = np.ma.MaskedArray(given.values, ~given.valid).ravel().tolist()
    assert repr(table.column("value").to_pylist()) == repr(wanted)


def test_csv_has_empty_cells_and_nan(tmp_path: Path):
    path = write_table(tmp_path / "a.csv", rows_of(cube(), long=False).columns())

    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))

    assert rows[0][NAMES[1]] == "nan"
    assert rows[0][NAMES[2]] == ""
    assert rows[0]["tags"] == '["a", "b"]'
    assert rows[1]["name"] == "süd"
    assert [float(row[NAMES[3]]) for row in rows] == cube().values[:, 1, 1].tolist()


def rebuilt(data: xr.Dataset) -> list[Any]:
    """Return the geometries of a CF container, as CF 1.8, 7.5 describes it."""
    container = data["geometry_container"].attrs
    nodes = np.column_stack([data[name] for name in container["node_coordinates"].split()])
    ends = np.cumsum(data[container["node_count"]].to_numpy())
    found: list[Any] = []
    if container["geometry_type"] == "point":
        return [shapely.MultiPoint(part) for part in np.split(nodes, ends[:-1])]
    stops = np.cumsum(data[container["part_node_count"]].to_numpy())
    parts = np.split(nodes, stops[:-1])
    holes = data[container["interior_ring"]].to_numpy() if "interior_ring" in container else None
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        mine = [number for number, stop in enumerate(stops) if start < stop <= end]
        if holes is None:
            found.append(shapely.MultiLineString([parts[number] for number in mine]))
            continue
        polygons: list[tuple[Any, list[Any]]] = []
        for number in mine:
            if holes[number]:
                polygons[-1][1].append(parts[number])
            else:
                polygons.append((parts[number], []))
        found.append(shapely.MultiPolygon([shapely.Polygon(*rings) for rings in polygons]))
    return found


@pytest.mark.parametrize(
    "shapes",
    [
        SHAPES,
        (shapely.LineString([(500_000, 5_500_000), (500_010, 5_500_020)]),),
        (shapely.Point(500_000, 5_500_000), shapely.MultiPoint([(1e5, 5e6), (2e5, 5e6)])),
    ],
)
def test_netcdf_holds_geometries_as_cf_has_them(tmp_path: Path, shapes: tuple[Any, ...]):
    given = cube(shapes)

    path = write_vector_netcdf(tmp_path / "a.nc", given)

    with xr.open_dataset(path, decode_times=False) as data:
        assert data.attrs["featureType"] == "timeSeries"
        for mine, theirs in zip(rebuilt(data), shapes, strict=True):
            assert mine.is_empty if theirs.is_empty else mine.equals(theirs)
        assert pyproj.CRS.from_cf(data["spatial_ref"].attrs).to_epsg() == 32633
        degrees = geopandas.GeoSeries(list(shapes), crs=32633).to_crs(4326)
        for lon, lat, shape in zip(data["lon"], data["lat"], degrees, strict=True):
            if not shape.is_empty:
                assert shapely.Point(lon, lat).distance(shape) < 1e-9
        for band, name in enumerate(BANDS):
            wanted = np.where(given.valid, given.values, np.nan)[:, :, band]
            np.testing.assert_array_equal(data[name], wanted)
            assert data[name].dims == ("geometry", "t")
        assert data["name"].to_numpy().tolist() == ["north", "süd", ""][: len(shapes)]
        assert data["geometry"].to_numpy().tolist() == ["a", "b", "c"][: len(shapes)]
    with xr.open_dataset(path) as data:
        assert data["t"].dt.month.to_numpy().tolist() == [6, 7]


def test_netcdf_of_points_is_read_by_others_too(tmp_path: Path):
    shapes = (shapely.Point(7, 50), shapely.Point(8, 51))

    path = write_vector_netcdf(tmp_path / "a.nc", cube(shapes, crs="EPSG:4326"))

    with xr.open_dataset(path, engine="netcdf4") as data:
        np.testing.assert_array_equal(data["lon"], [7, 8])
        np.testing.assert_array_equal(data["lat"], [50, 51])


@pytest.mark.parametrize(("dtype", "mark"), [("uint8", 200), ("int16", -1), ("bool", None)])
def test_netcdf_keeps_types_and_marks_no_data(tmp_path: Path, dtype: str, mark: float | None):
    given = cube(dtype=dtype)

    path = write_vector_netcdf(tmp_path / "a.nc", given, nodata=mark)

    with xr.open_dataset(path, mask_and_scale=False, decode_times=False) as data:
        stored = data["red"].to_numpy()
        assert stored.dtype == (np.uint8 if dtype == "bool" else np.dtype(dtype))
        wanted = np.where(given.valid, given.values, 255 if mark is None else mark)[:, :, 0]
        np.testing.assert_array_equal(stored, wanted)


def test_netcdf_holds_texts_bare_geometries_and_tables(tmp_path: Path):
    geometry = Dimension("geometry", Kind.GEOMETRY, (0, 1))
    second = Dimension("properties", Kind.OTHER, ("kind",))
    points = (shapely.Point(7, 50), shapely.Point(8, 51))
    held = Geometries(points, "EPSG:4326", ({"kind": "a"}, {"kind": "b"}))
    words = np.array([["a"], ["b"]], dtype=object)
    texts = Cube(words, np.array([[True], [False]]), (geometry, second), geometries=held)
    t = Dimension("t", Kind.TEMPORAL, TIMES)
    table = Cube(np.arange(2.0), np.array([True, False]), (t,))

    for name, given in {"texts": texts, "bare": bare(points), "table": table}.items():
        write_vector_netcdf(tmp_path / f"{name}.nc", given)

    with xr.open_dataset(tmp_path / "texts.nc") as data:
        assert data["var"].to_numpy().tolist() == [["a"], [""]]
        assert data["kind"].to_numpy().tolist() == ["a", "b"]
    with xr.open_dataset(tmp_path / "bare.nc") as data:
        assert "var" not in data
        assert data["node_x"].to_numpy().tolist() == [7, 8]
    with xr.open_dataset(tmp_path / "table.nc") as data:
        np.testing.assert_array_equal(data["var"], [0, np.nan])
        assert "geometry_container" not in data


def test_netcdf_holds_one_type_of_geometry(tmp_path: Path):
    mixed = cube((shapely.Point(5e5, 5e6), shapely.box(5e5, 5e6, 6e5, 6e6)))

    with pytest.raises(FormatUnsuitable, match=r"points and polygons.*GeoParquet"):
        write_vector_netcdf(tmp_path / "a.nc", mixed)
    assert not list(tmp_path.iterdir())


def test_a_cube_without_geometries_left_is_written_everywhere(tmp_path: Path):
    given = cube(())
    rows = rows_of(given, long=False)

    write_geojson(
        tmp_path / "a.geojson", rows.ids or (), rows.columns(named=False), [], "EPSG:32633"
    )
    write_geotable(tmp_path / "a.parquet", rows.columns("geometry"), [], "EPSG:32633")
    write_table(tmp_path / "a.csv", rows.columns())
    write_vector_netcdf(tmp_path / "a.nc", given)

    assert json.loads((tmp_path / "a.geojson").read_text())["features"] == []
    assert len(geopandas.read_parquet(tmp_path / "a.parquet")) == 0
    assert (tmp_path / "a.csv").read_text().split() == [",".join(["id", *NAMES])]
    with xr.open_dataset(tmp_path / "a.nc") as data:
        assert data["red"].shape == (0, 2)


@pytest.mark.parametrize(
    "name", ["lat", "node", "node_x", "spatial_ref", "geometry_container", "a/b", "a\0b", "", "."]
)
def test_netcdf_takes_any_name_of_a_dimension_an_attribute_or_a_band(tmp_path: Path, name: str):
    given = cube(properties=({name: 7}, {name: 8}, {name: 9}))
    dimensions = (
        replace(given.dimensions[0], name=name),
        given.dimensions[1],
        replace(given.dimensions[2], labels=(name, f"{name}_band")),
    )

    write_vector_netcdf(tmp_path / "a.nc", replace(given, dimensions=dimensions))

    with xr.open_dataset(tmp_path / "a.nc") as data:
        values = [variable.values for variable in data.variables.values()]
        cubes = [one for one in values if one.shape == (3, 2)]
        wanted = np.where(given.valid, given.values, np.nan)
        assert len(cubes) == 2
        for place, found in enumerate(cubes):
            np.testing.assert_array_equal(found, wanted[..., place])
        assert sum(one.tolist() == [7, 8, 9] for one in values) == 1


def test_netcdf_says_that_it_holds_no_character_0(tmp_path: Path):
    with pytest.raises(FormatUnsupported, match="character 0"):
        write_vector_netcdf(tmp_path / "a.nc", cube(properties=({"it": "a\0b"}, {}, {})))
    with pytest.raises(FormatUnsupported, match="character 0"):
        write_vector_netcdf(tmp_path / "a.nc", cube(labels=("a\0", "b", "c")))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("labels", [(10**30, 1, 2), (2**63, -1, 0)])
def test_labels_beyond_64_bit_are_texts_in_netcdf(tmp_path: Path, labels: tuple[int, ...]):
    write_vector_netcdf(tmp_path / "a.nc", cube(labels=labels))

    with xr.open_dataset(tmp_path / "a.nc") as data:
        assert data["geometry"].values.tolist() == [str(label) for label in labels]
