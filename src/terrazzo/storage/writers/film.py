"""Films for screens: GIF by Pillow, MP4 and WebM by PyAV."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from terrazzo.errors import ArgumentInvalid, TerrazzoError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av import VideoStream
    from numpy.typing import NDArray
    from PIL.Image import Image

    Frame = NDArray[np.uint8]

FILMS: Final = {"gif": "image/gif", "mp4": "video/mp4", "webm": "video/webm"}
"""Formats and their media types."""
_CODECS: Final = {
    "mp4": ("libx264", {"crf": "18", "preset": "veryfast", "movflags": "+faststart"}),
    "webm": ("libvpx-vp9", {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "6"}),
}
_MARGIN, _SMALLEST, _PART = 6, 12, 24
_BACK: Final = (0, 0, 0, 160)
_WHITE: Final = (255, 255, 255, 255)


class FilmUnavailable(TerrazzoError):
    """A film cannot be written, because a library is missing."""

    code, status = "FilmUnavailable", 501


def check_film(form: str) -> None:
    """Refuse a format that cannot be written here, before anything is computed.

    Raises:
        ArgumentInvalid: there is no such format.
        FilmUnavailable: it needs a library that is not installed.
    """
    if form not in FILMS:
        raise ArgumentInvalid(f"Films come as {', '.join(FILMS)}, not {form[:20]!r}.")
    if form in _CODECS:
        try:
            import av  # noqa: F401, PLC0415 - large, and only for films
        except ImportError:
            raise FilmUnavailable(
                f"A film as {form} needs the library PyAV: pip install 'terrazzo[film]'. A film as "
                "gif needs nothing."
            ) from None


def labelled(rgba: Frame, text: str) -> Frame:
    """Return a frame without transparency, white beneath, and with a text in its corner.

    Args:
        rgba: (y, x, 4) colours; they are left as they are.
        text: what is written at the lower left; empty is nothing.

    Returns:
        (y, x, 3) colours.
    """
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 - loads for longer than a tile takes

    frame = Image.new("RGBA", (rgba.shape[1], rgba.shape[0]), _WHITE)
    frame.alpha_composite(Image.fromarray(rgba))
    if text:
        size = max(_SMALLEST, rgba.shape[0] // _PART)
        font = ImageFont.load_default(size)
        over = Image.new("RGBA", frame.size, (0, 0, 0, 0))
        draw = ImageDraw.Draw(over)
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        height, width = bottom - top, right - left
        edge = frame.height - height - 3 * _MARGIN
        box = (_MARGIN, edge, width + 3 * _MARGIN, edge + height + 2 * _MARGIN)
        draw.rectangle(box, fill=_BACK)
        draw.text((2 * _MARGIN - left, edge + _MARGIN - top), text, font=font, fill=_WHITE)
        frame.alpha_composite(over)
    return np.asarray(frame.convert("RGB"))


def write_film(frames: Iterator[Frame], form: str, seconds: float) -> bytes:
    """Return a film.

    Args:
        frames: (y, x, 3) colours of each picture, one after the other.
        form: one of `FILMS`.
        seconds: how long each picture is shown.

    Raises:
        ArgumentInvalid, FilmUnavailable: see `check_film`.
    """
    check_film(form)
    return _gif(frames, seconds) if form == "gif" else _video(frames, form, seconds)


def _gif(frames: Iterator[Frame], seconds: float) -> bytes:
    from PIL import Image  # noqa: PLC0415 - as above

    def quantised() -> Iterator[Image.Image]:
        for frame in frames:
            yield Image.fromarray(frame).quantize(256, dither=Image.Dither.NONE)

    pictures = quantised()
    first, out = next(pictures), io.BytesIO()
    first.save(
        out, "GIF", save_all=True, append_images=pictures, duration=max(20, round(1000 * seconds)),
        loop=0, optimize=False, disposal=1,
    )  # fmt: skip
    return out.getvalue()


def _video(frames: Iterator[Frame], form: str, seconds: float) -> bytes:
    """Encode frames; players want even sides, so an odd one repeats its last row or column."""
    import av  # noqa: PLC0415 - as above

    codec, options = _CODECS[form]
    out, rate = io.BytesIO(), Fraction(1) / Fraction(seconds).limit_denominator(1000)
    with av.open(out, "w", format=form) as film:
        stream = None
        for number, frame in enumerate(frames):
            even = np.pad(
                frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge"
            )
            if stream is None:
                added = film.add_stream(codec, rate=rate, options=options)
                stream = cast("VideoStream", added)
                stream.height, stream.width = even.shape[:2]
                stream.pix_fmt = "yuv420p"
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            picture.pts = number
            film.mux(stream.encode(picture))
        if stream is not None:
            film.mux(stream.encode())
    return out.getvalue()
