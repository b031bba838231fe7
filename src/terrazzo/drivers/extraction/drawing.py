"""Drawings out of a few kinds of marks, as PNG (Pillow) and as SVG; both from one layout."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

    Bytes = NDArray[np.uint8]

Point: TypeAlias = tuple[float, float]
"""x to the right and y down, pixels of the drawing."""

COLOURS = {
    "paper": "#ffffff",
    "ink": "#1d2420",
    "soft": "#59645d",
    "line": "#dde1da",
    "void": "#eceeea",
    "accent": "#1f6f54",
    "peers": "#d9a441",
    "peersarea": "#f6e8c6",
}
"""Colours by what they are for, on white paper."""
DARK = {
    "paper": "#171b1d",
    "ink": "#e6ebe8",
    "soft": "#9ca8a2",
    "line": "#2d3437",
    "void": "#2a3033",
    "accent": "#6cc5a1",
    "peers": "#d9a441",
    "peersarea": "#4a3c1c",
}
"""The same for screens that are dark; a PNG is white paper always."""
OUTLINE, HALO = "#ffffff", "#000000"
"""Outlines are white with a black rim, so that they are seen on every picture."""
SMOOTH = 4
"""Steps of a pixel's edge by which what is drawn into a PNG is smoothed."""
WIDER = 1.15
"""A text in a browser, in widths of the same text in Pillow's font."""
_FONTS = ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "NotoSans-Regular.ttf", "Arial.ttf")
"""Looked for where a text has letters that Pillow's own font lacks."""


@dataclass(frozen=True, slots=True)
class Line:
    """A broken line."""

    points: tuple[Point, ...]
    role: str
    """One of `COLOURS`."""
    width: float = 1.0


@dataclass(frozen=True, slots=True)
class Area:
    """A filled polygon."""

    points: tuple[Point, ...]
    role: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A small disc, or a ring."""

    centre: Point
    radius: float
    role: str
    hollow: bool = False
    hint: str = ""
    """What is told when the pointer rests on it (SVG)."""
    target: str = ""
    """Name of the picture that it leads to (SVG)."""


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text."""

    at: Point
    """Where its baseline begins, or has its middle or end."""
    text: str
    size: float = 11.0
    role: str = "ink"
    anchor: str = "start"
    """`start`, `middle` or `end`."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A small picture, enlarged or reduced without smoothing, with outlines over it."""

    corner: Point
    """Left and upper edge."""
    size: Point
    """Width and height."""
    rgba: Bytes
    """(y, x, 4) colours; what is transparent shows the role `void`."""
    png: bytes
    """The same, encoded."""
    outline: tuple[tuple[Point, ...], ...] = ()
    """Lines in pixels of `rgba`, from its upper left corner."""
    hint: str = ""
    """What is told when the pointer rests on it (SVG)."""
    name: str = ""
    """By which dots lead to it (SVG)."""


Mark: TypeAlias = Line | Area | Dot | Text | Picture


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """Marks on a paper, the later ones over the earlier ones."""

    width: int
    height: int
    marks: tuple[Mark, ...]

    def png(self, scale: int = 2) -> bytes:
        """Return it as PNG, `scale` pixels for one of the drawing."""
        from PIL import Image  # noqa: PLC0415 - takes a while, and only this needs it

        paper = Image.new("RGB", (self.width * scale, self.height * scale), COLOURS["paper"])
        for mark in self.marks:
            _paint(paper, mark, scale)
        out = io.BytesIO()
        paper.save(out, "PNG", optimize=True)
        return out.getvalue()

    def svg(self) -> str:
        """Return it as an element of HTML; colours are classes (see `style`)."""
        outlines: dict[tuple[tuple[Point, ...], ...], str] = {}
        body = "".join(_element(mark, outlines) for mark in self.marks)
        shared = "".join(
            f'<path id="{name}" d="{_path(lines)}" vector-effect="non-scaling-stroke"/>'
            for lines, name in outlines.items()
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img">'
            f"<defs>{shared}</defs>{body}</svg>"
        )


