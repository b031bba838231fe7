"""Small requests for large answers, and documents that are deep or long."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Any

import pytest
from tests.attacks.files import tif
from tests.attacks.world import graph
from tests.server.stac_written import collection, item

if TYPE_CHECKING:
    from pathlib import Path

    from tests.attacks.world import Attacked

MINE = "anna~sizes"


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def loaded(**more: Any) -> dict[str, Any]:
    arguments = {"paths": ["small_20200101.tif"], "format": "GTiff"}
    load = {"process_id": "load_uploaded_files", "arguments": arguments}
    return {"load": load, **more}


@pytest.fixture(autouse=True, scope="module")
def small(attacked: Attacked, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Upload an image of 4 x 4 pixels."""
    content = tif(tmp_path_factory.mktemp("small") / "a.tif", 4)
    headers = attacked.world.headers["anna"]
    attacked.world.client.put("/files/small_20200101.tif", headers=headers, content=content)


def resampled(resolution: float, **more: Any) -> dict[str, Any]:
    arguments = {"data": {"from_node": "load"}, "resolution": resolution, **more}
    return {"process_id": "resample_spatial", "arguments": arguments, "result": True}


@pytest.mark.parametrize("resolution", [40 / 16_000, 1e-9, 1e-300, 5e-324])
def test_a_small_image_is_not_made_large(attacked: Attacked, resolution: float):
    before = peak_bytes()

    answer = attacked.ask(
        "POST", "/result", {"process": {"process_graph": loaded(big=resampled(resolution))}}
    )

    attacked.check(answer)
    assert peak_bytes() - before < 200_000_000


def test_a_picture_has_bounds(attacked: Attacked, tmp_path: Path):
    made = attacked.ask("POST", "/collections", collection(MINE))
    (attacked.site.folder / "image.tif").write_bytes(tif(tmp_path / "a.tif", 4))
    assets = {
        "data": {"href": attacked.site.url("image.tif"), "type": "image/tiff", "roles": ["data"]}
    }
    put = attacked.ask("POST", f"/collections/{MINE}/items", item("a", assets=assets))

    assert (made.status_code, put.status_code) == (201, 201)
    for size in ("16000", "1e9", "-1", "99999999999999999999"):
        attacked.check(attacked.ask("GET", f"/collections/{MINE}/items/a/preview?size={size}"))


@pytest.mark.parametrize(
    "data",
    [
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]] * 1_000_000},
        {"type": "Polygon", "coordinates": [[[1e308, 1e308]] * 4]},
        {"type": "GeometryCollection", "geometries": [{"type": "GeometryCollection"}] * 1000},
        {"type": "FeatureCollection", "features": [{"type": "FeatureCollection"}]},
        {"type": "Point", "coordinates": "http://127.0.0.1/"},
        {"type": "Feature", "geometry": {"$ref": "file:///etc/passwd"}},
        {"type": "Point", "coordinates": [1, 2], "crs": {"type": "link", "properties": {"href": "file:///etc/passwd"}}},
        "file:///etc/passwd",
        "http://169.254.169.254/",
    ],
    ids=lambda data: str(data)[:60],
)  # fmt: skip
def test_geojson_in_a_graph_is_bounded_and_opens_nothing(attacked: Attacked, data: Any):
    answer = attacked.ask("POST", "/result", graph("load_geojson", data=data))

    attacked.check(answer)


def test_deep_documents_are_refused(attacked: Attacked):
    headers = {**attacked.world.headers["anna"], "Content-Type": "application/json"}
    deep = b"[" * 200_000 + b"]" * 200_000
    for method, path in (
        ("POST", "/result"), ("POST", "/validation"), ("POST", "/jobs"), ("POST", "/services"),
        ("PUT", "/process_graphs/deep"), ("POST", "/search"), ("POST", "/collections"),
    ):  # fmt: skip
        answer = attacked.world.client.request(method, path, headers=headers, content=deep)

        attacked.check(answer)
