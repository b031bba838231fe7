"""Real paths of folders, each found out once: for one look at the files of very many images."""

from __future__ import annotations

import os
from typing import Final

Links = tuple[tuple[str, str], ...]

_MOST: Final = 50_000
"""Folders that are remembered; some archives have one for each image."""


class Folders:
    """What `os.path.realpath` says of folders, and which links lead there.

    For as long as one look at a collection takes: links may be changed after it.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, Links]] = {}

    def real(self, folder: str) -> tuple[str, Links]:
        """Return the real path of a folder, and the links in its name with what they lead to.

        Args:
            folder: an absolute path; it need not be there.
        """
        found = self._known.get(folder)
        if found is None:
            if len(self._known) > _MOST:
                self._known.clear()
            found = self._walked(folder)
        return found

    def _walked(self, folder: str) -> tuple[str, Links]:
        """Go down to a folder from the top, past those that are known."""
        names, here, real = folder.split("/")[1:], "", ""
        links: Links = ()
        for name in names:
            here = f"{here}/{name}"
            known = self._known.get(here)
            if known is None:
                if name in {"", ".", ".."}:  # it means a folder that has another name, too
                    real = os.path.realpath(here)
                    known = real.removesuffix("/"), links
                elif os.path.islink(f"{real}/{name}"):  # noqa: PTH114 - of a million images
                    real = os.path.realpath(f"{real}/{name}")
                    known = real.removesuffix("/"), (*links, (here, real))
                else:
                    known = f"{real}/{name}", links
                self._known[here] = known
            real, links = known
        return real, links


def are_as_ever(links: Links) -> bool:
    """Tell whether links lead to where they led when they were looked at."""
    return all(os.path.realpath(link) == there for link, there in links)
