"""What an extraction has made is read by other people's tools, and by `open_extraction`."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import duckdb
import geopandas
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from scipy.signal import savgol_filter
from tests.drivers import extractions
from tests.drivers.extractions import BANDS, DAYS, STATISTICS, Extracted, add_images, take
from tests.drivers.fields import loaded
from tests.drivers.scenes import job_of, node, ref

import terrazzo
from terrazzo.drivers.extraction import parts
from terrazzo.drivers.extraction.dense import dense
from terrazzo.drivers.extraction.record import recorded_job
from terrazzo.drivers.extraction.samples import Sampling
from terrazzo.drivers.ingest import ingest
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.publish import publish
from terrazzo.errors import ArgumentInvalid, PlanTooLarge
from terrazzo.testing.graphs import callback

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from terrazzo.drivers.extraction.result import Extraction


def load_everything() -> dict[str, Any]:
    return node("load_collection", id="s2", spatial_extent=None, temporal_extent=None)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Extracted:
    return extractions.made(tmp_path_factory.mktemp("extraction"))


@pytest.fixture(scope="module")
def found(work: Extracted) -> Extraction:
    return terrazzo.open_extraction(work.folder)


@pytest.fixture(scope="module")
def rows(work: Extracted) -> pl.DataFrame:
    """The table as polars reads it."""
    return pl.read_parquet(work.folder / "table")


def test_geopandas_reads_the_polygons_in_one_line(work: Extracted) -> None:
    given = extractions.parcels()

    frame = geopandas.read_parquet(work.folder / "polygons.parquet")

    assert list(frame["id"]) == list(given["parcel"])
    assert frame.crs == given.crs
    assert frame.geometry.geom_equals(given.geometry).all()
    assert list(frame["crop"].fillna("")) == list(given["crop"].fillna(""))


def test_duckdb_polars_and_pandas_read_the_table_in_one_line(
    work: Extracted, rows: pl.DataFrame
) -> None:
    by_duckdb = duckdb.sql(f"from '{work.folder}/table/**/*.parquet' order by id, t, bands").pl()
    by_pandas = pd.read_parquet(work.folder / "table")

    ordered = rows.sort("id", "t", "bands")
    assert ordered.select(by_duckdb.columns).equals(by_duckdb.cast({"t": ordered["t"].dtype}))
    assert len(by_pandas) == len(rows) == 36 * len(DAYS) * len(BANDS)
    assert rows["t"].dtype == pl.Datetime("us", "UTC")
    assert rows["item"].to_list()[0] == ["S2_20240401"]
    assert sorted(set(rows["date"].to_list())) == [date.fromisoformat(day) for day in DAYS]


def test_duckdb_joins_the_table_with_the_polygons(work: Extracted, rows: pl.DataFrame) -> None:
    crops = dict(zip(*(extractions.parcels()[name] for name in ("parcel", "crop")), strict=True))

    told = duckdb.sql(
        f"from '{work.folder}/table/**/*.parquet' join '{work.folder}/polygons.parquet' using (id) "
        "select crop, count(*) group by crop"
    ).fetchall()

    assert {crop: n for crop, n in told if crop} == {
        "rye <&>": sum(crops[name] is not None for name in rows["id"])
    }


def test_a_profile_is_the_rows_of_its_polygon_by_time(
    found: Extraction, rows: pl.DataFrame
) -> None:
    profile = found.profile("P17")

    expected = rows.filter(pl.col("id") == "P17").sort("t", "bands")
    assert list(profile.columns) == ["item", "bands", *STATISTICS]
    assert profile.index.to_list() == expected["t"].to_list()
    assert profile["bands"].to_list() == expected["bands"].to_list()
    for name in STATISTICS:
        np.testing.assert_array_equal(profile[name], expected[name].fill_null(np.nan))


def test_a_profile_reads_no_other_rows(
    work: Extracted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_ROWS_OF_GROUP", 8)
    take(work, tmp_path / "table")
    whole = terrazzo.open_extraction(tmp_path / "table").profile("P17")

    for path in (tmp_path / "table").rglob("*=*/*.parquet"):
        told = pq.read_metadata(path)
        assert told.num_row_groups == 36 * len(BANDS) / 8
        damaged = bytearray(path.read_bytes())
        for group in map(told.row_group, range(told.num_row_groups)):
            ids = group.column(0).statistics
            if not ids.min <= "P17" <= ids.max:
                first, last = group.column(0), group.column(group.num_columns - 1)
                start = first.dictionary_page_offset or first.data_page_offset
                stop = last.data_page_offset + 1
                damaged[start:stop] = b"\xff" * (stop - start)
        path.write_bytes(damaged)

    damaged_one = terrazzo.open_extraction(tmp_path / "table")
    pd.testing.assert_frame_equal(damaged_one.profile("P17"), whole)
    with pytest.raises((OSError, pa.ArrowException)):
        damaged_one.table.to_table()


def test_clean_rows_have_so_much_that_is_valid(found: Extraction, rows: pl.DataFrame) -> None:
    kept = rows.filter(pl.col("valid_share") >= 0.6)

    clean = found.clean(min_valid=0.6)

    assert clean.table.count_rows() == len(kept) < len(rows)
    assert set(clean.profile("P08").index) == set(kept.filter(pl.col("id") == "P08")["t"])


def test_arrays_are_the_table_with_polygons_in_their_order(
    found: Extraction, rows: pl.DataFrame
) -> None:
    arrays = found.to_xarray()

    assert arrays.sizes == {"id": 37, "t": len(DAYS), "bands": len(BANDS)}
    assert list(arrays["id"].to_numpy()) == list(extractions.parcels()["parcel"])
    assert arrays["crop"].to_numpy()[1] == "rye <&>"
    flat = arrays[list(STATISTICS)].to_dataframe().reset_index()
    flat = pl.from_pandas(flat.dropna(subset=["count"]))
    both = rows.with_columns(pl.col("t").dt.replace_time_zone(None).cast(pl.Datetime("ns"))).join(
        flat, on=["id", "t", "bands"], suffix="_here"
    )
    assert len(both) == len(rows)
    for name in STATISTICS:
        np.testing.assert_array_equal(both[name].fill_null(np.nan), both[f"{name}_here"])


def test_arrays_of_some_polygons_and_statistics(found: Extraction) -> None:
    whole = found.to_xarray()

    some = found.to_xarray(["mean"], ids=["P20", "P03"])

    assert list(some.data_vars) == ["mean"]
    np.testing.assert_array_equal(some["mean"], whole["mean"].sel(id=["P20", "P03"]))


def daily(profile: Any, band: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the days of one band's observations, counted from the first image, and their means."""
    mine = profile[profile["bands"] == band].dropna(subset=["mean"])
    days = (mine.index - pd.Timestamp(DAYS[0], tz="UTC")).days.to_numpy()
    return days, mine["mean"].to_numpy()


