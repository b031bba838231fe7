"""OGC API Features of collections of geometries, held against geopandas over the same files."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any

import geopandas
import mapbox_vector_tile
import pytest
import shapely
from starlette.testclient import TestClient
from tests.server.fields import ROOT, fields, islands, make_fields
from tests.server.people import closed, ledger, newcomer

from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.ledger import Visibility
from terrazzo.ledger.collections import CollectionAccess, set_access
from terrazzo.ledger.users import find_user
from terrazzo.server.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terrazzo.drivers.job import Workspace

EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
ITEMS = f"{ROOT}/fields/items"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_fields(tmp_path_factory.mktemp("fields"))


@pytest.fixture(scope="module")
def client(home: Workspace) -> Iterator[TestClient]:
    with TestClient(create_app(home), raise_server_exceptions=False) as found:
        yield found


@pytest.fixture(scope="module")
def frame() -> geopandas.GeoDataFrame:
    return fields()


def found(client: TestClient, path: str = ITEMS, **asked: Any) -> list[dict[str, Any]]:
    """Return the features of all pages."""
    answer = client.get(path, params={"limit": 10_000, **asked})
    features: list[dict[str, Any]] = []
    while True:
        assert answer.status_code == 200, answer.text
        told = answer.json()
        features += told["features"]
        following = [one["href"] for one in told["links"] if one["rel"] == "next"]
        if not following:
            return features
        answer = client.get(following[0])


def names(features: list[dict[str, Any]]) -> set[str]:
    return {one["properties"]["name"] for one in features}


def refused(client: TestClient, path: str = ITEMS, **asked: Any) -> tuple[int, str]:
    answer = client.get(path, params=asked)
    return answer.status_code, answer.json()["message"]


def test_only_collections_of_geometries_are_listed_each_with_where_its_features_are(client):
    told = client.get(ROOT).json()["collections"]

    by_id = {one["id"]: one for one in told}
    assert set(by_id) == {"fields", "islands"}
    assert by_id["fields"]["itemType"] == "feature"
    assert by_id["fields"]["storageCrs"] == f"{EPSG}32633"
    for one in told:
        for link in one["links"]:
            assert client.get(link["href"]).status_code == 200, link


def test_every_link_of_the_landing_page_leads_somewhere(client):
    links = client.get("/features").json()["links"]

    assert {"self", "conformance", "data", "service-desc"} <= {link["rel"] for link in links}
    for link in links:
        headers = {"Accept": link["type"]}
        assert client.get(link["href"], headers=headers).status_code == 200, link


def test_all_features_come_in_pages_each_once_with_its_attributes(client, frame):
    features = found(client, limit=333)

    told = {one["properties"]["name"]: one for one in features}
    assert len(features) == len(told) == len(frame)
    for row in frame.to_crs(4326).itertuples():
        one = told[row.name]
        expected = {"name": row.name, "crop": row.crop, "year": row.year, "organic": row.organic}
        assert {key: one["properties"][key] for key in expected} == expected
        assert one["properties"]["tonnes"] == (None if row.tonnes != row.tonnes else row.tonnes)
        shape = shapely.geometry.shape(one["geometry"])
        assert shape.equals_exact(row.geometry, 1e-9, normalize=True)


def test_a_box_finds_what_touches_it_and_not_what_only_its_box_does(client, frame):
    degrees = frame.to_crs(4326)
    west, south, east, north = degrees.geometry.iloc[820].bounds
    box = ((west + east) / 2, (south + north) / 2, west + 0.021, south + 0.013)

    expected = set(degrees[degrees.intersects(shapely.box(*box))]["name"])
    by_box_only = set(degrees.cx[box[0] : box[2], box[1] : box[3]]["name"])
    assert names(found(client, bbox=",".join(map(str, box)))) == expected
    corner = shapely.box(*degrees.geometry.iloc[820].bounds).exterior.coords[0]
    assert expected <= by_box_only
    assert found(client, bbox=",".join(map(str, (*corner, *corner)))) == []


def test_boxes_and_answers_come_in_other_systems_with_the_axes_of_the_authority(client, frame):
    row = frame.iloc[5]
    east, north = row.geometry.centroid.coords[0]
    lon, lat = frame.geometry.to_crs(4326).iloc[5].centroid.coords[0]
    asked = {
        "32633": (east, north, east, north),
        "4326": (lat, lon, lat, lon),
    }
    for code, box in asked.items():
        answer = client.get(
            ITEMS,
            params={
                "bbox": ",".join(map(str, box)),
                "bbox-crs": EPSG + code,
                "crs": EPSG + code,
            },
        )

        (one,) = answer.json()["features"]
        assert answer.headers["content-crs"] == f"<{EPSG}{code}>"
        shape = shapely.geometry.shape(one["geometry"])
        if code == "4326":
            shape = shapely.transform(shape, lambda points: points[:, ::-1])
        expected = frame.to_crs(int(code)).geometry.iloc[5]
        assert one["properties"]["name"] == row["name"]
        assert shape.equals_exact(expected, 1e-6, normalize=True)


def test_attributes_are_conditions(client, frame):
    chosen = frame[(frame.crop == "rye") & (frame.year == 2020) & ~frame.organic]

    features = found(client, crop="rye", year="2020", organic="false", limit=7)

    assert names(features) == set(chosen["name"])


@pytest.mark.parametrize(
    ("text", "pick"),
    [
        (
            "crop IN ('rye', 'grass') AND tonnes > 5.5",
            lambda f: f.crop.isin(["rye", "grass"]) & (f.tonnes > 5.5),
        ),
        ("tonnes BETWEEN 2 AND 3", lambda f: f.tonnes.between(2, 3)),
        (
            "name LIKE 'field 01%' AND NOT crop = 'rye'",
            lambda f: f.name_.str.startswith("field 01") & (f.crop != "rye"),
        ),
        ("crop = 'rye' OR year < 2016", lambda f: (f.crop == "rye") | (f.year < 2016)),
        ("2020 <= year AND year <> 2022", lambda f: (f.year >= 2020) & (f.year != 2022)),
        ("year - 2015 = 3", lambda f: f.year == 2018),
        ("organic = TRUE", lambda f: f.organic),
        ("CASEI(crop) = CASEI('RYE')", lambda f: f.crop == "rye"),
        ("year = 2015.5", lambda f: f.year == 2015.5),
    ],
)
def test_filters_find_what_pandas_finds(client, frame, text: str, pick: Any):
    expected = set(frame[pick(frame.assign(name_=frame["name"]))]["name"])

    assert names(found(client, filter=text)) == expected


def test_filters_ask_for_places_as_text_and_as_json(client, frame):
    degrees = frame.to_crs(4326)
    lake = shapely.buffer(degrees.geometry.iloc[820].centroid, 0.01)
    text = f"S_INTERSECTS(geometry, {lake.wkt}) AND crop = 'wheat'"
    as_json = {
        "op": "s_within",
        "args": [{"property": "geometry"}, json.loads(shapely.to_geojson(lake))],
    }

    touching = names(found(client, filter=text))
    within = names(found(client, filter=json.dumps(as_json), **{"filter-lang": "cql2-json"}))

    assert touching == set(degrees[degrees.intersects(lake) & (degrees.crop == "wheat")]["name"])
    assert within == set(degrees[degrees.within(lake)]["name"])
    assert 0 < len(within) < len(frame)


def test_what_is_written_wrongly_is_refused_with_what_would_be_right(client):
    for asked, words in (
        ({"crap": "rye"}, "Did you mean 'crop'"),
        ({"filter": "crap = 'rye'"}, "Did you mean 'crop'"),
        ({"year": "soon"}, "no number"),
        ({"organic": "perhaps"}, "true or false"),
        ({"limit": "0"}, "from 1 to"),
        ({"limit": "many"}, "whole number"),
        ({"bbox": "1,2,3"}, "four finite numbers"),
        ({"bbox": "10,50,11,49"}, "must ascend"),
        ({"crs": f"{EPSG}2154"}, "not offered"),
        ({"datetime": "2020"}, "no time"),
        ({"token": "nonsense"}, ""),
        ({"filter": "crop ="}, ""),
    ):
        status, message = refused(client, **asked)
        assert status == 400, asked
        assert words in message


def test_dates_of_rows_are_asked_for_and_those_of_files_where_rows_have_none(client):
    path = f"{ROOT}/islands/items"

    from_march = found(client, path, datetime="2021-03-01T12:00:00Z/..")
    before = found(client, path, datetime="../2020-12-31T00:00:00Z")

    assert names(from_march) == {"across", "east"}
    assert names(before) == {"west"}
    assert len(found(client, datetime="2024-06-01T00:00:00Z")) == len(fields())
    assert found(client, datetime="2025-06-01T00:00:00Z") == []


def test_what_crosses_the_antimeridian_is_cut_there_and_found_from_both_sides(client):
    path = f"{ROOT}/islands/items"
    assert names(found(client, path, bbox="179.99,-18,-179.99,-16")) == {"across"}
    assert names(found(client, path, bbox="-180,-18,-179,-16")) == {"across", "east"}
    assert names(found(client, path, bbox="179,-18,180,-16")) == {"across", "west"}

    (across,) = found(client, path, name="across")
    shape = shapely.geometry.shape(across["geometry"])

    assert shape.geom_type == "MultiPolygon"
    east, west = (one.bounds for one in shapely.get_parts(shape))
    assert max(east[2], west[2]) == 180
    assert min(east[0], west[0]) == -180
    area = sum(abs(x[2] - x[0]) * abs(x[3] - x[1]) for x in (east, west))
    metres = islands().geometry.iloc[1].area
    assert area * 111_320**2 * 0.956 == pytest.approx(metres, rel=0.05)


def test_one_feature_has_an_address_of_its_own(client):
    (one,) = found(client, name="field 0005")

    answer = client.get(f"{ITEMS}/{one['id']}")

    told = answer.json()
    assert answer.headers["content-type"] == "application/geo+json"
    assert told["id"] == one["id"] == "fields.5"
    assert (told["geometry"], told["properties"]) == (one["geometry"], one["properties"])
    assert {link["rel"] for link in told["links"]} >= {"self", "collection"}
    for wrong in ("fields.99999", "fields.-1", "fields", "other.5", "fields.05"):
        assert client.get(f"{ITEMS}/{wrong}").status_code == 404, wrong


def test_how_many_there_are_is_told_where_it_is_asked_for(client, frame):
    def matched(**asked: Any) -> Any:
        return client.get(ITEMS, params=asked).json().get("numberMatched")

    rye = int((frame.crop == "rye").sum())
    assert matched() == matched(limit=1) == len(frame)
    assert matched(crop="rye", limit=1) == matched(crop="rye", limit=10_000) == rye
    assert matched(crop="rye", limit=2) is None


def test_queryables_and_schema_tell_types(client):
    queryable = client.get(f"{ROOT}/fields/queryables").json()["properties"]
    schema = client.get(f"{ROOT}/fields/schema").json()["properties"]

    kinds = {name: one.get("type") for name, one in schema.items()}
    assert kinds == {
        "name": "string", "crop": "string", "tonnes": "number", "year": "integer",
        "organic": "boolean", "geometry": None,
    }  # fmt: skip
    assert set(queryable) == {*schema, "datetime"}


def test_pages_go_on_only_in_a_file_that_is_what_it_was(tmp_path):
    workspace = make_fields(tmp_path)
    options = IngestOptions(datetime="2024", id="name", title="Fields of the valley")
    with TestClient(create_app(workspace), raise_server_exceptions=False) as client:
        links = client.get(ITEMS, params={"limit": 5}).json()["links"]
        following = next(one["href"] for one in links if one["rel"] == "next")
        assert client.get(following).status_code == 200

        fields().iloc[::-1].to_parquet(tmp_path / "fields.parquet")
        ingest([tmp_path / "fields.parquet"], "fields", workspace, options=options)
        answer = client.get(following)

    assert answer.status_code == 400
    assert "Begin with the first page" in answer.json()["message"]


def test_a_file_that_is_gone_or_cut_short_is_named_without_its_place(tmp_path):
    workspace = make_fields(tmp_path)
    (table,) = tmp_path.glob("**/fields/**/data.parquet")
    content = table.read_bytes()
    with TestClient(create_app(workspace), raise_server_exceptions=False) as client:
        for rest in (content[: len(content) // 2], content[:-200] + b"x" * 200, b"", None):
            table.unlink()
            if rest is not None:
                table.write_bytes(rest)
            paths = ITEMS, f"{ITEMS}/fields.3", f"{ROOT}/fields/tiles/WebMercatorQuad/0/0/0"
            for path in paths:
                answer = client.get(path)
                assert 400 <= answer.status_code < 600
                assert answer.json()["code"] in {"SourceUnreadable", "AssetForbidden"}, answer.text
                assert str(tmp_path) not in answer.text
            if rest is None:
                break


def test_a_private_collection_is_not_there_for_others(home):
    database = ledger(home.home)
    headers = newcomer(database, "owner"), newcomer(database, "other"), {}
    owner = find_user(database, "owner")
    assert owner is not None
    set_access(database, CollectionAccess("fields", Visibility.PRIVATE, owner=owner.id))
    tile = f"{ROOT}/fields/tiles/WebMercatorQuad/0/0/0"
    try:
        with TestClient(create_app(home, settings=closed())) as found:
            seen = {
                path: [found.get(path, headers=one).status_code for one in headers]
                for path in (ITEMS, f"{ITEMS}/fields.5", tile, f"{ROOT}/fields/schema")
            }
            mine = found.get(tile, headers=headers[0])
            marked = {**headers[1], "If-None-Match": mine.headers["etag"]}
            known = found.get(tile, headers=marked).status_code
            listed = [found.get(ROOT, headers=one).text for one in headers]
    finally:
        set_access(database, CollectionAccess("fields", Visibility.PUBLIC, owner=owner.id))

    assert set(map(tuple, seen.values())) == {(200, 404, 404)}
    assert known == 404
    assert "private" in mine.headers["cache-control"]
    assert ["fields" in text.replace("/features", "") for text in listed] == [True, False, False]


HOSTILE = (
    "",
    "0",
    "-1",
    "1e400",
    "nan",
    "inf",
    "null",
    "'",
    '"',
    "%00",
    "\\",
    "a" * 5000,
    "1,2,3,4",
    "-1e9,0,1e9,1",
    "0,0,0,0",
    "180,-90,-180,90",
    "500000,5000000,500500,5000500",
    "[]",
    "{}",
    '{"op": "="}',
    "[" * 300,
    "../..",
    "2020-01-01T00:00:00Z/..",
    "2020",
    "WyJhIl0=",
    "geometry",
    "crop = crop",
    "S_INTERSECTS(geometry, POINT(0 0))",
    "S_WITHIN(geometry, POLYGON((0 0,1 1,0 1,1 0,0 0)))",
    "geometry IS NULL",
    "crop LIKE '" + "%_" * 99 + "'",
    "year / 0 = 1",
    "http://www.opengis.net/def/crs/EPSG/0/4326",
    "http://www.opengis.net/def/crs/EPSG/0/99999",
    "EPSG:4326; rm",
    "cql2-json",
    "é\U0001f33e",
    "9" * 400,
)
PARAMETERS = (
    "bbox", "bbox-crs", "datetime", "limit", "token", "crs", "filter", "filter-lang", "filter-crs",
    "crop", "year", "organic", "tonnes", "nothing",
)  # fmt: skip


def test_whatever_is_asked_the_answer_is_features_or_an_error_that_says_why(client, home):
    random = Random(9)
    codes = set()
    for _ in range(250):
        chosen = random.sample(PARAMETERS, random.randint(1, 3))
        asked = {name: random.choice(HOSTILE) for name in chosen}
        name = random.choice(["fields", "islands"])
        path = random.choice([f"{ROOT}/{name}/items", f"{ROOT}/{name}/items/{name}.1"])

        answer = client.get(path, params=asked)

        codes.add(answer.status_code)
        assert answer.status_code in {200, 400, 404}, (path, asked, answer.text[:300])
        assert str(home.home) not in answer.text
        if answer.status_code != 200:
            assert answer.json()["message"]
    assert codes == {200, 400}


def test_attributes_are_chosen_by_name_also_where_others_are_conditions(client, frame):
    rye = frame[frame.crop == "rye"]

    features = found(client, properties="name,year", crop="rye", filter="tonnes > 5")

    assert names(features) == set(rye[rye.tonnes > 5]["name"])
    assert {tuple(one["properties"]) for one in features} == {("name", "year")}
    assert refused(client, properties="nam")[0] == 400


def test_attributes_of_any_name_are_asked_for_and_tiles_of_wide_tables_have_those_named(tmp_path):
    workspace = make_fields(tmp_path)
    wide = {
        f"2024-05-{day:02d}~B{band:02d}~mean": [0.1 * day]
        for day in range(1, 30)
        for band in range(9)
    }
    frame = geopandas.GeoDataFrame(wide, geometry=[shapely.box(15, 45, 15.01, 45.01)], crs=4326)
    frame.to_parquet(tmp_path / "wide.parquet")
    ingest([tmp_path / "wide.parquet"], "wide", workspace, options=IngestOptions(datetime="2024"))
    name = "2024-05-07~B03~mean"
    tile = f"{ROOT}/wide/tiles/WebMercatorQuad/0/0/0"
    with TestClient(create_app(workspace), raise_server_exceptions=False) as client:
        (one,) = found(client, f"{ROOT}/wide/items", filter=f'"{name}" > 0.6')
        none = found(client, f"{ROOT}/wide/items", **{name: "0.5"})
        plain, chosen = (
            mapbox_vector_tile.decode(client.get(tile, params=asked).content)["wide"]["features"]
            for asked in ({}, {"properties": name})
        )
        many = client.get(tile, params={"properties": ",".join(wide)})

    assert one["properties"][name] == pytest.approx(0.7)
    assert none == []
    assert list(plain[0]["properties"]) == [*list(wide)[:32], "_item"]
    assert chosen[0]["properties"] == {name: pytest.approx(0.7), "_item": "wide"}
    assert many.status_code == 400


def test_real_parcels_come_as_geopandas_reads_them(shared, tmp_path):
    source = shared / "data" / "eodal_zurich_s2_parcels" / "ZH_Polygons_2020_ESCH_EPSG32632.shp"
    frame = geopandas.read_file(source)
    workspace = make_fields(tmp_path)
    ingest([source], "esch", workspace, options=IngestOptions(datetime="2020"))
    crs = f"{EPSG}32632"
    with TestClient(create_app(workspace), raise_server_exceptions=False) as client:
        features = found(client, f"{ROOT}/esch/items", crs=crs, limit=100)

    by_row = {int(one["id"].rpartition(".")[2]): one for one in features}
    assert sorted(by_row) == list(range(len(frame)))
    for number, row in enumerate(frame.itertuples()):
        told = by_row[number]["properties"]
        assert (told["GIS_ID"], told["NUTZUNG"]) == (row.GIS_ID, row.NUTZUNG)
        shape = shapely.geometry.shape(by_row[number]["geometry"])
        assert shape.equals_exact(row.geometry, 1e-6, normalize=True)


def test_browsers_get_pages_where_programs_get_documents(client):
    paths = ("/features", ROOT, f"{ROOT}/fields", ITEMS, f"{ITEMS}/fields.3")

    for path in paths:
        page = client.get(path, headers={"Accept": "text/html,*/*;q=0.8"})
        document = client.get(path, headers={"Accept": "application/json"})

        assert page.headers["content-type"].startswith("text/html")
        assert "json" in document.headers["content-type"]
        assert "Accept" in document.headers["vary"]
    assert client.get(f"{ROOT}/none", headers={"Accept": "text/html"}).status_code == 404
