"""VRTs of trusted folders: GDAL's tools write them and say what they hold; all else is refused."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine
from rio_cogeo.cogeo import cog_validate

from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.ingestion.formats import FORMATS
from terrazzo.drivers.job import Workspace
from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DATED = IngestOptions(datetime="2020-05-01")


def image(path: Path, values: np.ndarray[Any, Any], left: float, pixel: float = 10.0, **more: Any):
    """Write a GeoTIFF at 5 000 000 north; (band, y, x) values."""
    count, height, width = values.shape
    place = {"crs": "EPSG:32633", "transform": Affine(pixel, 0, left, 0, -pixel, 5e6)}
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    mask = more.pop("mask", None)
    with rasterio.open(path, "w", **{"driver": "GTiff", **place, **shape, **more}) as file:
        file.write(values)
        if mask is not None:
            file.write_mask(mask)
    return path


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Overlapping tiles of two bands with no-data, one of finer pixels, floats and a mask."""
    folder = tmp_path_factory.mktemp("tiles")
    random = np.random.default_rng(5)
    first = random.integers(0, 900, (2, 30, 40)).astype("int16")
    second = random.integers(0, 900, (2, 30, 40)).astype("int16")
    first[:, 5:20, 25:] = -9
    second[:, :9, :12] = -9
    image(folder / "a.tif", first, 500_000.0, nodata=-9)
    image(folder / "b.tif", second, 500_290.0, nodata=-9)
    fine = random.integers(0, 900, (2, 47, 61)).astype("int16")
    image(folder / "fine.tif", fine, 500_105.0, 7.0, nodata=-9)
    floats = random.random((1, 30, 40)).astype("float32")
    floats[0, 3:9] = np.nan
    image(folder / "f.tif", floats, 500_000.0, nodata=float("nan"))
    picture = random.integers(0, 256, (3, 30, 40)).astype("uint8")
    mask = np.full((30, 40), 255, "uint8")
    mask[10:17, 4:30] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        image(folder / "rgb.tif", picture, 500_000.0, mask=mask)
        image(folder / "rgb2.tif", picture[:, ::-1], 500_200.0, mask=mask.T.reshape(30, 40))
    image(folder / "jp.jp2", first[:1], 500_000.0, driver="JP2OpenJPEG", QUALITY=100,
          REVERSIBLE="YES")  # fmt: skip
    return folder


def tool(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True, timeout=300)


def as_gdal_reads(vrt: Path, count: int) -> tuple[Any, Any, Affine]:
    """Return values, masks and place of a VRT, by Debian's GDAL, a band at a time."""
    values, masks = [], []
    out = vrt.with_suffix(".oracle.tif")
    for number in range(1, count + 1):
        tool("gdal_translate", "-q", "--config", "GDAL_TIFF_INTERNAL_MASK", "YES",
             "-b", number, vrt, out)  # fmt: skip
        with rasterio.open(out) as file:
            values.append(file.read(1))
            masks.append(file.read_masks(1))
            place = file.transform
        out.unlink()
    return values, masks, place


def taken_in(
    vrt: Path, home: Path, options: IngestOptions = DATED, roots: Sequence[Path] = ()
) -> dict[str, Any]:
    workspace = Workspace.of(home, roots=roots)
    report = ingest([vrt], "c", workspace, options=options)
    assert (report.made, dict(report.failed), report.roots) == (1, {}, ())
    with workspace.catalog() as catalog:
        (item,) = catalog.search(("c",))
    return dict(item)


def pixels(item: dict[str, Any]) -> tuple[Any, Any, Affine]:
    """Return values and masks of the bands of an item (without alpha), and its place."""
    values, masks = [], []
    for asset in item["assets"].values():
        assert cog_validate(asset["href"], quiet=True)[0]
        with rasterio.open(asset["href"]) as file:
            count = len(asset["bands"])
            values.append(file.read(list(range(1, count + 1))))
            masks.append(file.read_masks(list(range(1, count + 1))))
            place = file.transform
    return [b for v in values for b in v], np.concatenate(masks), place


