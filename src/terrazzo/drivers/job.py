"""A job: a graph, where to run it, and what it needs to be opened again in another process."""

from __future__ import annotations

import fcntl
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from terrazzo.catalog import open_catalog
from terrazzo.catalog.opening import is_database
from terrazzo.drivers.places import Place, gate_of, remembered_places
from terrazzo.engine import Inference, Plan, infer, make_plan
from terrazzo.engine.grids import resampled_grid
from terrazzo.engine.sources import CatalogOpener
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.crs import crs_name
from terrazzo.geo.extent import SpatialExtent, spatial_extent
from terrazzo.graph import Graph, parse
from terrazzo.processes import SPECS
from terrazzo.sandbox import Mode, UdfRules
from terrazzo.storage.writers.files import output_failed, whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from terrazzo.catalog import Catalog
    from terrazzo.engine.files import Uploads
    from terrazzo.engine.sources import OwnLinks
    from terrazzo.geo.grid import Grid
    from terrazzo.processes.registry import Labels
    from terrazzo.progress import Progress
    from terrazzo.storage.gate import Gate
    from terrazzo.storage.raster import RasterReader

CATALOG_FILE = "catalog.sqlite"
ASSETS_FOLDER = "assets"
ROOTS_FILE = "roots.json"
INVENTORIES = "inventories"


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where a user's catalogue and files are; small enough to send to a worker."""

    home: Path
    """The folder with the catalogue and the files that were ingested."""
    roots: tuple[Path, ...] = ()
    """Further folders from which files may be read."""
    hosts: tuple[str, ...] = ()
    """Hosts and buckets from which files may be read; see `Gate`."""
    places: tuple[Place, ...] = ()
    """Further parts of buckets and hosts, as they were remembered."""
    cache_bytes: int = 256_000_000
    """Bound of the cache of decoded tiles."""
    udf: UdfRules = field(default_factory=UdfRules)
    """Whether code of users is run, where, and what it may take."""
    owner: str = ""
    """The user for whom it was opened: code of two users never shares a process."""
    hidden: frozenset[str] = frozenset()
    """Collections that do not exist for whoever asks."""
    own: OwnLinks | None = field(default=None, compare=False)
    """Addresses that mean results kept on this machine."""
    uploads: Uploads | None = field(default=None, compare=False)
    """What knows the files that the user has uploaded."""
    database: str = field(default="", repr=False)
    """URL of the catalogue, with its password; empty is a file in `home`."""

    @classmethod
    def of(
        cls,
        home: Path,
        roots: Sequence[Path] = (),
        hosts: Sequence[str] = (),
        cache_bytes: int = 256_000_000,
        udf: UdfRules | None = None,
        owner: str = "",
        *,
        catalog: str = "",
    ) -> Workspace:
        """Open a workspace with the folders and places that were remembered besides `roots`.

        Args:
            home: see the fields.
            roots: see the fields.
            hosts: see the fields.
            cache_bytes: see the fields.
            udf: see the fields.
            owner: see the fields.
            catalog: URL of a catalogue in PostgreSQL; empty is a file in `home`.

        Raises:
            ArgumentInvalid: the list of folders is damaged, or the URL is none.
        """
        if catalog and not is_database(catalog):
            raise ArgumentInvalid(
                "The catalogue is no URL of a database. Give postgresql://USER:PASSWORD@HOST/NAME, "
                "or nothing for a file in the home folder."
            )
        home = home.expanduser().absolute()
        known = dict.fromkeys((*(root.absolute() for root in roots), *remembered_roots(home)))
        rules = udf or UdfRules()
        places = remembered_places(home)
        return cls(
            home, tuple(known), tuple(hosts), places, cache_bytes, rules, owner, database=catalog
        )

    @property
    def assets(self) -> Path:
        """The folder that holds ingested files."""
        return self.home / ASSETS_FOLDER

    @property
    def catalog_path(self) -> Path:
        """The catalogue's file, where it is not in a database."""
        return self.home / CATALOG_FILE

    @property
    def has_catalog(self) -> bool:
        """Whether there is a catalogue already; a database is one as soon as it is opened."""
        return bool(self.database) or self.catalog_path.exists()

    def catalog(self, *, create: bool = False, progress: Progress | None = None) -> Catalog:
        """Open the catalogue.

        Args:
            create: whether to make it if there is none.
            progress: is told of the items where a file of an earlier Terrazzo is brought up to
                date.

        Raises:
            ArgumentInvalid: there is none, and it shall not be made.
            CatalogUnusable: it cannot be opened.
        """
        if not create and not self.has_catalog:
            raise ArgumentInvalid(
                f"There is no catalogue in {self.home}. Make one with `terrazzo ingest PATH "
                "--collection ID`, try `terrazzo demo`, or name another folder with --home."
            )
        if create:
            self.home.mkdir(parents=True, exist_ok=True)
        return open_catalog(
            self.database or self.catalog_path, hidden=self.hidden, progress=progress
        )

    def renewed(self) -> Workspace:
        """Return it with the folders and places remembered since it was opened.

        Raises:
            ArgumentInvalid: the list of folders is damaged.
        """
        known = dict.fromkeys((*self.roots, *remembered_roots(self.home)))
        places = remembered_places(self.home)
        if len(known) == len(self.roots) and places == self.places:
            return self
        return replace(self, roots=tuple(known), places=places)

    @property
    def gate(self) -> Gate:
        """What lets through all that may be read."""
        gate = gate_of((self.home, *self.roots), self.hosts, self.places)
        return replace(gate, trusted=self.udf.mode is Mode.TRUSTED, owner=self.owner)

    def opener(
        self,
        *,
        skip_bad: bool = False,
        reader: RasterReader | None = None,
        most_images: int = 0,
        only: tuple[str, str] | None = None,
    ) -> CatalogOpener:
        """Return what opens the collections that a graph names.

        Args:
            skip_bad: whether unreadable images are left out.
            reader: one that others use too; None makes one.
            most_images: that may be looked at to open one collection; 0 is any number.
            only: see `CatalogOpener`.
        """
        return CatalogOpener(
            self.catalog,
            self.gate,
            self.cache_bytes,
            skip_bad=skip_bad,
            udf=self.udf,
            owner=self.owner,
            reader=reader,
            own=self.own,
            uploads=self.uploads,
            most_images=most_images,
            only=only,
            inventories=self.home / INVENTORIES,
        )


