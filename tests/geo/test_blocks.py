"""The order of a run's blocks: every block once, whatever the sizes, and as it says."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terrazzo.geo.blocks import Blocks, Sweep
from terrazzo.geo.grid import Window

windows = st.builds(
    Window, st.integers(-50, 50), st.integers(-50, 50), st.integers(0, 90), st.integers(0, 90)
)


@given(window=windows, edge=st.integers(1, 40), rows=st.integers(1, 9))
def test_a_sweep_has_every_block_once_and_knows_its_place(window: Window, edge: int, rows: int):
    sweep = Sweep(Blocks(window, edge), rows)

    numbers = list(sweep)

    assert sorted(numbers) == list(range(len(sweep)))
    assert [sweep.place(number) for number in numbers] == list(range(len(sweep)))
    assert sweep[1:] == numbers[1:]


@given(window=windows, edge=st.integers(1, 40))
def test_bands_of_one_row_are_the_order_of_numbers(window: Window, edge: int):
    blocks = Blocks(window, edge)

    assert list(Sweep(blocks)) == list(range(len(blocks)))


@given(window=windows, edge=st.integers(1, 40), rows=st.integers(1, 9))
def test_blocks_of_a_band_come_column_by_column(window: Window, edge: int, rows: int):
    blocks = Blocks(window, edge)

    met = [(blocks[number].row, blocks[number].col) for number in Sweep(blocks, rows)]

    tops = sorted({row for row, _ in met})
    band = {row: place // rows for place, row in enumerate(tops)}
    assert met == sorted(met, key=lambda at: (band[at[0]], at[1], at[0]))


@pytest.mark.usefixtures("alone")
def test_ten_million_blocks_take_no_memory():
    tracemalloc.start()
    sweep = Sweep(Blocks(Window(0, 0, 3_163_000, 3_163_000), 1000), 12)
    found = [sweep[place] for place in (0, 1, 12, 37_956, len(sweep) - 1)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(sweep) == 3163 * 3163
    assert found == [0, 3163, 1, 12 * 3163, len(sweep) - 1]
    assert peak < 100_000
