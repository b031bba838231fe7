"""The order of places along a Hilbert curve."""

from __future__ import annotations

import geopandas
import numpy as np
import shapely

from terrazzo.geo.hilbert import hilbert_order


def test_the_curve_goes_from_cell_to_neighbouring_cell():
    side = 16
    columns, rows = np.meshgrid(np.arange(side), np.arange(side))
    cells = np.column_stack([columns.ravel(), rows.ravel()]) + 0.5
    boxes = np.hstack([cells, cells])

    path = cells[hilbert_order(boxes, (0.0, 0.0, side, side))]

    steps = np.abs(np.diff(path, axis=0)).sum(axis=1)
    assert (steps == 1).all()
    assert len(np.unique(path, axis=0)) == side * side


def test_places_that_are_near_in_the_order_are_as_near_as_in_that_of_geopandas():
    points = np.random.default_rng(1).uniform(0, 1000, (2000, 2))
    boxes = np.hstack([points, points])
    theirs = geopandas.GeoSeries(shapely.points(points)).hilbert_distance().argsort()

    def length(order: np.ndarray) -> float:
        return float(np.linalg.norm(np.diff(points[order], axis=0), axis=1).sum())

    mine = length(hilbert_order(boxes, (0.0, 0.0, 1000.0, 1000.0)))

    assert mine < 1.05 * length(theirs.to_numpy())


def test_what_has_no_place_comes_last_and_one_place_is_an_order_too():
    boxes = np.array([[np.nan] * 4, [5.0, 5.0, 5.0, 5.0], [5.0, 5.0, 5.0, 5.0]])

    assert hilbert_order(boxes, (5.0, 5.0, 5.0, 5.0)).tolist() == [1, 2, 0]
