"""Every file that could open another one, or exhaust its reader, uploaded and fetched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import h5py
import pytest
import rasterio
from tests.attacks.files import (
    GEOMETRIES,
    IMAGES,
    external_link,
    external_storage,
    tif,
    virtual_dataset,
    vrt,
)
from tests.attacks.world import SECRET, graph
from tests.server.stac_written import item

from terrazzo.storage import handles

if TYPE_CHECKING:
    from pathlib import Path

    from tests.attacks.world import Attacked

UPLOADED = IMAGES | GEOMETRIES


def put(there: Attacked, name: str, content: bytes) -> Any:
    headers = there.world.headers["anna"]
    return there.world.client.put(f"/files/{name}", headers=headers, content=content)


@pytest.mark.parametrize("attack", UPLOADED)
def test_an_uploaded_file_opens_nothing(attacked: Attacked, attack: str, tmp_path: Path):
    name, format_, make = UPLOADED[attack]
    content = make(attacked.canary, tmp_path)
    attacked.watch.opened()

    stored = put(attacked, name, content)
    answer = attacked.ask(
        "POST", "/result", graph("load_uploaded_files", paths=[name], format=format_)
    )

    assert stored.status_code == 200
    attacked.check(answer, known=str(attacked.canary))
    assert not list(attacked.home.glob("**/evil*"))


@pytest.mark.parametrize("attack", GEOMETRIES)
def test_a_fetched_file_of_geometries_opens_nothing(
    attacked: Attacked, attack: str, tmp_path: Path
):
    _, format_, make = GEOMETRIES[attack]
    (attacked.site.folder / "a").write_bytes(make(attacked.canary, tmp_path))
    attacked.watch.opened()

    answer = attacked.ask(
        "POST", "/result", graph("load_url", url=attacked.site.url("a"), format=format_)
    )

    attacked.check(answer, known=str(attacked.canary))


@pytest.mark.parametrize("attack", [n for n, (name, f, _) in IMAGES.items() if f == "GTiff"])
def test_a_fetched_image_opens_nothing(attacked: Attacked, attack: str, tmp_path: Path):
    (attacked.site.folder / "a.tif").write_bytes(IMAGES[attack][2](attacked.canary, tmp_path))
    assets = {"data": {"href": attacked.site.url("a.tif"), "type": "image/tiff", "roles": ["data"]}}
    (attacked.site.folder / "item.json").write_text(json.dumps(item("a", assets=assets, links=[])))
    attacked.watch.opened()

    answer = attacked.ask("POST", "/result", graph("load_stac", url=attacked.site.url("item.json")))

    attacked.check(answer)


def test_images_of_other_hosts_are_decoded_in_closed_processes(
    attacked: Attacked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    content = tif(tmp_path / "a.tif")

    def opened(*_: Any) -> None:
        raise AssertionError("opened in the server")

    monkeypatch.setattr(handles._RemoteDataset, "of", opened)
    (attacked.site.folder / "good.tif").write_bytes(content)
    bands = [{"name": "b", "data_type": "uint8"}]
    data = {"href": attacked.site.url("good.tif"), "type": "image/tiff", "bands": bands}
    document = item("good", assets={"data": data}, links=[], bbox=[15, 45, 15.1, 45.2])
    (attacked.site.folder / "good.json").write_text(json.dumps(document))
    load = {"process_id": "load_stac", "arguments": {"url": attacked.site.url("good.json")}}
    save = {"data": {"from_node": "load"}, "format": "GTiff"}
    nodes = {
        "load": load,
        "save": {"process_id": "save_result", "arguments": save, "result": True},
    }

    answer = attacked.ask("POST", "/result", {"process": {"process_graph": nodes}})

    assert answer.status_code == 200, answer.text
    (tmp_path / "made.tif").write_bytes(answer.content)
    with rasterio.open(tmp_path / "made.tif") as file:
        assert file.read().ravel().tolist() == list(range(64))


@pytest.mark.parametrize(
    "name", ["a.tif", "a.jp2", "a.nc", "a.gpkg", "a.parquet", "a.zip", "a.shp"]
)
def test_a_name_is_no_proof_of_what_a_file_is(attacked: Attacked, name: str):
    answer = put(attacked, name, vrt(attacked.canary, attacked.home))

    assert (answer.status_code, answer.json()["code"]) == (400, "FileContentInvalid")
    attacked.check(answer)


def test_what_lies_beside_an_upload_is_not_read_with_it(attacked: Attacked, tmp_path: Path):
    put(attacked, "beside_20200101.tif", tif(tmp_path / "a.tif"))
    there = {"beside_20200101.tif.aux.xml", "beside_20200101.tif.ovr", "beside_20200101.tif.msk"}
    for name in sorted(there | {"beside_20200101.tfw", "beside_20200101.vrt"}):
        put(attacked, name, vrt(attacked.canary, tmp_path))

    answer = attacked.ask(
        "POST",
        "/result",
        {
            "process": {
                "process_graph": {
                    "load": {
                        "process_id": "load_uploaded_files",
                        "arguments": {"paths": ["beside_20200101.tif"], "format": "GTiff"},
                    },
                    "save": {
                        "process_id": "save_result",
                        "arguments": {"data": {"from_node": "load"}, "format": "GTiff"},
                        "result": True,
                    },
                }
            }
        },
    )

    assert answer.status_code == 200, answer.text
    with rasterio.MemoryFile(answer.content) as memory, memory.open() as file:
        assert file.read().ravel().tolist() == list(range(64))
    assert not attacked.watch.opened()


def test_the_pointers_are_real(attacked: Attacked, tmp_path: Path):
    read = {}
    for name, make in (
        ("link", external_link),
        ("storage", external_storage),
        ("virtual", virtual_dataset),
    ):
        path = tmp_path / f"{name}.nc"
        path.write_bytes(make(attacked.canary, tmp_path))
        with h5py.File(path) as file:
            read[name] = file["values"][:]

    assert (read["link"] == SECRET).all()
    assert (read["virtual"] == SECRET).all()
    assert read["storage"].tobytes().startswith(b"Authorization")
    assert attacked.watch.opened()
