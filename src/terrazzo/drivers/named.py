"""Images by name, as a run and its results list them: all ids, or how many, a digest and a file."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from terrazzo.storage.texts import Texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_NAMED = 1000
"""Images up to which a list names each."""
IMAGES: Final = "images.ndjson.gz"
"""Name of the file that lists all images of a run, in the catalogue of its results."""
LIST_TYPE: Final = "application/gzip"
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


def image_list(sources: Mapping[str, Sequence[str]]) -> bytes:
    """Return a file of all images of a run, if lists of its results do not name each; else b"".

    The file has a line of JSON for each, `{"node": ..., "item": ...}`, in reading order. Equal
    images are equal bytes.

    Args:
        sources: ids of images, by the node that loads them.
    """
    if all(len(items) <= MOST_NAMED for items in sources.values()):
        return b""
    content = io.BytesIO()
    with gzip.GzipFile("", "wb", 6, content, mtime=0) as file:
        for node, items in sources.items():
            for name in items:
                file.write(json.dumps({"node": node, "item": name}).encode() + b"\n")
    return content.getvalue()


def told_of_list(content: bytes) -> dict[str, Any]:
    """Return what STAC is told of a file of images."""
    return {
        "type": LIST_TYPE,
        "title": "The images that were read",
        "roles": ["metadata"],
        "file:size": len(content),
        "file:checksum": _SHA256 + hashlib.sha256(content).hexdigest(),
    }
