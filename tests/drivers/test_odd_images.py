"""Odd images: right values at the right places, or a reason and a way out."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from pyproj import CRS, Transformer
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS as RasterioCRS  # noqa: N811 - a class, not a constant
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC
from rasterio.transform import Affine

from terrazzo.catalog import read_bands
from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.job import Workspace
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.grid import Window
from terrazzo.processes.load import LoadRequest
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from terrazzo.cube.source import Source
    from terrazzo.drivers.ingest import IngestReport

PLACE = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0)
DATE = "2020-05-01"
COPY = IngestOptions(copy=True, datetime=DATE)
SINUSOIDAL = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def ramp(count: int, height: int, width: int, dtype: str = "uint16") -> np.ndarray[Any, Any]:
    return (1 + np.arange(count * height * width)).reshape(count, height, width).astype(dtype)


def image(path: Path, values: np.ndarray[Any, Any], **profile: Any) -> Path:
    """Write a GeoTIFF; (band, y, x) values; None leaves a member of the profile out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    place = {"crs": "EPSG:32633", "transform": PLACE}
    chosen = {"driver": "GTiff", **place, **shape, **profile}
    with rasterio.open(path, "w", **{k: v for k, v in chosen.items() if v is not None}) as file:
        file.write(values)
    return path


def tool(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True, timeout=300)


