"""Calendar sheets: everything in its month, nothing cut off, and HTML that needs nothing else."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from datetime import date, timedelta
from html import unescape
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from typing_extensions import override

from terrazzo.drivers.extraction.calendar import Sheet, nice_ticks
from terrazzo.drivers.extraction.chips import Chip, Chips
from terrazzo.drivers.extraction.drawing import Dot, Line, Picture, Text, text_width
from terrazzo.drivers.extraction.peers import PeerProfile
from terrazzo.drivers.extraction.profiles import Profile
from terrazzo.errors import ArgumentInvalid
from terrazzo.storage.writers.picture import Style, encode, to_rgba

if TYPE_CHECKING:
    from collections.abc import Sequence

    from terrazzo.drivers.extraction.drawing import Drawing

STYLE = Style(((0.0, 1.0),), "viridis")
BOX = ((2.0, 2.0), (8.0, 2.0), (8.0, 8.0), (2.0, 8.0), (2.0, 2.0))


def sheet(labels: Sequence[str], title: str = "Parcel 1", **options: Any) -> Sheet:
    """Return a sheet of pictures that become brighter from date to date."""
    seen = np.ones((1, 10, 10), np.bool_)
    made = []
    for number, label in enumerate(labels):
        values = np.full((1, 10, 10), number / max(1, len(labels) - 1), np.float32)
        made.append(Chip(label, to_rgba(values, seen, STYLE), encode(values, seen, STYLE)))
    rng = np.random.default_rng(len(labels))
    numbers, shares = rng.uniform(0, 1, len(labels)), rng.uniform(0.3, 1, len(labels))
    course = Profile(tuple(labels), numbers, shares, "ndvi", "mean")
    chips = Chips(tuple(made), (BOX,), ("ndvi",), STYLE, 10.0, ())
    return Sheet(title, chips, course, **options)


def days(start: str, count: int, step: int) -> list[str]:
    first = date.fromisoformat(start)
    return [f"{first + timedelta(days=n * step)}T10:20:30Z" for n in range(count)]


def pictures(drawing: Drawing) -> dict[str, Picture]:
    """Return the pictures by the date that they are of."""
    found = [mark for mark in drawing.marks if isinstance(mark, Picture) and mark.name]
    return {mark.hint.partition(": ")[0]: mark for mark in found}


def test_months_are_columns_and_years_are_rows():
    made = sheet(["2022-03-01", "2022-05-09", "2023-03-30", "2023-05-02"]).drawing()

    at = {label: picture.corner for label, picture in pictures(made).items()}
    assert at["2022-03-01"][0] == at["2023-03-30"][0] < at["2022-05-09"][0] == at["2023-05-02"][0]
    assert at["2022-03-01"][1] == at["2022-05-09"][1] < at["2023-03-30"][1] == at["2023-05-02"][1]


@pytest.mark.parametrize("months", [True, False])
def test_periods_stand_in_months_only_where_they_are_months(months: bool):
    made = sheet(["2021-03", "2021-04", "2021-07"], months=months).drawing()

    left = [picture.corner[0] for picture in pictures(made).values()]
    heads = {m.text for m in made.marks if isinstance(m, Text)} & {"Mar", "Apr", "Jul"}
    assert (left[2] - left[1]) / (left[1] - left[0]) == (3 if months else 1)
    assert len(heads) == (3 if months else 0)


def test_a_row_can_begin_with_another_month():
    made = sheet(["2022-10-05", "2023-02-05", "2023-10-05"], first_month=10).drawing()

    at = {label: picture.corner for label, picture in pictures(made).items()}
    titles = [m.text for m in made.marks if isinstance(m, Text) and "/" in m.text]
    assert at["2022-10-05"][1] == at["2023-02-05"][1] < at["2023-10-05"][1]
    assert at["2022-10-05"][0] == at["2023-10-05"][0] < at["2023-02-05"][0]
    assert titles == ["2022/23", "2023/24"]


@pytest.mark.parametrize("month", [0, 13])
def test_a_month_that_there_is_not_is_an_error(month: int):
    with pytest.raises(ArgumentInvalid, match=f"not {month}"):
        sheet(["2022-10-05"], first_month=month)


def test_labels_that_are_no_dates_follow_one_another_twelve_in_a_row():
    made = pictures(sheet([f"step {n}" for n in range(15)]).drawing())

    rows = {picture.corner[1] for picture in made.values()}
    columns = sorted({picture.corner[0] for picture in made.values()})
    assert len(rows) == 2
    assert len(columns) == 12
    assert made["step 12"].corner[0] == made["step 0"].corner[0]


def test_points_of_the_profile_stand_under_their_pictures_month():
    made = sheet(days("2023-01-03", 60, 6)).drawing()

    by_name = {p.name: p for p in pictures(made).values()}
    dots = [mark for mark in made.marks if isinstance(mark, Dot) and mark.target]
    columns = sorted({p.corner[0] for p in by_name.values()})
    assert len(dots) == 60
    for dot in dots:
        left = by_name[dot.target].corner[0]
        following = [x for x in columns if x > left] or [left + 120]
        assert left <= dot.centre[0] <= following[0]


def test_only_dates_on_which_enough_was_seen_are_joined():
    made = sheet(days("2023-01-03", 60, 6), min_valid=0.6)
    assert made.profile is not None

    drawing = made.drawing()

    dots = [mark for mark in drawing.marks if isinstance(mark, Dot) and mark.target]
    (line,) = [
        m for m in drawing.marks
        if isinstance(m, Line) and m.role == "accent" and len(m.points) > 2
    ]  # fmt: skip
    assert [dot.hollow for dot in dots] == list(made.profile.shares < 0.6)
    assert line.points == tuple(dot.centre for dot in dots if not dot.hollow)


@given(
    step=st.integers(1, 40),
    count=st.integers(1, 130),
    first=st.integers(1, 12),
    title=st.text(st.characters(codec="ascii", categories=("L", "N", "P")), max_size=150),
)
@settings(max_examples=25)
@example(step=1, count=1, first=1, title="W" * 150)
@example(step=20, count=130, first=12, title="W" * 150)
def test_nothing_is_cut_off_and_no_pictures_overlap(step: int, count: int, first: int, title: str):
    peers = PeerProfile(f"30 peers, {title}", (), *np.empty((3, 0)))
    facts = (f"crop: {title}", "short")

    made = sheet(days("2021-11-20", count, step), title, first_month=first, facts=facts)
    made = replace(made, peers=peers)
    drawing = made.drawing()

    for mark in drawing.marks:
        if isinstance(mark, Text):
            width = text_width(mark.text, mark.size)
            left = mark.at[0] - {"start": 0, "middle": width / 2, "end": width}[mark.anchor]
            assert left >= 0
            assert left + width <= drawing.width
            assert mark.size <= mark.at[1] <= drawing.height
        elif isinstance(mark, Picture):
            assert mark.corner[0] + mark.size[0] <= drawing.width
            assert mark.corner[1] + mark.size[1] <= drawing.height
    places = [picture.corner for picture in pictures(drawing).values()]
    assert len(places) == count
    corners = np.array(places)
    apart = np.abs(corners[:, None] - corners[None]).max(axis=-1)
    assert (apart[~np.eye(count, dtype=np.bool_)] >= made.edge).all()


def test_peers_are_a_band_behind_the_profile():
    labels = days("2023-01-03", 12, 20)
    low, high = np.full(12, 0.2), np.full(12, 0.8)
    peers = PeerProfile(
        "9 peers", tuple(label[:10] for label in labels), low, (low + high) / 2, high
    )

    plain = sheet(labels).drawing()
    made = replace(sheet(labels), peers=peers).drawing()

    roles = [getattr(mark, "role", "") for mark in made.marks]
    assert "peersarea" not in [getattr(mark, "role", "") for mark in plain.marks]
    assert roles.count("peersarea") == 2  # the legend's and the band
    band = len(roles) - 1 - roles[::-1].index("peersarea")
    assert all(
        number > band
        for number, mark in enumerate(made.marks)
        if isinstance(mark, Dot) and mark.target
    )
    assert "9 peers: median and quartiles" in [m.text for m in made.marks if isinstance(m, Text)]


def test_the_png_has_the_pictures_where_the_layout_puts_them():
    made = sheet(["2023-03-01", "2023-05-09"])
    scale = 3

    paper = np.array(Image.open(io.BytesIO(made.png(scale))))

    drawing = made.drawing()
    assert paper.shape == (drawing.height * scale, drawing.width * scale, 3)
    for chip in made.chips.chips:
        place = pictures(drawing)[chip.label]
        left, top = (round(edge * scale) for edge in place.corner)
        pixel = round(place.size[0] * scale / 10)
        middle = paper[top + 5 * pixel, left + 5 * pixel]  # inside of the outline
        np.testing.assert_array_equal(middle, chip.rgba[5, 5, :3])
        on_line = paper[top + round(2 * place.size[0] * scale / 10), left + 5 * pixel]
        assert (on_line > 230).all()


def test_pictures_have_names_that_files_may_have_and_their_outline():
    made = sheet(["2023-03-01T00:00:00Z", "2023-05-09T10:20:30Z"]).pictures()

    assert list(made) == ["2023-03-01", "2023-05-09T10-20-30Z"]
    dark = np.array(Image.open(io.BytesIO(made["2023-03-01"])))
    edge = dark.shape[0]
    assert (dark[round(edge * 0.2), edge // 2] > 230).all()
    assert (dark[edge // 2, edge // 2] < 100).any()


class _Page(HTMLParser):
    """Collects what a page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in {"href", "src", "xlink:href"}:
                self.links.append(value or "")
            assert not name.startswith("on")

    @override
    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_needs_nothing_else_and_every_link_leads_somewhere():
    page = _Page(sheet(days("2023-01-03", 40, 9)).html())

    inner = [link for link in page.links if link.startswith("#")]
    data = [link for link in page.links if not link.startswith("#")]
    assert all(link.startswith("data:image/png;base64,") for link in data)
    assert len(data) == 41  # and the colour bar
    for link in data:
        Image.open(io.BytesIO(base64.b64decode(link.partition(",")[2]))).load()
    assert {link[1:] for link in inner} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert not {"script", "link", "iframe", "object"} & set(page.tags)


