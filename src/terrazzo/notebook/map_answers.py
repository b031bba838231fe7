"""Answers of screens as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import geopandas as gpd
import pandas as pd

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.crs import WGS84
from terrazzo.notebook.map_channel import Content
from terrazzo.processes.labels import instant_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VALUES: Final = ("layer", "date", "band", "value", "unit", "label", "resolution", "x", "y", "crs")
"""Columns of what was found at a place."""


def json_of(answer: Any) -> Mapping[str, Any]:
    """Return an answer that is no file.

    Raises:
        ArgumentInvalid: it is one.
    """
    if isinstance(answer, Content):
        raise ArgumentInvalid("This gives a file and no values.")
    told: Mapping[str, Any] = answer
    return told


def frame_of(features: Sequence[Mapping[str, Any]]) -> gpd.GeoDataFrame:
    """Return GeoJSON features in degrees as a table; one without rows for none."""
    if not features:
        return gpd.GeoDataFrame({"name": []}, geometry=[], crs=WGS84)
    return gpd.GeoDataFrame.from_features(features, crs=WGS84)


def inspected_frame(layers: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return what layers have at a place: a row for each layer, date and band.

    Args:
        layers: `name` and `values`, which is what a screen answers.
    """
    rows = [
        {
            "layer": layer["name"],
            "date": dated["date"],
            **{name: one.get(name) for name in ("band", "value", "unit", "label")},
            **{name: layer["values"].get(name) for name in ("resolution", "x", "y", "crs")},
        }
        for layer in layers
        for dated in layer["values"]["dates"]
        for one in dated["values"]
    ]
    return _dated(pd.DataFrame(rows, columns=list(VALUES)))


def profile_frame(answer: Mapping[str, Any]) -> pd.DataFrame:
    """Return what a layer has at a place: a row for each date and band.

    Args:
        answer: what a screen answers to `profile`.

    Returns:
        Columns `date`, `band`, `value`, `unit`, `valid` (share of the place that was seen, 0..1)
        and `count` (pixels, by their covered share). `attrs` has `resolution`, in metres, and
        `smoothed`: a table of `date`, `band` and `value`, if that was asked for.
    """
    units = {band["name"]: band.get("unit") for band in answer["bands"]}
    rows = [
        {
            "date": row["date"], "band": band, "value": value, "unit": units.get(band),
            "valid": row["valid"], "count": row["count"],
        }
        for row in answer["rows"]
        for band, value in row["values"].items()
    ]  # fmt: skip
    frame = _dated(pd.DataFrame(rows, columns=["date", "band", "value", "unit", "valid", "count"]))
    frame.attrs["resolution"] = answer["resolution"]
    curve = answer.get("smoothed")
    if curve:
        columns = [
            {"date": date, "band": band, "value": value}
            for band, values in curve["values"].items()
            for date, value in zip(curve["dates"], values, strict=True)
        ]
        frame.attrs["smoothed"] = _dated(pd.DataFrame(columns, columns=["date", "band", "value"]))
    return frame


def _dated(frame: pd.DataFrame) -> pd.DataFrame:
    """Make instants of dates; names of periods, such as seasons and weeks, stay as they are."""
    labels = frame["date"].dropna()
    instants = {label: instant_of(label) for label in labels.unique()}
    if None not in instants.values():
        frame["date"] = pd.to_datetime(frame["date"].map(instants), utc=True)
    frame["value"] = frame["value"].astype(float)
    return frame
