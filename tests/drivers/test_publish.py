"""A finished run becomes a collection, and its folder says in STAC what it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pystac
import pytest
import rasterio
from click.testing import CliRunner
from tests.drivers.scenes import composite, job_of, node, ref
from tests.drivers.test_results import last_of, saved

from terrazzo.cli import main
from terrazzo.drivers import named
from terrazzo.drivers.batch import run
from terrazzo.drivers.described import checksum
from terrazzo.drivers.places import Place
from terrazzo.drivers.publish import publish
from terrazzo.drivers.sending import Destination, Parcel
from terrazzo.engine import evaluate
from terrazzo.errors import ArgumentInvalid
from terrazzo.progress import Progress
from terrazzo.storage.remote.objects import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.drivers.scenes import Scenes

    from terrazzo.cube import Cube


def finished(nodes: dict[str, Any], scenes: Scenes, folder: Path) -> None:
    run(job_of(nodes), scenes.workspace, folder)


def loaded(scenes: Scenes, collection: str) -> Cube:
    everything = {"spatial_extent": None, "temporal_extent": None}
    job = job_of({"load": node("load_collection", True, id=collection, **everything)})
    plan = job.plan(job.infer(scenes.workspace))
    return evaluate(plan, plan.window)


def test_a_published_run_is_loaded_by_the_next_graph(own_scenes: Scenes, tmp_path: Path) -> None:
    nodes = composite("month")
    finished(nodes, own_scenes, tmp_path / "run")
    job = job_of(nodes)
    plan = job.plan(job.infer(own_scenes.workspace))
    expected = evaluate(plan, plan.window)

    made = publish(tmp_path / "run", "monthly", own_scenes.workspace, license="CC-BY-4.0")
    cube = loaded(own_scenes, "monthly")

    assert (made.made, made.kept) == (len(expected.dimensions[0].labels), 0)
    valid = cube.valid.reshape(expected.valid.shape)  # with one band, which has no name before
    np.testing.assert_array_equal(valid, expected.valid)
    np.testing.assert_array_equal(cube.values[cube.valid], expected.values[expected.valid])


def test_items_name_the_graph_its_digest_and_the_images_that_were_read(
    own_scenes: Scenes, tmp_path: Path
) -> None:
    nodes = composite("month")
    finished(nodes, own_scenes, tmp_path / "run")
    job = job_of(nodes)
    inference = job.infer(own_scenes.workspace)

    publish(tmp_path / "run", "monthly", own_scenes.workspace)

    with own_scenes.workspace.catalog() as catalog:
        for item in catalog.search(("monthly",)):
            properties = item["properties"]
            assert properties["terrazzo:graph_digest"] == inference.graph.digest
            assert properties["processing:expression"]["expression"] == json.loads(job.document)
            sources = [b for b in inference.nodes.values() if b.source is not None]
            assert properties["terrazzo:sources"] == {
                b.id: list(b.source.items) for b in sources if b.source is not None
            }


def test_the_files_outlive_the_folder_of_the_run(own_scenes: Scenes, tmp_path: Path) -> None:
    finished(composite("month"), own_scenes, tmp_path / "run")
    publish(tmp_path / "run", "monthly", own_scenes.workspace)
    before = loaded(own_scenes, "monthly")

    for path in (tmp_path / "run").glob("*.tif"):
        path.unlink()

    np.testing.assert_array_equal(loaded(own_scenes, "monthly").values, before.values)


def test_a_list_of_very_many_images_is_published_with_the_first_item(
    own_scenes: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(named, "MOST_NAMED", 1)
    finished(composite("month"), own_scenes, tmp_path / "run")
    listed = tmp_path / "run" / "stac" / named.IMAGES
    content = listed.read_bytes()

    first = publish(tmp_path / "run", "monthly", own_scenes.workspace)
    listed.unlink()
    with own_scenes.workspace.catalog() as catalog:
        items = sorted(catalog.search(("monthly",)), key=lambda item: item["id"])

    assert first.made == len(items) > 1
    assert [named.IMAGES in item["assets"] for item in items] == [
        number == 0 for number in range(len(items))
    ]
    asset = items[0]["assets"][named.IMAGES]
    path = Path(asset["href"])
    assert path.is_relative_to(own_scenes.workspace.assets)
    assert path.read_bytes() == content
    assert asset["file:size"] == len(content)
    assert asset["file:checksum"] == checksum(path)
    assert len(loaded(own_scenes, "monthly").dimensions[1].labels) == 1  # it is no band
    finished(composite("month"), own_scenes, tmp_path / "run")
    assert publish(tmp_path / "run", "monthly", own_scenes.workspace).made == 0


def test_what_is_published_stays_where_the_files_of_its_run_have_gone(
    own_scenes: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(named, "MOST_NAMED", 1)
    finished(composite("month"), own_scenes, tmp_path / "run")
    first = publish(tmp_path / "run", "monthly", own_scenes.workspace)
    before = loaded(own_scenes, "monthly")
    (tmp_path / "run" / "stac" / named.IMAGES).unlink()
    for path in (tmp_path / "run").glob("*.tif"):
        path.unlink()

    again = publish(tmp_path / "run", "monthly", own_scenes.workspace)

    assert (again.made, again.kept) == (0, first.made)
    np.testing.assert_array_equal(loaded(own_scenes, "monthly").values, before.values)


def damaged(path: Path) -> None:
    path.write_bytes(b"damaged")


def deleted(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("what", [damaged, deleted], ids=lambda one: one.__name__)
@pytest.mark.parametrize("suffix", [".tif", ".gz"])
def test_a_file_that_is_neither_in_the_run_nor_published_is_one_clear_error(
    own_scenes: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    what: Callable[[Path], None], suffix: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(named, "MOST_NAMED", 1)
    finished(composite("month"), own_scenes, tmp_path / "run")
    publish(tmp_path / "run", "monthly", own_scenes.workspace)
    gone = min((tmp_path / "run").rglob(f"*{suffix}"))
    (there,) = [
        path for path in own_scenes.workspace.assets.joinpath("monthly").rglob(f"*{suffix}")
        if path.samefile(gone)
    ]  # fmt: skip
    content = gone.read_bytes()
    gone.unlink()
    what(there)

    with pytest.raises(ArgumentInvalid, match=f"{gone.name} has gone"):
        publish(tmp_path / "run", "monthly", own_scenes.workspace)

    finished(composite("month"), own_scenes, tmp_path / "run")
    publish(tmp_path / "run", "monthly", own_scenes.workspace)
    assert there.read_bytes() == gone.read_bytes() == content


def test_a_file_that_has_gone_is_not_sent(tmp_path: Path) -> None:
    place = Place.of("s3://images/there")
    assert place.store is not None
    nowhere = Destination(place, Bucket(place.bucket, place.store), Progress())
    parcels = [Parcel(tmp_path / "gone.tif", "gone.tif", "image/tiff")]

    with pytest.raises(ArgumentInvalid, match=r"gone\.tif has gone"):
        nowhere.start(parcels)
    with pytest.raises(ArgumentInvalid, match=r"gone\.tif has gone"):
        nowhere.send(parcels)


def test_publishing_again_changes_nothing_and_another_run_is_added(
    own_scenes: Scenes, tmp_path: Path
) -> None:
    finished(composite("month"), own_scenes, tmp_path / "a")
    finished(composite("year"), own_scenes, tmp_path / "b")

    first = publish(tmp_path / "a", "composites", own_scenes.workspace)
    with own_scenes.workspace.catalog() as catalog:
        version = catalog.version("composites")
    finished(composite("month"), own_scenes, tmp_path / "a")
    again = publish(tmp_path / "a", "composites", own_scenes.workspace)
    with own_scenes.workspace.catalog() as catalog:
        unchanged = catalog.version("composites") == version
    other = publish(tmp_path / "b", "composites", own_scenes.workspace)

    assert (again.made, again.kept) == (0, first.made)
    assert unchanged
    assert other.made > 0
    with own_scenes.workspace.catalog() as catalog:
        assert catalog.count("composites") == first.made + other.made


def test_a_run_without_images_and_a_folder_without_a_run_are_refused(
    own_scenes: Scenes, tmp_path: Path
) -> None:
    nodes = composite("month")
    finished(saved(nodes, last_of(nodes), "netCDF"), own_scenes, tmp_path / "cube")

    with pytest.raises(ArgumentInvalid, match="nothing that a graph can load"):
        publish(tmp_path / "cube", "c", own_scenes.workspace)
    with pytest.raises(ArgumentInvalid, match="no finished run"):
        publish(tmp_path, "c", own_scenes.workspace)
    with pytest.raises(ArgumentInvalid, match="is no id"):
        publish(tmp_path / "cube", "../c", own_scenes.workspace)


@pytest.mark.parametrize("format_name", ["GTiff", "netCDF", "Zarr"])
def test_the_folder_of_a_run_is_a_static_catalogue(
    own_scenes: Scenes, tmp_path: Path, format_name: str
) -> None:
    nodes = composite("month")
    finished(saved(nodes, last_of(nodes), format_name), own_scenes, tmp_path / "run")

    collection = pystac.Collection.from_file(tmp_path / "run" / "stac" / "collection.json")
    items = list(collection.get_items())

    assert len(items) == (len(list((tmp_path / "run").glob("*.tif"))) or 1)
    for item in items:
        item.make_asset_hrefs_absolute()
        for asset in item.assets.values():
            assert (tmp_path / "run" / asset.href.rsplit("/", 1)[-1]).is_file()
            if asset.href.endswith(".tif"):
                with rasterio.open(asset.href) as file:
                    assert [b["name"] for b in asset.extra_fields["bands"]] == list(
                        file.descriptions
                    )


def test_the_commands_run_and_publish(own_scenes: Scenes, tmp_path: Path) -> None:
    graph = tmp_path / "graph.json"
    graph.write_text(json.dumps(composite("month")))
    home = ["--home", str(own_scenes.workspace.home)]

    ran = CliRunner().invoke(main, [*home, "run", str(graph), "-o", str(tmp_path / "run")])
    published = CliRunner().invoke(
        main, [*home, "publish", str(tmp_path / "run"), "--collection", "monthly", "--title", "M"]
    )

    assert (ran.exit_code, published.exit_code) == (0, 0)
    told = json.loads(published.stdout)
    assert told["made"] == len(ran.stdout.splitlines())
    with own_scenes.workspace.catalog() as catalog:
        assert catalog.collection("monthly")["title"] == "M"


def test_bands_of_two_results_in_one_graph_are_told_apart(
    own_scenes: Scenes, tmp_path: Path
) -> None:
    nodes = composite("month")
    last = last_of(nodes)
    graph = {n: {k: v for k, v in one.items() if k != "result"} for n, one in nodes.items()}
    graph["a"] = node("save_result", False, data=ref(last), format="GTiff")
    graph["b"] = node("save_result", True, data=ref(last), format="GTiff")
    finished(graph, own_scenes, tmp_path / "run")

    publish(tmp_path / "run", "two", own_scenes.workspace)

    with own_scenes.workspace.catalog() as catalog:
        for item in catalog.search(("two",)):
            assert len(item["assets"]) == 2