def style() -> str:
    """Return the style sheet of drawings in HTML, for light and for dark screens."""
    roles = "".join(
        f".f-{role}{{fill:var(--{role})}}.s-{role}{{stroke:var(--{role});fill:none}}"
        for role in COLOURS
    )
    return (
        f":root{{{_variables(COLOURS)}}}"
        f"@media (prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}"
        f"{roles}svg text{{font-family:system-ui,sans-serif}}"
        "svg image{image-rendering:pixelated}"
        f".halo{{fill:none;stroke:{HALO};stroke-width:3;stroke-opacity:.55}}"
        f".outline{{fill:none;stroke:{OUTLINE};stroke-width:1.4}}"
        ".frame{fill:none;stroke:var(--line)}:target .frame{stroke:var(--accent);stroke-width:4}"
    )


def _variables(colours: dict[str, str]) -> str:
    return "".join(f"--{role}:{colour};" for role, colour in colours.items())


def text_width(text: str, size: float) -> float:
    """Return how wide a text is at most, pixels: browsers have wider fonts than Pillow."""
    width: float = _font(size, plain=text.isascii()).getlength(text)
    return width * WIDER


def shortened(text: str, size: float, room: float) -> str:
    """Return a text, its end replaced by three dots where it is wider than there is room."""
    if text_width(text, size) <= room:
        return text
    fits = [n for n in range(len(text)) if text_width(f"{text[:n]}...", size) <= room]
    return f"{text[: fits[-1] if fits else 0].rstrip()}..."


@lru_cache(maxsize=64)
def _font(size: float, *, plain: bool) -> FreeTypeFont | Any:
    from PIL import ImageFont  # noqa: PLC0415 - as above

    for name in () if plain else _FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def _paint(paper: Image, mark: Mark, scale: int) -> None:
    """Draw a mark on an image."""
    if isinstance(mark, Text):
        _write(paper, mark, scale)
    elif isinstance(mark, Picture):
        _paste(paper, mark, scale)
    elif isinstance(mark, Dot):
        (x, y), radius = mark.centre, mark.radius
        ring = [(x + radius * np.cos(a), y + radius * np.sin(a)) for a in np.linspace(0, 6.3, 25)]
        _fill(paper, ring, "paper" if mark.hollow else mark.role, scale)
        if mark.hollow:
            _stroke(paper, ring, COLOURS[mark.role], 1.2, scale)
    elif isinstance(mark, Area):
        _fill(paper, mark.points, mark.role, scale)
    else:
        _stroke(paper, mark.points, COLOURS[mark.role], mark.width, scale)


def _write(paper: Image, mark: Text, scale: int) -> None:
    from PIL import ImageDraw  # noqa: PLC0415 - as above

    ImageDraw.Draw(paper).text(
        (mark.at[0] * scale, mark.at[1] * scale),
        mark.text,
        fill=COLOURS[mark.role],
        font=_font(mark.size * scale, plain=mark.text.isascii()),
        anchor={"start": "ls", "middle": "ms", "end": "rs"}[mark.anchor],
    )


def _paste(paper: Image, mark: Picture, scale: int) -> None:
    from PIL import Image, ImageDraw  # noqa: PLC0415 - as above

    left, top = round(mark.corner[0] * scale), round(mark.corner[1] * scale)
    width, height = round(mark.size[0] * scale), round(mark.size[1] * scale)
    corners = (left, top, left + width - 1, top + height - 1)
    ImageDraw.Draw(paper).rectangle(corners, fill=COLOURS["void"])
    small = Image.fromarray(mark.rgba)
    method = Image.Resampling.NEAREST if mark.rgba.shape[1] <= width else Image.Resampling.BOX
    large = small.resize((width, height), method)
    paper.paste(large, (left, top), large)
    ImageDraw.Draw(paper).rectangle(corners, outline=COLOURS["line"])
    if not mark.outline:
        return
    by_x, by_y = mark.size[0] / mark.rgba.shape[1], mark.size[1] / mark.rgba.shape[0]
    piece = paper.crop((left, top, left + width, top + height))
    lines = [[(x * by_x, y * by_y) for x, y in line] for line in mark.outline]
    for colour, thickness, share in ((HALO, 3.0, 0.55), (OUTLINE, 1.4, 1.0)):
        for line in lines:
            _stroke(piece, line, colour, thickness, scale, share)
    paper.paste(piece, (left, top))


