"""Images by name, as a run and its results list them: all ids, or how many, a digest and a file."""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from terrazzo.storage.writers.files import whole_file

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
    digest = hashlib.sha256()
    for name in items:
        digest.update(json.dumps(name).encode() + b"\n")
    return {"count": len(items), "digest": digest.hexdigest()}


def listed_images(sources: Mapping[str, Sequence[str]], folder: Path) -> dict[str, Any] | None:
    """Write all images of a run into a file, if lists of its results do not name each.

    The file has a line of JSON for each, `{"node": ..., "item": ...}`, in reading order. Equal
    images are equal bytes.

    Args:
        sources: ids of images, by the node that loads them.
        folder: of the results.

    Returns:
        What STAC is told of the file, with its name as `file`; None where none is needed.

    Raises:
        OutputFailed: it cannot be written.
    """
    path = folder / IMAGES
    if all(len(items) <= MOST_NAMED for items in sources.values()):
        path.unlink(missing_ok=True)
        return None
    folder.mkdir(parents=True, exist_ok=True)
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