def test_smooth_profiles_balance_bends_and_observations(found: Extraction) -> None:
    clean = found.clean(min_valid=0.5)
    days, means = daily(clean.profile("P26"), "B08")
    span = days[-1] - days[0] + 1
    weights, seen = np.zeros(span), np.zeros(span)
    weights[days - days[0]], seen[days - days[0]] = 1, means
    bends = np.diff(np.eye(span), 2, axis=0)
    expected = np.linalg.solve(np.diag(weights) + 250 * bends.T @ bends, weights * seen)

    smooth = clean.smooth(smoothness=250).profile("P26")

    curve = smooth[smooth["bands"] == "B08"]["mean"]
    np.testing.assert_allclose(curve, expected, rtol=1e-8)
    first = pd.Timestamp(DAYS[0], tz="UTC") + pd.Timedelta(days=int(days[0]))
    assert list(curve.index) == list(pd.date_range(first, periods=span))


def test_savitzky_and_golay_smooth_what_is_filled_between_dates(found: Extraction) -> None:
    days, means = daily(found.profile("P26"), "B04")
    filled = np.interp(np.arange(days[0], days[-1] + 1), days, means)

    smooth = found.smooth("savitzky-golay", statistics=["mean"], window=15).profile("P26")

    curve = smooth[smooth["bands"] == "B04"]["mean"]
    np.testing.assert_allclose(curve, savgol_filter(filled, 15, 2))


