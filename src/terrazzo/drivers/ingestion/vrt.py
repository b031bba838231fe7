"""Mosaics and stacks that a GDAL VRT describes, taken in as COGs.

A VRT is a program: it names files, subdatasets, network addresses and code. It is read here as a
description, by a parser that knows plain mosaics and stacks and refuses everything else; what it
names passes the gate one by one, and what is put together is the result of that check. GDAL never
sees the VRT. It is materialised, because an item must stay what it was when it was checked.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from terrazzo.drivers.ingestion.product_files import read_xml
from terrazzo.drivers.ingestion.raster import Copying, Looked, image_files
from terrazzo.errors import ArgumentInvalid, AssetForbidden
from terrazzo.geo.crs import crs_name
from terrazzo.geo.grid import Grid
from terrazzo.storage.gate import Gate
from terrazzo.storage.image_facts import BandFacts, FileFacts, classes_of, wavelength_of
from terrazzo.storage.mosaic import Mosaic, MosaicBand, Piece

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from xml.etree.ElementTree import Element

    from terrazzo.drivers.ingestion.items import FoundFile, Given
    from terrazzo.drivers.ingestion.raster import Part
    from terrazzo.storage.gate import AssetName
    from terrazzo.storage.mosaic import Rectangle

MOST_PIECES: Final = 200_000
"""Sources of a VRT that is read."""
LARGEST_SIDE: Final = 2**24
"""Columns or rows of a VRT that is read."""
_TYPES: Final = {
    "Byte": "uint8", "Int8": "int8", "UInt16": "uint16", "Int16": "int16", "UInt32": "uint32",
    "Int32": "int32", "Int64": "int64", "UInt64": "uint64", "Float32": "float32",
    "Float64": "float64",
}  # fmt: skip
_IGNORED: Final = frozenset({
    "Overview", "OverviewList", "HideNoDataValue", "Histograms", "BlockXSize", "BlockYSize",
    "Hist", "Metadata",
})  # fmt: skip
"""What decides no number of full resolution; metadata are read for themselves."""
_OF_DATASET: Final = _IGNORED | {"SRS", "GeoTransform", "VRTRasterBand", "MaskBand"}
_OF_BAND: Final = _IGNORED | {
    "NoDataValue", "ColorInterp", "ColorTable", "CategoryNames", "Description", "UnitType",
    "Offset", "Scale", "SimpleSource", "ComplexSource",
}  # fmt: skip
_OF_SOURCE: Final = frozenset(
    {"SourceFilename", "SourceBand", "SourceProperties", "SrcRect", "DstRect"}
)
_OF_COMPLEX: Final = _OF_SOURCE | {"NODATA", "ScaleOffset", "ScaleRatio", "UseMaskBand"}
_KINDS: Final = frozenset({"", "VRTDataset", "VRTRasterBand", "VRTSourcedRasterBand"})
_NOT_TAKEN: Final = (
    "Only plain mosaics and stacks of GeoTIFF and JPEG 2000 are read of a VRT. Make an image of it "
    "with `gdal_translate -of COG in.vrt out.tif`, if you trust what it names, and ingest that."
)


def read(found: FoundFile, given: Given) -> list[Part]:
    """Look at a VRT that the user named, and at every file that it names.

    Bands of different types or no-data values become files of one item.

    Raises:
        ArgumentInvalid: it lies in a folder that was named, is more than a plain mosaic or stack,
            or has no date.
        AssetForbidden: a file that it names lies outside its folder and the registered ones, or
            is of a kind that is not opened.
        SourceUnreadable: it or a file that it names is damaged.
    """
    if found.address:
        raise AssetForbidden(f"A VRT is not read over the network. {_NOT_TAKEN}")
    if not found.named:
        raise ArgumentInvalid(
            "it is a description of other files, which is only read if it is named itself: "
            "`terrazzo ingest FILE.vrt`"
        )
    real = found.gate.local_path(str(found.path))
    parser = _Parser(real.parent, Gate((found.root, *given.roots)), found.path.name)
    mosaic = parser.mosaic(read_xml(real, found.path.name), given.options.crs)
    mosaic.check()
    groups: dict[tuple[str, str], list[int]] = {}
    for number, band in enumerate(mosaic.bands):
        groups.setdefault((band.dtype, repr(band.nodata)), []).append(number)
    facts = FileFacts(
        mosaic.tags, True, tuple(band.facts or BandFacts() for band in mosaic.bands), mosaic.classes
    )
    whole = Looked(None, mosaic.info, facts, None)
    copies = {
        tuple(numbers): Copying(
            partial(_digest, mosaic, tuple(numbers)), partial(mosaic.write, numbers=tuple(numbers))
        )
        for numbers in groups.values()
    }
    return image_files(found, given, whole, copies)


def _digest(mosaic: Mosaic, numbers: Sequence[int]) -> str:
    """Return the digest of all that decides the pixels: the description, and its files by stamp."""
    stamps = [(asset.key, asset.stamp) for asset in mosaic.assets]
    described = replace(mosaic, bands=tuple(mosaic.bands[number] for number in numbers))
    return hashlib.sha256(repr((described, stamps)).encode()).hexdigest()


class _Parser:
    """Reads the description in a VRT that lies in one folder."""

    def __init__(self, folder: Path, gate: Gate, name: str) -> None:
        self.folder, self.gate, self.name = folder, gate, name
        self.assets: dict[str, AssetName] = {}
        self.pieces = 0

    def mosaic(self, root: Element, stated_crs: str) -> Mosaic:
        """Read the whole of it; the CRS stated counts if it states none.

        Raises:
            ArgumentInvalid: it is more than a plain mosaic or stack, or says not where it lies.
            AssetForbidden: a file that it names may not be opened.
        """
        if root.tag != "VRTDataset":
            raise ArgumentInvalid(f"it is no VRT: its XML begins with <{root.tag[:40]}>")
        _plain(root, _OF_DATASET)
        grid, south_up = _grid(root, stated_crs)
        elements = root.findall("VRTRasterBand")
        alphas = [one for one in elements if (one.findtext("ColorInterp") or "") == "Alpha"]
        bands = tuple(self._band(one) for one in elements if one not in alphas)
        if not bands:
            raise ArgumentInvalid("it has no bands")
        masks = [*root.findall("MaskBand/VRTRasterBand"), *alphas]
        mask = self._pieces(masks[0]) if masks else ()
        names = elements[0].findall("CategoryNames/Category")
        classes = classes_of(bands[0].colours, tuple(one.text or "" for one in names))
        return Mosaic(grid, south_up, bands, mask, _metadata(root), classes)

    def _band(self, element: Element) -> MosaicBand:
        dtype = _TYPES.get(element.get("dataType", "Byte"))
        if dtype is None:
            raise ArgumentInvalid(
                f"it has bands of {element.get('dataType')!r:.40}; what is read are "
                f"{', '.join(_TYPES)}"
            )
        text = element.findtext("NoDataValue")
        nodata = None if text is None else _number(text, "NoDataValue")
        if nodata is not None and not _holds(dtype, nodata):
            nodata = None
        hidden = (element.findtext("HideNoDataValue") or "").strip() in {"1", "YES", "TRUE"}
        unit = (element.findtext("UnitType") or "").strip()
        return MosaicBand(
            name=(element.findtext("Description") or "").strip(),
            dtype=dtype,
            pieces=self._pieces(element),
            nodata=None if hidden else nodata,
            fill=nodata or 0.0,
            scale=_number(element.findtext("Scale") or "1", "Scale"),
            offset=_number(element.findtext("Offset") or "0", "Offset"),
            facts=BandFacts(unit, wavelength_of(_metadata(element))),
            colours={
                value: tuple(int(_number(entry.get(c, "255"), f"ColorTable {c}"))
                             for c in ("c1", "c2", "c3", "c4"))
                for value, entry in enumerate(element.findall("ColorTable/Entry"))
            },
        )  # fmt: skip

    def _pieces(self, band: Element) -> tuple[Piece, ...]:
        _plain(band, _OF_BAND)
        sources = [one for one in band if one.tag in {"SimpleSource", "ComplexSource"}]
        self.pieces += len(sources)
        if self.pieces > MOST_PIECES:
            raise ArgumentInvalid(f"it names more than {MOST_PIECES:,} sources. {_NOT_TAKEN}")
        return tuple(self._piece(one) for one in sources)

    def _piece(self, source: Element) -> Piece:
        _plain(source, _OF_COMPLEX if source.tag == "ComplexSource" else _OF_SOURCE)
        asset = self._asset(source)
        index = (source.findtext("SourceBand") or "1").strip()
        if index not in {"mask", "mask,1"} and not index.isdecimal():
            raise ArgumentInvalid(f"its <SourceBand> {index[:40]!r} is no number. {_NOT_TAKEN}")
        rectangles = [_rectangle(source.find(name)) for name in ("SrcRect", "DstRect")]
        size = source.find("SourceProperties")
        if rectangles[0] is None and size is not None:
            rectangles[0] = _rectangle(size, size=True)
        taken, placed = rectangles[0] or rectangles[1], rectangles[1] or rectangles[0]
        if taken is None or placed is None:
            raise ArgumentInvalid(f"a source has neither <SrcRect> nor <DstRect>. {_NOT_TAKEN}")
        method = source.get("resampling", "nearest").lower()
        same = all(abs(a - b) < 1e-6 for a, b in zip(taken[2:], placed[2:], strict=True))  # noqa: PLR2004
        if method not in {"near", "nearest"} and not same:
            raise ArgumentInvalid(
                f"its sources are resampled ({method[:20]}), which is only read of nearest. "
                f"{_NOT_TAKEN}"
            )
        nodata = source.findtext("NODATA")
        return Piece(
            asset,
            0 if index.startswith("mask") else int(index),
            taken,
            placed,
            nodata=None if nodata is None else _number(nodata, "NODATA"),
            scale=_number(source.findtext("ScaleRatio") or "1", "ScaleRatio"),
            offset=_number(source.findtext("ScaleOffset") or "0", "ScaleOffset"),
            masked=(source.findtext("UseMaskBand") or "").strip().lower() == "true",
        )

    def _asset(self, source: Element) -> AssetName:
        """Let the gate check the file that a source names.

        Raises:
            AssetForbidden: it lies elsewhere, or is no GeoTIFF or JPEG 2000.
            ArgumentInvalid: it is named from wherever GDAL is run.
        """
        element = source.find("SourceFilename")
        text = "" if element is None else (element.text or "").strip()
        relative = element is not None and element.get("relativeToVRT", "0").strip() == "1"
        if not relative and text and not text.startswith(("/", "<")) and ":" not in text:
            raise ArgumentInvalid(
                f"its source {text[:80]!r} is named from the folder that GDAL runs in. Make the "
                "VRT again with gdalbuildvrt in the folder that it will lie in."
            )
        known = self.assets.get(text)
        if known is None:
            if text.lower().rstrip("/").endswith(".vrt"):
                raise AssetForbidden(f"A VRT in a VRT ({text[-80:]!r}) is not read. {_NOT_TAKEN}")
            try:
                known = self.gate.open_name(text, self.folder, item=self.name)
            except AssetForbidden as refusal:
                raise AssetForbidden(f"its source {text[:80]!r}: {refusal}") from None
            if known.is_remote:
                raise AssetForbidden(f"its source {text[:80]!r} is remote. {_NOT_TAKEN}")
            self.assets[text] = replace(known, asset=text.rsplit("/", 1)[-1])
        return self.assets[text]


def _plain(element: Element, known: frozenset[str]) -> None:
    """Refuse an element with anything that is not known to be harmless.

    Raises:
        ArgumentInvalid: names it.
    """
    kind = element.get("subClass", "")
    if kind not in _KINDS:
        raise ArgumentInvalid(f"it computes its pixels ({kind[:40]}). {_NOT_TAKEN}")
    for child in element:
        if child.tag not in known:
            raise ArgumentInvalid(
                f"it has <{str(child.tag)[:40]}> in <{element.tag}>. {_NOT_TAKEN}"
            )


def _grid(root: Element, stated_crs: str) -> tuple[Grid, bool]:
    """Return the north-up grid of a VRT, and whether its rows go north.

    Raises:
        ArgumentInvalid: it states none, or a rotated one.
    """
    width = _number(root.get("rasterXSize", ""), "rasterXSize")
    height = _number(root.get("rasterYSize", ""), "rasterYSize")
    if not all(1 <= size <= LARGEST_SIDE and size == int(size) for size in (width, height)):
        raise ArgumentInvalid(f"it claims to have {height:g} x {width:g} pixels. {_NOT_TAKEN}")
    numbers = [_number(one, "GeoTransform") for one in
               (root.findtext("GeoTransform") or "").split(",") if one.strip()]  # fmt: skip
    if len(numbers) != 6:  # noqa: PLR2004 - an affine
        raise ArgumentInvalid("it says not where its pixels lie (<GeoTransform>)")
    left, across, skew, first, tilt, down = numbers
    if skew or tilt or across <= 0 or not down:
        raise ArgumentInvalid("its pixels are rotated or mirrored. Warp it with gdalwarp first.")
    srs = (root.findtext("SRS") or "").strip() or stated_crs
    if not srs:
        raise ArgumentInvalid("it states no CRS. State it, for example with --crs EPSG:32633.")
    top = first + down * height if down > 0 else first
    grid = Grid.of(crs_name(srs), left, top, (across, abs(down)), int(height), int(width))
    return grid, down > 0


def _metadata(element: Element) -> dict[str, str]:
    """Return the metadata of the default domain, without statistics."""
    return {
        entry.get("key", ""): entry.text or ""
        for domain in element.findall("Metadata")
        if not domain.get("domain")
        for entry in domain.findall("MDI")
        if entry.get("key") and not entry.get("key", "").startswith("STATISTICS_")
    }


def _rectangle(element: Element | None, *, size: bool = False) -> Rectangle | None:
    if element is None:
        return None
    names = ("RasterXSize", "RasterYSize") if size else ("xSize", "ySize")
    offsets = ("0", "0") if size else (element.get("xOff", "0"), element.get("yOff", "0"))
    texts = (*offsets, *(element.get(name, "") for name in names))
    left, top, width, height = (_number(text, element.tag) for text in texts)
    if width <= 0 or height <= 0 or max(map(abs, (left, top, width, height))) > LARGEST_SIDE:
        raise ArgumentInvalid(f"a <{element.tag}> is empty or out of all bounds")
    return left, top, width, height


def _number(text: str, what: str) -> float:
    try:
        found = float(text.strip())
    except ValueError:
        raise ArgumentInvalid(f"its <{what}> {text[:40]!r} is no number") from None
    if math.isinf(found) or (math.isnan(found) and what not in {"NODATA", "NoDataValue"}):
        raise ArgumentInvalid(f"its <{what}> {text[:40]!r} is no finite number")
    return found


def _holds(dtype: str, number: float) -> bool:
    """Tell whether a type can hold a number, so that a pixel can have it."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return True
    limits = np.iinfo(kind)
    return number == number // 1 and limits.min <= number <= limits.max