class Notes(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def taken(
    paths: Path | Sequence[Path], home: Path, options: IngestOptions = COPY
) -> tuple[IngestReport, list[dict[str, Any]], list[str]]:
    """Ingest; return the report, the items and what was noted."""
    workspace, notes = Workspace.of(home), Notes()
    named = [paths] if isinstance(paths, Path) else list(paths)
    report = ingest(named, "c", workspace, options=options, progress=notes)
    with workspace.catalog() as catalog:
        items = list(catalog.search(("c",)))
    return report, items, notes.notes


def reason_of(path: Path, home: Path, options: IngestOptions = COPY) -> str:
    """Ingest what must be refused; return the reason."""
    with pytest.raises(ArgumentInvalid) as refused:
        taken(path, home / "refused", options)
    assert not list((home / "refused").rglob("*.tif"))
    return str(refused.value)


def seen(home: Path) -> Seen:
    """Return what a graph gets of the collection on its own grid."""
    return Seen(Workspace.of(home).opener().open(LoadRequest("c", None, None, None, None, {})))


class Seen:
    """A collection as a graph reads it: physical values, NaN where nothing is valid."""

    def __init__(self, source: Source) -> None:
        self.source, self.grid = source, source.grid

    def at(self, x: float, y: float) -> list[float]:
        """Return the values of all bands of the first date at a place in the grid's CRS."""
        col = math.floor((x - self.grid.left) / self.grid.pixel_x)
        row = math.floor((self.grid.top - y) / self.grid.pixel_y)
        return self.window(Window(row, col, 1, 1))[:, 0, 0].tolist()

    def window(self, window: Window) -> np.ndarray[Any, Any]:
        cube = self.source.read(self.grid, window, {}, "near")
        return np.where(cube.valid[0], cube.values[0], np.nan)

    def whole(self) -> np.ndarray[Any, Any]:
        return self.window(self.source.extent)


def centres(path: Path, count: int = 25) -> list[tuple[float, float, list[float]]]:
    """Return x, y and physical values of some pixels of a file, by rasterio; NaN = masked."""
    with rasterio.open(path) as file:
        bands = [n for n in file.indexes if file.colorinterp[n - 1] is not ColorInterp.alpha]
        random = np.random.default_rng(1)
        found = []
        for row, col in zip(
            random.integers(0, file.height, count), random.integers(0, file.width, count),
            strict=True,
        ):  # fmt: skip
            x, y = file.xy(row, col)
            at = ((row, row + 1), (col, col + 1))
            stored = file.read(bands, window=at)[:, 0, 0].astype(float)
            scales = np.array([file.scales[n - 1] for n in bands])
            offsets = np.array([file.offsets[n - 1] for n in bands])
            masks = file.read_masks(bands, window=at)[:, 0, 0] != 0
            found.append((x, y, np.where(masks, stored * scales + offsets, np.nan).tolist()))
    return found


@pytest.mark.parametrize("copy", [False, True], ids=["in place", "copied"])
@pytest.mark.parametrize(
    "name",
    ["cog.tif", "cog_dateline.tif", "cog_nodata.tif", "cog_rgb_mask.tif", "cog_scale.tif",
     "mosaic_cog3.tif"],
)  # fmt: skip
def test_real_odd_images_have_their_values_where_rasterio_has_them(
    name: str, copy: bool, shared: Path, tmp_path: Path
) -> None:
    file = shared / "data" / "riotiler_cogs" / name

    taken(file, tmp_path, IngestOptions(copy=copy, datetime=DATE))

    found = seen(tmp_path)
    for x, y, expected in centres(file):
        np.testing.assert_allclose(found.at(x, y), expected, rtol=1e-6)


def test_a_real_image_of_strips_is_copied_or_refused(shared: Path, tmp_path: Path) -> None:
    file = shared / "data" / "riotiler_cogs" / "nocog.tif"

    reason = reason_of(file, tmp_path / "refused", IngestOptions(datetime=DATE))
    taken(file, tmp_path)

    assert "--copy" in reason
    found = seen(tmp_path)
    for x, y, expected in centres(file):
        np.testing.assert_allclose(found.at(x, y), expected)


def test_a_real_image_with_control_points_only_is_warped_as_gdalwarp_does(
    shared: Path, tmp_path: Path
) -> None:
    file = shared / "data" / "riotiler_cogs" / "cog_gcps.tif"
    oracle = tmp_path / "oracle.tif"
    tool("gdalwarp", "-q", "-r", "near", "-t_srs", "EPSG:4326", "-dstalpha", "-et", 0, file, oracle)

    reason = reason_of(file, tmp_path / "refused", IngestOptions(datetime=DATE))
    report, items, _ = taken(file, tmp_path / "home")

    assert "210 ground control points" in reason
    assert "--copy" in reason
    assert (report.made, dict(report.failed)) == (1, {})
    with rasterio.open(oracle) as made:
        expected, alpha, place = made.read(1), made.read(2), made.transform
    found = seen(tmp_path / "home")
    assert (found.grid.left, found.grid.top) == pytest.approx((place.c, place.f))
    values = found.whole()[0]
    assert values.shape == expected.shape
    wanted = np.where(alpha != 0, expected.astype(float), np.nan)
    same = (values == wanted) | (np.isnan(values) & np.isnan(wanted))
    # GDAL's default transformer is approximate to 1/8 pixel: some pixels fall on a neighbour.
    assert same.mean() > 0.9
    with rasterio.open(file) as source:
        points, _ = source.gcps
        pixels = source.read(1)
    close = 0
    for point in points:
        row, col = math.floor(point.row), math.floor(point.col)
        around = pixels[max(row - 3, 0) : row + 4, max(col - 3, 0) : col + 4]
        inside = found.grid.bounds[0] < point.x < found.grid.bounds[2]
        inside &= found.grid.bounds[1] < point.y < found.grid.bounds[3]
        if around.size and inside:
            (value,) = found.at(point.x, point.y)
            close += bool(np.isnan(value) or value in around)
    assert close > 0.9 * len(points)
    assert items[0]["assets"]["band1"]["proj:code"] == "EPSG:4326"


ROTATED = Affine.translation(500_000, 5_000_000) @ Affine.rotation(30) @ Affine.scale(10, -10)
SHEARED = Affine(10, 4, 500_000, 0, -10, 5_000_000)
MIRRORED = Affine(-10, 0, 500_400, 0, -10, 5_000_000)
QUARTER = Affine(0, 10, 500_000, 10, 0, 4_999_000)


@pytest.mark.parametrize(
    "place", [ROTATED, SHEARED, MIRRORED, QUARTER], ids=["rotated", "sheared", "mirrored", "turned"]
)
def test_turned_images_are_warped_to_the_nearest_pixel(place: Affine, tmp_path: Path) -> None:
    values = ramp(1, 40, 50)
    file = image(tmp_path / "x.tif", values, transform=place)

    reason = reason_of(file, tmp_path / "refused", IngestOptions(datetime=DATE))
    taken(file, tmp_path / "home")

    assert "rotated, sheared or mirrored" in reason
    assert "--copy" in reason
    found, near = seen(tmp_path / "home"), 0
    for row in range(2, 38, 3):
        for col in range(2, 48, 3):
            x, y = place @ (col + 0.5, row + 0.5)
            (value,) = found.at(x, y)
            around = values[0, row - 1 : row + 2, col - 1 : col + 2]
            assert value in around
            near += value == values[0, row, col]
    assert near > 100
    # Outside of the file nothing is valid.
    whole = found.whole()[0]
    inverse = ~place
    ys, xs = found.grid.ys(found.grid.window), found.grid.xs(found.grid.window)
    for row in range(0, len(ys), 5):
        for col in range(0, len(xs), 5):
            at_col, at_row = inverse @ (xs[col], ys[row])
            outside = at_col < -1 or at_row < -1 or at_col > 51 or at_row > 41
            assert not outside or np.isnan(whole[row, col])


def test_turned_image_keeps_its_no_data_scale_unit_and_names(tmp_path: Path) -> None:
    values = ramp(2, 30, 40, "int16")
    values[:, 5, 5] = -1
    file = image(tmp_path / "x.tif", values, transform=ROTATED, nodata=-1)
    with rasterio.open(file, "r+") as opened:
        opened.scales, opened.offsets, opened.units = (0.1, 0.5), (1.0, 2.0), ("m", "K")
        opened.set_band_description(1, "height")
        opened.set_band_description(2, "heat")

    _, items, _ = taken(file, tmp_path / "home")

    bands = read_bands(items[0])
    assert [(b.name, b.nodata, b.scale, b.offset, b.unit) for b in bands] == [
        ("height", -1, 0.1, 1.0, "m"),
        ("heat", -1, 0.5, 2.0, "K"),
    ]
    found = seen(tmp_path / "home")
    x, y = ROTATED @ (20.5, 10.5)
    at_height, at_heat = found.at(x, y)
    assert (round((at_height - 1) / 0.1), round((at_heat - 2) / 0.5)) in {
        (int(a), int(b)) for a, b in zip(values[0].flat, values[1].flat, strict=True)
    }
    x, y = ROTATED @ (5.5, 5.5)
    assert np.isnan(found.at(x, y)).all()


def test_few_control_points_place_an_image(tmp_path: Path) -> None:
    corners = [(0, 0), (0, 40), (30, 0), (30, 40), (15, 20)]
    points = [
        GroundControlPoint(row, col, 500_000 + 10 * col, 5_000_000 - 10 * row)
        for row, col in corners
    ]
    values = ramp(1, 30, 40)
    file = image(tmp_path / "x.tif", values, transform=None, crs=None)
    with rasterio.open(file, "r+") as opened:
        opened.gcps = points, RasterioCRS.from_epsg(32633)

    taken(file, tmp_path / "home")

    found = seen(tmp_path / "home")
    assert found.grid.crs == "EPSG:32633"
    assert found.at(500_205, 4_999_895) == [values[0, 10, 20]]


def test_sensor_model_only_and_no_place_at_all_are_refused_with_a_way_out(tmp_path: Path) -> None:
    bare = image(tmp_path / "bare.tif", ramp(1, 9, 9), transform=None, crs=None)
    modelled = image(tmp_path / "rpc.tif", ramp(1, 9, 9), transform=None, crs=None)
    coefficients = [1.0] + [0.0] * 19
    with rasterio.open(modelled, "r+") as opened:
        opened.rpcs = RPC(
            height_off=0, height_scale=1, lat_off=0, lat_scale=1, line_den_coeff=coefficients,
            line_num_coeff=coefficients, line_off=0, line_scale=1, long_off=0, long_scale=1,
            samp_den_coeff=coefficients, samp_num_coeff=coefficients, samp_off=0, samp_scale=1,
        )  # fmt: skip

    assert "gdal_translate -a_srs" in reason_of(bare, tmp_path / "a")
    assert "gdalwarp -rpc" in reason_of(modelled, tmp_path / "b")


def test_image_whose_rows_go_north_is_read_in_place(tmp_path: Path) -> None:
    values = ramp(1, 30, 40)
    upwards = Affine(10, 0, 500_000, 0, 10, 4_999_700)
    file = image(tmp_path / "x_20200501.tif", values, transform=upwards)

    taken(file, tmp_path / "home", IngestOptions())
    taken(file, tmp_path / "copied")

    for home in ("home", "copied"):
        found = seen(tmp_path / home)
        assert found.grid.top == 5_000_000
        np.testing.assert_array_equal(found.whole()[0], values[0, ::-1])


def test_crs_that_a_file_lacks_is_asked_for_and_stated(tmp_path: Path) -> None:
    values = ramp(2, 30, 40)
    values[0, :3] = 0
    file = image(tmp_path / "x_20200501.tif", values, crs=None, nodata=0)

    reason = reason_of(file, tmp_path / "refused", IngestOptions())
    report, items, _ = taken(file, tmp_path / "home", IngestOptions(crs="EPSG:32633"))
    again, _, _ = taken(file, tmp_path / "home", IngestOptions(crs="EPSG:32633"))
    other, _, _ = taken(file, tmp_path / "home", IngestOptions(crs="32634"))

    assert "--crs EPSG:32633" in reason
    assert (report.made, report.roots, again.kept, other.made) == (1, (), 1, 1)
    assert items[0]["assets"]["data"]["proj:code"] == "EPSG:32633"
    found = seen(tmp_path / "home")
    assert found.grid.crs == "EPSG:32634"
    np.testing.assert_array_equal(found.whole(), np.where(values == 0, np.nan, values))
    with rasterio.open(items[0]["assets"]["data"]["href"]) as copied:
        np.testing.assert_array_equal(copied.read(), values)


def test_crs_that_a_file_states_is_believed_and_said(tmp_path: Path) -> None:
    file = image(tmp_path / "x_20200501.tif", ramp(1, 9, 9))

    _, items, notes = taken(file, tmp_path / "home", IngestOptions(crs="EPSG:4326"))
    _, _, silent = taken(file, tmp_path / "same", IngestOptions(crs="EPSG:32633"))

    assert items[0]["assets"]["band1"]["proj:code"] == "EPSG:32633"
    assert any("EPSG:32633, which is believed, and not --crs EPSG:4326" in one for one in notes)
    assert not silent


def test_world_file_and_prj_beside_an_image_are_read_when_it_is_copied(tmp_path: Path) -> None:
    values = ramp(1, 30, 40)
    file = image(tmp_path / "x.tif", values, transform=None, crs=None)
    # The numbers of a world file place the centre of the first pixel.
    (tmp_path / "x.tfw").write_text("10\n0\n0\n-10\n500005\n4999995\n")

    in_place = reason_of(file, tmp_path / "a", IngestOptions(datetime=DATE, crs="EPSG:32633"))
    without = reason_of(file, tmp_path / "b")
    (tmp_path / "x.prj").write_text(CRS.from_epsg(32633).to_wkt("WKT1_ESRI"))
    _, _, notes = taken(file, tmp_path / "home")

    assert "world file" in in_place
    assert "--crs" in without
    assert any("world file" in one for one in notes)
    found = seen(tmp_path / "home")
    assert found.grid.crs == "EPSG:32633"
    np.testing.assert_array_equal(found.whole(), values)
    assert found.at(500_005, 4_999_995) == [1]


def test_files_beside_an_image_change_nothing(tmp_path: Path) -> None:
    values = ramp(1, 30, 40)
    file = image(tmp_path / "x_20200501.tif", values)
    tool("gdaladdo", "-q", "-ro", file, 2)
    (tmp_path / "x_20200501.tif.aux.xml").write_text(
        "<PAMDataset><SRS>EPSG:3857</SRS><GeoTransform>0,1,0,0,0,-1</GeoTransform>"
        '<PAMRasterBand band="1"><NoDataValue>7</NoDataValue></PAMRasterBand></PAMDataset>'
    )
    (tmp_path / "x_20200501.tfw").write_text("1\n0\n0\n-1\n0\n0\n")
    image(tmp_path / "x_20200501.tif.msk", np.zeros((1, 30, 40), "uint8"), crs=None, transform=None)

    _, items, notes = taken(tmp_path / "x_20200501.tif", tmp_path / "home", IngestOptions())

    (band,) = read_bands(items[0])
    assert band.nodata is None
    assert [one for one in notes if "mask in x_20200501.tif.msk is not read" in one] == notes
    assert items[0]["assets"]["band1"]["proj:code"] == "EPSG:32633"
    np.testing.assert_array_equal(seen(tmp_path / "home").whole(), values)


@pytest.mark.parametrize(
    ("crs", "left", "top", "pixel", "reason"),
    [
        ("EPSG:4326", 500_000.0, 5e6, 10.0, "are no degrees"),
        ("EPSG:4326", 10.0, 91.5, 0.01, "are no degrees"),
        ("EPSG:32633", 15.1, 45.2, 0.0001, "look like degrees"),
        ("EPSG:3035", -2.5e6, 8e6, 100.0, "is for longitudes"),
        ("EPSG:32633", 5e9, 5e6, 10.0, "nowhere"),
        ("EPSG:2154", 15.1, 45.2, 0.0001, "look like degrees"),
    ],
)
def test_coordinates_that_cannot_be_of_the_crs_are_refused(
    crs: str, left: float, top: float, pixel: float, reason: str, tmp_path: Path
) -> None:
    place = Affine(pixel, 0, left, 0, -pixel, top)
    file = image(tmp_path / "x.tif", ramp(1, 30, 40), crs=crs, transform=place)

    said = reason_of(file, tmp_path, IngestOptions(datetime=DATE))

    assert reason in said
    assert "wrong CRS" in said


@pytest.mark.parametrize(
    ("crs", "left", "top", "pixel"),
    [
        pytest.param("EPSG:25833", 1_100_000.0, 7_900_000.0, 10.0, id="country in one zone"),
        pytest.param("EPSG:32760", 880_000.0, 8_000_000.0, 10.0, id="across the antimeridian"),
        pytest.param("EPSG:4326", 179.9, 1.0, 0.01, id="beyond 180 degrees"),
        pytest.param("EPSG:4326", -0.2, 90.0, 0.4, id="longitudes 0 to 360"),
        pytest.param("EPSG:3857", -20037508.34, 20037508.34, 10018754.17, id="whole Mercator"),
        pytest.param("EPSG:3413", -2e6, 1e6, 100.0, id="pole"),
        pytest.param("EPSG:6933", -17367530.4, 7314540.8, 36032.2, id="whole equal area"),
        pytest.param(SINUSOIDAL, 0.0, 5e6, 463.3, id="sinusoidal"),
        pytest.param("ESRI:102003", 0.0, 1e6, 100.0, id="ESRI"),
        pytest.param("IGNF:ETRS89LAEA", 4e6, 3e6, 30.0, id="IGNF"),
        pytest.param("EPSG:7415", 120_000.0, 480_000.0, 10.0, id="compound"),
        pytest.param("+init=epsg:32631", 500_000.0, 5e6, 10.0, id="init"),
    ],
)
def test_images_of_unusual_crs_lie_where_rasterio_has_them(
    crs: str, left: float, top: float, pixel: float, tmp_path: Path
) -> None:
    values = ramp(1, 8, 12)
    made = RasterioCRS.from_user_input(crs if ":" in crs or "+" in crs else int(crs))
    place = Affine(pixel, 0, left, 0, -pixel, top)
    file = image(tmp_path / "x_20200501.tif", values, crs=made, transform=place)

    _, items, _ = taken(file, tmp_path / "home", IngestOptions())
    taken(file, tmp_path / "copied")

    for home in ("home", "copied"):
        found = seen(tmp_path / home)
        for x, y, expected in centres(file, 8):
            assert found.at(x, y) == expected
        ours = Transformer.from_crs(CRS.from_user_input(found.grid.crs), 4326, always_xy=True)
        horizontal = CRS.from_wkt(made.to_wkt())
        horizontal = horizontal.sub_crs_list[0] if horizontal.is_compound else horizontal
        theirs = Transformer.from_crs(horizontal, 4326, always_xy=True)
        x, y = place @ (6.5, 4.5)
        assert ours.transform(x, y) == pytest.approx(theirs.transform(x, y), abs=1e-9)
    west, south, east, north = items[0]["bbox"]
    assert -180 <= west <= 180
    assert -180 <= east <= 180
    assert -90 <= south < north <= 90


def test_not_a_number_as_no_data_of_integers_marks_nothing(tmp_path: Path) -> None:
    values = ramp(1, 9, 9)
    file = image(tmp_path / "x_20200501.tif", values)
    tool("gdal_edit.py", "-a_nodata", "nan", file)

    _, items, _ = taken(file, tmp_path / "home", IngestOptions())

    np.testing.assert_array_equal(seen(tmp_path / "home").whole(), values)
    (band,) = read_bands(items[0])
    assert band.dtype == "uint16"


@pytest.mark.parametrize("copy", [False, True], ids=["in place", "copied"])
@pytest.mark.parametrize("kind", ["mask", "alpha"])
def test_masks_and_alpha_say_what_is_valid(kind: str, copy: bool, tmp_path: Path) -> None:
    values = ramp(3, 20, 30, "uint8")
    valid = np.full((20, 30), 255, "uint8")
    valid[4:9, 11:] = 0
    path = tmp_path / "x_20200501.tif"
    if kind == "alpha":
        image(path, np.concatenate([values, valid[np.newaxis]]), photometric="RGB", alpha="YES")
    else:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            image(path, values)
            with rasterio.open(path, "r+") as opened:
                opened.write_mask(valid)

    _, items, _ = taken(path, tmp_path / "home", IngestOptions(copy=copy))

    bands = read_bands(items[0])
    assert [band.common_name for band in bands] == ["red", "green", "blue"]
    expected = np.where(valid != 0, values.astype(float), np.nan)
    np.testing.assert_array_equal(seen(tmp_path / "home").whole(), expected)


def test_mask_of_a_turned_image_goes_with_it(tmp_path: Path) -> None:
    values, valid = ramp(1, 40, 50, "uint8"), np.full((40, 50), 255, "uint8")
    valid[10:20, 10:20] = 0
    path = tmp_path / "x.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        image(path, values, transform=MIRRORED)
        with rasterio.open(path, "r+") as opened:
            opened.write_mask(valid)

    taken(path, tmp_path / "home")

    expected = np.where(valid != 0, values[0].astype(float), np.nan)[:, ::-1]
    np.testing.assert_array_equal(seen(tmp_path / "home").whole()[0], expected)


def test_classes_of_a_table_of_colours_are_in_the_item(tmp_path: Path) -> None:
    path = image(tmp_path / "x_20200501.tif", ramp(1, 2, 2, "uint8"))
    with rasterio.open(path, "r+") as opened:
        opened.write_colormap(1, {11: (70, 107, 159, 255), 41: (104, 170, 99, 255)})

    for home, copy in (("home", False), ("copied", True)):
        _, items, _ = taken(path, tmp_path / home, IngestOptions(copy=copy))

        asset = items[0]["assets"]["band1"]
        assert asset["classification:classes"] == [
            {"value": 11, "name": "class-11", "color_hint": "466B9F"},
            {"value": 41, "name": "class-41", "color_hint": "68AA63"},
        ]
        assert [one for one in items[0]["stac_extensions"] if "/classification/" in one]
    again, _, _ = taken(path, tmp_path / "home", IngestOptions())
    assert again.kept == 1


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"WAVELENGTH": "0.665"}, 0.665),
        ({"wavelength": "664.9", "wavelength_units": "Nanometers"}, 0.6649),
        ({"wavelength": "842"}, 0.842),
        ({"CENTER_WAVELENGTH": "10.9 um"}, 10.9),
        ({"CENTRAL_WAVELENGTH_UM": "2.19"}, 2.19),
        ({"WAVELENGTH": "red"}, None),
        ({"WAVELENGTH": "-5"}, None),
    ],
)
def test_wavelengths_of_tags_are_in_the_bands(
    tags: Mapping[str, str], expected: float | None, tmp_path: Path
) -> None:
    path = image(tmp_path / "x_20200501.tif", ramp(1, 2, 2))
    with rasterio.open(path, "r+") as opened:
        opened.update_tags(1, **tags)

    _, items, _ = taken(path, tmp_path / "home", IngestOptions())

    (band,) = read_bands(items[0])
    assert band.wavelength_um == expected
    stated = items[0]["assets"]["band1"]["bands"][0].get("eo:center_wavelength")
    assert stated == expected