@pytest.mark.parametrize(
    ("words", "files"),
    [
        pytest.param([], ["a.tif", "b.tif"], id="mosaic"),
        pytest.param([], ["b.tif", "a.tif"], id="mosaic, the other way round"),
        pytest.param(["-vrtnodata", "-5"], ["a.tif", "b.tif"], id="another no-data value"),
        pytest.param(["-srcnodata", "7 11"], ["a.tif", "b.tif"], id="no-data per band"),
        pytest.param(["-srcnodata", "7", "-hidenodata"], ["a.tif", "b.tif"], id="hidden no-data"),
        pytest.param(["-separate"], ["a.tif", "b.tif"], id="stack"),
        pytest.param(["-separate"], ["a.tif", "f.tif"], id="stack of two types"),
        pytest.param(["-b", "2"], ["a.tif", "b.tif"], id="one band"),
        pytest.param([], ["f.tif"], id="floats"),
        pytest.param([], ["rgb.tif", "rgb2.tif"], id="masks"),
        pytest.param(["-resolution", "highest"], ["a.tif", "fine.tif"], id="finer"),
        pytest.param(["-resolution", "lowest"], ["a.tif", "fine.tif"], id="coarser"),
        pytest.param(["-te", 500_050, 4_999_750, 500_450, 4_999_990], ["a.tif", "b.tif"], id="cut"),
        pytest.param(["-addalpha"], ["a.tif"], id="alpha"),
        pytest.param([], ["jp.jp2"], id="JPEG 2000"),
    ],
)
def test_vrt_of_gdalbuildvrt_goes_in_as_gdal_reads_it(
    words: list[object], files: list[str], tiles: Path, tmp_path: Path
) -> None:
    vrt = tiles / f"{tmp_path.name}.vrt"
    tool("gdalbuildvrt", "-q", *words, vrt, *(tiles / name for name in files))
    item = taken_in(vrt, tmp_path)

    values, masks, found_place = pixels(item)
    expected, expected_masks, place = as_gdal_reads(vrt, len(values))
    valid = np.stack(expected_masks) != 0
    np.testing.assert_array_equal(masks != 0, valid)
    for number, band in enumerate(expected):
        there = valid[number]
        np.testing.assert_array_equal(values[number][there], band[there])
    assert found_place.almost_equals(place)
    with rasterio.open(vrt) as file:
        assert len(values) == file.count - ("-addalpha" in words)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["-srcwin", 3, 4, 20, 10], id="window"),
        pytest.param(["-outsize", 17, 44], id="other size"),
        pytest.param(["-ot", "Byte", "-scale", 0, 900, 10, 250], id="scaled"),
        pytest.param(["-a_scale", 0.01, "-a_offset", 5], id="scale tags"),
        pytest.param(["-a_ullr", 0, 20, 30, 10, "-a_srs", "EPSG:4326"], id="another place"),
    ],
)
def test_vrt_of_gdal_translate_goes_in_as_gdal_reads_it(
    words: list[object], tiles: Path, tmp_path: Path
) -> None:
    vrt = tiles / f"{tmp_path.name}.vrt"
    tool("gdal_translate", "-q", "-of", "VRT", *words, tiles / "a.tif", vrt)

    item = taken_in(vrt, tmp_path)

    values, _, found_place = pixels(item)
    expected, _, place = as_gdal_reads(vrt, len(values))
    np.testing.assert_array_equal(values, expected)
    assert found_place.almost_equals(place)


def test_bands_of_two_types_are_two_files_of_one_item(tiles: Path, tmp_path: Path) -> None:
    vrt = tiles / "two_20190102.vrt"
    tool("gdalbuildvrt", "-q", "-separate", vrt, tiles / "a.tif", tiles / "f.tif")

    item = taken_in(vrt, tmp_path, IngestOptions(bands=("height", "share")))

    assert item["properties"]["datetime"] == "2019-01-02T00:00:00Z"
    bands = [band for asset in item["assets"].values() for band in asset["bands"]]
    assert [(band["name"], band["data_type"], band["nodata"]) for band in bands] == [
        ("height", "int16", -9),
        ("share", "float32", "nan"),
    ]


def test_classes_of_a_vrt_are_in_its_item(tiles: Path, tmp_path: Path) -> None:
    image(tiles / "c.tif", np.arange(4, dtype="uint8").reshape(1, 2, 2), 0.0)
    vrt = tiles / "classes.vrt"
    tool("gdal_translate", "-q", "-of", "VRT", tiles / "c.tif", vrt)
    names = "<CategoryNames><Category></Category><Category>Deep water</Category></CategoryNames>"
    band = "<ColorInterp>Gray</ColorInterp>"
    vrt.write_text(vrt.read_text().replace(band, f"{band}{names}", 1))

    item = taken_in(vrt, tmp_path)

    (asset,) = item["assets"].values()
    expected = [{"value": 1, "name": "Deep-water", "description": "Deep water"}]
    assert asset["classification:classes"] == expected
    assert any("/classification/" in one for one in item["stac_extensions"])


