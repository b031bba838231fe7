"""Results of this very server, loaded by their signed links without asking it over the network.

Who has a signed link may read what it names, and nothing beside: the files of one run are all that
is opened. Under what name or address the server was reached says nothing; its signature does.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from typing_extensions import override

from terrazzo.drivers.described import DOCUMENT, Results
from terrazzo.errors import AssetForbidden, NoDataAvailable
from terrazzo.ledger.jobs import ID
from terrazzo.ledger.signing import Signer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from terrazzo.ledger.folders import JobFolders

_LINK = re.compile(rf"/results/([0-9a-f]+-[0-9a-f]+)/({ID.pattern})/(\d{{1,9}})/([^/]+)")
_ITEM = re.compile(r"item-(\d{1,9})\.json")


def signed_text(job: str, run: int, name: str) -> str:
    """Return what is signed in a link to something that a run has made."""
    return f"result {job}/{run}/{name}"


def item_name(number: int) -> str:
    """Return what the document of one item is called in links; the first is 1."""
    return f"item-{number}.json"


def item_number(name: str) -> int | None:
    """Return which item a name is of; None if it is no such name."""
    found = _ITEM.fullmatch(name)
    return None if found is None else int(found[1])


@dataclass(frozen=True, slots=True)
class OwnResults:
    """Finds the results that signed links name; can be sent to other processes."""

    folders: JobFolders
    """Where they are."""
    account: str
    """For whom links are followed: their own stay good when they have expired."""
    signer: Signer | None = None
    """Who signed the links; None, as in every other process, is that of the home."""

    @override
    def __reduce__(self) -> tuple[type[OwnResults], tuple[JobFolders, str]]:
        """Send it without the secret: whoever may open the home reads it there."""
        return OwnResults, (self.folders, self.account)

    def find(self, url: str) -> tuple[Path, Mapping[str, Any], list[Mapping[str, Any]]] | None:
        """Return the folder, document and items that a link means, with the files' own paths.

        None where the address is no signed link to results of this server.

        Raises:
            AssetForbidden: it has expired, or the results have gone.
            NoDataAvailable: the results are no images.
            OutputFailed: the secret of the home cannot be read.
        """
        found = _LINK.search(unquote(urlsplit(url).path))
        if found is None or found.end() != len(unquote(urlsplit(url).path)):
            return None
        signature, job, run, name = found.groups()
        signer = self.signer or Signer.of(self.folders.home)
        expires = signer.expiry(signed_text(job, int(run), name), signature)
        if expires is None:
            return None
        results = Results.of(self.folders.of(job, int(run)))
        if results is None:
            raise AssetForbidden("The results that the link names are not there any more.")
        if expires and time.time() >= expires and results.told["owner"] != self.account:
            raise AssetForbidden(
                "The link to the results has expired. Get a new one with GET "
                "/jobs/{job_id}/results."
            )
        if results.told["bbox"] is None:
            raise NoDataAvailable("The results that the link names hold no images.")

        files = results.files()

        def path(key: str) -> str:
            return str(results.folder / files[key])

        items, number = results.items(path), item_number(name)
        if name == DOCUMENT:
            return results.folder, results.item(path), list(items)
        if number is None or not 1 <= number <= len(items):
            raise AssetForbidden(
                f"{name!r} is a file of the results. Load the document that lists it."
            )
        return results.folder, items[number - 1], [items[number - 1]]