def test_smooth_arrays_are_the_smooth_profiles(found: Extraction) -> None:
    smooth = found.smooth(every=5, weight="valid_share")

    arrays = smooth.to_xarray(["median"])

    assert list(np.unique(np.diff(arrays["t"]))) == [np.timedelta64(5, "D")]
    profile = smooth.profile("P08")
    one = arrays["median"].sel(id="P08", bands="B08").dropna("t")
    np.testing.assert_array_equal(profile[profile["bands"] == "B08"]["median"], one)
    assert np.isnan(arrays["median"].sel(id=_outside())).all()


def _outside() -> str:
    return str(extractions.parcels()["parcel"].iloc[-1])


def test_a_polygon_beside_the_images_has_an_empty_profile(found: Extraction) -> None:
    assert len(found.profile(_outside())) == 0
    assert len(found.smooth().profile(_outside())) == 0


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (lambda e: e.profile("P99"), "no polygon 'P99'. There are 37, such as 'P00'"),
        (lambda e: e.profile(5), "no polygon 5"),
        (lambda e: e.clean(min_valid=2), "min_valid=2"),
        (lambda e: e.smooth("loess"), "methods are whittaker"),
        (lambda e: e.smooth(every=0), "one day apart"),
        (lambda e: e.smooth(statistics=["meen"]), "no numbers 'meen'. Did you mean"),
        (lambda e: e.smooth(smoothness=-1), "smoothness=-1"),
        (lambda e: e.smooth("savitzky-golay", window=4), "window=4"),
        (lambda e: e.smooth(statistics=["mean"]).to_xarray(["median"]), "only mean was smoothed"),
        (lambda e: e.to_xarray(["bands"]), "no numbers 'bands'"),
    ],
)
def test_what_makes_no_sense_is_refused(found: Extraction, wrong: Any, match: str) -> None:
    with pytest.raises(ArgumentInvalid, match=match):
        wrong(found)


def test_peers_are_the_nearest_of_the_class_and_outliers_are_ranked(found: Extraction) -> None:
    fields = extractions.parcels().set_index("parcel")
    others = fields[(fields["crop"] == fields.loc["P17", "crop"]) & (fields.index != "P17")]
    near = others.centroid.distance(fields.loc["P17", "geometry"].centroid).sort_values()

    peers = found.peers("P17", by="crop", most=4, within_m=5_000)
    ranked = found.outliers(by="crop", band="B08")

    metres = [peer.metres for peer in peers]
    np.testing.assert_allclose(metres, near.iloc[:4], rtol=0.01)
    assert {peer.id for peer in peers} <= set(others.index)
    assert sorted(ranked["id"]) == sorted(fields.index)
    assert ranked["distance"].dropna().is_monotonic_decreasing


