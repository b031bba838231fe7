"""What a finished run has made, described for STAC: kept beside the files, shown with addresses.

One set of files per date is one part. A result of one part is shown as STAC item, a result of
several as collection with an item for each, so that who loads it has its dates. In the folder of a
run lies a static catalogue of it, with relative addresses.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from terrazzo import __version__
from terrazzo.catalog.stac import extensions
from terrazzo.catalog.stored import STAC_VERSION
from terrazzo.cube import Cube, Kind
from terrazzo.drivers.block_names import is_below, is_plain
from terrazzo.drivers.ingestion.items import FILE_EXTENSION, footprint
from terrazzo.drivers.named import IMAGES, image_list, named_items, told_of_list
from terrazzo.drivers.programs import programs_of
from terrazzo.errors import ArgumentInvalid, TerrazzoError
from terrazzo.geo.times import format_time, parse_time
from terrazzo.storage.writers.files import begin_folder, whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from terrazzo.drivers.about import About
    from terrazzo.drivers.job import Job
    from terrazzo.drivers.results import Asset
    from terrazzo.engine import Inference
    from terrazzo.geo.grid import Grid

FILE = "stac.json"
"""Name of the description in the folder of a run."""
CATALOGUE = "stac"
"""Name of the static catalogue in the folder of a run."""
DOCUMENT = "results.json"
"""What the document of a whole result is called in links."""
_MEMBERS = frozenset({
    "id", "title", "description", "finished", "bbox", "geometry", "period", "skipped", "parts",
    "provenance",
})  # fmt: skip
"""Of a description."""
_WORLD = [-180.0, -90.0, 180.0, 90.0]
_SHORT = 16
_SHA256 = "1220"
"""How a multihash says that it is SHA-256 and has 32 bytes."""


def describe(
    job: Job,
    inference: Inference,
    assets: Sequence[Asset],
    folder: Path,
    about: About,
    skipped: Sequence[str] = (),
    further: Mapping[str, Any] | None = None,
) -> int:
    """Write down what a run has made, in its folder; returns how many bytes its files have.

    Args:
        job: that was run.
        inference: of its graph.
        assets: the files that it made.
        folder: where.
        about: what is said of it.
        skipped: items that were left out.
        further: more of what it is made of, properties of its items.

    Raises:
        OutputFailed: the folder cannot be written.
    """
    parts: dict[str, dict[str, Any]] = {}
    for asset in assets:
        path = asset.path.relative_to(folder)
        key = "-".join(path.parts)
        parts.setdefault(asset.time, {})[key] = _asset(asset, path)
    sources, known = job.sources(inference), Results.of(folder)
    images = image_list(sources) if parts and not job.is_part else b""
    if images:
        told_of = {"file": f"{CATALOGUE}/{IMAGES}", **told_of_list(images)}
        next(iter(parts.values()))[IMAGES] = told_of
    period = _period(inference)
    box, geometry = _place(inference, assets)
    told = {
        **asdict(about),
        "id": about.id or inference.graph.digest[:_SHORT],
        "finished": format_time(datetime.now(UTC)),
        "bbox": None if box is None else list(box),
        "geometry": geometry,
        "period": list(period),
        "skipped": list(skipped),
        "parts": [
            {"label": label, "time": _moment(label) if label else "", "assets": assets}
            for label, assets in parts.items()
        ],
        "provenance": {
            "processing:software": {
                "Terrazzo": __version__,
                **programs_of(inference.nodes.values()),
            },
            "processing:expression": {"format": "openeo", "expression": json.loads(job.document)},
            "terrazzo:graph_digest": inference.graph.digest,
            "terrazzo:sources": {name: named_items(items) for name, items in sources.items()},
            **(further or {}),
        },
    }
    if known is None or _without_time(known.told) != _without_time(told):
        folder.mkdir(parents=True, exist_ok=True)
        _write_catalogue(Results(folder, told), images)
        _write_json(folder / FILE, told)  # last: it says that the others are there
    elif images and not (folder / CATALOGUE / IMAGES).is_file():
        _write_list(folder / CATALOGUE, images)
    return sum(asset["file:size"] for part in parts.values() for asset in part.values())


def _without_time(told: Mapping[str, Any]) -> Any:
    """Return a description as JSON has it, but for the time: a run that is asked for again."""
    return json.loads(json.dumps({**told, "finished": ""}))


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    with whole_file(path) as part:
        part.write_text(json.dumps(document, indent=1))


def _write_catalogue(results: Results, images: bytes) -> None:
    """Write a static catalogue of the results beside them; what an earlier one had is replaced.

    Args:
        results: whose folder is there.
        images: the file that lists all images; b"" = none is needed.

    Raises:
        OutputFailed: it cannot be written.
    """
    folder = results.folder / CATALOGUE
    shutil.rmtree(folder, ignore_errors=True)
    if images:
        _write_list(folder, images)
    if results.told["bbox"] is None or not results.told["parts"]:
        return  # STAC has no place for what lies nowhere
    begin_folder(folder)
    paths = results.files()
    collection = results.collection(lambda key: f"../{paths[key]}")
    name = collection["id"]
    root = {"rel": "root", "href": "./collection.json", "type": "application/json"}
    members = []
    for number, item in enumerate(results.items(lambda key: f"../{paths[key]}"), 1):
        file = f"item-{number}.json"
        links = [root, root | {"rel": "parent"}, root | {"rel": "collection"}]
        _write_json(folder / file, item | {"collection": name, "links": links})
        members.append({"rel": "item", "href": f"./{file}", "type": "application/geo+json"})
    _write_json(folder / "collection.json", collection | {"links": [root, *members]})


def _write_list(folder: Path, images: bytes) -> None:
    begin_folder(folder)
    with whole_file(folder / IMAGES) as part:
        part.write_bytes(images)


def _asset(asset: Asset, path: Path) -> dict[str, Any]:
    """Return what is said of a file; `file` is where it is in the folder, instead of `href`."""
    told = {
        **asset.facts,
        "type": asset.media_type,
        "title": path.name if len(path.parts) == 1 else f"{path.name} of {path.parent}",
        "file": path.as_posix(),
    }
    if asset.size is not None:
        return told | {"file:size": asset.size}
    size, digest = asset.path.stat().st_size, asset.checksum or checksum(asset.path)
    return told | {"file:size": size, "file:checksum": digest}


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file as a multihash."""
    with path.open("rb") as file:
        return _SHA256 + hashlib.file_digest(file, "sha256").hexdigest()