def _fill(paper: Image, points: Sequence[Point], role: str, scale: int) -> None:
    _blend(paper, points, COLOURS[role], scale, 0.0, 1.0)


def _stroke(
    paper: Image, points: Sequence[Point], colour: str, width: float, scale: int, share: float = 1.0
) -> None:
    if len(points) > 2 and points[0] == points[-1]:  # noqa: PLR2004 - a ring, with a corner there too
        points = [*points, points[1]]
    _blend(paper, points, colour, scale, width, share)


def _blend(
    paper: Image, points: Sequence[Point], colour: str, scale: int, width: float, share: float
) -> None:
    """Draw a smoothed line, or with a width of 0 an area, over what is there."""
    from PIL import Image, ImageDraw  # noqa: PLC0415 - as above

    found = np.array(points, np.float64) * scale
    reach = width * scale + 1
    low = np.maximum(np.floor(found.min(axis=0) - reach), 0).astype(int)
    high = np.minimum(np.ceil(found.max(axis=0) + reach), paper.size).astype(int)
    if (high <= low).any():
        return
    width_here, height_here = (int(edge) * SMOOTH for edge in high - low)
    mask = Image.new("L", (width_here, height_here))
    pen, places = ImageDraw.Draw(mask), [tuple(p) for p in (found - low) * SMOOTH]
    if width:
        thick = max(1, round(width * scale * SMOOTH))
        pen.line(places, fill=255, width=thick, joint="curve")
    else:
        pen.polygon(places, fill=255)
    mask = mask.reduce(SMOOTH).point(lambda value: int(value * share))
    paper.paste(Image.new("RGB", mask.size, colour), (int(low[0]), int(low[1])), mask)


def _element(mark: Mark, outlines: dict[tuple[tuple[Point, ...], ...], str]) -> str:
    """Return a mark as SVG."""
    if isinstance(mark, Text):
        x, y = mark.at
        return (
            f'<text x="{x:g}" y="{y:g}" font-size="{mark.size:g}" class="f-{mark.role}" '
            f'text-anchor="{mark.anchor}">{escape(mark.text)}</text>'
        )
    if isinstance(mark, Picture):
        return _image(mark, outlines)
    if isinstance(mark, Dot):
        return _disc(mark)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in mark.points)
    if isinstance(mark, Area):
        return f'<polygon points="{points}" class="f-{mark.role}"/>'
    return f'<polyline points="{points}" class="s-{mark.role}" stroke-width="{mark.width:g}"/>'


def _disc(mark: Dot) -> str:
    (x, y), kind = mark.centre, "s" if mark.hollow else "f"
    inside = ' style="fill:var(--paper)"' if mark.hollow else ""
    shape = (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{mark.radius:g}" class="{kind}-{mark.role}"{inside}>'
        f"<title>{escape(mark.hint)}</title></circle>"
    )
    return f'<a href="#{mark.target}">{shape}</a>' if mark.target else shape


def _image(mark: Picture, outlines: dict[tuple[tuple[Point, ...], ...], str]) -> str:
    (x, y), (width, height) = mark.corner, mark.size
    place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
    content = base64.b64encode(mark.png).decode()
    parts = [
        f'<rect {place} class="f-void"/>',
        f'<image {place} preserveAspectRatio="none" href="data:image/png;base64,{content}"/>',
    ]
    if mark.outline:
        name = outlines.setdefault(mark.outline, f"outline{len(outlines)}")
        rows, columns = mark.rgba.shape[:2]
        view = f'<svg {place} viewBox="0 0 {columns} {rows}" preserveAspectRatio="none">'
        uses = "".join(f'<use href="#{name}" class="{kind}"/>' for kind in ("halo", "outline"))
        parts.append(f"{view}{uses}</svg>")
    parts.append(f'<rect {place} class="frame"/>')
    hint = f"<title>{escape(mark.hint)}</title>" if mark.hint else ""
    named = f' id="{mark.name}"' if mark.name else ""
    return f"<g{named}>{hint}{''.join(parts)}</g>"


def _path(lines: Sequence[Sequence[Point]]) -> str:
    return "".join(
        f"M{'L'.join(f'{x:.2f} {y:.2f}' for x, y in line)}{'Z' * (line[0] == line[-1])}"
        for line in lines
    )
