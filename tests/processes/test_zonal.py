"""Aggregation over geometries: what openEO says of each kind, against shapely and NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from tests.engine.staged import load, node, ref, result

from terrazzo.cube import Cube, Kind
from terrazzo.errors import ArgumentInvalid
from terrazzo.testing.graphs import DATA, LEFT, TOP, callback, collections

FIELD = shapely.Polygon(
    [
        (LEFT + 33, TOP - 41),
        (LEFT + 412, TOP - 118),
        (LEFT + 268, TOP - 433),
        (LEFT + 57, TOP - 287),
    ]
)
POINT = shapely.Point(LEFT + 123, TOP - 234)
LINE = shapely.LineString([(LEFT + 12, TOP - 33), (LEFT + 333, TOP - 207), (LEFT + 341, TOP - 512)])
FAR = shapely.box(LEFT + 9000, TOP - 100, LEFT + 9100, TOP)
CRS = {"type": "name", "properties": {"name": "EPSG:32633"}}


def features(*shapes: Any, ids: tuple[Any, ...] = ()) -> dict[str, Any]:
    return {
        "type": "FeatureCollection",
        "crs": CRS,
        "features": [
            {
                "type": "Feature",
                "properties": {"number": number},
                "geometry": shapely.geometry.mapping(shape) if shape is not None else None,
                **({"id": ids[number]} if ids else {}),
            }
            for number, shape in enumerate(shapes)
        ],
    }


def zonal(geometries: Any, reducer: str = "sum", **arguments: Any) -> dict[str, Any]:
    return {
        "load": load(),
        "zones": node(
            "aggregate_spatial",
            data=ref("load"),
            geometries=geometries,
            reducer=callback(reducer, data=DATA),
            **arguments,
        ),
    }


def inside(shape: Any, cube: Cube) -> np.ndarray:
    """Return (y, x) which pixels a geometry has, one by one."""
    x, y = cube.grid.xs(cube.window), cube.grid.ys(cube.window)
    found = np.zeros((len(y), len(x)), np.bool_)
    for row in range(len(y)):
        for col in range(len(x)):
            if shape.geom_type == "Polygon":
                found[row, col] = shapely.intersects_xy(shape, x[col], y[row])
            else:
                square = shapely.box(x[col] - 5, y[row] - 5, x[col] + 5, y[row] + 5)
                found[row, col] = shapely.intersects(shape, square)
    return found


@pytest.mark.parametrize("block", [9, 64])
def test_polygons_points_and_lines_have_the_pixels_that_openeo_says(block: int):
    cube = result({"load": load()})
    shapes = (FIELD, POINT, LINE)

    zones = result(zonal(features(*shapes), target_dimension="kind"), block=block)

    assert zones.names == ("geometry", "t", "bands", "kind")
    for number, shape in enumerate(shapes):
        here = inside(shape, cube)
        values = np.where(cube.valid, cube.values, 0)[..., here].sum(axis=-1)
        np.testing.assert_allclose(
            np.where(zones.valid, zones.values, 0)[number, ..., 0], values, rtol=1e-6
        )
        assert (zones.values[number, ..., 1] == here.sum()).all()
        np.testing.assert_array_equal(
            zones.values[number, ..., 2], cube.valid[..., here].sum(axis=-1)
        )


def test_valid_counts_leave_out_what_is_no_number():
    nodes = zonal(features(FIELD), target_dimension="kind")
    nodes = {
        "load": nodes["load"],
        "odd": node(
            "apply", data=ref("load"), process=callback("divide", x={"from_parameter": "x"}, y=0)
        ),
        "zones": nodes["zones"]
        | {"arguments": {**nodes["zones"]["arguments"], "data": ref("odd")}},
    }

    zones = result(nodes)

    assert not zones.values[..., 2].any()
    assert zones.values[..., 1].all()


def test_geometries_keep_labels_properties_and_reference_system():
    zones = result(zonal(features(FIELD, POINT, ids=("field", "point"))))

    assert zones.only(Kind.GEOMETRY).labels == ("field", "point")
    assert [dict(p) for p in zones.geometries.properties] == [{"number": 0}, {"number": 1}]
    assert zones.geometries.crs == "EPSG:32633"
    assert zones.geometries.shapes[0].equals(FIELD)


def test_a_vector_cube_gives_its_own_dimension():
    nodes = zonal(ref("shapes"))
    nodes = {
        "load": nodes["load"],
        "shapes": node("load_geojson", data=features(FIELD, POINT, ids=("a", "b"))),
        "named": node("rename_dimension", data=ref("shapes"), source="geometry", target="field"),
        "zones": {
            **nodes["zones"],
            "arguments": {**nodes["zones"]["arguments"], "geometries": ref("named")},
        },
    }

    zones = result(nodes)

    assert zones.names == ("field", "t", "bands")
    assert zones.dimension("field").labels == ("a", "b")


@pytest.mark.parametrize("shape", [FAR, None, shapely.Polygon()])
def test_a_geometry_without_a_pixel_is_there_without_data(shape: Any):
    zones = result(zonal(features(FIELD, shape, POINT)))

    assert zones.values.shape == (3, 3, 2)
    assert not zones.valid[1].any()
    assert zones.valid[0].all()


def test_a_geometry_collection_is_refused():
    both = shapely.GeometryCollection([FIELD, POINT])

    with pytest.raises(ArgumentInvalid, match="GeometryCollection"):
        result(zonal(features(both)))


def test_a_multipolygon_is_one_geometry():
    two = shapely.MultiPolygon([shapely.box(LEFT, TOP - 50, LEFT + 50, TOP), FIELD.buffer(-60)])
    cube = result({"load": load()})
    here = inside(two.geoms[0], cube) | inside(two.geoms[1], cube)

    zones = result(zonal({**shapely.geometry.mapping(two), "crs": CRS}))

    values = np.where(cube.valid, cube.values, 0)[..., here].sum(axis=-1)
    np.testing.assert_allclose(zones.values[0], values, rtol=1e-6)


def test_the_context_reaches_the_reducer():
    reducer = {
        "process_graph": {
            "mean": node("mean", data=DATA),
            "more": {
                **node("add", x=ref("mean"), y={"from_parameter": "context"}),
                "result": True,
            },
        }
    }
    nodes = zonal(features(FIELD), "mean")
    more = zonal(features(FIELD), context=1000)
    more["zones"]["arguments"]["reducer"] = reducer

    np.testing.assert_allclose(result(more).values, result(nodes).values + 1000, rtol=1e-6)


def test_only_blocks_with_geometries_are_read():
    opener = collections(dtype="float32")

    result(zonal(features(POINT)), opener, block=10)

    assert {(w.height, w.width) for w, _ in opener.sources["fine"].reads} == {(1, 1)}