def test_arrays_that_fit_in_no_memory_are_refused(
    found: Extraction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("terrazzo.drivers.extraction.dense.MOST_BYTES", 1000)

    with pytest.raises(PlanTooLarge, match="37 x 6 x 2 numbers"):
        found.to_xarray()


def test_folders_without_an_extraction_are_refused(tmp_path: Path, work: Extracted) -> None:
    with pytest.raises(ArgumentInvalid, match="holds no extraction"):
        terrazzo.open_extraction(tmp_path)

    (tmp_path / "polygons.parquet").write_bytes((work.folder / "polygons.parquet").read_bytes())
    with pytest.raises(ArgumentInvalid, match="is done yet"):
        terrazzo.open_extraction(tmp_path)


def put(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def statements(*texts: str) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            for text in texts:
                connection.execute(text)

    return run


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        put(b"x" * 9000),
        put(b""),
        statements("UPDATE scene SET skipped = '{'"),
        statements("UPDATE scene SET log = '[1]'"),
        statements("UPDATE scene SET log = '[{}]'"),
        statements("UPDATE scene SET rows = 'many'"),
        statements("DROP TABLE scene", "CREATE TABLE scene (key)"),
    ],
    ids=["cut", "no database", "empty", "skipped", "log", "entry", "rows", "columns"],
)
def test_a_damaged_scene_table_is_named_with_the_way_out(
    work: Extracted, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    folder = shutil.copytree(work.folder, tmp_path / "table")
    damage(folder / "scenes.sqlite")
    broken = terrazzo.open_extraction(folder)
    said = r"table/scenes\.sqlite is damaged \(.*\)\. Delete the folder and extract again"

    for read in (
        lambda: broken.scenes,
        broken._repr_html_,
        lambda: publish(folder, "p", work.workspace),
    ):
        with pytest.raises(ArgumentInvalid, match=said):
            read()
    if (folder / "scenes.sqlite").stat().st_size:  # an empty one is that of a run that begins
        with pytest.raises(ArgumentInvalid, match=said):
            take(work, folder)


@pytest.mark.parametrize(
    "told", ["", "{", "[]", "null", '{"job": 1}', '{"job": {"bbox": 3}, "by": "date"}']
)
def test_a_forged_record_is_told_with_the_way_out(
    work: Extracted, tmp_path: Path, told: str
) -> None:
    folder = shutil.copytree(work.folder, tmp_path / "table")
    record = folder / "extraction.json"
    record.write_text(told)

    with pytest.raises(ArgumentInvalid, match=r"holds no extraction \(\w+ with extraction\.json"):
        take(work, folder)
    with pytest.raises(ArgumentInvalid, match=r"holds no extraction \(\w+ with extraction\.json"):
        recorded_job(folder)


TABLE_AGAIN, FOLDER_AGAIN = "Delete it and give the extraction again", "Delete the folder and"


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(100)])
def test_damaged_parquet_is_named_with_the_way_out(
    work: Extracted, tmp_path: Path, content: bytes
) -> None:
    folder = shutil.copytree(work.folder, tmp_path / "table")
    (part, *_), polygons = sorted(folder.rglob("date=*/*.parquet")), folder / "polygons.parquet"

    for path, way in ((part, TABLE_AGAIN), (polygons, FOLDER_AGAIN)):
        whole = path.read_bytes()
        path.write_bytes(content)
        broken = terrazzo.open_extraction(folder)
        for read in (
            broken._repr_html_,
            lambda broken=broken: broken.profile("nobody"),
            lambda broken=broken: broken.to_xarray(["mean"]),
            lambda: publish(folder, "p", work.workspace),
        ):
            with pytest.raises(ArgumentInvalid, match=f"{path.name} is damaged .*{way}"):
                read()
        path.write_bytes(whole)

    part.unlink()
    take(work, folder)
    assert part.is_file()


def test_a_damaged_page_within_a_file_is_found(work: Extracted, tmp_path: Path) -> None:
    folder = shutil.copytree(work.folder, tmp_path / "table")
    (*_, part), polygons = sorted(folder.rglob("date=*/*.parquet")), folder / "polygons.parquet"

    for path, way in ((part, TABLE_AGAIN), (polygons, FOLDER_AGAIN)):
        whole = path.read_bytes()
        ids = pq.read_metadata(path).row_group(0).column(0)
        start = ids.dictionary_page_offset or ids.data_page_offset
        path.write_bytes(whole[:start] + b"\xff" * 40 + whole[start + 40 :])
        with pytest.raises(ArgumentInvalid, match=f"{path.name} is damaged .*{way}"):
            terrazzo.open_extraction(folder).to_xarray(["mean"])
        path.write_bytes(whole)


