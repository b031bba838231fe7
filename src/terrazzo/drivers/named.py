"""Images by name, as a run and its results list them: all ids, or how many, a digest and a file."""

from __future__ import annotations

import gzip
import hashlib
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from terrazzo.storage.texts import Texts
from terrazzo.storage.writers.files import output_failed, whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MOST_NAMED = 1000
"""Images up to which a list names each."""
IMAGES: Final = "images.ndjson.gz"
"""Name of the file that lists all images of a run, beside its results."""
_SHA256: Final = "1220"
"""How a multihash says that it is SHA-256 and has 32 bytes."""


def named_items(items: Sequence[str]) -> list[str] | dict[str, int | str]:
    """Return ids of images as JSON values.

    Returns:
        The ids; where they are more than `MOST_NAMED`, their `count`, and as `digest` the
        SHA-256 of their texts, as JSON in UTF-8 and in this order, each followed by a new line.
    """
    if len(items) <= MOST_NAMED:
        return list(items)
    kept = items if isinstance(items, Texts) else tuple(items)
    return {"count": len(items), "digest": _digest_of(kept)}


@lru_cache(maxsize=8)
def _digest_of(items: Texts | tuple[str, ...]) -> str:
    """Return the digest of many ids; every tile of a run asks for that of the same again."""
    digest = hashlib.sha256()
    for name in items:
        digest.update(json.dumps(name).encode() + b"\n")
    return digest.hexdigest()


def listed_images(
    sources: Mapping[str, Sequence[str]], folder: Path, *, known: bool
) -> dict[str, Any] | None:
    """Write all images of a run into a file, if lists of its results do not name each.

    Where they do, the file that the same run had written before is deleted.

    The file has a line of JSON for each, `{"node": ..., "item": ...}`, in reading order. Equal
    images are equal bytes.

    Args:
        sources: ids of images, by the node that loads them.
        folder: of the results.
        known: whether the run has told of such a file before; else it is somebody else's.

    Returns:
        What STAC is told of the file, with its name as `file`; None where none is needed.

    Raises:
        OutputFailed: it cannot be written, or deleted.
    """
    path = folder / IMAGES
    few = all(len(items) <= MOST_NAMED for items in sources.values())
    try:
        if few and known:
            path.unlink(missing_ok=True)
        elif not few:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_failed(path, error) from error
    if few:
        return None
    with whole_file(path) as part:
        with part.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
            for node, items in sources.items():
                for name in items:
                    file.write(json.dumps({"node": node, "item": name}).encode() + b"\n")
        content = part.read_bytes()
    return {
        "type": "application/gzip",
        "title": "The images that were read",
        "roles": ["metadata"],
        "file": IMAGES,
        "file:size": len(content),
        "file:checksum": _SHA256 + hashlib.sha256(content).hexdigest(),
    }
