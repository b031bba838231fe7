"""What decides the numbers of an extraction, kept in its folder, so that no two are mixed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from terrazzo import __version__
from terrazzo.drivers.job import Job
from terrazzo.errors import ArgumentInvalid, RunDiffers
from terrazzo.storage.writers.files import output_failed, whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE: Final = "extraction.json"
_PERIOD: Final = "temporal_extent"


@dataclass(frozen=True, slots=True)
class Record:
    """What decides the numbers of an extraction."""

    job: Job
    """The graph and where it is run."""
    polygons: Mapping[str, Any]
    """Their file, its checksum, the attribute that names them, and their CRS if it was given."""
    reduction: Mapping[str, Any]
    """What is made of the pixels: statistics, code or samples; which pixels; the buffer."""
    by: str
    """`date` or `image`."""
    terrazzo: str = field(default=__version__)
    """The version that began it."""

    @property
    def digest(self) -> str:
        """A digest of what must stay the same while an extraction goes on.

        Of the graph that is all but the periods that collections are loaded for: images of another
        period are other scenes, which come and go. Whether bad images are left out may change, too:
        the scene table knows which scenes lack some.
        """
        told = self._told()
        del told["job"]["skip_bad"]
        told["job"]["document"] = _without_periods(json.loads(self.job.document))
        del told["terrazzo"]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]

    def keep(self, folder: Path) -> None:
        """Write it down, or see that the folder has the same.

        Raises:
            RunDiffers: the folder holds another extraction.
            OutputFailed: it cannot be written.
        """
        path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_failed(path, error) from error
        self.check(folder)
        with whole_file(path) as part:
            part.write_text(json.dumps(self._told(), indent=1))

    def check(self, folder: Path) -> None:
        """See that a folder holds no other extraction.

        Raises:
            RunDiffers: it does; says in what.
        """
        if not (folder / FILE).exists():
            return
        known = recorded(folder)
        if known.digest == self.digest:
            return
        mine, theirs = (json.loads(json.dumps(one._told())) for one in (self, known))  # noqa: SLF001 - of the same class
        differing = sorted(
            key
            for part in ("job", "polygons", "reduction")
            for key in mine[part].keys() | theirs[part].keys()
            if mine[part].get(key) != theirs[part].get(key) and key != "skip_bad"
        )
        differing += ["by"] if self.by != known.by else []
        raise RunDiffers(
            f"{folder} holds another extraction (it differs in {', '.join(differing)}). Choose "
            "another folder with -o, or delete this one."
        )

    def _told(self) -> dict[str, Any]:
        return asdict(self)


def recorded(folder: Path) -> Record:
    """Return what an extraction in a folder was begun with.

    Raises:
        ArgumentInvalid: there is none.
    """
    try:
        told = json.loads((folder / FILE).read_text())
        return Record(
            Job.read(told["job"]), told["polygons"], told["reduction"], told["by"], told["terrazzo"]
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ArgumentInvalid(
            f"{folder} holds no extraction ({type(error).__name__} with {FILE}). Make one with "
            "`terrazzo extract GRAPH.json POLYGONS -o FOLDER`."
        ) from error


def recorded_job(folder: Path) -> Job:
    """Return the graph of an extraction in a folder, and where it is run.

    Raises:
        ArgumentInvalid: there is none.
    """
    return recorded(folder).job


def _without_periods(document: Any) -> Any:
    """Return a process graph without the periods for which collections are loaded."""
    if isinstance(document, list):
        return [_without_periods(one) for one in document]
    if not isinstance(document, dict):
        return document
    loads = str(document.get("process_id", "")).startswith("load_")
    plain = {key: _without_periods(value) for key, value in document.items()}
    if loads and isinstance(plain.get("arguments"), dict):
        plain["arguments"] = {k: v for k, v in plain["arguments"].items() if k != _PERIOD}
    return plain