def test_a_notebook_shows_what_there_is_and_no_markup_of_others(found: Extraction) -> None:
    html = found.clean(min_valid=0.9).smooth(every=7)._repr_html_()

    for text in ("37", "6, from 2024-04-01 to 2024-06-15", "90%", "6 done", "every 7 d", "<svg"):
        assert text in html
    assert html.count("<path") == 37
    assert "<script" not in html
    assert "http" not in html


def test_a_table_without_dates_has_profiles_and_arrays_without_them(
    work: Extracted, tmp_path: Path
) -> None:
    mean = callback("mean", data={"from_parameter": "data"})
    graph = node("reduce_dimension", True, data=ref("load"), dimension="t", reducer=mean)
    job = job_of({"load": load_everything(), "mean": graph})
    take(replace(work, job=job), tmp_path / "table")

    timeless = terrazzo.open_extraction(tmp_path / "table")

    assert list(timeless.profile("P17")["bands"]) == list(BANDS)
    assert timeless.to_xarray(["mean"]).sizes == {"id": 37, "bands": 2}
    assert "dates" not in timeless._repr_html_()
    with pytest.raises(ArgumentInvalid, match="no dates"):
        timeless.smooth()
    publish(tmp_path / "table", "means", work.workspace)
    cube = loaded(work.workspace, "means", bands=["B04~mean"])
    assert cube.valid.shape == (37, 1)


def test_a_table_by_image_has_the_arrays_of_one_by_date(work: Extracted, tmp_path: Path) -> None:
    take(work, tmp_path / "table", by="image")

    by_image = terrazzo.open_extraction(tmp_path / "table")

    found, expected = (
        one.to_xarray(["mean"], daily=True)["mean"]
        for one in (by_image, terrazzo.open_extraction(work.folder))
    )
    np.testing.assert_array_equal(found, expected)
    assert [item[0] for item in by_image.profile("P17")["item"]][::2] == [
        f"S2_{day.replace('-', '')}" for day in DAYS
    ]


def test_periods_are_texts_and_cannot_be_smoothed(work: Extracted, tmp_path: Path) -> None:
    mean = callback("mean", data={"from_parameter": "data"})
    months = node("aggregate_temporal_period", True, data=ref("load"), period="month", reducer=mean)
    take(replace(work, job=job_of({"load": load_everything(), "m": months})), tmp_path / "table")

    monthly = terrazzo.open_extraction(tmp_path / "table")

    assert list(monthly.profile("P17").index[::2]) == ["2024-04", "2024-05", "2024-06"]
    assert list(monthly.to_xarray(["mean"])["t"].to_numpy()) == ["2024-04", "2024-05", "2024-06"]
    with pytest.raises(ArgumentInvalid, match="no dates"):
        monthly.smooth()
    publish(tmp_path / "table", "months", work.workspace)
    assert loaded(work.workspace, "months", bands=["2024-05~B04~mean"]).valid.sum() > 30


def test_fractions_and_histograms_are_in_profiles_and_not_in_arrays(
    work: Extracted, tmp_path: Path
) -> None:
    names = ("mean", "fractions", "histogram:1000:4000:3")
    take(work, tmp_path / "table", statistics=names)

    found = terrazzo.open_extraction(tmp_path / "table")

    first = found.profile("P17").dropna(subset=["mean"]).iloc[0]
    assert sum(first["fractions"].values()) == pytest.approx(1)
    assert first["mean"] == pytest.approx(sum(k * v for k, v in first["fractions"].items()))
    assert len(first["histogram_1000_4000_3"]) == 3
    assert list(found.to_xarray().data_vars) == ["mean"]
    assert "\N{HORIZONTAL ELLIPSIS}" in found._repr_html_()


