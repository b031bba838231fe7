"""The order of an extraction: what jobs elsewhere are told of it, as a file in its folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from terrazzo.drivers.extraction.asked import Asked
from terrazzo.drivers.extraction.code import ParcelCode
from terrazzo.drivers.extraction.prepared import Given
from terrazzo.drivers.extraction.samples import Sampling
from terrazzo.drivers.job import Job
from terrazzo.drivers.pool import Pool
from terrazzo.errors import ArgumentInvalid
from terrazzo.storage.writers.files import output_failed, whole_file

if TYPE_CHECKING:
    from terrazzo.drivers.job import Workspace

FILE: Final = "extraction-order.json"


@dataclass(frozen=True, slots=True)
class ExtractOrder:
    """What is extracted, and how much of its machine a worker may use."""

    job: Job
    """The graph and where to run it."""
    polygons: str
    """File of the polygons."""
    asked: Asked
    """What is made of the pixels."""
    by: str
    """`date` or `image`."""
    id_column: str
    """Attribute that names the polygons."""
    crs: str
    """CRS of the polygons where the file has none."""
    block: int
    """Edge of a cell, pixels."""
    threads: int
    """Of each worker."""
    memory_bytes: int
    """Of each worker, for the cells of its threads."""

    @property
    def pool(self) -> Pool:
        """What a worker works with."""
        return Pool("threads", self.threads, self.memory_bytes)

    def given(self, workspace: Workspace) -> Given:
        """Return what is asked for, in a workspace."""
        polygons = Path(self.polygons)
        return Given(self.job, workspace, polygons, self.asked, self.by, self.id_column, self.crs)

    @classmethod
    def of(cls, given: Given, block: int, pool: Pool) -> ExtractOrder:
        """Return the order of what is asked for, for workers with the threads and memory of one."""
        return cls(
            given.job, str(given.polygons), given.asked, given.by, given.id_column, given.crs,
            block, pool.size, pool.memory_bytes,
        )  # fmt: skip

    def write(self, folder: Path) -> None:
        """Write it into the folder of its extraction.

        Raises:
            OutputFailed: the folder cannot be written to.
        """
        path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_failed(path, error) from error
        with whole_file(path) as part:
            part.write_text(json.dumps(asdict(self), indent=1, sort_keys=True))

    @classmethod
    def read(cls, folder: Path) -> ExtractOrder:
        """Read that of an extraction.

        Raises:
            ArgumentInvalid: the folder holds none, or a damaged one.
        """
        path = folder / FILE
        try:
            told: dict[str, Any] = json.loads(path.read_text())
            told["job"] = Job.read(told["job"])
            asked = told["asked"] | {"statistics": tuple(told["asked"]["statistics"])}
            for name, kind in (("code", ParcelCode), ("sampling", Sampling)):
                asked[name] = None if asked[name] is None else kind(**asked[name])
            return cls(**{**told, "asked": Asked(**asked)})
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise ArgumentInvalid(
                f"{path} is damaged or not there ({error}). Give the command that began the "
                "extraction once more."
            ) from error
