"""Services as WMTS: by GDAL's own client, and by hand."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
from PIL import Image
from starlette.testclient import TestClient
from tests.server.small import DATES, graph, made_service

from terrazzo.ledger import LOCAL
from terrazzo.server.app import create_app
from terrazzo.server.running.listen import serving
from terrazzo.server.services.wmts_capabilities import PIXEL_METRES
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.drivers.job import Workspace

NAMES = {
    "wmts": "http://www.opengis.net/wmts/1.0",
    "ows": "http://www.opengis.net/ows/1.1",
    "xlink": "http://www.w3.org/1999/xlink",
}
RANGE = {"min": 0.0, "max": 1.0, "colors": "gray"}
_METRES_PER_DEGREE = 111_319.49079327358


def capabilities(client: TestClient, name: str, query: str = "") -> ET.Element:
    answer = client.get(f"/services/{name}/wmts{query}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/xml"
    return ET.fromstring(answer.content)  # noqa: S314 - our own


def texts(root: ET.Element, path: str) -> list[str | None]:
    return [found.text for found in root.findall(path, NAMES)]


def tile_query(name: str, **changed: str) -> dict[str, str]:
    given = {
        "Service": "WMTS",
        "REQUEST": "GetTile",
        "version": "1.0.0",
        "LAYER": name,
        "style": "default",
        "Format": "image/png",
        "TileMatrixSet": "native",
        "TILEMATRIX": "1",
        "tilerow": "0",
        "TileCol": "1",
    }
    return {key: changed.get(key.lower(), value) for key, value in given.items()}


def test_capabilities_tell_both_tile_matrix_sets_and_the_dates(
    client: TestClient, service: dict[str, Any]
) -> None:
    root = capabilities(client, service["id"])

    layer = "wmts:Contents/wmts:Layer/"
    assert texts(root, f"{layer}ows:Identifier") == [service["id"]]
    assert texts(root, f"{layer}ows:Title") == ["NDVI"]
    assert [t and t[:10] for t in texts(root, f"{layer}wmts:Dimension/wmts:Value")] == list(DATES)
    assert texts(root, f"{layer}wmts:Dimension/wmts:Default") == [service["dates"][-1]]
    assert texts(root, "wmts:Contents/wmts:TileMatrixSet/ows:Identifier") == [
        "WebMercatorQuad",
        "native",
    ]
    own = root.findall("wmts:Contents/wmts:TileMatrixSet", NAMES)[1]
    scales = [float(text or "") for text in texts(own, "wmts:TileMatrix/wmts:ScaleDenominator")]
    assert texts(own, "ows:SupportedCRS") == ["urn:ogc:def:crs:EPSG::32634"]
    assert scales == pytest.approx([20 / PIXEL_METRES, 10 / PIXEL_METRES])
    assert texts(own, "wmts:TileMatrix/wmts:MatrixWidth") == ["1", "2"]


def test_every_address_in_the_capabilities_answers(
    client: TestClient, service: dict[str, Any]
) -> None:
    root = capabilities(client, service["id"])
    templates = [one.attrib["template"] for one in root.iterfind(".//wmts:ResourceURL", NAMES)]
    document = root.find("wmts:ServiceMetadataURL", NAMES)
    assert document is not None

    tiles = [
        client.get(
            template.replace("{TileMatrixSet}", "native")
            .replace("{TileMatrix}", "1")
            .replace("{TileCol}", "0")
            .replace("{TileRow}", "1")
            .replace("{Time}", service["dates"][0])
        )
        for template in templates
    ]

    assert [tile.status_code for tile in tiles] == [200] * 3
    assert [tile.headers["content-type"] for tile in tiles] == [
        one.attrib["format"] for one in root.iterfind(".//wmts:ResourceURL", NAMES)
    ]
    assert client.get(document.attrib[f"{{{NAMES['xlink']}}}href"]).status_code == 200


def test_tiles_by_key_value_pairs_are_those_of_the_address(
    client: TestClient, service: dict[str, Any]
) -> None:
    address = f"/services/{service['id']}"
    date = service["dates"][0]

    by_pairs = client.get(f"{address}/wmts", params={**tile_query(service["id"]), "TIME": date})
    by_path = client.get(f"{address}/tiles/native/1/1/0.png", params={"time": date})

    assert by_pairs.headers["content-type"] == "image/png"
    assert by_pairs.content == by_path.content
    assert by_pairs.headers["etag"] == by_path.headers["etag"]


BAD = {
    "operation": ({"request": "GetMap"}, 400, "OperationNotSupported", "request"),
    "layer": ({"layer": "other"}, 400, "InvalidParameterValue", "layer"),
    "style": ({"style": "loud"}, 400, "InvalidParameterValue", "style"),
    "format": ({"format": "image/tiff"}, 400, "InvalidParameterValue", "format"),
    "no matrix": ({"tilematrix": ""}, 400, "MissingParameterValue", "tilematrix"),
    "no number": ({"tilerow": "x"}, 400, "InvalidParameterValue", "tilerow"),
    "negative": ({"tilecol": "-1"}, 400, "InvalidParameterValue", "tilecol"),
    "endless": ({"tilecol": "9" * 5000}, 400, "InvalidParameterValue", "tilecol"),
    "deep": ({"tilematrix": "25"}, 404, "TileOutOfRange", None),
    "set": ({"tilematrixset": "Mars"}, 400, "NoApplicableCode", None),
    "beside": ({"tilecol": "7"}, 400, "NoApplicableCode", None),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_come_in_the_words_of_ows(
    client: TestClient, service: dict[str, Any], name: str
) -> None:
    changed, status, code, locator = BAD[name]

    answer = client.get(
        f"/services/{service['id']}/wmts", params=tile_query(service["id"], **changed)
    )
    told = ET.fromstring(answer.content).find("ows:Exception", NAMES)  # noqa: S314

    assert told is not None
    assert answer.status_code == status
    assert (told.attrib["exceptionCode"], told.attrib.get("locator")) == (code, locator)
    assert texts(told, "ows:ExceptionText") != [None]


def test_texts_of_people_cannot_break_the_document(client: TestClient) -> None:
    title = "<Layer> & \x07 ]]> \N{SNOWMAN}"
    name = made_service(client, graph(), title=title, description="<b>&amp;")

    root = capabilities(client, name)

    assert texts(root, "ows:ServiceIdentification/ows:Title") == [title.replace("\x07", "\ufffd")]
    assert texts(root, "ows:ServiceIdentification/ows:Abstract") == ["<b>&amp;"]


@pytest.mark.parametrize(
    ("projection", "corner", "metres"),
    [
        (4326, ("north", "east"), _METRES_PER_DEGREE),
        (3035, ("north", "east"), 1.0),
        (32635, ("east", "north"), 1.0),
    ],
)
def test_corners_have_the_axes_of_their_crs(
    client: TestClient, projection: int, corner: tuple[str, str], metres: float
) -> None:
    document = graph()
    document["process_graph"]["ndvi"]["result"] = False
    document["process_graph"]["moved"] = {
        "process_id": "resample_spatial",
        "arguments": {"data": {"from_node": "ndvi"}, "projection": projection},
        "result": True,
    }
    name = made_service(client, document)
    grid = client.app.state.parts.maps.opened(LOCAL, name).tiles.matrix("native").base  # type: ignore[attr-defined]

    own = capabilities(client, name).findall("wmts:Contents/wmts:TileMatrixSet", NAMES)[-1]

    ends = {"north": grid.top, "east": grid.left}
    last = texts(own, "wmts:TileMatrix/wmts:TopLeftCorner")[-1] or ""
    scale = float(texts(own, "wmts:TileMatrix/wmts:ScaleDenominator")[-1] or "")
    assert texts(own, "ows:SupportedCRS") == [f"urn:ogc:def:crs:EPSG::{projection}"]
    assert [float(number) for number in last.split()] == [ends[axis] for axis in corner]
    assert scale * PIXEL_METRES == pytest.approx(grid.pixel_x * metres)


@pytest.fixture(scope="module")
def served(workspace: Workspace) -> Any:
    """Return the address of a real server."""
    with serving(workspace, settings=ServerSettings(job_workers=0)) as url:
        yield url


def test_gdal_opens_the_tiles_where_they_belong(
    served: str, workspace: Workspace, tmp_path: Path
) -> None:
    with TestClient(create_app(workspace)) as client:
        name = made_service(client, graph(), configuration=RANGE)
        url = client.get(f"/services/{name}").json()["attributes"]["wmts"]
        whole = [
            [
                Image.open(
                    io.BytesIO(client.get(f"/services/{name}/tiles/native/1/{x}/{y}.png").content)
                ).convert("RGBA")
                for x in (0, 1)
            ]
            for y in (0, 1)
        ]
    pixels = np.concatenate([np.concatenate([np.asarray(i) for i in r], 1) for r in whole], 0)
    address = url.replace("http://testserver", served)

    with (
        rasterio.Env(GDAL_DEFAULT_WMS_CACHE_PATH=str(tmp_path)),
        rasterio.open(f"WMTS:{address},tilematrixset=native") as file,
    ):
        read, bounds, crs = file.read(), file.bounds, file.crs

    assert crs.to_epsg() == 32634
    assert tuple(bounds) == pytest.approx((500_000, 4_997_000, 503_000, 5_000_000), abs=20)
    col, row = round((bounds.left - 500_000) / 10), round((5_000_000 - bounds.top) / 10)
    inside = read[:, -row:, -col:][:, :300, :300]
    np.testing.assert_array_equal(np.moveaxis(inside, 0, -1), pixels[:300, :300])


def test_gdal_reads_the_address_of_xyz_tiles(
    served: str, workspace: Workspace, tmp_path: Path
) -> None:
    with TestClient(create_app(workspace)) as client:
        name = made_service(client, graph(), configuration=RANGE)
        url = client.get(f"/services/{name}").json()["url"].replace("http://testserver", served)
        told = client.get(f"/services/{name}/map").json()
    left, bottom, right, top = told["matrices"]["WebMercatorQuad"]["bounds"]
    zoom = told["matrices"]["WebMercatorQuad"]["zooms"][1]
    half = 20037508.342789244
    description = f"""<GDAL_WMS><Service name="TMS"><ServerUrl>{
        url.replace("{z}", "${z}").replace("{x}", "${x}").replace("{y}", "${y}")
    }</ServerUrl></Service><DataWindow><UpperLeftX>{-half}</UpperLeftX><UpperLeftY>{
        half
    }</UpperLeftY>
    <LowerRightX>{half}</LowerRightX><LowerRightY>{-half}</LowerRightY><TileLevel>{zoom}</TileLevel>
    <TileCountX>1</TileCountX><TileCountY>1</TileCountY><YOrigin>top</YOrigin></DataWindow>
    <Projection>EPSG:3857</Projection><BlockSizeX>256</BlockSizeX><BlockSizeY>256</BlockSizeY>
    <BandsCount>4</BandsCount></GDAL_WMS>"""

    with (
        rasterio.Env(GDAL_DEFAULT_WMS_CACHE_PATH=str(tmp_path)),
        rasterio.open(description) as file,
    ):
        within = file.window(left, bottom, right, top)
        around = file.window(left - 4000, bottom, left - 2000, top)
        shown, beside = (
            file.read(window=one.round_offsets().round_lengths()) for one in (within, around)
        )

    opaque = shown[3] == 255
    assert opaque.mean() > 0.9
    assert not beside[3].any()
    # NDVI of 0..1 in gray rises to the south, as the near infrared does.
    rows = [float(shown[0][row][opaque[row]].mean()) for row in (60, len(opaque) - 20)]
    assert rows[0] < rows[1]
