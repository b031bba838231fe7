"""Statistics under polygons: against exactextract and NumPy, and the same however cells are cut."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
import shapely
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from hypothesis import given
from hypothesis import strategies as st

from terrazzo.cube import Cube, Dimension, Kind
from terrazzo.drivers.extraction.statistics import Reduction, check_statistics
from terrazzo.drivers.extraction.weights import Weights
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.grid import Grid, Window
from terrazzo.geo.runs import runs_of
from terrazzo.geo.shapes import mended

if TYPE_CHECKING:
    from pathlib import Path

GRID = Grid.of(32632, 500_000.0, 5_000_000.0, 10.0, 600, 700)
BANDS = ("B04", "SCL")
OURS = ("count", "sum", "mean", "variance", "sd", "min", "max", "median", "q05", "q975", "mode")
THEIRS = (
    "count", "sum", "mean", "variance", "stdev", "min", "max", "median", "quantile(q=0.05)",
    "quantile(q=0.975)", "mode",
)  # fmt: skip
ALL = (
    *("valid_share", "fraction_2", "fraction_3", "fractions", "histogram", "histogram:-1:2:12"),
    *OURS,
)


@cache
def pixels() -> tuple[np.ndarray, np.ndarray]:
    """A normal band and one of the classes 0 to 5, with holes."""
    random = np.random.default_rng(7)
    values = random.normal(size=(1, 2, 600, 700)).astype(np.float32)
    values[0, 1] = random.integers(0, 6, (600, 700))
    valid = random.random(values.shape) > 0.2
    valid[..., :60, :] = False
    return values, valid


@cache
def fields() -> tuple[shapely.Geometry, ...]:
    """Stars of all sizes: below a pixel, over several squares, without a valid pixel."""
    random = np.random.default_rng(3)
    found = [shapely.box(500_003, 4_999_950, 500_099, 4_999_990)]
    for number in range(80):
        x, y = random.uniform((500_000, 4_994_000), (507_000, 5_000_000))
        turns = np.linspace(0, 2 * np.pi, 7, endpoint=False)
        radii = random.uniform(2, 2000 if number % 10 == 0 else 90, 7)
        ring = np.stack([x + radii * np.cos(turns), y + radii * np.sin(turns)], axis=1)
        found.append(shapely.Polygon(ring))
    return tuple(found)


def cube(window: Window, values: np.ndarray, valid: np.ndarray) -> Cube:
    part = np.s_[..., window.row : window.row_stop, window.col : window.col_stop]
    dimensions = (
        Dimension("t", Kind.TEMPORAL, ("2020-06-01",)),
        Dimension("bands", Kind.BANDS, BANDS[: values.shape[1]]),
        Dimension("y", Kind.SPATIAL),
        Dimension("x", Kind.SPATIAL),
    )
    return Cube(values[part], valid[part], dimensions, GRID, window)


def reduced(
    folder: Path,
    names: tuple[str, ...],
    *,
    shapes=None,
    values=None,
    valid=None,
    block: int = 256,
    **options,
) -> pa.Table:
    """Rows by polygon and band."""
    values = pixels()[0] if values is None else values
    valid = pixels()[1] if valid is None else valid
    weights = Weights.of(
        folder, fields() if shapes is None else shapes, GRID, GRID.window, block=block, **options
    )
    reduction = Reduction(names, cube(Window(0, 0, 0, 0), values, valid), weights)
    parts = []
    for number, window in enumerate(weights.cells):
        rows = reduction.take(number, reduction.part(number, cube(window, values, valid)))
        if rows is not None:
            parts.append(pa.table({"polygon": rows.polygon, **rows.columns}))
    schema = pa.schema([pa.field("polygon", pa.int32()), *reduction.columns])
    table = pa.concat_tables([schema.empty_table(), *parts])
    return table.sort_by([("polygon", "ascending"), ("bands", "ascending")])


def numbers(table: pa.Table, name: str) -> np.ndarray:
    return table[name].to_numpy().astype(float)


def exactextract(shapes, values: np.ndarray) -> dict[str, np.ndarray]:
    raster = NumPyRasterSource(values, *GRID.bounds)
    features = [
        {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(shape)}
        for shape in shapes
    ]
    found = (exact_extract(raster, features, [theirs]) for theirs in THEIRS)
    return {
        ours: np.array([next(iter(each["properties"].values())) for each in column], float)
        for ours, column in zip(OURS, found, strict=True)
    }


@pytest.mark.parametrize("band", [0, 1])
def test_statistics_equal_exactextract(tmp_path: Path, band: int) -> None:
    values, valid = pixels()
    shapes = fields()[:30]

    table = reduced(tmp_path, OURS, shapes=shapes).to_pandas()

    expected = exactextract(shapes, np.where(valid, values, np.nan)[0, band].astype(float))
    mine = table[table.bands == BANDS[band]].set_index("polygon").reindex(range(len(shapes)))
    there = expected["count"] > 0
    np.testing.assert_array_equal(there, mine["count"].fillna(0) > 0)
    # exactextract makes one of equal values first, so that its median of 1, 1, 1, 1 and 2 is 1.5.
    ranked = {"median", "q05", "q975"} if BANDS[band] == "SCL" else set()
    for name in set(OURS) - ranked:
        # exactextract holds weights as float32.
        np.testing.assert_allclose(
            mine[name][there], expected[name][there], rtol=2e-6, atol=2e-6, err_msg=name
        )


@pytest.mark.parametrize("block", [512, 1024])
def test_rows_have_the_same_bits_for_any_block(tmp_path: Path, block: int) -> None:
    small = reduced(tmp_path, ALL)
    large = reduced(tmp_path, ALL, block=block)

    assert small.equals(large)
    assert len(small) == 2 * len(set(small["polygon"].to_pylist()))


@pytest.mark.parametrize("how", ["centre", "touched"])
def test_pixels_that_weigh_one_are_those_of_numpy(tmp_path: Path, how) -> None:
    values, valid = pixels()
    names = ("count", "mean", "sd", "median", "q90", "min", "max")

    table = reduced(tmp_path, names, how=how)

    for polygon, band in zip(table["polygon"].to_pylist(), table["bands"].to_pylist(), strict=True):
        (shape,), _ = mended([fields()[polygon]])
        under = runs_of(np.array([shape]), GRID, GRID.window, how).pixels
        at = (0, BANDS.index(band), under.row, under.col)
        inside = values[at][valid[at]].astype(float)
        row = table.filter(
            (pa.compute.field("polygon") == polygon) & (pa.compute.field("bands") == band)
        ).to_pylist()[0]
        assert row["count"] == len(inside)
        if not len(inside):
            assert [row[name] for name in names[1:]] == [None] * 6
            continue
        expected = [inside.mean(), inside.std(), np.median(inside), np.quantile(inside, 0.9)]
        assert [row[name] for name in names[1:5]] == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert [row["min"], row["max"]] == [inside.min(), inside.max()]


def test_classes_and_bins_hold_the_weight_of_their_pixels(tmp_path: Path) -> None:
    values, valid = pixels()
    names = ("count", "fraction_2", "fractions", "histogram", "histogram:-1:2:12")

    table = reduced(tmp_path, names, shapes=fields()[:20])

    assert table.column_names[-1] == "histogram_-1_2_12"
    for row in table.to_pylist():
        (shape,), _ = mended([fields()[row["polygon"]]])
        under = runs_of(np.array([shape]), GRID, GRID.window).pixels
        at = (0, BANDS.index(row["bands"]), under.row, under.col)
        inside, weight = values[at][valid[at]], under.weight[valid[at]]
        if not len(inside):
            assert [row[name] for name in table.column_names[3:]] == [None] * 4
            continue
        bins, _ = np.histogram(inside, 12, (-1, 2), weights=weight)
        assert row["histogram_-1_2_12"] == pytest.approx(bins.tolist(), abs=1e-9)
        sums = [weight[inside == value].sum() for value in np.unique(inside)]
        assert [key for key, _ in row["histogram"]] == np.unique(inside).tolist()
        assert [sum_ for _, sum_ in row["histogram"]] == pytest.approx(sums)
        shares = [share for _, share in row["fractions"]]
        assert shares == pytest.approx([s / weight.sum() for s in sums])
        assert sum(shares) == pytest.approx(1.0)
        assert row["fraction_2"] == pytest.approx(weight[inside == 2].sum() / weight.sum())


def test_classes_of_whole_numbers_are_whole_numbers(tmp_path: Path) -> None:
    classes = pixels()[0][:, 1:].astype(np.uint8)

    table = reduced(tmp_path, ("fractions", "mode"), values=classes, valid=pixels()[1][:, 1:])

    assert table.schema.field("fractions").type == pa.map_(pa.int64(), pa.float64())
    assert table.schema.field("mode").type == pa.float64()


def test_without_a_valid_pixel_there_is_a_count_and_nothing_else(tmp_path: Path) -> None:
    (first, _) = reduced(tmp_path, ALL).slice(0, 2).to_pylist()

    assert first["polygon"] == 0
    assert (first["count"], first["valid_share"]) == (0.0, 0.0)
    others = {name: value for name, value in first.items() if value is not None}
    assert set(others) == {"polygon", "bands", "count", "valid_share"}


def test_valid_share_is_that_of_the_covered_area(tmp_path: Path) -> None:
    table = reduced(tmp_path, ("count", "valid_share"))

    weights = Weights.of(tmp_path, fields(), GRID, GRID.window, block=256)
    whole = weights.total[table["polygon"].to_numpy()]
    np.testing.assert_allclose(numbers(table, "valid_share") * whole, numbers(table, "count"))


def test_a_polygon_without_a_gap_is_valid_to_exactly_1(tmp_path: Path) -> None:
    table = reduced(tmp_path, ("valid_share",), valid=np.ones(pixels()[0].shape, np.bool_))

    window = shapely.box(*GRID.bounds)
    inside = shapely.contains(window, np.array(fields()))[table["polygon"].to_numpy()]
    assert inside.sum() > 50
    assert set(numbers(table, "valid_share")[inside]) == {1.0}
    assert 0.0 < numbers(table, "valid_share")[~inside].max() < 1.0


def test_a_sliver_on_the_image_is_a_sliver_of_the_polygon(tmp_path: Path) -> None:
    left, top = GRID.left, GRID.top
    field = shapely.box(left - 2000, top - 200, left + 50, top - 100)

    (row,) = reduced(
        tmp_path,
        ("count", "valid_share"),
        shapes=[field],
        values=pixels()[0][:, :1],
        valid=np.ones((1, 1, 600, 700), np.bool_),
    ).to_pylist()

    assert row["count"] == 50.0
    assert row["valid_share"] == pytest.approx(50 / 2050)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("infinite", [[(100, 100)], [(101, 103)], [(100, 100), (100, 101)]])
def test_infinity_counts_as_numpy_has_it(tmp_path: Path, masked: bool, infinite) -> None:
    values, valid = np.ones((1, 1, 600, 700), np.float32), np.ones((1, 1, 600, 700), np.bool_)
    for row, col in infinite:
        values[..., row, col] = np.inf
    valid[..., 102, 102] = not masked
    left, top = GRID.left, GRID.top
    field = shapely.box(left + 1000, top - 1040, left + 1040, top - 1000)
    names = ("sum", "mean", "sd", "min", "max", "median", "q99", "mode")

    (row,) = reduced(tmp_path, names, shapes=[field], values=values, valid=valid).to_pylist()

    inside = values[0, 0, 100:104, 100:104][valid[0, 0, 100:104, 100:104]].astype(float)
    with np.errstate(invalid="ignore"):
        spread = inside.std()
    expected = [inside.sum(), inside.mean(), spread, inside.min(), inside.max(), 1.0, np.inf, 1.0]
    np.testing.assert_array_equal([row[name] for name in names], expected)


def test_where_all_is_infinite_so_is_the_median(tmp_path: Path) -> None:
    values = np.full((1, 1, 600, 700), -np.inf, np.float32)
    names = ("mean", "min", "max", "median", "q05", "mode")

    table = reduced(
        tmp_path, names, values=values, valid=np.ones(values.shape, np.bool_), shapes=fields()[:5]
    )

    assert len(table)
    for name in names:
        assert set(numbers(table, name)) == {-np.inf}


def test_both_infinities_leave_the_extremes(tmp_path: Path) -> None:
    values = np.ones((1, 1, 600, 700), np.float32)
    values[..., 100, 100], values[..., 101, 101] = np.inf, -np.inf
    left, top = GRID.left, GRID.top
    field = shapely.box(left + 1000, top - 1040, left + 1040, top - 1000)

    (row,) = reduced(
        tmp_path,
        ("mean", "min", "max", "median", "mode"),
        shapes=[field],
        values=values,
        valid=np.ones(values.shape, np.bool_),
    ).to_pylist()

    assert np.isnan(row["mean"])
    assert (row["min"], row["max"], row["median"], row["mode"]) == (-np.inf, np.inf, 1.0, 1.0)


def test_a_valid_nan_makes_all_but_the_count_nan(tmp_path: Path) -> None:
    values = np.ones((1, 1, 600, 700), np.float32)
    values[..., 100, 100] = np.nan
    left, top = GRID.left, GRID.top
    field = shapely.box(left + 950, top - 1100, left + 1100, top - 950)
    names = ("count", "mean", "sum", "sd", "min", "max", "median", "q05", "mode")

    (row,) = reduced(
        tmp_path, names, shapes=[field], values=values, valid=np.ones(values.shape, np.bool_)
    ).to_pylist()

    assert row["count"] == 225.0
    assert all(np.isnan(row[name]) for name in names[1:])


@given(
    offset=st.sampled_from([0.0, 1e4, -1e7]),
    outlier=st.sampled_from([0.0, 1e8]),
    seed=st.integers(0, 9),
)
def test_variance_keeps_its_digits_far_from_zero(tmp_path_factory, offset, outlier, seed) -> None:
    values = np.random.default_rng(seed).normal(offset, 1e-2, (1, 1, 600, 700))
    values[..., 300, 300] += outlier
    left, top = GRID.left, GRID.top
    field = shapely.box(left + 3000, top - 3100, left + 3100, top - 3000)

    (row,) = reduced(
        tmp_path_factory.mktemp("v"),
        ("variance",),
        shapes=[field],
        values=values,
        valid=np.ones(values.shape, np.bool_),
    ).to_pylist()

    assert row["variance"] == pytest.approx(values[0, 0, 300:310, 300:310].var(), rel=1e-9)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int16])
def test_any_type_of_pixels_is_reduced(tmp_path: Path, dtype) -> None:
    classes = pixels()[0][:, 1:]

    mine = reduced(tmp_path, OURS, values=classes.astype(dtype), valid=pixels()[1][:, 1:])

    as_float = classes.astype(dtype).astype(np.float32)
    expected = reduced(tmp_path, OURS, values=as_float, valid=pixels()[1][:, 1:])
    assert mine.equals(expected)


def test_a_mask_that_is_one_value_is_like_one_of_many(tmp_path: Path) -> None:
    values = pixels()[0]
    spread = np.broadcast_to(np.True_, values.shape)

    one = reduced(tmp_path, ALL, valid=spread)

    assert one.equals(reduced(tmp_path, ALL, valid=np.ones(values.shape, np.bool_)))


def test_windows_around_points_are_reduced(tmp_path: Path) -> None:
    values = pixels()[0]
    point = shapely.Point(GRID.left + 2565, GRID.top - 2555)

    table = reduced(
        tmp_path, ("count", "mean"), shapes=[point], around=5,
        valid=np.ones(values.shape, np.bool_),
    )  # fmt: skip

    expected = values[0, :, 253:258, 254:259].astype(float).mean(axis=(1, 2))
    assert table["count"].to_pylist() == [25.0, 25.0]
    np.testing.assert_allclose(numbers(table, "mean"), expected)


def test_what_is_held_is_what_is_unfinished(tmp_path: Path) -> None:
    names = ("mean", "median")
    values, valid = pixels()
    weights = Weights.of(tmp_path, fields(), GRID, GRID.window, block=256)
    reduction = Reduction(names, cube(Window(0, 0, 0, 0), values, valid), weights)
    sums = Reduction(("mean",), cube(Window(0, 0, 0, 0), values, valid), weights)

    kept = 0
    for number, window in enumerate(weights.cells):
        part = reduction.part(number, cube(window, values, valid))
        assert (weights.fragments[part.polygon] > 1).all()
        kept = max(kept, sum(len(pixels.weights) for pixels in part.pixels))
        assert all(p is None for p in sums.part(number, cube(window, values, valid)).pixels)

    assert 0 < kept <= weights.peaks.pixels
    assert reduction.bytes_of(2) > sums.bytes_of(2) > sums.bytes_of(1) > 0


@pytest.mark.parametrize(
    "name",
    [
        *("average", "q5", "q100", "q1234", "fraction_", "fraction_x", "fraction_inf"),
        *("histogram:1:0:4", "histogram:0:1:0", "histogram:0:1", "histogram:a:1:3"),
        "histogram:0:1:10001",
    ],
)
def test_unknown_statistics_are_named(name: str) -> None:
    with pytest.raises(
        ArgumentInvalid, match=f"Unknown statistics: {name}. There are count, .*q05"
    ):
        check_statistics(("mean", name))


def test_statistics_are_taken_once() -> None:
    assert check_statistics(("mean", "q05", "mean")) == ("mean", "q05")
    with pytest.raises(ArgumentInvalid, match="none given"):
        check_statistics(())
