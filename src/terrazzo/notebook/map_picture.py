"""A picture of what is in view, with its legends, scale bar and sources."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any, Final

from PIL import Image, ImageDraw, ImageFont
from pyproj import Geod, Transformer

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.crs import WGS84
from terrazzo.notebook.map_answers import json_of
from terrazzo.notebook.map_channel import Content
from terrazzo.progress import Progress
from terrazzo.storage.writers.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from terrazzo.notebook.map_layer import MapLayer

WIDTH: Final = 2048
"""Of the picture, pixels."""
_MOST: Final = 4096
_MARGIN, _LINE, _TEXT, _BAR, _THICK = 20, 34, 22, 340, 18
_INK, _PAPER = (20, 20, 20), (255, 255, 255)
_NICE: Final = (5, 2, 1)


def save_picture(path: Path, layers: Sequence[MapLayer], bounds: Sequence[float], crs: str) -> Path:
    """Save layers as they look, the lowest first, as PNG; a strip below says what they mean.

    Args:
        path: of the file.
        layers: computed ones.
        bounds: (west, south, east, north), degrees.
        crs: in which the picture is drawn.

    Raises:
        ArgumentInvalid: there is nothing to draw.
        OutputFailed: the file cannot be written.
        TerrazzoError: a layer cannot be computed.
    """
    if not layers:
        raise ArgumentInvalid("No visible layer of the map is computed, so there is no picture.")
    west, south, east, north = bounds
    to_map = Transformer.from_crs(WGS84, crs, always_xy=True)
    box = to_map.transform_bounds(west, south, east, north)
    if not all(map(math.isfinite, box)):
        raise ArgumentInvalid(f"{tuple(bounds)} lies outside of {crs}.")
    height = max(1, min(_MOST, round(WIDTH * (box[3] - box[1]) / (box[2] - box[0]))))
    view = {"bounds": list(box), "crs": crs, "width": WIDTH, "height": height}
    picture = Image.new("RGBA", (WIDTH, height), (*_PAPER, 255))
    lines = []
    for layer in layers:
        drawn, resolution = _drawn(layer, view)
        faded = drawn.getchannel("A").point(lambda alpha, share=layer.opacity: round(alpha * share))
        drawn.putalpha(faded)
        picture.alpha_composite(drawn)
        lines.append((layer, resolution))
    whole = _with_strip(picture.convert("RGB"), lines, bounds)
    with whole_file(path) as part:
        whole.save(part, "PNG")
    return path


def _drawn(layer: MapLayer, view: dict[str, Any]) -> tuple[Image.Image, float | None]:
    """Return the pixels of a layer, and at which resolution they were computed, metres."""
    opened = _opened(layer)
    found = opened.screen.ask("picture", opened.id, {**view, "look": layer.look}, Progress())
    if not isinstance(found, Content):
        raise TypeError("pictures are files")
    return Image.open(io.BytesIO(found.data)).convert("RGBA"), found.told.get("resolution")


def _opened(layer: MapLayer) -> Any:
    if layer.opened is None:
        raise TypeError("only layers that are computed are drawn")
    return layer.opened


def _with_strip(
    picture: Image.Image, lines: Sequence[tuple[MapLayer, float | None]], bounds: Sequence[float]
) -> Image.Image:
    """Return a picture with a strip below: a scale bar, and a line for each layer."""
    font = ImageFont.load_default(size=_TEXT)
    rows = [(layer, resolution, _legend(layer)) for layer, resolution in reversed(lines)]
    deep = 2 * _MARGIN + _LINE + sum(_LINE * (2 if legend else 1) for _, _, legend in rows)
    whole = Image.new("RGB", (picture.width, picture.height + deep), _PAPER)
    whole.paste(picture)
    pen = ImageDraw.Draw(whole)
    top = picture.height + _MARGIN
    _scale_bar(pen, font, bounds, picture.width, top)
    for layer, resolution, legend in rows:
        top += _LINE
        pen.text((_MARGIN, top), _title(layer, resolution), _INK, font)
        if legend:
            top += _LINE
            _draw_legend(pen, font, legend, top)
    return whole


def _title(layer: MapLayer, resolution: float | None) -> str:
    about = _opened(layer).about
    dates = about.get("dates") or []
    time = layer.look.get("time") or (dates[-1] if dates else "")
    sources = ", ".join(
        one if isinstance(one, str) else str(one.get("title") or one.get("id"))
        for one in about.get("sources") or []
    )
    told = [layer.name, time[:10], f"computed at {resolution:.3g} m" if resolution else "", sources]
    return " - ".join(part for part in told if part)


def _legend(layer: MapLayer) -> dict[str, Any]:
    """Return what colours mean; empty where that depends on the view, or on three bands."""
    look = layer.look
    if look.get("stretch", {}).get("kind", "range") != "range":
        return {}
    opened = _opened(layer)
    told = dict(json_of(opened.screen.ask("legend", opened.id, {"look": look}, Progress())))
    return told if told["kind"] in {"range", "classes"} else {}


def _draw_legend(pen: ImageDraw.ImageDraw, font: Any, legend: dict[str, Any], top: int) -> None:
    left = _MARGIN
    if legend["kind"] == "classes":
        for one in legend["classes"]:
            pen.rectangle((left, top, left + _TEXT, top + _THICK), one["color"], _INK)
            text = one["label"] or f"{one['value']:g}"
            pen.text((left + _LINE, top - 4), text, _INK, font)
            left += 2 * _LINE + round(pen.textlength(text, font))
        return
    low, high = f"{legend['min']:.4g}", f"{legend['max']:.4g}"
    pen.text((left, top - 4), low, _INK, font)
    left += round(pen.textlength(low, font)) + _MARGIN // 2
    colors = legend["colors"]
    for column in range(_BAR):
        color = colors[round(column / (_BAR - 1) * (len(colors) - 1))]
        pen.line((left + column, top, left + column, top + _THICK), color)
    pen.text((left + _BAR + _MARGIN // 2, top - 4), high, _INK, font)


def _scale_bar(
    pen: ImageDraw.ImageDraw, font: Any, bounds: Sequence[float], width: int, top: int
) -> None:
    """Draw a bar of a round length, as it is in the middle of the picture."""
    west, south, east, north = bounds
    middle = (south + north) / 2
    _, _, metres = Geod(ellps="WGS84").inv(west, middle, (west + east) / 2, middle)
    per_pixel = 2 * metres / width
    length = _round(per_pixel * width / 5)
    pixels = round(length / per_pixel)
    pen.line((_MARGIN, top + _THICK, _MARGIN + pixels, top + _THICK), _INK, 4)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"  # noqa: PLR2004 - a kilometre
    pen.text((_MARGIN + pixels + _MARGIN // 2, top), text, _INK, font)


def _round(length: float) -> float:
    """Return the largest of 1, 2 and 5 times a power of ten that is not longer."""
    power: float = 10.0 ** math.floor(math.log10(length))
    return next(nice * power for nice in _NICE if nice * power <= length)