def _moment(label: str) -> str:
    """Return the instant that a label names, RFC 3339; empty if it names none."""
    try:
        return format_time(parse_time(label))
    except ArgumentInvalid:
        return ""


def _period(inference: Inference) -> tuple[str, str] | tuple[()]:
    """Return the first and last instant of everything that was loaded; empty if nothing was."""
    moments = [
        moment
        for bound in inference.nodes.values()
        if bound.source is not None and isinstance(bound.result, Cube)
        for dimension in bound.result.dimensions
        if dimension.kind is Kind.TEMPORAL
        for moment in (_moment(str(label)) for label in dimension.labels)
        if moment
    ]
    return (min(moments), max(moments)) if moments else ()


def _place(inference: Inference, assets: Sequence[Asset]) -> tuple[Sequence[float] | None, Any]:
    """Return bbox and geometry of the images, or else of what was loaded; None if nothing was."""
    grids: list[Grid] = [asset.grid for asset in assets if asset.grid is not None]
    boxes = [asset.box for asset in assets if asset.box is not None]
    if boxes and not grids:
        wests, souths, easts, norths = zip(*boxes, strict=True)
        whole = min(wests), min(souths), max(easts), max(norths)
        return whole, _polygon(whole)
    if not grids:
        grids = [
            bound.grid.crop(bound.extent)
            for bound in inference.nodes.values()
            if bound.source is not None and bound.grid is not None and not bound.extent.is_empty
        ]
    try:
        box, geometry = footprint(grids) if grids else (None, None)
    except (TerrazzoError, ValueError):  # a projection that has no inverse there
        return None, None
    if box is None or not all(map(math.isfinite, box)):
        return None, None
    return box, geometry or _polygon(box)


def _polygon(box: Sequence[float]) -> dict[str, Any]:
    west, south, east, north = box
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


