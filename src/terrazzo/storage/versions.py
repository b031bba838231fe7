"""Of which versions of which files a read is made: what items say, and the files as they are now.

What items say was written down when all of them were looked at, so that of a hundred thousand
images none is looked up. Whoever reads looks them up, and whoever looks at the collection again
after it was changed gets other columns, and other versions.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

from terrazzo.storage.fetching import side_by_side
from terrazzo.storage.file_names import path_of, told_of
from terrazzo.storage.kinds import NONE, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from terrazzo.storage.file_names import FileNames
    from terrazzo.storage.gate import AssetName
    from terrazzo.storage.gathered import Integers, Lost, Scenes
    from terrazzo.storage.kinds import Form

_AT_ONCE: Final = 4096


def version_of(
    scenes: Scenes, places: Integers, names: Sequence[str], bands: Sequence[int], lost: Lost
) -> str:
    """Return a digest of what a read takes, and of its files as they are now.

    Args:
        scenes: the images of a source.
        places: those of them that may have pixels there, by their positions in reading order.
        names: the bands of the source.
        bands: positions of those that are read.
        lost: told of images that are not there any more; may raise it.
    """
    if scenes.files is None:
        lines = _of_images(scenes, places, names, bands, lost)
    else:
        lines = _of_columns(scenes, scenes.files, places, names, bands)
    digest, held = hashlib.sha256(), list[str]()
    for line in lines:
        held.append(line)
        if len(held) == _AT_ONCE:
            digest.update("".join(held).encode("utf-8", "surrogatepass"))
            held.clear()
    digest.update("".join(held).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def _of_columns(
    scenes: Scenes,
    named: FileNames,
    places: Integers,
    names: Sequence[str],
    bands: Sequence[int],
) -> Iterator[str]:
    """Yield a line for each image, from what was written down of it."""
    known: dict[int, tuple[str, tuple[int, ...]]] = {}
    kinds = scenes.kind[places].tolist()
    files = named.of(scenes.came[places])
    for place, kind, here in zip(places.tolist(), kinds, files, strict=True):
        if kind not in known:
            forms = [scenes.kinds.form(kind, band) for band in bands]
            slots = [int(scenes.kinds.slots[kind, band]) for band in bands]
            known[kind] = _meaning([names[band] for band in bands], forms, slots)
        meaning, wanted = known[kind]
        told = [f"{here[slot]}\0{_stamp(path_of(here[slot]))}" for slot in wanted]
        yield _line(scenes.ids[place], meaning, told)


def _of_images(
    scenes: Scenes, places: Integers, names: Sequence[str], bands: Sequence[int], lost: Lost
) -> Iterator[str]:
    """Yield a line for each image, from the image itself; servers are asked side by side."""
    for items in scenes.batches(places, lost):
        looked_at = [(item, *kind_of(item, names)) for item in items]
        remote = {b.asset for _, _, files in looked_at for b in files if b.asset.is_remote}
        stamps = dict(zip(remote, side_by_side(_remote_stamp, remote), strict=True))
        for item, kind, files in looked_at:
            forms = [kind.forms[band] for band in bands]
            slots = [kind.slots[band] for band in bands]
            meaning, wanted = _meaning([names[band] for band in bands], forms, slots)
            told = [
                f"{told_of(file)}\0{stamps.get(file.asset) or _stamp(file.asset.gdal)}"
                for file in (files[slot] for slot in wanted)
            ]
            yield _line(item.id, meaning, told)


def _line(name: str, meaning: str, files: Sequence[str]) -> str:
    return "\0".join((name, meaning, *files, "\n"))


def _meaning(
    names: Sequence[str], forms: Sequence[Form | None], slots: Sequence[int]
) -> tuple[str, tuple[int, ...]]:
    """Return what is read of images of one kind, and which of their files hold it."""
    told = [
        f"{name} {slot} {form.meaning}"
        for name, form, slot in zip(names, forms, slots, strict=True)
        if form is not None
    ]
    return "\0".join(told), tuple(sorted(set(slots) - {NONE}))


def _stamp(path: str) -> str:
    """Return time of change and size of a file; zeros for one that is lost, as `AssetName` has."""
    try:
        facts = os.stat(path)  # noqa: PTH116 - of a million images
    except OSError:
        return "0 0"
    return f"{facts.st_mtime_ns} {facts.st_size}"


def _remote_stamp(file: AssetName) -> str:
    changed, size = file.stamp
    return f"{changed} {size}"
