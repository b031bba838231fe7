"""Places that a map is asked about, as GeoJSON in degrees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from terrazzo.errors import ArgumentInvalid, TerrazzoError
from terrazzo.notebook.map_sources import features_of

if TYPE_CHECKING:
    from collections.abc import Mapping


class NothingDrawn(TerrazzoError):
    """A map was asked about a place, and nobody has drawn one."""

    code, status = "NothingDrawn", 400


def last_of(drawn: Any) -> Mapping[str, Any]:
    """Return the geometry that was drawn last.

    Raises:
        NothingDrawn: there is none.
    """
    if not len(drawn):
        raise NothingDrawn(
            "Nothing is drawn on the map. Draw a polygon, line or point there, or give a geometry."
        )
    return one_geometry(drawn.iloc[[-1]])


def one_geometry(place: Any) -> Mapping[str, Any]:
    """Return the one geometry of a GeoDataFrame, a feature, GeoJSON or shapely, in degrees.

    Raises:
        ArgumentInvalid: there are several, none, or nobody knows where they are.
    """
    features = features_of(place).members["data"]["features"]
    if len(features) != 1:
        raise ArgumentInvalid(
            f"One place is asked about at a time, and here are {len(features)}. Choose one, e.g. "
            "parcels.iloc[[0]]; for all of them there is `terrazzo extract`."
        )
    geometry: Mapping[str, Any] = features[0]["geometry"]
    return geometry