def test_a_notebook_shows_the_page_in_a_frame_of_its_own():
    made = sheet(["2023-03-01"], "<b>&\"'")

    (frame,) = re.findall(r'<iframe srcdoc="([^"]*)"', made._repr_html_())

    assert unescape(frame) == made.html()


def test_names_of_parcels_are_text_and_not_html():
    evil = "<script>alert(1)</script>&\"'"

    page = _Page(sheet(["2023-03-01"], evil, facts=(evil,)).html())

    assert "script" not in page.tags
    assert page.texts.count(evil) == 3  # the page's title, the sheet's, and the fact


def test_letters_that_the_font_lacks_are_no_error():
    made = sheet(["2023-03-01"], "Поле 5, Łąka, 畑")

    assert Image.open(io.BytesIO(made.png(1))).width > 0
    assert "Поле 5, Łąka, 畑" in made.html()


@given(
    low=st.floats(-1e6, 1e6),
    size=st.floats(1e-4, 1e6),
)
def test_ticks_are_round_ascending_and_inside(low: float, size: float):
    ticks = nice_ticks(low, low + size, 4)

    step = ticks[1] - ticks[0]
    assert 3 <= len(ticks) <= 12
    np.testing.assert_allclose(np.diff(ticks), step, rtol=1e-3)
    assert ticks[0] >= low - 1e-6 * step - 1e-9 * abs(low)
    assert ticks[-1] <= low + size + 1e-6 * step + 1e-9 * abs(low)
    digit = step / 10 ** np.floor(np.log10(step * 1.001))
    assert min(abs(digit - nice) for nice in (1, 2, 5, 10)) < 0.05