def test_vrt_is_taken_in_again_when_a_file_of_it_has_changed(tmp_path: Path) -> None:
    values = np.ones((1, 8, 8), "uint8")
    image(tmp_path / "one.tif", values, 0.0)
    vrt = tmp_path / "v.vrt"
    tool("gdalbuildvrt", "-q", vrt, tmp_path / "one.tif")
    workspace = Workspace.of(tmp_path / "home")
    ingest([vrt], "c", workspace, options=DATED)

    kept = ingest([vrt], "c", workspace, options=DATED)
    image(tmp_path / "one.tif", values * 2, 0.0, compress="deflate")
    again = ingest([vrt], "c", workspace, options=DATED)

    with workspace.catalog() as catalog:
        (item,) = catalog.search(("c",))
    assert (kept.made, kept.kept, again.made, again.kept) == (0, 1, 1, 0)
    assert (pixels(dict(item))[0][0] == 2).all()


def test_vrt_in_a_folder_is_left_out_and_its_files_go_in(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    image(folder / "a_20200101.tif", np.ones((1, 8, 8), "uint8"), 0.0)
    tool("gdalbuildvrt", "-q", folder / "all.vrt", folder / "a_20200101.tif")

    report = ingest([folder], "c", Workspace(tmp_path / "home"))

    assert (report.made, list(report.failed)) == (1, ["all.vrt"])
    assert "named itself" in report.failed["all.vrt"]


def test_files_in_registered_folders_may_be_named(tiles: Path, tmp_path: Path) -> None:
    vrt = tmp_path / "far.vrt"
    tool("gdalbuildvrt", "-q", vrt, tiles / "a.tif")
    assert f'relativeToVRT="0">{tiles / "a.tif"}<' in vrt.read_text()

    with pytest.raises(ArgumentInvalid, match="outside the folders") as refused:
        ingest([vrt], "c", Workspace.of(tmp_path / "home"), options=DATED)
    item = taken_in(vrt, tmp_path / "home", roots=[tiles])

    assert "a.tif" in str(refused.value)
    assert len(item["assets"]["data"]["bands"]) == 2


BAND = '<VRTRasterBand dataType="Int16" band="1">{}</VRTRasterBand>'
SIMPLE = (
    '<SimpleSource><SourceFilename relativeToVRT="1">{}</SourceFilename><SourceBand>1</SourceBand>'
    '<SrcRect xOff="0" yOff="0" xSize="40" ySize="30"/>'
    '<DstRect xOff="0" yOff="0" xSize="40" ySize="30"/></SimpleSource>'
)
PLACE = "<SRS>EPSG:32633</SRS><GeoTransform>500000, 10, 0, 5000000, 0, -10</GeoTransform>"
GOOD = BAND.format(SIMPLE.format("a.tif"))


def written(body: str, attributes: str = "", size: int = 40) -> str:
    return (
        f'<VRTDataset rasterXSize="{size}" rasterYSize="30"{attributes}>{PLACE}{body}</VRTDataset>'
    )


DERIVED = GOOD.replace('band="1"', 'band="1" subClass="VRTDerivedRasterBand"')
REFUSED = {
    "pixel function": (written(DERIVED), "computes its pixels"),
    "pixel function without subclass": (
        written(BAND.format("<PixelFunctionType>sum</PixelFunctionType>" + SIMPLE.format("a.tif"))),
        "<PixelFunctionType>",
    ),
    "code": (
        written(BAND.format("<PixelFunctionCode>import os</PixelFunctionCode>")),
        "<PixelFunctionCode>",
    ),
    "warped": (written(GOOD, ' subClass="VRTWarpedDataset"'), "computes its pixels"),
    "pansharpened": (written(GOOD, ' subClass="VRTPansharpenedDataset"'), "computes its pixels"),
    "processed": (written(GOOD, ' subClass="VRTProcessedDataset"'), "computes its pixels"),
    "raw": (
        written(GOOD.replace('band="1"', 'band="1" subClass="VRTRawRasterBand"')),
        "computes its pixels",
    ),
    "raw without subclass": (
        written(BAND.format("<SourceFilename>/etc/passwd</SourceFilename>")),
        "<SourceFilename>",
    ),
    "warp options": (written(GOOD + "<GDALWarpOptions/>"), "<GDALWarpOptions>"),
    "points": (written(GOOD + "<GCPList/>"), "<GCPList>"),
    "groups": (written(GOOD + '<Group name="/"/>'), "<Group>"),
    "open options": (
        written(BAND.format(SIMPLE.format("a.tif").replace(
            "<SourceBand>", "<OpenOptions><OOI key='X'>1</OOI></OpenOptions><SourceBand>"))),
        "<OpenOptions>",
    ),
    "kernel": (
        written(GOOD.replace("SimpleSource", "KernelFilteredSource")),
        "<KernelFilteredSource>",
    ),
    "lookup": (
        written(GOOD.replace("SimpleSource", "ComplexSource").replace(
            "<SourceBand>", "<LUT>0:1,1:2</LUT><SourceBand>")),
        "<LUT>",
    ),
    "averaged": (
        written(GOOD.replace("<SimpleSource>", '<SimpleSource resampling="bilinear">').replace(
            '<DstRect xOff="0" yOff="0" xSize="40"', '<DstRect xOff="0" yOff="0" xSize="20"')),
        "resampled",
    ),
    "nested": (written(GOOD.replace("a.tif", "other.vrt")), "VRT in a VRT"),
    "network": (
        written(GOOD.replace("a.tif", "/vsicurl/http://example.org/a.tif")), "GDAL expression"
    ),
    "address": (written(GOOD.replace("a.tif", "http://example.org/a.tif")), "not on the list"),
    "sub-file": (written(GOOD.replace("a.tif", "/vsisubfile/0_9,a.tif")), "GDAL expression"),
    "inline": (written(GOOD.replace("a.tif", "&lt;VRTDataset/&gt;")), "GDAL expression"),
    "subdataset": (written(GOOD.replace("a.tif", 'NETCDF:"a.nc":b')), "prefix"),
    "directory": (written(GOOD.replace("a.tif", "GTIFF_DIR:1:a.tif")), "prefix"),
    "derived": (
        written(GOOD.replace("a.tif", "DERIVED_SUBDATASET:LOGAMPLITUDE:a.tif")), "prefix"
    ),
    "parent": (written(GOOD.replace("a.tif", "../secret/a.tif")), "outside the folders"),
    "elsewhere": (
        written(GOOD.replace('relativeToVRT="1">a.tif', 'relativeToVRT="0">/etc/a.tif')),
        "outside the folders",
    ),
    "from where GDAL runs": (written(GOOD.replace('"1">a.tif', '"0">a.tif')), "runs in"),
    "another kind": (written(GOOD.replace("a.tif", "notes.txt")), "are not read as images"),
    "missing": (written(GOOD.replace("a.tif", "gone.tif")), "gone"),
    "band that is not there": (
        written(GOOD.replace("<SourceBand>1", "<SourceBand>7")), "it has 2 bands"
    ),
    "too small a file": (written(GOOD.replace('xSize="40"', 'xSize="50"')), "40 x 30 pixels"),
    "huge": (written(GOOD, size=10**9), "claims to have"),
    "huge, and no disk for it": (written(GOOD, size=2**24 - 1).replace(
        'rasterYSize="30"', f'rasterYSize="{2**24 - 1}"'), "of the disk are free"),
    "complex numbers": (written(GOOD.replace("Int16", "CFloat32")), "CFloat32"),
    "no place": (written(GOOD).replace("GeoTransform", "Histograms"), "where its pixels lie"),
    "rotated": (written(GOOD).replace("10, 0, 5000000", "10, 1, 5000000"), "rotated"),
    "no bands": (written(""), "no bands"),
    "laughs": (
        '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>' + written(GOOD + "&b;"), "entities"
    ),
    "no XML": ("VRT", "no XML"),
    "another XML": ("<kml/>", "no VRT"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_everything_else_is_refused_with_the_reason(name: str, tiles: Path, tmp_path: Path) -> None:
    text, reason = REFUSED[name]
    vrt = tiles / f"{tmp_path.name}.vrt"
    vrt.write_text(text)

    with pytest.raises(ArgumentInvalid) as refused:
        ingest([vrt], "c", Workspace(tmp_path), options=DATED)

    assert reason in str(refused.value), name
    assert not list(tmp_path.rglob("*.tif"))
    vrt.unlink()


def test_a_link_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    image(tmp_path / "outside.tif", np.ones((1, 30, 40), "int16"), 500_000.0)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.tif").symlink_to(tmp_path / "outside.tif")
    (folder / "v.vrt").write_text(written(GOOD))

    with pytest.raises(ArgumentInvalid, match="outside the folders"):
        ingest([folder / "v.vrt"], "c", Workspace(tmp_path / "home"), options=DATED)


def test_a_source_that_is_a_vrt_inside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text(written(GOOD.replace("a.tif", "/etc/passwd")))
    (tmp_path / "v.vrt").write_text(written(GOOD))

    with pytest.raises(ArgumentInvalid, match="no readable GeoTIFF"):
        ingest([tmp_path / "v.vrt"], "c", Workspace(tmp_path / "home"), options=DATED)


def test_no_driver_of_gdal_reads_a_vrt() -> None:
    assert FORMATS[".vrt"].__module__ == "terrazzo.drivers.ingestion.vrt"
