"""Tile = batch = extract: a pixel does not depend on the window that it is computed in."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.staged import known

from terrazzo.engine import evaluate, infer, make_plan
from terrazzo.geo.grid import Window
from terrazzo.geo.tiling import web_mercator
from terrazzo.graph import parse
from terrazzo.processes import SPECS
from terrazzo.testing.compare import assert_same_pixels
from terrazzo.testing.graphs import STAGES, STEPS, collections, graphs

MANY = int(os.environ.get("TERRAZZO_EXAMPLES", "150"))
"""Random graphs per test; a night's run takes more."""


@st.composite
def windows(draw, whole: Window) -> Window:
    row = draw(st.integers(whole.row - 3, whole.row_stop - 1))
    col = draw(st.integers(whole.col - 3, whole.col_stop - 1))
    height = draw(st.sampled_from((1, 2, 7, 16, 33)))
    width = draw(st.sampled_from((1, 3, 8, 21, 64)))
    return Window(row, col, height, width)


@given(graph=graphs(), data=st.data())
@settings(max_examples=MANY, suppress_health_check=[HealthCheck.too_slow])
def test_a_window_equals_the_same_window_of_the_whole(graph, data):
    plan = make_plan(infer(parse(graph, specs=SPECS), collections()))
    whole = evaluate(plan, plan.window)

    window = data.draw(windows(plan.window))
    part = evaluate(plan, window)

    inside = window.intersection(plan.window)
    assert part.window == window
    assert_same_pixels(part.crop(inside), whole.crop(inside))
    assert np.count_nonzero(part.valid) == np.count_nonzero(part.crop(inside).valid)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@given(graph=graphs(), data=st.data())
@settings(max_examples=MANY // 3, suppress_health_check=[HealthCheck.too_slow])
def test_fused_steps_give_the_pixels_of_the_steps_one_by_one(dtype, graph, data):
    plan = make_plan(infer(parse(graph, specs=SPECS), collections(dtype=dtype)))
    window = data.draw(windows(plan.window))

    fused = evaluate(plan, window)
    one_by_one = evaluate(replace(plan, fused=()), window)

    assert_same_pixels(fused, one_by_one)


@given(graph=graphs(steps=4), zoom=st.integers(11, 15))
@settings(max_examples=MANY // 3, suppress_health_check=[HealthCheck.too_slow])
def test_map_tiles_equal_one_evaluation_of_the_zoom_level(graph, zoom):
    matrix = web_mercator(64)
    plan = make_plan(infer(parse(graph, specs=SPECS), collections()), matrix.grid(zoom + 2))
    whole = evaluate(plan, plan.window)

    columns, rows = matrix.covering(plan.grid, plan.window, zoom + 2)
    for x in columns[:2]:
        for y in rows[:2]:
            window = matrix.window(zoom + 2, x, y)
            inside = window.intersection(plan.window)

            assert_same_pixels(evaluate(plan, window).crop(inside), whole.crop(inside))


@given(graph=graphs(), edge=st.sampled_from((5, 16, 23)))
@settings(max_examples=MANY // 3, suppress_health_check=[HealthCheck.too_slow])
def test_blocks_of_any_size_make_the_same_image(graph, edge):
    plan = make_plan(infer(parse(graph, specs=SPECS), collections()))
    whole = evaluate(plan, plan.window)

    for window in plan.window.blocks(edge):
        assert_same_pixels(evaluate(plan, window), whole.crop(window))


@given(graph=graphs(), data=st.data(), edge=st.sampled_from((5, 16, 23)))
@settings(max_examples=MANY // 3, suppress_health_check=[HealthCheck.too_slow])
def test_spots_have_the_pixels_that_they_have_in_the_whole(graph, data, edge):
    plan = make_plan(infer(parse(graph, specs=SPECS), collections()))
    whole = evaluate(plan, plan.window)
    blocks = list(plan.window.blocks(edge))
    chosen = data.draw(st.lists(st.sampled_from(blocks), max_size=len(blocks) // 2, unique=True))
    spots = [(one.row, one.col, one.height, one.width) for one in chosen]

    part = evaluate(plan, plan.window, np.array(spots, np.int64).reshape(-1, 4))

    assert part.window == plan.window
    for spot in chosen:
        assert_same_pixels(part.crop(spot), whole.crop(spot))


@given(graph=graphs(steps=4, kinds=(*STEPS, *STAGES, *STAGES)), data=st.data())
@settings(max_examples=MANY // 3, suppress_health_check=[HealthCheck.too_slow])
def test_what_stages_find_does_not_depend_on_blocks_and_windows(graph, data):
    plans = [make_plan(known(graph, collections(), block=block)) for block in (23, 64)]
    first, again = (evaluate(plan, plan.window) for plan in plans)

    assert_same_pixels(again, first)
    window = data.draw(windows(plans[0].window)).intersection(plans[0].window)
    assert_same_pixels(evaluate(plans[1], window), first.crop(window))