def remembered_roots(home: Path) -> tuple[Path, ...]:
    """Return the folders whose files are read in place, as ingestion remembered them.

    Raises:
        ArgumentInvalid: the list is damaged.
    """
    path = home / ROOTS_FILE
    if not path.exists():
        return ()
    try:
        return tuple(Path(text) for text in json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ArgumentInvalid(
            f"{path} is no list of folders ({error}). Delete it and ingest the files that are read "
            "in place again."
        ) from error


def remember_root(home: Path, folder: Path) -> None:
    """Let the files of a folder be read from now on, wherever the workspace is opened.

    Raises:
        ArgumentInvalid: the folder is the root of the file system, or the list is damaged.
        OutputFailed: the list cannot be written.
    """
    real = folder.resolve()
    if real == Path(real.anchor):
        raise ArgumentInvalid(
            f"Reading files of {real} in place would open every file of this machine to the "
            "catalogue. Move them into a folder of their own, or ingest them with --copy."
        )
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / f".{ROOTS_FILE}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = remembered_roots(home)
            if not any(real.is_relative_to(root) for root in (home.resolve(), *known)):
                texts = [str(root) for root in (*known, real)]
                with whole_file(home / ROOTS_FILE) as part:
                    part.write_text(json.dumps(texts, indent=1))
    except OSError as error:
        raise output_failed(home, error) from error


@dataclass(frozen=True, slots=True)
class Job:
    """A graph and where to run it; JSON values, so that it can be kept and sent."""

    document: str
    """The process graph, JSON text."""
    bbox: tuple[float, float, float, float] | None = None
    """(west, south, east, north) to which the run is confined; in `bbox_crs`."""
    bbox_crs: str = "EPSG:4326"
    """CRS of `bbox`."""
    resolution: float = 0.0
    """Pixel size of the result, units of its CRS; 0 keeps that of the first source."""
    crs: str = ""
    """CRS of the result; empty keeps that of the first source."""
    skip_bad: bool = False
    """Whether unreadable items are left out and recorded instead of failing their blocks."""
    exact: bool = False
    """Whether every pixel is projected, instead of interpolating within 0.1 pixel."""
    processes: str = "{}"
    """User-defined processes that the graph calls, by id; JSON text."""
    is_part: ClassVar[bool] = False
    """Whether its results are a part of others, which list all images."""

    @classmethod
    def of(cls, document: str | Mapping[str, Any], **options: Any) -> Job:
        """Make a job of a graph given as JSON text or as a mapping."""
        text = document if isinstance(document, str) else json.dumps(document)
        return cls(text, **options)

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Job:
        """Return a job of its members, as `dataclasses.asdict` and JSON have them.

        Raises:
            TypeError, KeyError: they are none.
        """
        bbox = told["bbox"]
        return cls(**{**told, "bbox": None if bbox is None else tuple(bbox)})

    @property
    def within(self) -> SpatialExtent | None:
        """The extent to which the run is confined."""
        if self.bbox is None:
            return None
        west, south, east, north = self.bbox
        return spatial_extent(
            {"west": west, "south": south, "east": east, "north": north, "crs": self.bbox_crs}
        )

    def graph(self) -> Graph:
        """Parse and validate the graph.

        Raises:
            GraphInvalid: with every problem that it has.
        """
        return parse(self.document, specs=SPECS, user_processes=json.loads(self.processes))

    def plan(
        self,
        inference: Inference,
        node: str = "",
        *,
        labels: Labels = MappingProxyType({}),
    ) -> Plan:
        """Plan a node of the graph where the job says; of `labels`, if any, only these."""
        bound = inference.cube(node or inference.graph.result)
        if bound.grid is None:
            return make_plan(inference, node=node, exact=self.exact)
        grid = self._grid(bound.grid, bound.extent) if bound.free else None
        if grid is None and (self.resolution or self.crs) and not bound.free:
            raise ArgumentInvalid(
                "The graph chooses its own grid (resample_spatial); --resolution and --crs would "
                "contradict it. Leave them out, or change the graph."
            )
        return make_plan(
            inference, grid, node=node, within=self.within, labels=labels, exact=self.exact
        )

    def sources(self, inference: Inference) -> dict[str, Sequence[str]]:
        """Return the ids of the images that results are made of, by the node that loads them."""
        return {
            name: bound.items
            for name, bound in inference.nodes.items()
            if bound.source is not None or bound.loaded
        }

    def _grid(self, native: Grid, extent: Any) -> Grid | None:
        if not self.resolution and not self.crs:
            return None
        within = self.within
        if within is not None:
            extent = extent.intersection(native.window_of(within.bounds_in(native.crs)))
        return resampled_grid(
            native,
            extent,
            resolution=self.resolution,
            projection=crs_name(self.crs) if self.crs else None,
            align="upper-left",
        )

    def infer(
        self,
        workspace: Workspace,
        reader: RasterReader | None = None,
        *,
        most_images: int = 0,
        only: tuple[str, str] | None = None,
    ) -> Inference:
        """Validate the graph and open its sources; see `Workspace.opener`."""
        opener = workspace.opener(
            skip_bad=self.skip_bad, reader=reader, most_images=most_images, only=only
        )
        return infer(self.graph(), opener)
