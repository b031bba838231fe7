"""What readers of products share: metadata files, read with care, and facts in STAC's words."""

from __future__ import annotations

import os
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from terrazzo.errors import ArgumentInvalid, SourceUnreadable
from terrazzo.geo.times import parse_time

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path
    from xml.etree.ElementTree import Element

    from terrazzo.drivers.ingestion.items import FoundFile

_SETTLED_NS: Final = 1_000_000_000
LARGEST: Final = 100_000_000
"""Bytes of a metadata file that is read; annotations of Sentinel-1 have some ten million."""


def read_xml(path: Path, product: str) -> Element:
    """Read an XML file, namespaces left out; entities are not expanded.

    Args:
        path: of the file.
        product: name of the product, for messages.

    Raises:
        SourceUnreadable: it is missing, too large, no XML, or defines entities.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise SourceUnreadable(product, path.name, f"it has {size:,} bytes of XML")
        root = defusedxml.ElementTree.parse(path, forbid_dtd=True).getroot()
    except OSError:
        raise SourceUnreadable(product, path.name, "it is missing. Get the product again") from None
    except DefusedXmlException:
        raise SourceUnreadable(product, path.name, "it defines entities of XML") from None
    except defusedxml.ElementTree.ParseError as problem:
        raise SourceUnreadable(product, path.name, f"it is no XML: {problem}") from None
    if root is None:
        raise SourceUnreadable(product, path.name, "it is an empty XML file")
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def text_of(root: Element, path: str, default: str = "") -> str:
    """Return the text of the first element under a path, without blanks around it."""
    return (root.findtext(path) or default).strip()


def number_of(root: Element, path: str) -> float | None:
    """Return the number in the first element under a path; None where there is none."""
    try:
        return float(text_of(root, path))
    except ValueError:
        return None


def time_of(root: Element, path: str) -> datetime | None:
    """Return the time in the first element under a path, UTC if it states no offset."""
    text = text_of(root, path)
    for one in (text, f"{text}Z"):
        try:
            return parse_time(one)
        except ArgumentInvalid:
            continue
    return None


def folders_above(file: FoundFile, most: int) -> list[Path]:
    """Return the folders that a file lies in, the nearest first, none above what was named."""
    found = []
    for folder in list(file.path.parents)[:most]:
        if not folder.resolve().is_relative_to(file.root):
            break
        found.append(folder)
    return found


def xml_names(folder: Path) -> tuple[str, ...]:
    """Return the names of the XML files of a folder, in order.

    A folder of many images is asked for once per image, and listed once until it changes. What
    has changed just now may change again without its time telling, and is listed each time.
    """
    changed_ns = folder.stat().st_mtime_ns
    if time.time_ns() - changed_ns < _SETTLED_NS:
        return _listed(folder)
    return _known(folder, changed_ns)


def _listed(folder: Path) -> tuple[str, ...]:
    with os.scandir(folder) as entries:
        return tuple(sorted(entry.name for entry in entries if entry.name.endswith(".xml")))


@lru_cache(maxsize=256)
def _known(folder: Path, changed_ns: int) -> tuple[str, ...]:  # noqa: ARG001 - names its state
    return _listed(folder)