def test_units_of_bands_are_in_the_item(tmp_path: Path) -> None:
    path = image(tmp_path / "x_20200501.tif", ramp(2, 2, 2))
    with rasterio.open(path, "r+") as opened:
        opened.units = ("K", "")

    _, items, _ = taken(path, tmp_path / "home", IngestOptions())

    assert [band.get("unit") for band in items[0]["assets"]["data"]["bands"]] == ["K", None]


def test_two_files_of_one_item_and_band_are_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    image(folder / "a" / "scene_20200501_B04.tif", ramp(1, 4, 4))
    image(folder / "b" / "scene_20200501_B04.tif", ramp(1, 4, 4))

    report, _, _ = taken(folder, tmp_path / "home", IngestOptions())

    assert (report.made, list(report.failed)) == (1, ["b/scene_20200501_B04.tif"])
    assert "has B04 already, from a/scene_20200501_B04.tif" in str(report.failed)


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    file = image(tmp_path / "x.tif", ramp(1, 4, 4, "complex64"))

    assert "complex" in reason_of(file, tmp_path)


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_long_integers_are_right(dtype: str, tmp_path: Path) -> None:
    values = ramp(1, 9, 9, dtype) + 2**40
    file = image(tmp_path / "x_20200501.tif", values, nodata=2**40 + 5)

    taken(file, tmp_path / "home", IngestOptions())
    taken(file, tmp_path / "copied")

    expected = np.where(values == 2**40 + 5, np.nan, values.astype(float))
    for home in ("home", "copied"):
        np.testing.assert_array_equal(seen(tmp_path / home).whole(), expected)


