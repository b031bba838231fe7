"""Climate normals and anomalies, against xarray's groups."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
from tests.processes.cubes import (
    assert_blocks_agree,
    assert_same,
    bands,
    cube,
    evaluate,
    frozen,
    infer,
    masked,
    time,
)

from terrazzo.engine import evaluate as compute
from terrazzo.engine import infer as bind
from terrazzo.engine import make_plan
from terrazzo.errors import (
    ArgumentInvalid,
    DimensionLabelCountMismatch,
    DimensionNotAvailable,
    IncompatibleDataCubes,
    LabelNotAvailable,
    TemporalExtentEmpty,
    TooManyDimensions,
)
from terrazzo.geo.grid import Grid
from terrazzo.graph import parse
from terrazzo.processes import SPECS
from terrazzo.processes.statistics import mean
from terrazzo.testing.compare import assert_same_pixels
from terrazzo.testing.graphs import LEFT, TOP, callback
from terrazzo.testing.synthetic import SyntheticOpener, SyntheticSource

if TYPE_CHECKING:
    from terrazzo.cube import Cube
    from terrazzo.engine.plan import Plan

START = datetime(2018, 11, 3, 6, tzinfo=UTC)
DATES = tuple(
    (START + timedelta(days=17 * step)).strftime("%Y-%m-%dT%H:%M:%SZ") for step in range(62)
)
"""From November 2018 to September 2021."""
YEARS = [2019, 2021]
WITHOUT_DECEMBER = tuple(label for label in DATES if not label.startswith("2018-12"))


def as_frame(data: Cube) -> xr.DataArray:
    stamps = [np.datetime64(str(label).rstrip("Z"), "ns") for label in data.dimension("t").labels]
    values = np.where(data.valid, data.values.astype(np.float64), np.nan)
    return xr.DataArray(values, {"t": stamps}, data.names)


def assert_mean(actual: Cube, label: str, frame: xr.DataArray) -> None:
    """Fail unless a normal is the mean of these dates; where there is none it is no-data."""
    found = actual.take("t", [actual.dimension("t").labels.index(label)])
    expected = np.full(found.values.shape, np.nan)
    if frame.sizes["t"]:
        expected[0] = frame.mean("t").values
    np.testing.assert_array_equal(found.valid, ~np.isnan(expected))
    np.testing.assert_allclose(found.values[found.valid], expected[found.valid], rtol=1e-6)


@pytest.mark.parametrize(("period", "digits"), [("month", 2), ("day", 3)])
def test_normals_are_means_of_the_same_month_or_day_of_all_years(period: str, digits: int) -> None:
    data = cube(time(DATES), bands())

    result = assert_blocks_agree(
        "climatological_normal", (16,), data=data, period=period, climatology_period=YEARS
    )

    frame = as_frame(data)
    frame = frame[np.isin(frame.t.dt.year, range(2019, 2022))]
    numbers = frame.t.dt.month if period == "month" else frame.t.dt.dayofyear
    count = 12 if period == "month" else 365
    labels = tuple(str(number).zfill(digits) for number in range(1, count + 1))
    assert result.dimension("t").labels == labels
    for number, label in enumerate(labels, 1):
        assert_mean(result, label, frame[numbers == number])


def test_the_366th_day_counts_to_no_normal() -> None:
    data = cube(time(("2019-12-31T00:00:00Z", "2020-12-31T00:00:00Z")), invalid=0)

    result = evaluate(
        "climatological_normal", data=data, period="day", climatology_period=[2019, 2020]
    )

    np.testing.assert_array_equal(result.values[364], data.values[0])
    assert not result.valid[:364].any()


SEASONS = {
    "season": {"djf": (12, 1, 2), "mam": (3, 4, 5), "jja": (6, 7, 8), "son": (9, 10, 11)},
    "tropical-season": {"ndjfma": (11, 12, 1, 2, 3, 4), "mjjaso": (5, 6, 7, 8, 9, 10)},
}


@pytest.mark.parametrize("dates", [DATES, WITHOUT_DECEMBER], ids=["whole", "cut"])
@pytest.mark.parametrize("period", SEASONS)
def test_the_first_season_counts_only_if_its_months_of_the_year_before_are_there(
    period: str, dates: tuple[str, ...]
) -> None:
    data = cube(time(dates))

    result = assert_blocks_agree(
        "climatological_normal", (16,), data=data, period=period, climatology_period=YEARS
    )

    frame = as_frame(data)
    assert result.dimension("t").labels == tuple(SEASONS[period])
    for label, months in SEASONS[period].items():
        # A month that comes before the one in which a season ends was in the year before.
        ends = xr.where(frame.t.dt.month > months[-1], frame.t.dt.year + 1, frame.t.dt.year)
        first = 2019 if dates is DATES or months[0] < months[-1] else 2020
        chosen = np.isin(frame.t.dt.month, months) & (ends >= first) & (ends <= 2021)
        assert 0 < int(chosen.sum()) < len(dates)
        assert_mean(result, label, frame[chosen.values])


def test_the_normal_of_the_whole_period_is_one_mean() -> None:
    data = cube(time(DATES))

    result = evaluate(
        "climatological_normal",
        data=data,
        period="climatology-period",
        climatology_period=[2019, 2020],
    )

    frame = as_frame(data)
    assert result.dimension("t").labels == ("climatology-period",)
    assert_mean(result, "climatology-period", frame[np.isin(frame.t.dt.year, (2019, 2020))])


@pytest.mark.parametrize(
    ("period", "label"), [("month", "07"), ("season", "djf"), ("day", "001"), ("season", "son")]
)
def test_a_normal_needs_its_own_dates_only(period: str, label: str) -> None:
    data = cube(time(DATES), bands())
    arguments = {"data": data, "period": period, "climatology_period": YEARS}

    one = evaluate("climatological_normal", None, {"t": [label], "bands": ["nir"]}, **arguments)

    whole = evaluate("climatological_normal", None, {"bands": ["nir"]}, **arguments)
    assert_same(one, whole.take("t", [whole.dimension("t").labels.index(label)]))


@pytest.mark.parametrize(
    ("error", "changed"),
    [
        (TemporalExtentEmpty, {"climatology_period": [2021, 2019]}),
        (ArgumentInvalid, {"climatology_period": [2017, 2020]}),
        (ArgumentInvalid, {"climatology_period": [2019, 2022]}),
        (ArgumentInvalid, {"data": cube(time(()))}),
        (ArgumentInvalid, {"data": cube(time(("2019-djf",)))}),
        (DimensionNotAvailable, {"data": cube(bands())}),
        (TooManyDimensions, {"data": cube(time(DATES), time(name="t2"))}),
    ],
)
def test_normals_errors(error: type[Exception], changed: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {
        "data": cube(time(DATES)),
        "period": "month",
        "climatology_period": YEARS,
    }

    with pytest.raises(error):
        infer("climatological_normal", **(arguments | changed))


def mean_of_data(**arguments: Any) -> Any:
    return mean(arguments["data"])


def monthly(data: Cube, period: str) -> Cube:
    return evaluate("aggregate_temporal_period", data=data, period=period, reducer=mean_of_data)


@pytest.mark.parametrize("period", ["month", "season", "day"])
def test_anomalies_are_what_is_above_the_mean_of_all_years(period: str) -> None:
    dates = DATES[4:-4] if period == "season" else DATES  # no season that is cut
    series = monthly(cube(time(dates), bands(), invalid=0.4), period)
    years = [2019, 2020] if period == "season" else YEARS
    data = cube(time(dates), bands(), invalid=0.4)
    normals = evaluate("climatological_normal", data=data, period=period, climatology_period=years)

    result = assert_blocks_agree("anomaly", (16,), data=series, normals=normals, period=period)

    assert result.dimensions == series.dimensions
    by_name = dict(zip(normals.dimension("t").labels, range(400), strict=False))
    for position, label in enumerate(series.dimension("t").labels):
        number = by_name.get(str(label)[5:])
        expected = masked(series)[position] - masked(normals)[number or 0]
        if number is None:  # the 366th day
            expected[...] = np.ma.masked
        found = masked(result)[position]
        np.testing.assert_array_equal(found.mask, np.ma.getmaskarray(expected))
        np.testing.assert_array_equal(found.compressed(), expected.compressed())


LABELS = {
    "hour": (("2020-06-01-00", "2020-06-01-23", "2020-06-02-00"), ("00", "23")),
    "week": (("2020-52", "2020-53", "2021-01"), ("01", "52")),
    "dekad": (("2020-01", "2020-36", "2021-01"), ("01", "36")),
    "season": (("2019-djf", "2020-mam", "2020-djf"), ("djf", "mam")),
    "tropical-season": (("2019-ndjfma", "2020-mjjaso", "2020-ndjfma"), ("ndjfma", "mjjaso")),
    "year": (("2019", "2020"), ("2020", "2019")),
    "decade": (("2010", "2020"), ("2020", "2010")),
    "decade-ad": (("2011", "2021"), ("2021", "2011")),
    "single-period": (("2019-01-01", "anything"), ("all",)),
    "climatology-period": (("2019-01-01", "2020-01-01"), ("climatology-period",)),
}


@pytest.mark.parametrize("period", LABELS)
def test_times_find_their_normals_by_name(period: str) -> None:
    times, names = LABELS[period]
    data, normals = cube(time(times)), cube(time(names))

    result = assert_blocks_agree("anomaly", (16,), data=data, normals=normals, period=period)

    for position, label in enumerate(times):
        ends = [n for n, name in enumerate(names) if len(names) == 1 or label.endswith(name)]
        assert result.valid[position].any() == bool(ends)
        if ends:
            expected = masked(data)[position] - masked(normals)[ends[0]]
            found = masked(result)[position]
            np.testing.assert_array_equal(found.compressed(), expected.compressed())


def test_an_anomaly_needs_its_own_normal_only() -> None:
    data = cube(time(("2020-01", "2020-02", "2021-01")), bands())
    normals = cube(time(("01", "02")), bands(("blue", "red", "nir")))
    arguments = {"data": data, "normals": normals, "period": "month"}

    one = evaluate("anomaly", None, {"t": ["2020-02"], "bands": ["nir"]}, **arguments)

    whole = evaluate("anomaly", **arguments)
    assert_same(one, whole.take("t", [1]).take("bands", [1]))


def test_only_a_day_without_a_normal_is_wanted() -> None:
    data, normals = cube(time(("2020-365", "2020-366"))), cube(time(("364", "365")))
    arguments = {"data": data, "normals": normals, "period": "day"}

    one = evaluate("anomaly", None, {"t": ["2020-366"]}, **arguments)

    assert_same(one, evaluate("anomaly", **arguments).take("t", [1]))
    assert not one.valid.any()


def test_of_no_times_a_single_normal_is_no_mistake() -> None:
    data, normals = cube(time(())), cube(time(("any",)))

    found = evaluate("anomaly", data=data, normals=normals, period="single-period")

    assert found.values.shape[0] == 0


def test_normals_hold_for_all_bands_that_they_do_not_tell_apart() -> None:
    data, normals = cube(bands(), time(("2020-01", "2020-02"))), cube(time(("01", "02"), "when"))

    result = assert_blocks_agree("anomaly", (16,), data=data, normals=normals, period="month")

    expected = masked(data) - masked(normals)[np.newaxis]
    np.testing.assert_array_equal(masked(result).compressed(), expected.compressed())


def test_whole_numbers_do_not_wrap_around() -> None:
    month = time(("2020-01",))
    data = cube(month, dtype="uint8", invalid=0)
    normals = replace(
        cube(month, dtype="uint8", invalid=0), dimensions=cube(time(("01",))).dimensions
    )
    low = replace(frozen(data), values=np.zeros_like(data.values))

    result = infer("anomaly", data=low, normals=normals, period="month")
    computed = evaluate("anomaly", data=low, normals=normals, period="month")

    assert result.dtype == computed.dtype == np.float32
    np.testing.assert_array_equal(computed.values, -normals.values.astype(np.float32))


@pytest.mark.parametrize(
    ("error", "changed"),
    [
        (LabelNotAvailable, {"data": cube(time(("2020-03",)))}),
        (ArgumentInvalid, {"data": cube(time(("2020-03-01",)))}),
        (ArgumentInvalid, {"data": cube(time(("2020-001",)))}),
        (DimensionLabelCountMismatch, {"period": "single-period"}),
        (DimensionNotAvailable, {"normals": cube(bands())}),
        (TooManyDimensions, {"normals": cube(time(("01", "02")), time(name="t2"))}),
        (IncompatibleDataCubes, {"normals": cube(time(("01", "02")), bands())}),
    ],
)
def test_anomaly_errors(error: type[Exception], changed: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {
        "data": cube(time(("2020-01", "2020-02"))),
        "normals": cube(time(("01", "02"))),
        "period": "month",
    }

    with pytest.raises(error):
        infer("anomaly", **(arguments | changed))


GRID = Grid.of(32633, LEFT, TOP, 10.0, 60, 70)


def anomalies(result: str = "anomaly", month: str = "") -> tuple[Plan, SyntheticSource]:
    """Plan monthly anomalies, or the normals of one month, of a source that is returned too."""
    load = {"id": "long", "spatial_extent": None, "temporal_extent": None}
    reducer = callback("mean", data={"from_parameter": "data"})
    nodes: dict[str, Any] = {
        "load": {"process_id": "load_collection", "arguments": load},
        "months": {
            "process_id": "aggregate_temporal_period",
            "arguments": {"data": {"from_node": "load"}, "period": "month", "reducer": reducer},
        },
        "normals": {
            "process_id": "climatological_normal",
            "arguments": {
                "data": {"from_node": "load"},
                "period": "month",
                "climatology_period": YEARS,
            },
        },
        "anomaly": {
            "process_id": "anomaly",
            "arguments": {
                "data": {"from_node": "months"},
                "normals": {"from_node": "normals"},
                "period": "month",
            },
        },
        "one": {
            "process_id": "filter_labels",
            "arguments": {
                "data": {"from_node": "normals"},
                "condition": callback("eq", x={"from_parameter": "value"}, y=month),
                "dimension": "t",
            },
        },
    }
    nodes[result]["result"] = True
    source = SyntheticSource(GRID, DATES)
    graph = parse(nodes, specs=SPECS)
    return make_plan(bind(graph, SyntheticOpener({"long": source}))), source


def test_one_normal_reads_its_own_dates_only() -> None:
    plan, source = anomalies("one", "07")

    compute(plan, plan.window)

    read = {DATES[number] for _, labels in source.reads for number in labels["t"]}
    inside = [label for label in DATES if label[:4] in {"2019", "2020", "2021"}]
    assert read == {label for label in inside if label[5:7] == "07"}


def test_anomalies_and_their_normals_are_one_fused_pass() -> None:
    plan, _ = anomalies()

    whole = compute(plan, plan.window)

    fused = {plan.steps[number].bound.process.id for group in plan.fused for number in group.steps}
    assert fused == {"aggregate_temporal_period", "climatological_normal", "anomaly"}
    assert_same_pixels(compute(replace(plan, fused=()), plan.window), whole)
    for window in plan.window.blocks(23):
        assert_same_pixels(compute(plan, window), whole.crop(window))
