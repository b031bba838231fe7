"""Vector cubes: made of GeoJSON, filtered, buffered, moved and sampled; shapely is the oracle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import geopandas
import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import mapping

from terrazzo.cube import Cube, Geometries, Kind
from terrazzo.errors import (
    ArgumentInvalid,
    CountMismatch,
    DimensionNotAvailable,
    FormatUnsuitable,
    IncompatibleDataCubes,
    IncompatibleGeometryTypes,
    UnitMismatch,
)
from terrazzo.geo.extent import spatial_extent
from terrazzo.processes import PROCESSES
from terrazzo.processes.geometries import inside_box, matched, vector_cube

UTM = {"type": "name", "properties": {"name": "EPSG:32633"}}
BOWTIE = shapely.Polygon([(0, 0), (100, 100), (100, 0), (0, 100)])


def feature(shape: Any, **properties: Any) -> dict[str, Any]:
    name = properties.pop("id", None)
    geometry = None if shape is None else mapping(shape)
    made = {"type": "Feature", "properties": properties, "geometry": geometry}
    return made if name is None else {**made, "id": name}


def collection(*features: dict[str, Any], utm: bool = False) -> dict[str, Any]:
    made = {"type": "FeatureCollection", "features": list(features)}
    return {**made, "crs": UTM} if utm else made


def call(name: str, /, **arguments: Any) -> Any:
    return PROCESSES[name].function(**arguments)


def vector(*shapes: Any, utm: bool = True) -> Cube:
    """Return a cube of geometries with a number each."""
    features = [feature(shape, n=number) for number, shape in enumerate(shapes)]
    made: Cube = call("load_geojson", data=collection(*features, utm=utm), properties=["n"])
    return made


def shapes(cube: Cube) -> list[Any]:
    assert cube.geometries is not None
    assert len(cube.geometries.shapes) == len(cube.only(Kind.GEOMETRY).labels)
    assert len(cube.geometries.properties) == len(cube.geometries.shapes) == len(cube.values)
    return list(cube.geometries.shapes)


def points(shape: Any) -> np.ndarray[Any, Any]:
    return shapely.get_coordinates(shape)


def test_without_properties_a_cube_has_one_dimension_and_no_values():
    data = collection(feature(shapely.Point(7, 50), name="a"), feature(shapely.box(7, 50, 8, 51)))

    cube = call("load_geojson", data=data)

    assert cube.names == ("geometry",)
    assert cube.dimensions[0].labels == (0, 1)
    assert not cube.valid.any()
    assert cube.geometries.bare
    assert cube.geometries.crs == "EPSG:4326"
    assert shapes(cube) == [shapely.Point(7, 50), shapely.box(7, 50, 8, 51)]
    assert cube.geometries.properties == ({"name": "a"}, {})


def test_properties_become_labels_and_missing_ones_no_data():
    data = collection(
        feature(shapely.Point(7, 50), pop=3, area=1.5, name="a"),
        feature(shapely.Point(8, 50), pop=None, name="b"),
    )

    cube = call("load_geojson", data=data, properties=["area", "pop"])

    assert cube.names == ("geometry", "properties")
    assert cube.dimensions[1].kind is Kind.OTHER
    assert cube.dimensions[1].labels == ("area", "pop")
    assert cube.values[0].tolist() == [1.5, 3.0]
    assert cube.valid.tolist() == [[True, True], [False, False]]
    assert not cube.geometries.bare
    assert cube.geometries.properties[0] == {"pop": 3, "area": 1.5, "name": "a"}


@pytest.mark.parametrize(
    ("values", "kind"), [([True, False], "b"), ([1, 2.5], "f"), (["a", "b"], "O"), ([1, "b"], "O")]
)
def test_one_property_keeps_its_type(values: list[Any], kind: str):
    data = collection(*(feature(shapely.Point(7, 50), it=value) for value in values))

    cube = call("load_geojson", data=data, properties=["it"])

    assert cube.values.dtype.kind == kind
    assert cube.values[:, 0].tolist() == values
    assert cube.dimensions[1].labels == ("it",)


def test_texts_of_a_cube_are_compared_one_by_one():
    data = collection(*(feature(shapely.Point(7, 50), it=it) for it in ["rye", "Rye", None, 3]))
    cube = call("load_geojson", data=data, properties=["it"])

    same = call("apply", data=cube, process=lambda x, **_: PROCESSES["eq"].function(x=x, y="rye"))
    other = call("apply", data=cube, process=lambda x, **_: PROCESSES["neq"].function(x=x, y="rye"))

    for found, wanted in ((same, [True, False, None, False]), (other, [False, True, None, True])):
        assert found.dtype == np.bool_
        assert np.ma.MaskedArray(found.values, ~found.valid)[:, 0].tolist() == wanted


def test_one_property_of_arrays_has_as_many_labels_as_the_longest():
    data = collection(
        feature(shapely.Point(7, 50), it=[1, 2, 3]),
        feature(shapely.Point(7, 50), it=[4]),
        feature(shapely.Point(7, 50)),
    )

    cube = call("load_geojson", data=data, properties=["it"])

    assert cube.dimensions[1].labels == (0, 1, 2)
    wanted = [[1, 2, 3], [4, None, None], [None, None, None]]
    assert np.ma.MaskedArray(cube.values, ~cube.valid).tolist() == wanted


@pytest.mark.parametrize(
    ("properties", "names", "message"),
    [
        ([{"it": {"a": 1}}], ["it"], "numbers, texts"),
        ([{"it": [1], "other": 2}], ["it", "other"], "numbers, texts"),
        ([{"it": [1]}, {"it": 2}], ["it"], "array in some"),
        ([{"it": [[1]]}], ["it"], "numbers, texts"),
    ],
)
def test_properties_that_are_no_values_are_refused(
    properties: list[dict[str, Any]], names: list[str], message: str
):
    data = collection(*(feature(shapely.Point(7, 50), **entry) for entry in properties))

    with pytest.raises(ArgumentInvalid, match=message):
        call("load_geojson", data=data, properties=names)


@pytest.mark.parametrize(
    ("ids", "labels"),
    [
        (["a", "b"], ("a", "b")),
        ([7, "b"], (7, "b")),
        (["a", None], ("a", 1)),
        (["a", "a"], (0, 1)),
        ([1, None], (0, 1)),
        ([7.0, 8.0], (7, 8)),
        ([7.5, "b"], (0, "b")),
        ([None, None], (0, 1)),
    ],
)
def test_features_are_labelled_with_their_ids_if_these_are_distinct(
    ids: list[Any], labels: tuple[Any, ...]
):
    data = collection(*(feature(shapely.Point(7, 50), id=name) for name in ids))

    assert call("load_geojson", data=data).dimensions[0].labels == labels


def test_bare_geometries_and_single_features_are_taken_too():
    square = shapely.box(7, 50, 8, 51)

    bare = call("load_geojson", data=mapping(square), properties=["n"])
    single = call("load_geojson", data=feature(square, n=5), properties=["n"])

    assert bare.names == ("geometry",)
    assert single.names == ("geometry", "properties")
    assert single.values.tolist() == [[5.0]]
    assert shapes(bare) == shapes(single) == [square]


def test_an_empty_collection_is_an_empty_cube():
    cube = call("load_geojson", data=collection(), properties=["n"])

    assert cube.values.shape == (0, 1)
    assert shapes(cube) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, "no GeoJSON geometry"),
        ({"type": "Point", "coordinates": [float("nan"), 1]}, "no finite number"),
        ({"type": "FeatureCollection", "features": "x"}, "features"),
        ({"type": "Circle"}, "no GeoJSON geometry"),
        ({"type": "Point", "coordinates": [500_000, 5_000_000]}, "not on the Earth"),
        (
            mapping(shapely.GeometryCollection([shapely.Point(1, 2), shapely.box(0, 0, 1, 1)])),
            "GeometryCollection",
        ),
    ],
)
def test_what_is_no_geojson_of_the_earth_is_refused(data: dict[str, Any], message: str):
    with pytest.raises(ArgumentInvalid, match=message):
        call("load_geojson", data=data)


# filter_vector ----------------------------------------------------------------------------------

CANDIDATES = [
    shapely.box(0, 0, 10, 10),
    shapely.box(10, 0, 20, 10),
    shapely.box(2, 2, 3, 3),
    shapely.box(-5, -5, 30, 30),
    shapely.box(5, 5, 15, 15),
    shapely.Point(1, 1),
    shapely.Point(10, 5),
    shapely.LineString([(-5, 5), (15, 5)]),
    shapely.LineString([(0, 0), (10, 0)]),
    shapely.box(100, 100, 110, 110),
    shapely.Polygon(),
]


@pytest.mark.parametrize(
    "relation",
    [
        "intersects",
        "disjoint",
        "equals",
        "touches",
        "crosses",
        "overlaps",
        "contains",
        "within",
    ],
)
@pytest.mark.parametrize(
    "base", [[shapely.box(0, 0, 10, 10)], [shapely.box(0, 0, 5, 10), shapely.box(5, 0, 10, 10)]]
)
def test_geometries_are_kept_by_their_relation(relation: str, base: list[Any]):
    union = shapely.union_all(base)
    wanted = [
        number
        for number, shape in enumerate(CANDIDATES)
        if not shape.is_empty and getattr(shape, relation)(union)
    ]

    kept = call(
        "filter_vector", data=vector(*CANDIDATES), geometries=vector(*base), relation=relation
    )

    assert 0 < len(wanted) < len(CANDIDATES)
    assert kept.dimensions[0].labels == tuple(wanted)
    assert kept.values[:, 0].tolist() == wanted
    assert shapes(kept) == [CANDIDATES[number] for number in wanted]


def test_geometries_in_another_crs_are_compared_in_that_of_the_data():
    to = pyproj.Transformer.from_crs(32633, 4326, always_xy=True).transform
    base = shapely.box(500_000, 5_500_000, 501_000, 5_501_000)
    degrees = vector(shapely.transform(base, to, interleaved=False), utm=False)
    data = vector(shapely.Point(500_001, 5_500_001), shapely.Point(500_001, 5_499_999))

    kept = call("filter_vector", data=data, geometries=degrees, relation="within")

    assert shapes(kept) == [shapely.Point(500_001, 5_500_001)]


def test_crossing_rings_are_mended_for_the_question_only():
    data = vector(BOWTIE, shapely.Point(50, 75))

    kept = call("filter_vector", data=data, geometries=vector(shapely.Point(99, 50)))
    beside = call("filter_vector", data=data, geometries=vector(BOWTIE), relation="disjoint")

    assert shapes(kept) == [BOWTIE]
    assert shapes(beside) == [shapely.Point(50, 75)]


def test_nothing_to_compare_with_is_disjoint_from_everything():
    data, nothing = vector(*CANDIDATES), vector()

    assert shapes(call("filter_vector", data=data, geometries=nothing)) == []
    apart = call("filter_vector", data=data, geometries=nothing, relation="disjoint")
    assert len(shapes(apart)) == len(CANDIDATES) - 1


def test_filters_want_vector_cubes():
    raster = Cube(
        np.zeros(2), np.ones(2, np.bool_), (replace(vector().dimensions[1], labels=(1, 2)),)
    )

    with pytest.raises(ArgumentInvalid, match="load_geojson"):
        call("filter_vector", data=raster, geometries=vector())
    with pytest.raises(ArgumentInvalid, match="intersects, disjoint"):
        call("filter_vector", data=vector(), geometries=vector(), relation="near")


def test_buffers_are_as_wide_as_asked():
    line = shapely.LineString([(0, 0), (1000, 0)])
    square = shapely.box(0, 0, 100, 100)
    data = vector(shapely.Point(0, 0), line, square, shapely.Polygon())

    grown = call("vector_buffer", geometries=data, distance=10)
    shrunk = call("vector_buffer", geometries=data, distance=-10)

    point, around, larger, empty = shapes(grown)
    frame = geopandas.GeoSeries([shapely.Point(0, 0), line, square]).buffer(10)
    for mine, theirs in zip((point, around, larger), frame, strict=True):
        assert shapely.symmetric_difference(mine, theirs).area < 1e-9 * theirs.area
    assert point.area == pytest.approx(np.pi * 100, rel=2e-3)
    assert around.area == pytest.approx(np.pi * 100 + 20_000, rel=1e-3)
    assert empty.is_empty
    assert [shape.is_empty for shape in shapes(shrunk)] == [True, True, False, True]
    assert shapes(shrunk)[2].equals(shapely.box(10, 10, 90, 90))
    assert all("Polygon" in shape.geom_type for shape in shapes(grown))
    assert grown.geometries.properties == data.geometries.properties
    np.testing.assert_array_equal(grown.values, data.values)


@pytest.mark.parametrize("code", [4326, 2263])
def test_distances_in_metres_need_coordinates_in_metres(code: int):
    data = collection(feature(shapely.Point(7, 50)))
    data["crs"] = {"type": "name", "properties": {"name": f"EPSG:{code}"}}
    cube = call("load_geojson", data=data)

    with pytest.raises(UnitMismatch, match="vector_reproject"):
        call("vector_buffer", geometries=cube, distance=10)
    with pytest.raises(UnitMismatch, match="vector_reproject"):
        call("vector_to_regular_points", data=cube, distance=10)


@pytest.mark.parametrize("distance", [0, 1e300, -1e10, float("nan"), float("inf"), 10**400])
def test_a_buffer_has_a_distance_of_this_earth(distance: float):
    with pytest.raises(ArgumentInvalid, match="other than 0"):
        call("vector_buffer", geometries=vector(BOWTIE), distance=distance)


@pytest.mark.parametrize("projection", [3035, "wkt"])
def test_geometries_are_reprojected_vertex_by_vertex(projection: Any):
    wkt = pyproj.CRS.from_epsg(3035).to_wkt("WKT2_2019")
    data = vector(shapely.box(7, 50, 8, 51), shapely.Point(9, 48), shapely.Polygon(), utm=False)

    moved = call("vector_reproject", data=data, projection=wkt if projection == "wkt" else 3035)

    frame = geopandas.GeoSeries(list(shapes(data)), crs=4326).to_crs(3035)
    assert moved.geometries.crs == "EPSG:3035"
    for mine, theirs in zip(shapes(moved), frame, strict=True):
        np.testing.assert_allclose(points(mine), points(theirs), atol=1e-6)
    assert moved.dimensions == data.dimensions
    np.testing.assert_array_equal(moved.values, data.values)


def test_only_dimensions_of_geometries_are_reprojected():
    data = vector(shapely.Point(7, 50), utm=False)

    named = call("vector_reproject", data=data, projection=3035, dimension="geometry")
    assert named.geometries.crs == "EPSG:3035"
    for name in ("properties", "geom"):
        with pytest.raises(DimensionNotAvailable, match="geometry"):
            call("vector_reproject", data=data, projection=3035, dimension=name)


def test_a_vertex_without_a_place_is_told():
    data = vector(shapely.Point(7, 50), shapely.Point(105, 0), utm=False)

    with pytest.raises(ArgumentInvalid, match=r"Geometry 1 .*EPSG:32633"):
        call("vector_reproject", data=data, projection=32633)


def test_polygons_are_sampled_at_the_centres_of_cells_from_their_upper_left():
    # 100 x 70 m with cells of 20 m: 5 columns, and 3.5 rows, the half row's centres on the border.
    data = vector(shapely.box(0, 0, 100, 69))

    sampled = call("vector_to_regular_points", data=data, distance=20)

    (found,) = shapes(sampled)
    xs, ys = np.meshgrid(np.arange(10, 100, 20), 69 - np.arange(10, 70, 20))
    inside = ys > 0
    assert found.geom_type == "MultiPoint"
    np.testing.assert_array_equal(points(found), np.column_stack([xs[inside], ys[inside]]))


def test_holes_hold_no_point_and_small_polygons_give_their_first_vertex():
    ring = shapely.Polygon(
        shapely.box(0, 0, 100, 100).exterior, [shapely.box(30, 30, 70, 70).exterior]
    )
    triangle = shapely.Polygon([(3, 3), (4, 3), (3, 4)])

    hollow, small = shapes(
        call("vector_to_regular_points", data=vector(ring, triangle), distance=20)
    )

    assert not shapely.box(30.5, 30.5, 69.5, 69.5).intersects(hollow)
    assert len(hollow.geoms) == 25 - 1
    assert points(small).tolist() == [[3.0, 3.0]]


def test_lines_are_walked_from_their_first_vertex():
    bent = shapely.LineString([(0, 0), (30, 0), (30, 40)])
    ring = shapely.LineString([(0, 0), (10, 0), (10, 10), (0, 10), (0, 0)])
    two = shapely.MultiLineString([[(0, 0), (25, 0)], [(0, 5), (5, 5)]])

    along, around, both = shapes(
        call("vector_to_regular_points", data=vector(bent, ring, two), distance=10)
    )

    walked = [bent.interpolate(at).coords[0] for at in range(0, 71, 10)]
    np.testing.assert_allclose(points(along), walked)
    assert points(around).tolist() == [[0, 0], [10, 0], [10, 10], [0, 10]]
    assert points(both).tolist() == [[0, 0], [10, 0], [20, 0], [0, 5]]


@given(
    x=st.floats(-1e5, 1e5),
    y=st.floats(-1e5, 1e5),
    width=st.floats(1, 200),
    height=st.floats(1, 200),
    distance=st.floats(20, 200),
)
@settings(max_examples=60, deadline=None)
def test_samples_keep_their_distance(
    x: float, y: float, width: float, height: float, distance: float
):
    ellipse = shapely.transform(
        shapely.Point(0, 0).buffer(1), lambda p: p * [width, height] + [x, y]
    )

    (found,) = shapes(call("vector_to_regular_points", data=vector(ellipse), distance=distance))

    parts = np.array(found.geoms)
    apart = shapely.distance(parts[:, None], parts[None, :])[~np.eye(len(parts), dtype=bool)]
    assert not apart.size or apart.min() >= distance * (1 - 1e-9)
    if len(parts) > 1:
        assert shapely.covers(ellipse, parts).all()


@pytest.mark.parametrize("process", ["vector_to_regular_points", "vector_to_random_points"])
def test_points_apart_have_the_properties_and_values_of_their_geometry(process: str):
    arguments = {"distance": 10} if process == "vector_to_regular_points" else {"geometry_count": 4}
    data = collection(
        feature(shapely.box(0, 0, 20, 20), id="a", n=1, name="x"),
        feature(None, id="e", n=2, name="y"),
        feature(shapely.Point(5, 5), id="p", n=3, name="z"),
        utm=True,
    )
    cube = call("load_geojson", data=data, properties=["n"])

    grouped = call(process, data=cube, **arguments)
    apart = call(process, data=cube, group=False, **arguments)

    assert grouped.dimensions == cube.dimensions
    assert [shape.geom_type for shape in shapes(grouped)] == ["MultiPoint"] * 3
    assert [len(shape.geoms) for shape in shapes(grouped)] == [4, 0, 1]
    assert grouped.geometries.properties == cube.geometries.properties
    np.testing.assert_array_equal(grouped.values, cube.values)
    assert [shape.geom_type for shape in shapes(apart)] == ["Point"] * 6
    assert apart.dimensions[0].labels == tuple(range(6))
    assert apart.values[:, 0].tolist() == [1, 1, 1, 1, 2, 3]
    assert [entry["name"] for entry in apart.geometries.properties] == list("xxxxyz")
    assert [shape.is_empty for shape in shapes(apart)] == [False] * 4 + [True, False]


def test_far_too_many_points_are_refused_before_they_are_made():
    data = vector(shapely.box(0, 0, 1e6, 1e6), shapely.LineString([(0, 0), (1e9, 0)]))

    with pytest.raises(ArgumentInvalid, match="larger `distance`"):
        call("vector_to_regular_points", data=data, distance=1)
    for limits in (
        {"geometry_count": 10**18},
        {"total_count": 10**400},
        {"geometry_count": 10**400},
    ):
        with pytest.raises(ArgumentInvalid, match="geometry_count"):
            call("vector_to_random_points", data=data, **limits)
    for distance in (10**400, 0, float("nan")):
        with pytest.raises(ArgumentInvalid, match="above 0"):
            call("vector_to_regular_points", data=data, distance=distance)
    with pytest.raises(ArgumentInvalid, match="above 0"):
        call("vector_to_regular_points", data=data, distance=0)


def counts(cube: Cube) -> list[int]:
    return [len(shape.geoms) for shape in shapes(cube)]


def test_points_are_shared_out_evenly_within_both_limits():
    two = shapely.MultiPoint([(0, 0), (1, 1), (1, 1)])
    data = vector(shapely.box(0, 0, 9, 9), two, shapely.box(0, 0, 1, 1), shapely.Polygon())

    def sampled(**limits: Any) -> list[int]:
        return counts(call("vector_to_random_points", data=data, **limits))

    assert sampled() == [1, 1, 1, 0]
    assert sampled(geometry_count=5) == [5, 2, 5, 0]
    assert sampled(total_count=4) == [2, 1, 1, 0]
    assert sampled(total_count=9) == [4, 2, 3, 0]
    assert sampled(geometry_count=3, total_count=100) == [3, 2, 3, 0]
    with pytest.raises(CountMismatch, match="4 or more"):
        sampled(total_count=3)


def test_the_same_seed_gives_the_same_points():
    data = vector(shapely.box(0, 0, 9, 9), shapely.LineString([(0, 0), (5, 5)]))

    def sampled(seed: int | None) -> list[str]:
        found = call("vector_to_random_points", data=data, geometry_count=3, seed=seed)
        return [shape.wkt for shape in shapes(found)]

    seeds = [None, 0, 1, -1, 2**70]
    assert all(sampled(seed) == sampled(seed) for seed in seeds)
    assert len({tuple(sampled(seed)) for seed in seeds}) == len(seeds)


def test_points_are_spread_evenly_over_area_and_length():
    # Two squares of 1 and 3 parts of the area, the second with a hole; a bent line.
    hollow = shapely.Polygon(
        shapely.box(50, 0, 70, 20).exterior, [shapely.box(55, 5, 65, 15).exterior]
    )
    both = shapely.MultiPolygon([shapely.box(0, 0, 10, 10), hollow])
    line = shapely.LineString([(0, 0), (10, 0), (10, 30)])

    found = call("vector_to_random_points", data=vector(both, line), geometry_count=40_000, seed=4)

    areas, lines = (points(shape) for shape in shapes(found))
    assert shapely.intersects_xy(both, areas[:, 0], areas[:, 1]).all()
    share = (areas[:, 0] < 20).mean()
    assert share == pytest.approx(0.25, abs=0.015)
    quarter = shapely.intersects_xy(shapely.box(0, 0, 5, 5), areas[:, 0], areas[:, 1]).mean()
    assert quarter == pytest.approx(share / 4, abs=0.01)
    assert shapely.distance(shapely.points(lines), line).max() < 1e-9
    assert (lines[:, 1] > 0).mean() == pytest.approx(0.75, abs=0.015)


def test_points_of_points_are_chosen_once_each():
    there = [(float(x), 1.0) for x in range(10)]
    data = vector(shapely.MultiPoint(there))

    (some,) = shapes(call("vector_to_random_points", data=data, geometry_count=4, seed=3))
    (every,) = shapes(call("vector_to_random_points", data=data, geometry_count=40))

    assert len({tuple(point) for point in points(some)} & set(there)) == 4
    assert points(every).tolist() == [list(point) for point in there]


def test_geometries_without_area_are_sampled_too():
    flat = shapely.Polygon([(0, 0), (10, 0), (20, 0)])

    found = shapes(call("vector_to_random_points", data=vector(flat, BOWTIE), geometry_count=50))

    assert (points(found[0])[:, 1] == 0).all()
    mended = shapely.make_valid(BOWTIE)
    assert shapely.intersects_xy(mended, points(found[1])[:, 0], points(found[1])[:, 1]).all()


def box(west: float, south: float, east: float, north: float, crs: int = 4326) -> Any:
    return spatial_extent({"west": west, "south": south, "east": east, "north": north, "crs": crs})


def test_a_box_keeps_what_lies_within_it():
    data = vector(
        shapely.box(0, 0, 10, 10),
        shapely.box(0, 0, 10.1, 10),
        shapely.Point(5, 5),
        shapely.Point(10, 5),
        shapely.LineString([(0, 0), (10, 0)]),
        shapely.Polygon(),
    )

    kept = inside_box(data, box(0, 0, 10, 10, 32633))

    region = shapely.box(0, 0, 10, 10)
    wanted = [n for n, shape in enumerate(shapes(data)) if shape.within(region)]
    assert list(kept.dimensions[0].labels) == wanted == [0, 2]
    assert shapes(kept) == [shapes(data)[number] for number in wanted]


def test_a_box_may_be_in_another_crs_and_cross_the_antimeridian():
    fiji = [shapely.Point(179.5, -17), shapely.Point(-179.5, -17), shapely.Point(0, -17)]
    east = shapely.Point(180.5, -17)
    across = shapely.MultiPolygon(
        [shapely.box(179, -18, 180, -17), shapely.box(-180, -18, -179, -17)]
    )
    data = vector(*fiji, east, across, utm=False)

    kept = inside_box(data, box(178, -19, -178, -16))
    utm = inside_box(vector(shapely.Point(500_000, 5_500_000)), box(14, 49, 16, 50))

    assert kept.dimensions[0].labels == (0, 1, 3, 4)
    assert shapes(utm) == [shapely.Point(500_000, 5_500_000)]


def test_labels_that_are_taken_take_their_geometries_along():
    data = vector(*(shapely.Point(x, 0) for x in range(5)))

    kept = call(
        "filter_labels",
        data=data,
        condition=lambda value, **_: value % 2 == 0,
        dimension="geometry",
    )

    assert [shape.x for shape in shapes(kept)] == [0, 2, 4]
    assert kept.values[:, 0].tolist() == [0, 2, 4]


def test_a_reduction_over_geometries_has_none_left():
    data = vector(*(shapely.Point(x, 0) for x in range(5)))

    reduced = call(
        "reduce_dimension",
        data=data,
        dimension="geometry",
        reducer=lambda data, **_: PROCESSES["max"].function(data=data),
    )

    assert reduced.geometries is None
    assert reduced.values.tolist() == [4.0]


def test_equal_geometries_get_equal_labels():
    square = shapely.box(0, 0, 10, 10)
    turned = shapely.Polygon([(10, 10), (0, 10), (0, 0), (5, 0), (10, 0)])
    first, second = (
        vector(square, shapely.box(20, 0, 30, 10)),
        vector(shapely.box(40, 0, 50, 10), turned),
    )

    labels = matched(first, second).dimensions[0].labels

    assert labels == (2, 0)


def test_geometries_that_cannot_be_compared_are_not_matched():
    here = vector(shapely.box(0, 0, 10, 10))

    with pytest.raises(IncompatibleDataCubes, match="vector_reproject"):
        matched(here, vector(shapely.box(0, 0, 1, 1), utm=False))
    with pytest.raises(IncompatibleGeometryTypes, match="Point and Polygon"):
        matched(here, vector(shapely.Point(0, 0)))
    multi = vector(shapely.MultiPolygon([shapely.box(0, 0, 10, 10)]))
    assert matched(here, multi).dimensions[0].labels == (0,)


def test_formats_and_options_of_files_are_checked_before_anything_is_fetched():
    request = call(
        "load_url",
        url="https://example.org/a.json",
        format="geojson",
        options={"properties": ["n", "n"], "id": "name"},
    )

    assert (request.format, request.properties, request.id) == ("GEOJSON", ("n",), "name")
    with pytest.raises(FormatUnsuitable, match="GEOJSON, GEOPARQUET"):
        call("load_url", url="https://example.org/a.tif", format="GTiff")
    with pytest.raises(ArgumentInvalid, match="http"):
        call("load_url", url="file:///etc/passwd", format="GeoJSON")
    with pytest.raises(ArgumentInvalid, match="properties, id, crs, layer"):
        call("load_url", url="https://example.org/a.json", format="GPKG", options={"layr": "x"})


@pytest.mark.parametrize("distance", [1e-320, 1e-3])
def test_points_of_all_geometries_are_counted_before_they_are_made(distance: float):
    with pytest.raises(ArgumentInvalid, match="up to 1,000,000"):
        call("vector_to_regular_points", data=vector(BOWTIE), distance=distance)
    many = vector(*[shapely.box(n, 0, n + 700, 700) for n in range(3)])
    assert len(shapes(call("vector_to_regular_points", data=many, distance=2.0))) == 3
    with pytest.raises(ArgumentInvalid, match="1,470,000 points"):
        call("vector_to_regular_points", data=many, distance=1.0)


def test_a_seed_may_be_a_whole_number_of_any_type():
    data = vector(shapely.box(0, 0, 10, 10))

    one, other = (call("vector_to_random_points", data=data, seed=seed) for seed in (3, 3.0))

    assert shapes(one) == shapes(other)


def test_lines_with_parts_that_are_points_are_no_collections():
    lines = shapely.MultiLineString([[(0, 0), (10, 0)], [(5, 5), (5, 5)]])

    (made,) = shapes(call("vector_buffer", geometries=vector(lines), distance=1))

    assert made.equals_exact(shapely.LineString([(0, 0), (10, 0)]).buffer(1), 1e-9)


def test_coordinates_of_files_are_finite_too():
    held = Geometries((shapely.Point(1, 2), shapely.Point(np.inf, 2)), "EPSG:32633", ({}, {}))

    with pytest.raises(ArgumentInvalid, match="geometry 1 is no finite number"):
        vector_cube(held)