def test_of_two_images_of_a_day_the_one_counts_that_saw_most(tmp_path: Path) -> None:
    times = [datetime(2024, 4, 1, 10, m, tzinfo=UTC) for m in (0, 5)]
    for number, (t, counts) in enumerate(zip(times, ([3.0, 9.0], [4.0, 1.0]), strict=True)):
        table = pa.table(
            {
                "id": [1, 2],
                "t": pa.array([t, t], pa.timestamp("us", "UTC")),
                "count": counts,
                "mean": [10.0 * number + 1, 10.0 * number + 2],
            }
        )
        pq.write_table(table, tmp_path / f"{number}.parquet")
    table = pads.dataset(tmp_path)

    together = dense(table, pa.array([2, 1]), (), ("mean",), daily=True)
    apart = dense(table, pa.array([2, 1]), (), ("mean",))

    np.testing.assert_array_equal(together.arrays["mean"], [[2.0], [11.0]])
    np.testing.assert_array_equal(apart.arrays["mean"], [[2.0, 12.0], [1.0, 11.0]])


def test_samples_of_a_run_do_not_depend_on_blocks_and_executors(
    work: Extracted, tmp_path: Path
) -> None:
    sampling = Sampling(6, "crop", seed=4)
    tables = []

    for number, options in enumerate(({}, {"block": 256}, {"pool": Pool("processes", workers=1)})):
        folder = tmp_path / str(number)
        take(work, folder, sampling=sampling, how="centre", **options)
        tables.append(pl.read_parquet(folder / "table"))

    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])
    taken = tables[0].select("id", "x", "y", "crop").unique()
    assert taken["crop"].fill_null("").value_counts().sort("crop")["count"].to_list() == [6, 6]
    assert {"lon", "lat", "weight", "B04", "B08"} <= set(tables[0].columns)
    samples = terrazzo.open_extraction(tmp_path / "0")
    assert len(samples.profile(taken["id"][0])) > 0
    with pytest.raises(ArgumentInvalid, match="single pixels"):
        samples.to_xarray()


def test_a_published_extraction_is_loaded_by_the_next_graph(
    work: Extracted, found: Extraction
) -> None:
    made = publish(work.folder, "parcels", work.workspace, statistics=("mean", "count"))
    again = publish(work.folder, "parcels", work.workspace, statistics=("mean", "count"))

    column = "2024-05-16~B08~mean"
    period = ["2024-04-01", "2024-05-01"]
    cube = loaded(work.workspace, "parcels", bands=[column], temporal_extent=period)
    assert ((made.made, made.kept), (again.made, again.kept)) == ((1, 0), (0, 1))
    expected = found.to_xarray(["mean"])["mean"].sel(t="2024-05-16", bands="B08")
    values = np.where(cube.valid, cube.values, np.nan)
    np.testing.assert_array_equal(values[:, 0], expected.to_numpy().ravel())
    names = [one["id"] for one in cube.geometries.properties]
    assert names == list(extractions.parcels()["parcel"])


def test_new_images_change_what_was_published(tmp_path: Path) -> None:
    mine = extractions.made(tmp_path)
    first = publish(mine.folder, "parcels", mine.workspace)
    add_images(mine.images, ("2024-07-01",))
    ingest([mine.images], "s2", mine.workspace)

    take(mine, mine.folder)
    later = publish(mine.folder, "parcels", mine.workspace)

    assert (first.made, later.made) == (1, 1)
    with mine.workspace.catalog() as catalog:
        (item,) = catalog.search(("parcels",))
    names = [column["name"] for column in item["properties"]["table:columns"]]
    assert [name for name in names if "~" in name] == [
        f"{day}~{band}~mean" for day in (*DAYS, "2024-07-01") for band in BANDS
    ]
    assert item["properties"]["end_datetime"] == "2024-07-02T00:00:00Z"


def test_what_cannot_be_published_is_refused(work: Extracted, tmp_path: Path) -> None:
    with pytest.raises(ArgumentInvalid, match="no numbers 'max'"):
        publish(work.folder, "p", work.workspace, statistics=("max",))
    with pytest.raises(ArgumentInvalid, match="'s2' holds images"):
        publish(work.folder, "s2", work.workspace)
    assert not (work.workspace.assets / "s2").exists()

    take(work, tmp_path / "pixels", sampling=Sampling(1))
    with pytest.raises(ArgumentInvalid, match="single pixels"):
        publish(tmp_path / "pixels", "p", work.workspace)
