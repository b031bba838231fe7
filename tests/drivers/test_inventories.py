"""Collections of which few items are held: the same pixels and files as with all of them."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from pathlib import Path
from shutil import copy2
from typing import TYPE_CHECKING, Any

import pytest
from tests.drivers.scenes import (
    COLLECTION,
    DATES,
    composite,
    grid_of,
    job_of,
    load,
    node,
    physical,
    ref,
    register,
    write_cog,
)

from terrazzo.catalog import make_item
from terrazzo.catalog.interface import Catalog
from terrazzo.drivers import named
from terrazzo.drivers.batch import run
from terrazzo.drivers.described import Results
from terrazzo.drivers.executors import describe_run
from terrazzo.drivers.job import INVENTORIES
from terrazzo.drivers.named import MOST_NAMED, named_items
from terrazzo.drivers.pool import Pool
from terrazzo.engine import cost, evaluate, read_version
from terrazzo.errors import (
    CollectionNotFound,
    NoDataAvailable,
    OutputFailed,
    SourceUnreadable,
)
from terrazzo.geo.blocks import Blocks
from terrazzo.storage import file_names, gathered, inventory, shelf
from terrazzo.storage.texts import Texts
from terrazzo.testing.compare import assert_same_pixels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.drivers.scenes import Scenes

    from terrazzo.cube import Cube
    from terrazzo.drivers.job import Job, Workspace


class Searches:
    """What catalogues were asked for."""

    def __init__(self) -> None:
        self.whole = 0
        self.ids: list[str] = []


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> Searches:
    """Keep inventories of any size and hold no item; count what catalogues are asked for."""
    told, stored = Searches(), Catalog.stored

    def counted(self: Catalog, collections: Any = (), **asked: Any) -> Any:
        ids = asked.get("ids", ())
        told.whole += not ids
        told.ids += ids
        return stored(self, collections, **asked)

    monkeypatch.setattr(Catalog, "stored", counted)
    monkeypatch.setattr(inventory, "WORTH_KEEPING", 1)
    for module in (gathered, inventory):
        monkeypatch.setattr(module, "KEPT", 0)
    return told


def files(workspace: Workspace) -> list[Path]:
    return sorted((workspace.home / INVENTORIES).glob("*"))


def computed(job: Job, workspace: Workspace) -> Cube:
    plan = job.plan(job.infer(workspace))
    return evaluate(plan, plan.window)


def dates_of(nodes: dict[str, Any], workspace: Workspace) -> list[str]:
    (source,) = (b for b in job_of(nodes).infer(workspace).nodes.values() if b.source is not None)
    return [name.removeprefix("S2_") for name in source.items]


def loaded(**arguments: Any) -> dict[str, Any]:
    return {"load": load(["B04"], **arguments), "save": saved("load")}


def saved(name: str) -> dict[str, Any]:
    return node("save_result", True, data=ref(name), format="GTiff")


def added(scenes: Scenes, date: str, **properties: Any) -> None:
    """Put one more item into the collection, with the files of another one."""
    with scenes.workspace.catalog() as catalog:
        item = catalog.item(COLLECTION, f"S2_{DATES[0]}")
        bbox = item["bbox"]
        made = make_item(
            f"S2_{date}", COLLECTION, bbox=bbox, datetime=f"{date}T10:30:00Z",
            assets=item["assets"], properties=properties,
        )  # fmt: skip
        catalog.put_items([made])


def test_what_was_kept_gives_the_same_pixels(own_scenes: Scenes, searches: Searches, monkeypatch):
    job, workspace = job_of(composite()), own_scenes.workspace
    with monkeypatch.context() as as_ever:
        as_ever.setattr(inventory, "WORTH_KEEPING", 10_000)
        as_ever.setattr(gathered, "KEPT", shelf.KEPT)
        expected = computed(job, workspace)
        assert not searches.ids
        assert not files(workspace)
    first = computed(job, workspace)
    whole = searches.whole

    again = computed(job, workspace)

    assert_same_pixels(first, expected)
    assert_same_pixels(again, expected)
    assert searches.whole == whole  # nothing was listed once more
    assert len(files(workspace)) == 2


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_runs_write_the_same_files(
    own_scenes: Scenes, searches: Searches, monkeypatch, tmp_path: Path, kind: str
):
    job, workspace = job_of(composite()), own_scenes.workspace
    with monkeypatch.context() as as_ever:
        as_ever.setattr(inventory, "WORTH_KEEPING", 10_000)
        as_ever.setattr(gathered, "KEPT", shelf.KEPT)
        expected = run(job, workspace, tmp_path / "expected", block=200, pool=Pool("threads", 2))
    job.infer(workspace)  # inventories are kept, which workers find
    whole = searches.whole

    kept = run(job, workspace, tmp_path / "kept", block=200, pool=Pool(kind, 2))

    assert [asset.path.read_bytes() for asset in kept.assets] == [
        asset.path.read_bytes() for asset in expected.assets
    ]
    assert searches.whole == whole


@pytest.mark.usefixtures("searches")
def test_a_changed_collection_is_looked_at_again(own_scenes: Scenes):
    workspace = own_scenes.workspace
    assert dates_of(loaded(), workspace) == list(DATES)

    added(own_scenes, "2022-01-01")
    more = dates_of(loaded(), workspace)
    with workspace.catalog() as catalog:
        catalog.delete_items(COLLECTION, [f"S2_{DATES[1]}"])
    fewer = dates_of(loaded(), workspace)

    assert more == [*DATES, "2022-01-01"]
    assert fewer == [date for date in more if date != DATES[1]]
    assert len(files(workspace)) == 1
    with workspace.catalog() as catalog:
        catalog.delete_items(COLLECTION, [f"S2_{date}" for date in fewer])
    with pytest.raises(NoDataAvailable):
        dates_of(loaded(), workspace)
    with workspace.catalog() as catalog:
        catalog.delete_collection(COLLECTION)
    with pytest.raises(CollectionNotFound):
        dates_of(loaded(), workspace)


@pytest.mark.usefixtures("searches")
def test_choices_do_not_share_what_is_kept(own_scenes: Scenes):
    workspace = own_scenes.workspace
    added(own_scenes, "2022-01-01", **{"eo:cloud_cover": 10})
    added(own_scenes, "2022-02-02", **{"eo:cloud_cover": 60})
    everything = [*DATES, "2022-01-01", "2022-02-02"]
    place = {"west": 16.3, "south": 46.0, "east": 16.32, "north": 46.01}
    far = {"west": 100, "south": 45.9, "east": 101, "north": 46.1}
    clear = {
        edge: {"eo:cloud_cover": {"process_graph": {"only": node(
            "lt", True, x={"from_parameter": "value"}, y=edge
        )}}} for edge in (50, 80)
    }  # fmt: skip

    for _ in range(2):
        assert dates_of(loaded(), workspace) == everything
        assert dates_of({"load": load(["B08"]), "save": saved("load")}, workspace) == everything
        period = ["2020-06-01", "2021-01-01"]
        assert dates_of(loaded(temporal_extent=period), workspace) == list(DATES[1:3])
        assert dates_of(loaded(spatial_extent=place), workspace) == everything
        with pytest.raises(NoDataAvailable):
            dates_of(loaded(spatial_extent=far), workspace)
        assert dates_of(loaded(properties=clear[50]), workspace) == ["2022-01-01"]
        assert dates_of(loaded(properties=clear[80]), workspace) == ["2022-01-01", "2022-02-02"]
        assert len(files(workspace)) == 6


@pytest.mark.parametrize("damage", ["cut", "other", "empty", "folder", "locked", "packed"])
def test_what_is_damaged_is_made_anew(own_scenes: Scenes, searches: Searches, damage: str):
    workspace, job = own_scenes.workspace, job_of(loaded())
    expected = computed(job, workspace)
    (file,) = files(workspace)
    content = file.read_bytes()
    if damage == "folder":
        file.unlink()
        file.parent.rmdir()
        file.parent.write_bytes(b"")
    else:
        half = len(content) // 2
        other = content[:half] + bytes(64) + content[half + 64 :]
        entry = content.index(b"PK\1\2")  # the first of the list at the end: flags, then method
        locked = content[: entry + 8] + b"\1\0" + content[entry + 10 :]
        packed = content[: entry + 10] + b"\x63\0" + content[entry + 12 :]
        file.write_bytes(
            {"cut": content[:half], "other": other, "empty": b"", "locked": locked,
             "packed": packed}[damage]
        )  # fmt: skip
    whole = searches.whole

    assert_same_pixels(computed(job, workspace), expected)

    assert searches.whole == whole + 1
    if damage != "folder":
        computed(job, workspace)
        assert searches.whole == whole + 1
        assert [one.name for one in files(workspace)] == [file.name]


def test_another_version_of_terrazzo_looks_for_itself(
    own_scenes: Scenes, searches: Searches, monkeypatch: pytest.MonkeyPatch
):
    workspace = own_scenes.workspace
    dates_of(loaded(), workspace)
    whole = searches.whole
    monkeypatch.setattr(inventory, "__version__", "0.0.0")

    assert dates_of(loaded(), workspace) == list(DATES)
    assert dates_of(loaded(), workspace) == list(DATES)

    assert searches.whole == whole + 1


@pytest.mark.usefixtures("searches")
def test_no_more_files_are_kept_than_a_few(own_scenes: Scenes, monkeypatch):
    monkeypatch.setattr(inventory, "MOST_FILES", 3)
    for day in range(1, 8):
        dates_of(loaded(temporal_extent=["2020-01-01", f"2021-12-0{day}"]), own_scenes.workspace)

    assert len(files(own_scenes.workspace)) == 3


@pytest.mark.usefixtures("searches")
def test_what_files_say_is_not_kept(tmp_path: Path):
    grid = grid_of()
    path = write_cog(tmp_path / "home" / "a.tif", physical("B04", 0), grid)
    asset = {"href": str(path), "roles": ["data"], "bands": [{"name": "B04"}]}
    items = {"one": ("2020-01-01T00:00:00Z", {"B04": asset})}
    workspace = register(tmp_path / "home", COLLECTION, items, grid)

    for _ in range(2):
        cube = computed(job_of(loaded()), workspace)
        assert cube.valid.any()
    assert not files(workspace)


@pytest.mark.usefixtures("searches")
def test_an_item_that_was_deleted_since_is_told(own_scenes: Scenes):
    job, workspace = job_of(loaded()), own_scenes.workspace
    plan = job.plan(job.infer(workspace))
    with workspace.catalog() as catalog:
        catalog.delete_items(COLLECTION, [f"S2_{DATES[1]}"])

    with pytest.raises(SourceUnreadable, match=f"S2_{DATES[1]}.*deleted"):
        evaluate(plan, plan.window)
    assert dates_of(loaded(), workspace) == [date for date in DATES if date != DATES[1]]


@pytest.mark.usefixtures("searches")
def test_a_graph_of_one_item_reads_that_item(own_scenes: Scenes):
    workspace = own_scenes.workspace
    assert dates_of(loaded(), workspace) == list(DATES)
    alone = job_of(loaded()).infer(workspace, only=(COLLECTION, f"S2_{DATES[2]}"))
    assert tuple(alone.nodes["load"].items) == (f"S2_{DATES[2]}",)


def test_versions_and_prices_look_up_no_image(own_scenes: Scenes, searches: Searches):
    job, workspace = job_of(composite()), own_scenes.workspace
    first = job.plan(job.infer(workspace))
    again = job.plan(job.infer(workspace))

    assert read_version(first, first.window) == read_version(again, again.window)
    assert cost(first, first.window) == cost(again, again.window)
    assert not searches.ids


def moved(item: dict[str, Any]) -> None:
    """Let an item name another file of the same content."""
    asset = item["assets"]["B04"]
    old = Path(asset["href"])
    new = old.with_name("moved.tif")
    copy2(old, new)
    asset["href"] = str(new)


CHANGES: dict[str, Any] = {
    "href": moved,
    "checksum": lambda item: item["assets"]["B04"].update({"file:checksum": "1220" + 64 * "a"}),
    "offset": lambda item: item["assets"]["B04"]["bands"][0].update({"raster:offset": -7.0}),
}


@pytest.mark.usefixtures("searches")
@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("change", [*CHANGES, "added", "removed", "file", "lost"])
def test_versions_of_whole_runs_change_with_every_image(
    own_scenes: Scenes, monkeypatch, change: str, kept: bool
):
    if not kept:
        monkeypatch.setattr(inventory, "WORTH_KEEPING", 10_000)
    workspace, job = own_scenes.workspace, job_of(loaded())

    def version() -> str:
        plan = job.plan(job.infer(workspace))
        return read_version(plan, plan.window)

    before = version()
    assert version() == before
    file = own_scenes.file(DATES[1], "B04")
    with workspace.catalog() as catalog:
        if change in CHANGES:
            item = catalog.item(COLLECTION, f"S2_{DATES[1]}")
            CHANGES[change](item)
            catalog.put_items([item])
        elif change == "added":
            added(own_scenes, "2022-01-01")
        elif change == "removed":
            catalog.delete_items(COLLECTION, [f"S2_{DATES[1]}"])
        elif change == "file":
            os.utime(file, ns=(1, 1))
        else:
            file.unlink()

    assert version() != before


@pytest.mark.usefixtures("searches")
def test_versions_do_not_change_with_what_is_not_read(own_scenes: Scenes):
    workspace, job = own_scenes.workspace, job_of(loaded())
    plan = job.plan(job.infer(workspace))
    before = read_version(plan, plan.window)

    os.utime(own_scenes.file(DATES[1], "B08"), ns=(1, 1))
    with workspace.catalog() as catalog:
        item = catalog.item(COLLECTION, f"S2_{DATES[1]}")
        catalog.put_items([item | {"properties": {**item["properties"], "eo:cloud_cover": 7}}])

    plan = job.plan(job.infer(workspace))
    assert read_version(plan, plan.window) == before


@pytest.mark.usefixtures("searches")
@pytest.mark.parametrize("link", ["folder", "file"])
def test_a_link_that_leads_elsewhere_changes_versions(own_scenes: Scenes, link: str):
    workspace, job = own_scenes.workspace, job_of(loaded())
    file, folder = own_scenes.file(DATES[1], "B04"), own_scenes.folder
    for name in ("one", "other"):
        (folder / name).mkdir()
        copy2(file, folder / name / "image.tif")
    now = folder / ("now" if link == "folder" else "now.tif")
    leads = {n: folder / n / ("." if link == "folder" else "image.tif") for n in ("one", "other")}
    now.symlink_to(leads["one"])
    with workspace.catalog() as catalog:
        item = catalog.item(COLLECTION, f"S2_{DATES[1]}")
        item["assets"]["B04"]["href"] = str(now / "image.tif" if link == "folder" else now)
        catalog.put_items([item])

    def version() -> str:
        plan = job.plan(job.infer(workspace))
        return read_version(plan, plan.window)

    before = version()
    assert version() == before
    now.unlink()
    now.symlink_to(leads["other"])

    assert version() != before


@pytest.mark.usefixtures("searches")
def test_images_behind_many_links_are_asked_themselves(own_scenes: Scenes, monkeypatch):
    monkeypatch.setattr(file_names, "MOST_LINKS", 0)
    workspace, job = own_scenes.workspace, job_of(loaded())
    plain = job.plan(job.infer(workspace))
    link = own_scenes.folder / "link.tif"
    link.symlink_to(own_scenes.file(DATES[1], "B04"))
    with workspace.catalog() as catalog:
        item = catalog.item(COLLECTION, f"S2_{DATES[1]}")
        item["assets"]["B04"]["href"] = str(link)
        catalog.put_items([item])

    for _ in range(2):
        plan = job.plan(job.infer(workspace))
        assert plan.steps[0].bound.source.scenes.files is None
        assert read_version(plan, plan.window) == read_version(plain, plain.window)


def test_all_images_are_listed_in_the_catalogue_of_the_results(
    own_scenes: Scenes, monkeypatch, tmp_path: Path
):
    monkeypatch.setattr(named, "MOST_NAMED", len(DATES) - 1)
    job, workspace = job_of(composite()), own_scenes.workspace
    sources = {
        name: list(bound.items)
        for name, bound in job.infer(workspace).nodes.items()
        if bound.source is not None
    }
    assert sources
    path = tmp_path / "stac" / named.IMAGES

    made = run(job, workspace, tmp_path, block=300)
    first = path.read_bytes()
    path.unlink()
    run(job, workspace, tmp_path, block=300)

    lines = gzip.decompress(first).decode().splitlines()
    listed = [(line["node"], line["item"]) for line in map(json.loads, lines)]
    assert listed == [(name, one) for name, items in sources.items() for one in items]
    assert path.read_bytes() == first
    item = json.loads((tmp_path / "stac" / "item-1.json").read_text())
    asset = item["assets"][named.IMAGES]
    assert asset["file:checksum"] == "1220" + hashlib.sha256(first).hexdigest()
    assert asset["file:size"] == len(first)
    assert (tmp_path / "stac" / asset["href"]).resolve() == path
    for name, items in sources.items():
        assert item["properties"]["terrazzo:sources"][name] == named_items(items)
    assert made.size_bytes == len(first) + sum(a.path.stat().st_size for a in made.assets)


@pytest.mark.parametrize("most", [1, len(DATES)])
def test_a_file_of_somebody_else_stays_that_is_called_like_the_list(
    scenes: Scenes, monkeypatch, tmp_path: Path, most: int
):
    monkeypatch.setattr(named, "MOST_NAMED", most)
    (tmp_path / named.IMAGES).write_bytes(b"of somebody else")

    for _ in range(2):
        run(job_of(composite()), scenes.workspace, tmp_path, block=300)

    assert (tmp_path / named.IMAGES).read_bytes() == b"of somebody else"
    assert (tmp_path / "stac" / named.IMAGES).exists() == (most == 1)


def test_a_run_killed_while_it_is_described_is_described_by_the_next(
    scenes: Scenes, monkeypatch, tmp_path: Path
):
    monkeypatch.setattr(named, "MOST_NAMED", 1)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Results, "items", killed)
        with pytest.raises(KeyboardInterrupt):
            run(job_of(composite()), scenes.workspace, tmp_path, block=300)
    assert Results.of(tmp_path) is None

    run(job_of(composite()), scenes.workspace, tmp_path, block=300)

    results = Results.of(tmp_path)
    assert results is not None
    files = [name for name in results.files().values() if not (tmp_path / name).is_file()]
    assert files == []
    assert (tmp_path / "stac" / "collection.json").is_file()


def test_a_list_that_cannot_be_written_is_one_clear_error(
    scenes: Scenes, monkeypatch, tmp_path: Path
):
    monkeypatch.setattr(named, "MOST_NAMED", 1)
    (tmp_path / "stac").touch()

    with pytest.raises(OutputFailed, match="stac"):
        run(job_of(composite()), scenes.workspace, tmp_path, block=300)


def test_a_run_names_its_items(scenes: Scenes):
    job = job_of(loaded())
    plan = job.plan(job.infer(scenes.workspace))
    told = describe_run(plan, job, Blocks(plan.window, 100))
    assert told["items"] == {"load": [f"S2_{date}" for date in DATES]}


def test_many_items_are_named_by_a_digest():
    names = [f"item {n} é" for n in range(MOST_NAMED + 1)]
    lines = "".join(json.dumps(name) + "\n" for name in names)

    assert named_items(names[:-1]) == names[:-1]
    assert named_items(names) == {
        "count": MOST_NAMED + 1,
        "digest": hashlib.sha256(lines.encode()).hexdigest(),
    }
    assert named_items(names[::-1]) != named_items(names)


def test_many_items_are_read_once_however_often_they_are_named(monkeypatch):
    names = Texts(f"item {n}" for n in range(MOST_NAMED + 1))
    first = named_items(names)

    def read_again(_: Texts) -> Iterator[str]:
        pytest.fail("They were read already.")

    monkeypatch.setattr(Texts, "__iter__", read_again)

    assert named_items(names) == first
    assert first == {**named_items(tuple(f"item {n}" for n in range(MOST_NAMED + 1)))}
