"""Processes write into nobody's arrays, work on next to nothing, and agree pixel by pixel."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import replace

import pytest
from tests.grass.oracle import PROCESSES as OF_GRASS
from tests.robustness.valid import VALID, inferred

from terrazzo.engine import evaluate, make_plan
from terrazzo.geo.grid import Grid, Window
from terrazzo.processes import PROCESSES, Role
from terrazzo.testing.compare import assert_same_pixels
from terrazzo.testing.graphs import LEFT, TIMES, TOP, collections
from terrazzo.testing.synthetic import SyntheticOpener, SyntheticSource

RASTERS = sorted(set(VALID) - {"zonal", "points"})

OF_MORE = {"load", "filters", "mask", "vectors", "centred", "dates of another"}
"""Graphs that select more than one pixel or date."""


def processes_of(graph):
    """Return the processes that the nodes of a graph call, callbacks left out."""
    return {made["process_id"] for made in graph.values()}


class ReadOnly(SyntheticSource):
    """Gives pixels that raise when they are written to."""

    def read(self, grid, window, labels, method):
        cube = super().read(grid, window, labels, method)
        values, valid = cube.values.copy(), cube.valid.copy()
        values[~valid] = 77  # what is not valid is arbitrary
        values.flags.writeable = valid.flags.writeable = False
        return replace(cube, values=values, valid=valid)


def planned(graph, opener=None):
    return make_plan(inferred(graph, opener))


def test_every_cube_process_is_called_by_a_valid_graph():
    called = set().union(*(processes_of(graph) for graph in VALID.values()))
    here = {p.id for p in PROCESSES.values() if p.role is not Role.SCALAR}

    # They read documents of the network and files of users, or need GRASS (tests/testing, and
    # tests/grass, hold them to the same).
    of_elsewhere = {"load_stac", "load_url", "load_uploaded_files"}
    assert here - called == of_elsewhere | OF_GRASS


@pytest.mark.parametrize("name", RASTERS)
def test_pixels_that_come_in_are_never_written(name):
    sources = {
        key: ReadOnly(s.grid, s.times, s.bands, s.dtype, s.gaps)
        for key, s in collections().sources.items()
    }

    plan = planned(VALID[name], SyntheticOpener(sources))

    assert_same_pixels(
        evaluate(plan, plan.window), evaluate(again := planned(VALID[name]), again.window)
    )


@pytest.mark.parametrize("name", RASTERS)
def test_single_pixels_are_those_of_the_whole(name):
    plan = planned(VALID[name])
    whole, window = evaluate(plan, plan.window), plan.window

    for number in range(12):
        row = window.row + number * 7919 % window.height
        col = window.col + number * 104_729 % window.width
        pixel = Window(row, col, 1, 1)

        assert_same_pixels(evaluate(plan, pixel), whole.crop(pixel))


@pytest.mark.parametrize("name", RASTERS)
def test_no_pixel_at_all_is_a_cube_of_the_right_labels(name):
    plan = planned(VALID[name])

    for nothing in (Window(0, 0, 0, 0), Window(3, 4, 0, 7), Window(9_999, -9_999, 5, 5)):
        cube = evaluate(plan, nothing)

        assert cube.window == nothing
        assert cube.values.shape[-2:] == (nothing.height, nothing.width)
        assert not cube.valid.any()
        assert cube.dimensions == plan.probe.dimensions
        assert cube.dtype == plan.probe.dtype


@pytest.mark.parametrize("name", sorted(set(RASTERS) - OF_MORE))
def test_a_collection_of_one_pixel_and_one_date_is_enough(name):
    grid = Grid.of(32633, LEFT, TOP, 10.0, 1, 1)
    one = SyntheticSource(grid, TIMES[:1], gaps=0)

    plan = planned(VALID[name], SyntheticOpener({"fine": one, "coarse": one}))

    assert evaluate(plan, plan.window).valid.size >= 1


@pytest.mark.parametrize("name", sorted(PROCESSES))
def test_every_process_says_where_it_comes_from(name):
    text = inspect.getdoc(PROCESSES[name].function)

    assert "\nSource:\n" in text
    assert PROCESSES[name].spec.categories


def test_the_engine_loads_no_storage_until_a_source_is_opened():
    code = (
        "import sys, terrazzo.engine; "
        "print([m for m in ('rasterio', 'h5py', 'pyogrio', 'fastapi', 'terrazzo.storage') "
        "if m in sys.modules])"
    )

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout.strip() == "[]"
