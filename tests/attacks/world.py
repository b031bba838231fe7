"""A server under attack: what it may read, and what it must not."""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h5netcdf
import numpy as np
import rasterio
from affine import Affine

if TYPE_CHECKING:
    from pathlib import Path

    from tests.attacks.watch import Bell, Site, Watch
    from tests.server.stac_written import World

SECRET = 4242
"""The number that every pixel of the canary has."""
EDGE = 8


def write_canary(folder: Path) -> Path:
    """Write what is not to be read: an image, and copies of it in other dresses."""
    folder.mkdir()
    path = folder / "canary.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=EDGE, height=EDGE, count=1, dtype="uint16",
        crs="EPSG:32633", transform=Affine(10, 0, 5e5, 0, -10, 5e6),
    ) as file:  # fmt: skip
        file.write(np.full((1, EDGE, EDGE), SECRET, np.uint16))
    (folder / "secret.txt").write_text("Authorization: secret")
    with zipfile.ZipFile(folder / "canary.zip", "w") as archive:
        archive.write(path, "canary.tif")
    with tarfile.open(folder / "canary.tar", "w") as archive:
        archive.add(path, "canary.tif")
    with path.open("rb") as source, gzip.open(folder / "canary.tif.gz", "wb") as packed:
        shutil.copyfileobj(source, packed)
    size = path.stat().st_size
    (folder / "sparse.xml").write_text(
        f"<VSISparseFile><Length>{size}</Length><SubfileRegion><Filename relative='0'>{path}"
        f"</Filename><DestinationOffset>0</DestinationOffset><SourceOffset>0</SourceOffset>"
        f"<RegionLength>{size}</RegionLength></SubfileRegion></VSISparseFile>"
    )
    with h5netcdf.File(folder / "canary.nc", "w") as file:
        file.dimensions = {"y": EDGE, "x": EDGE}
        file.create_variable("values", ("y", "x"), data=np.full((EDGE, EDGE), SECRET, np.uint16))
    return path


@dataclass(slots=True)
class Attacked:
    """A server, the site that it may read, and the canaries."""

    world: World
    site: Site
    bell: Bell
    watch: Watch
    canary: Path

    @property
    def home(self) -> Path:
        return self.world.workspace.home

    def filled(self, text: str) -> str:
        """Return an attack with the places of this machine in it."""
        return text.format(
            canary=self.canary,
            folder=self.canary.parent,
            home=self.home,
            bell=f"127.0.0.1:{self.bell.port}",
        )

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send JSON as `anna`, whatever is in it: also halves of characters."""
        headers = {**self.world.headers["anna"], "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body).encode()
        return self.world.client.request(method, path, headers=headers, content=content)

    def check(self, answer: Any, known: str = "") -> None:
        """See that an answer refuses and tells nothing of this machine, and nothing was touched.

        Args:
            answer: of the server.
            known: what whoever attacks knows already, and may be told again.
        """
        assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:500])
        places = (str(self.home), str(self.canary.parent), "site-packages", "Traceback")
        leaked = [place for place in places if place in answer.text and place not in known]
        assert not leaked, answer.text[:500]
        assert not self.watch.opened()
        assert self.bell.rung == 0


def graph(process: str, **arguments: Any) -> dict[str, Any]:
    """Return a body of POST /result with one process."""
    node = {"process_id": process, "arguments": arguments, "result": True}
    return {"process": {"process_graph": {"load": node}}}
