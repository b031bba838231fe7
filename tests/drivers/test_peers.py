"""Peers and outliers: who is near whom, and who differs, by other means."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from pyproj import Geod
from tests.drivers.farm import DATES, ODD, crops, make_farm

from terrazzo.drivers.extraction import polygons
from terrazzo.drivers.extraction.compared import Compared, Measure
from terrazzo.drivers.extraction.outliers import outliers, write_outliers
from terrazzo.drivers.extraction.peers import peer_profile, peers
from terrazzo.errors import ArgumentInvalid
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.drivers.farm import Farm


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Farm:
    return make_farm(tmp_path_factory.mktemp("farm"))


def taken_in(folder: Path, shapes: Sequence[Any], crs: str, **columns: Sequence[Any]) -> Path:
    """Keep polygons as an extraction does, without a table."""
    gpd.GeoDataFrame(columns, geometry=list(shapes), crs=crs).to_file(folder / "p.gpkg")
    polygons.take_in(folder / "p.gpkg", folder)
    return folder


def with_table(folder: Path, rows: pd.DataFrame, statistics: Sequence[str]) -> Path:
    """Write rows as the parts of an extraction by date."""
    told = json.dumps({"labels": [], "statistics": list(statistics)}).encode()
    for date, part in rows.groupby("date"):
        (folder / "table" / f"date={date}").mkdir(parents=True)
        table = pa.Table.from_pandas(part.drop(columns="date"), preserve_index=False)
        table = table.replace_schema_metadata({b"terrazzo": told})
        pq.write_table(table, folder / "table" / f"date={date}" / "part.parquet")
    return folder


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("statistics", [("count", "mean", "valid_share"), ("mean", "valid_share")])
def test_of_several_images_of_a_day_that_counts_which_saw_most(
    tmp_path: Path, statistics: Sequence[str], *, turned: bool
):
    rows = pd.DataFrame(
        {
            "date": "2024-05-01",
            "id": ["part", "part", "same", "same"],
            "t": pd.to_datetime(["2024-05-01T10:00Z", "2024-05-01T10:05Z"] * 2),
            "count": [198.0, 5.0, 40.0, 40.0],
            "mean": [1.0, 99.0, 2.0, 3.0],
            "valid_share": [0.98, 0.5, 1.0, 1.0],
        }
    )
    rows = rows.iloc[[1, 0, 2, 3]] if turned else rows
    folder = with_table(tmp_path, rows.drop(columns={"count"} - {*statistics}), statistics)
    ids = pa.array(["part", "same"])

    table = Compared.of(folder, Measure())

    ((day, values),) = table.observations(ids, Progress())
    assert (day, values.tolist()) == ("2024-05-01", [1.0, 2.0])
    np.testing.assert_array_equal(table.profiles(ids)[1][:, 0], values)


def test_more_pixels_count_for_more_than_a_larger_share(tmp_path: Path):
    rows = pd.DataFrame(
        {"date": "2024-05-01", "id": "a", "count": [198.0, 5.0], "mean": [1.0, 99.0]}
    ).assign(valid_share=[0.99, 1.0])
    folder = with_table(tmp_path, rows, ("count", "mean", "valid_share"))

    ((_, values),) = Compared.of(folder, Measure()).observations(pa.array(["a"]), Progress())

    assert values.tolist() == [1.0]


def test_peers_are_the_nearest_of_their_class_on_the_ellipsoid(tmp_path: Path):
    rng = np.random.default_rng(3)
    x, y = rng.uniform(22.0, 22.4, 60), rng.uniform(45.0, 45.3, 60)
    crop = rng.choice(["a", "b", "c"], 60)
    boxes = [shapely.Point(place).buffer(1e-3) for place in zip(x, y, strict=True)]
    folder = taken_in(tmp_path, boxes, "EPSG:4326", crop=crop)
    metres = Geod(ellps="WGS84").inv(np.full(60, x[17]), np.full(60, y[17]), x, y)[2]
    of_class = [n for n in np.argsort(metres) if crop[n] == crop[17] and n != 17]
    expected = [n for n in of_class if metres[n] < 12_000][:8]

    found = peers(folder, "17", "crop", most=8, within_m=12_000.0)

    assert [peer.id for peer in found] == expected
    # A sphere for an ellipsoid: 0.5 % at most.
    np.testing.assert_allclose([p.metres for p in found], metres[expected], rtol=5e-3)


def test_peers_are_found_across_the_antimeridian(tmp_path: Path):
    places = [(179.99, 0.0), (-179.99, 0.0), (178.0, 0.0)]
    boxes = [shapely.Point(place).buffer(1e-3) for place in places]
    folder = taken_in(tmp_path, boxes, "EPSG:4326", crop=["a", "a", "a"])

    (peer,) = peers(folder, "0", "crop", within_m=5000.0)

    assert peer.id == 1
    assert peer.metres == pytest.approx(np.radians(0.02) * 6_371_008.8, rel=1e-6)


def test_parcels_at_one_place_are_peers_and_never_of_themselves(tmp_path: Path):
    box = shapely.box(22, 45, 22.001, 45.001)
    folder = taken_in(tmp_path, [box] * 4, "EPSG:4326", crop=["a"] * 4)

    for number in range(4):
        found = peers(folder, str(number), "crop")

        assert {peer.id for peer in found} == {0, 1, 2, 3} - {number}
        assert all(peer.metres == 0 for peer in found)


def test_a_parcel_without_class_or_place_has_no_peers(farm: Farm, tmp_path: Path):
    shapes = [shapely.box(22, 45, 22.001, 45.001), shapely.Polygon()]
    folder = taken_in(tmp_path, shapes, "EPSG:4326", crop=["a", "a"])

    assert crops()[24] is None
    assert peers(farm.extraction, "f24", "crop") == ()
    assert peers(folder, "0", "crop") == ()
    assert peers(folder, "1", "crop") == ()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("f99", "crop"), r"no parcel 'f99'.*f0, f1"),
        (("f1", "crops"), r"'crops'.*crop"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(farm: Farm, arguments: tuple[str, str], told: str):
    with pytest.raises(ArgumentInvalid, match=told):
        peers(farm.extraction, *arguments)


def test_peers_need_a_number_and_a_distance(farm: Farm):
    with pytest.raises(ArgumentInvalid, match="distance above 0"):
        peers(farm.extraction, "f1", "crop", within_m=0.0)


def test_the_profile_of_peers_has_their_quartiles(farm: Farm):
    chosen = peers(farm.extraction, "f0", "crop")
    rows = pq.read_table(farm.extraction / "table").to_pandas()
    rows = rows[rows["id"].isin([peer.id for peer in chosen]) & (rows["valid_share"] >= 0.5)]
    by_date = rows.groupby(rows["t"].dt.strftime("%Y-%m-%d"))["mean"]

    found = peer_profile(farm.extraction, chosen, "wheat")

    assert len(chosen) == crops().count("wheat") - 1
    assert found.labels == tuple(sorted(by_date.groups))
    np.testing.assert_allclose(found.low, by_date.quantile(0.25), rtol=1e-12)
    np.testing.assert_allclose(found.middle, by_date.median(), rtol=1e-12)
    np.testing.assert_allclose(found.high, by_date.quantile(0.75), rtol=1e-12)


def test_the_field_that_is_another_crop_than_declared_comes_first(farm: Farm):
    table = outliers(farm.extraction, "crop")

    rows = table.to_pylist()
    assert rows[0]["id"] == f"f{ODD}"
    assert rows[0]["class"] == "wheat"
    assert rows[0]["distance"] > 2 * rows[1]["distance"]
    # On 2024-03-20 half of the farm is hidden, and fewer than 5 other fields of wheat are seen.
    assert rows[0]["dates"] == len(DATES) - 1
    assert rows[-1]["id"] == "f24"
    assert rows[-1]["distance"] is None
    assert len(rows) == len(crops())


def test_outliers_are_ranked_by_the_formula_that_is_documented(tmp_path: Path):
    count, dates, most = 60, [f"2024-05-{day:02}" for day in range(1, 10)], 9
    rng = np.random.default_rng(11)
    x, y = rng.uniform(22.0, 22.1, count), rng.uniform(45.0, 45.07, count)
    crop = np.where(np.arange(count) % 3 == 0, "a", "b").astype(object)
    crop[7] = None
    boxes = [shapely.Point(place).buffer(1e-4) for place in zip(x, y, strict=True)]
    folder = taken_in(tmp_path, boxes, "EPSG:4326", crop=crop)
    share = rng.uniform(0.2, 1.0, (count, len(dates)))
    values = rng.normal(0.5, 0.1, (count, len(dates)))
    rows = pd.DataFrame(
        {
            "id": np.tile(np.arange(count), len(dates)),
            "date": np.repeat(dates, count),
            "mean": values.T.ravel(),
            "valid_share": share.T.ravel(),
        }
    )
    with_table(folder, rows, ("mean", "valid_share"))
    seen = np.where(share >= 0.4, values, np.nan)

    found = outliers(folder, "crop", Measure(min_valid=0.4), most=most, within_m=8000.0)

    expected = by_hand(x, y, crop, seen, most, 8000.0)
    rows_found = {row["id"]: row for row in found.to_pylist()}
    for number, z in enumerate(expected):
        row, counted = rows_found[number], np.isfinite(z)
        assert row["dates"] == counted.sum()
        if counted.sum() < 3:
            assert row["distance"] is None
            continue
        assert row["distance"] == pytest.approx(np.minimum(z[counted], 6).mean(), rel=1e-9)
        assert row["worst"] == dates[int(np.nanargmax(z))]
        assert row["worst_z"] == pytest.approx(np.nanmax(z), rel=1e-9)
    ranked = [row["distance"] for row in found.to_pylist() if row["distance"] is not None]
    assert len(ranked) > count / 2
    assert ranked == sorted(ranked, reverse=True)


def haversine(x: Any, y: Any, x0: float, y0: float) -> Any:
    """Return metres along a sphere between places in degrees."""
    a, b, a0, b0 = map(np.radians, (x, y, x0, y0))
    half = np.sin((b - b0) / 2) ** 2 + np.cos(b) * np.cos(b0) * np.sin((a - a0) / 2) ** 2
    return 2 * 6_371_008.8 * np.arcsin(np.sqrt(half))


def by_hand(x: Any, y: Any, crop: Any, seen: Any, most: int, within: float) -> Any:
    """Return (parcel, date) z as the documentation has it."""
    count = len(x)
    around = []
    for n in range(count):
        far = haversine(x, y, x[n], y[n])
        same = [m for m in np.argsort(far) if m != n and crop[m] == crop[n] and far[m] <= within]
        around.append(same[:most] if crop[n] is not None else [])
    middle, spread = np.full(seen.shape, np.nan), np.full(seen.shape, np.nan)
    for n, date in np.ndindex(seen.shape):
        known = [v for v in seen[around[n], date] if np.isfinite(v)]
        if len(known) >= 5:
            middle[n, date] = np.median(known)
            spread[n, date] = 1.4826 * np.median(np.abs(known - np.median(known)))
    for kind in ("a", "b"):
        usual = np.nanmedian(spread[crop == kind], axis=0)
        spread[crop == kind] = np.maximum(spread[crop == kind], usual / 4)
    return np.abs(seen - middle) / spread


def test_of_two_images_of_a_day_the_one_counts_that_saw_more(tmp_path: Path):
    boxes = [shapely.box(n * 200, 0, n * 200 + 100, 100) for n in range(8)]
    folder = taken_in(tmp_path, boxes, "EPSG:32633", crop=["a"] * 8)
    plain = pd.DataFrame({"id": range(8), "mean": np.linspace(0.4, 0.5, 8), "valid_share": 0.9})
    cloudy = pd.DataFrame({"id": [3], "mean": [5.0], "valid_share": [0.8]})
    better = pd.DataFrame({"id": [5], "mean": [9.0], "valid_share": [1.0]})
    days = [pd.concat([plain, cloudy, better]).assign(date=f"2024-06-0{day}") for day in (1, 2, 3)]
    with_table(folder, pd.concat(days), ("mean", "valid_share"))

    found = {row["id"]: row for row in outliers(folder, "crop").to_pylist()}

    assert found[5]["distance"] == 6.0
    assert found[5]["direction"] == 1.0
    assert found[3]["distance"] < 2


def test_peers_that_are_all_the_same_make_any_difference_the_largest(tmp_path: Path):
    boxes = [shapely.box(n * 200, 0, n * 200 + 100, 100) for n in range(8)]
    folder = taken_in(tmp_path, boxes, "EPSG:32633", crop=["a"] * 8)
    mean = np.where(np.arange(8) == 2, 0.6, 0.5)
    days = [
        pd.DataFrame({"id": range(8), "mean": mean, "date": f"2024-06-0{day}"}) for day in (1, 2, 3)
    ]
    with_table(folder, pd.concat(days), ("mean",))

    rows = outliers(folder, "crop").to_pylist()

    assert [rows[0]["id"], rows[0]["distance"]] == [2, 6.0]
    assert [row["distance"] for row in rows[1:]] == [0.0] * 7


def test_a_table_in_one_file_is_compared_date_by_date_too(farm: Farm, tmp_path: Path):
    whole = tmp_path / "one"
    whole.mkdir()
    (whole / "polygons.parquet").write_bytes((farm.extraction / "polygons.parquet").read_bytes())
    part = next((farm.extraction / "table").rglob("*.parquet"))
    rows = pq.read_table(farm.extraction / "table").drop_columns(["date"])
    (whole / "table").mkdir()
    told = pq.read_schema(part).metadata
    pq.write_table(rows.replace_schema_metadata(told), whole / "table" / "all.parquet")

    found, expected = outliers(whole, "crop"), outliers(farm.extraction, "crop")

    assert found.equals(expected)


@pytest.mark.parametrize(
    ("measure", "told"),
    [(Measure("meen"), r"'meen'.*mean"), (Measure(band="B9"), "'B9'")],
)
def test_a_statistic_or_band_that_is_not_there_is_an_error(farm: Farm, measure: Measure, told: str):
    with pytest.raises(ArgumentInvalid, match=told):
        outliers(farm.extraction, "crop", measure)


def test_of_several_bands_one_has_to_be_chosen(farm: Farm, tmp_path: Path):
    graph = {
        "load": {
            "process_id": "load_collection",
            "arguments": {"id": "farm", "spatial_extent": None, "temporal_extent": None},
            "result": True,
        }
    }
    folder = farm.extract(tmp_path / "out", graph)

    with pytest.raises(ArgumentInvalid, match="--band: red, nir"):
        outliers(folder, "crop")
    found = outliers(folder, "crop", Measure(band="nir")).to_pylist()

    assert found[0]["id"] == f"f{ODD}"


def test_a_folder_without_extraction_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(ArgumentInvalid, match="terrazzo extract"):
        outliers(tmp_path, "crop")


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_outliers_are_written_whole(farm: Farm, tmp_path: Path, ending: str):
    table = outliers(farm.extraction, "crop")
    path = tmp_path / "new" / f"o{ending}"

    write_outliers(path, table)

    read = pd.read_parquet(path) if ending == ".parquet" else pd.read_csv(path)
    assert read["id"].tolist() == table["id"].to_pylist()
    np.testing.assert_allclose(read["distance"], table["distance"].to_pandas())
    assert datetime.fromisoformat(read["worst"][0]).replace(tzinfo=UTC).year in {2023, 2024}


def test_outliers_are_not_written_in_another_format(farm: Farm, tmp_path: Path):
    with pytest.raises(ArgumentInvalid, match=r"\.xlsx"):
        write_outliers(tmp_path / "o.xlsx", outliers(farm.extraction, "crop"))