@pytest.mark.parametrize("copy", [False, True], ids=["in place", "copied"])
def test_image_of_one_pixel(copy: bool, tmp_path: Path) -> None:
    file = image(tmp_path / "x_20200501.tif", ramp(1, 1, 1))

    taken(file, tmp_path / "home", IngestOptions(copy=copy))

    assert seen(tmp_path / "home").at(500_005, 4_999_995) == [1]


def test_big_tiff_and_big_endian_are_read(tmp_path: Path) -> None:
    values = ramp(1, 30, 40)
    for number, how in enumerate(({"BIGTIFF": "YES"}, {"ENDIANNESS": "BIG"})):
        file = image(tmp_path / f"x{number}_20200501.tif", values, **how)

        taken(file, tmp_path / f"{number}", IngestOptions())

        np.testing.assert_array_equal(seen(tmp_path / f"{number}").whole(), values)


def test_file_without_a_date_is_asked_for_it_by_name(tmp_path: Path) -> None:
    file = image(tmp_path / "x.tif", ramp(1, 4, 4))

    assert "--datetime" in reason_of(file, tmp_path, IngestOptions())


def test_tiff_that_is_called_jp2_is_read(tmp_path: Path) -> None:
    values = ramp(1, 30, 40)
    image(tmp_path / "x.tif", values).rename(tmp_path / "x_20200501.jp2")

    taken(tmp_path / "x_20200501.jp2", tmp_path / "home", IngestOptions())

    np.testing.assert_array_equal(seen(tmp_path / "home").whole(), values)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"<VRTDataset rasterXSize='1' rasterYSize='1'/>", "a GDAL VRT inside; name it *.vrt"),
        (b"<?xml version='1.0'?>\n<VRTDataset/>", "a GDAL VRT inside"),
        (b"<GDAL_WMS><Service name='TMS'/></GDAL_WMS>", "XML or HTML"),
        (b"<html>Not found</html>", "XML or HTML"),
        (b"\x89HDF\r\n\x1a\n", "HDF5 or NetCDF 4 inside; name it *.nc"),
        (b"\x89PNG\r\n\x1a\n", "PNG inside; make a GeoTIFF of it"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000 inside; name it *.jp2"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"", "it is empty"),
        (bytes(600), "zeros only"),
        (b"hello there, reader", "neither TIFF nor JPEG 2000"),
    ],
)
def test_file_of_another_kind_is_told_by_its_first_bytes(
    head: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "x_20200501.tif"
    path.write_bytes(head)

    assert reason in reason_of(path, tmp_path)


@pytest.mark.parametrize("resized", [(70, 90), (700, 900)])
def test_many_bands_and_types_keep_every_number_when_copied(
    resized: tuple[int, int], tmp_path: Path
) -> None:
    for dtype in ("int8", "int16", "uint32", "int32", "float32", "float64"):
        values = ramp(1, *resized, dtype)
        file = image(tmp_path / f"{dtype}_20200501.tif", values)

        _, items, _ = taken(file, tmp_path / dtype)

        with rasterio.open(items[0]["assets"]["band1"]["href"]) as copied:
            np.testing.assert_array_equal(copied.read(), values)


@pytest.mark.parametrize(
    ("dtype", "mark"),
    [
        ("uint64", 2**64 - 1),
        ("int64", -(2**63) + 2),
        ("int64", 2**63 - 1),
        ("int64", 2**53 + 1),
    ],
)
def test_no_data_that_float64_does_not_hold_is_rewritten_by_a_copy(
    tmp_path: Path, dtype: str, mark: int
) -> None:
    values = np.array([[[1, mark, 3, 2**60 + 1], [mark, mark - np.sign(mark), 0, 9]]], dtype)
    plain, path = image(tmp_path / "plain.tif", values), tmp_path / "in" / "a.tif"
    path.parent.mkdir()
    tool("gdal_translate", "-a_nodata", mark, plain, path)

    refusal = reason_of(path, tmp_path, IngestOptions(datetime=DATE))
    report, items, _ = taken(path, tmp_path / "home")

    assert f"no-data is {mark}, " in refusal
    assert "--copy" in refusal
    assert report.made == 1
    (asset,) = items[0]["assets"].values()
    stand_in = -(2**53) if dtype == "int64" else 2**53
    assert [band.nodata for band in read_bands(asset)] == [stand_in]
    told = subprocess.run(["gdalinfo", asset["href"]], capture_output=True, text=True, check=True)
    assert f"NoData Value={stand_in}\n" in told.stdout
    with rasterio.open(asset["href"]) as file:
        np.testing.assert_array_equal(file.read_masks(1) > 0, values[0] != values[0, 0, 1])
        kept = values[0] != values[0, 0, 1]
        np.testing.assert_array_equal(file.read(1)[kept], values[0][kept])
    assert [p.name for p in Path(asset["href"]).parent.iterdir()] == [Path(asset["href"]).name]


@pytest.mark.parametrize("mark", [-(2**63), -9999, 2**53])
def test_no_data_of_64_bits_that_float64_holds_is_read_in_place(tmp_path: Path, mark: int) -> None:
    values = np.array([[[1, mark, 3, 2**60 + 1]]], "int64")
    path = tmp_path / "in" / "a.tif"
    path.parent.mkdir()
    tool("gdal_translate", "-a_nodata", mark, image(tmp_path / "plain.tif", values), path)

    _, items, _ = taken(path, tmp_path / "home", IngestOptions(datetime=DATE))

    (asset,) = items[0]["assets"].values()
    assert [band.nodata for band in read_bands(asset)] == [mark]


def test_a_copy_does_not_take_data_for_no_data(tmp_path: Path) -> None:
    values = np.array([[[1, 2**64 - 1, 2**53, 4]]], "uint64")
    path = tmp_path / "in" / "a.tif"
    path.parent.mkdir()
    tool("gdal_translate", "-a_nodata", 2**64 - 1, image(tmp_path / "plain.tif", values), path)

    assert f"{2**53}, is that of a pixel" in reason_of(path, tmp_path)