@dataclass(frozen=True, slots=True)
class Results:
    """What a finished run has made."""

    folder: Path
    """Where its files are."""
    told: Mapping[str, Any]
    """What `describe` wrote down."""

    @classmethod
    def of(cls, folder: Path) -> Results | None:
        """Return what is in the folder of a run; None where it is not finished, or has gone.

        Raises:
            ArgumentInvalid: as for `read`.
        """
        try:
            content = (folder / FILE).read_bytes()
        except OSError:
            return None
        return cls.read(content, folder)

    @classmethod
    def read(cls, content: bytes, folder: Path) -> Results | None:
        """Return what a description tells of the files in a folder; None where it is none.

        Others may be able to write there, and what is read is made names of files.

        Raises:
            ArgumentInvalid: it names files that lie elsewhere, or a digest that is none.
        """
        try:
            told = json.loads(content)
            if not told.keys() >= _MEMBERS:
                return None
            digest = told["provenance"]["terrazzo:graph_digest"]
            files = [asset["file"] for part in told["parts"] for asset in part["assets"].values()]
        except (ValueError, LookupError, TypeError, AttributeError):
            return None
        for file in files:
            if not is_below(file):
                raise _damaged(folder, f"{file!r} is no file in its folder")
        if not is_plain(digest):
            raise _damaged(folder, f"{digest!r} is no digest of a graph")
        return cls(folder, told)

    def files(self) -> dict[str, str]:
        """Return where in the folder the file of each asset is, by its key."""
        return {
            key: asset["file"]
            for part in self.told["parts"]
            for key, asset in part["assets"].items()
        }

    def path(self, key: str) -> Path | None:
        """Return the file of an asset; None if there is none of that key."""
        file = self.files().get(key)
        return None if file is None else self.folder / file

    def asset(self, key: str) -> Mapping[str, Any]:
        """Return what is said of an asset that is there."""
        found: Mapping[str, Any]
        (found,) = (part["assets"][key] for part in self.told["parts"] if key in part["assets"])
        return found

    @property
    def is_collection(self) -> bool:
        """Whether there are several dates, each of which is an item."""
        return len(self.told["parts"]) > 1

    def items(self, href: Callable[[str], str]) -> list[dict[str, Any]]:
        """Return an item for each date; `href` gives the address of an asset by its key."""
        job, parts = self.told["id"], self.told["parts"]
        if not self.is_collection:
            return [self.item(href)]
        return [
            self._item(f"{job}-{number}", [part], href) | {"collection": job}
            for number, part in enumerate(parts, 1)
        ]

    def item(self, href: Callable[[str], str]) -> dict[str, Any]:
        """Return everything as one item."""
        return self._item(self.told["id"], self.told["parts"], href)

    def item_of(self, part: Mapping[str, Any]) -> dict[str, Any]:
        """Return one date as an item without assets."""
        return self._item(self.told["id"], [{**part, "assets": {}}], str)

    def _item(
        self, name: str, parts: Sequence[Mapping[str, Any]], href: Callable[[str], str]
    ) -> dict[str, Any]:
        told = self.told
        labels = [part["label"] for part in parts if part["label"]]
        properties: dict[str, Any] = {
            **self._texts(),
            **_times([part["time"] for part in parts], told["period"], told["finished"]),
            "created": told["finished"],
            "updated": told["finished"],
            "openeo:status": "finished",
            **told["provenance"],
        }
        if len(labels) == 1:
            properties["title"] = f"{told['title'] or told['id']}, {labels[0]}"
        if told["skipped"]:
            properties["terrazzo:skipped"] = told["skipped"]
        document: dict[str, Any] = {
            "type": "Feature",
            "stac_version": STAC_VERSION,
            "id": name,
            "geometry": told["geometry"],
            "properties": properties,
            "links": [],
            "assets": _assets(parts, href),
        }
        if told["bbox"] is not None:
            document["bbox"] = told["bbox"]
        return document | {"stac_extensions": _extensions(document)}

    def collection(self, href: Callable[[str], str]) -> dict[str, Any]:
        """Return everything as a collection, with all assets."""
        told = self.told
        first, last = told["period"] or (told["finished"], told["finished"])
        moments = [part["time"] for part in told["parts"] if part["time"]]
        interval = [min(moments), max(moments)] if moments else [first, last]
        document: dict[str, Any] = {
            "type": "Collection",
            "stac_version": STAC_VERSION,
            "id": told["id"],
            "description": told["description"] or told["title"] or f"Results of {told['id']}",
            "license": "other",
            "extent": {
                "spatial": {"bbox": [told["bbox"] or _WORLD]},
                "temporal": {"interval": [interval]},
            },
            "openeo:status": "finished",
            **told["provenance"],
            "links": [],
            "assets": _assets(told["parts"], href),
        }
        if told["title"]:
            document["title"] = told["title"]
        return document | {"stac_extensions": _extensions(document)}

    def _texts(self) -> dict[str, str]:
        return {name: self.told[name] for name in ("title", "description") if self.told[name]}


def _damaged(folder: Path, why: str) -> ArgumentInvalid:
    return ArgumentInvalid(
        f"{FILE} of the run {folder.name!r} is damaged: {why}. Delete it, and give the command "
        "that made the run again."
    )


def _assets(parts: Sequence[Mapping[str, Any]], href: Callable[[str], str]) -> dict[str, Any]:
    """Return the assets of some dates, with their addresses."""
    found: dict[str, Any] = {}
    for part in parts:
        for key, asset in part["assets"].items():
            shown = {name: value for name, value in asset.items() if name != "file"}
            if part["time"]:
                shown["datetime"] = part["time"]
            found[key] = {"href": href(key), **shown}
    return found


def _times(moments: Sequence[str], period: Sequence[str], finished: str) -> dict[str, Any]:
    """Return the instant of an item, or else its period; of what has none, when it was made."""
    known = [moment for moment in moments if moment]
    if len(known) == len(moments) == 1:
        return {"datetime": known[0]}
    first, last = (min(known), max(known)) if known else (tuple(period) or (finished, finished))
    if first == last:
        return {"datetime": first}
    # STAC would have null for an instant of a period; openEO's test suite takes no null.
    return {"datetime": first, "start_datetime": first, "end_datetime": last}


def _extensions(document: Mapping[str, Any]) -> list[str]:
    return [*extensions(document), FILE_EXTENSION]
