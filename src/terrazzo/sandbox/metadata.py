"""What user code finds as `openeo.metadata`: what `apply_metadata` gets, and declares with.

Unlike the client's, every dimension here knows its labels.

Source: openEO Python client 0.53, `openeo.metadata` (the public names and what they do).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class MetadataException(Exception):
    """Metadata lack what is asked for."""


class DimensionAlreadyExistsException(MetadataException):
    """A dimension has the name already."""


class Band(NamedTuple):
    """A band."""

    name: str | None
    common_name: str | None = None
    wavelength_um: float | None = None
    aliases: list[str] | None = None
    gsd: dict[str, Any] | None = None


class Dimension:
    """A dimension, with its labels where it has any."""

    def __init__(self, type: str, name: str, labels: Sequence[Any] | None = None) -> None:  # noqa: A002 - the client's name
        self.type, self.name = type, name
        self.labels = None if labels is None else list(labels)

    def rename(self, name: str) -> Self:
        """Return it with another name."""
        made = copy.copy(self)
        made.name = name
        return made

    def rename_labels(self, target: Sequence[Any], source: Sequence[Any] | None = None) -> Self:
        """Return it with other labels: all of them, or those of `source`."""
        made = copy.copy(self)
        if not source:
            made.labels = list(target)
            return made
        if len(source) != len(target):
            raise ValueError(f"{len(source)} labels cannot be renamed to {len(target)}.")
        names = dict(zip(source, target, strict=True))
        unknown = [label for label in source if label not in (self.labels or [])]
        if unknown:
            raise ValueError(f"There is no label {unknown[0]!r} along {self.name!r}.")
        made.labels = [names.get(label, label) for label in self.labels or []]
        return made


class SpatialDimension(Dimension):
    """x or y; what its extent is depends on the block."""

    def __init__(
        self, name: str, extent: Any = (None, None), crs: Any = None, step: float | None = None
    ) -> None:
        super().__init__("spatial", name)
        self.extent, self.crs, self.step = extent, crs, step


class TemporalDimension(Dimension):
    """Dates."""

    def __init__(
        self, name: str, extent: Any = (None, None), labels: Sequence[Any] | None = None
    ) -> None:
        super().__init__("temporal", name, labels)
        self.extent = extent


class GeometryDimension(Dimension):
    """Geometries of a vector cube."""

    def __init__(self, name: str, labels: Sequence[Any] | None = None) -> None:
        super().__init__("geometry", name, labels)


class BandDimension(Dimension):
    """Bands."""

    def __init__(self, name: str, bands: Sequence[Band]) -> None:
        super().__init__("bands", name, [band.name for band in bands])

    @property
    def bands(self) -> list[Band]:
        """The bands."""
        return [Band(label) for label in self.labels or []]

    @property
    def band_names(self) -> list[Any]:
        """Their names."""
        return list(self.labels or [])

    def band_index(self, band: int | str) -> int:
        """Return the position of a band."""
        names = self.band_names
        if band in names:
            return names.index(band)
        if isinstance(band, int) and 0 <= band < len(names):
            return band
        raise ValueError(f"There is no band {band!r}; there are {names}.")

    def filter_bands(self, bands: Sequence[int | str]) -> BandDimension:
        """Return it with some of its bands."""
        return BandDimension(self.name, [self.bands[self.band_index(band)] for band in bands])

    def append_band(self, band: Band | str) -> BandDimension:
        """Return it with one band more."""
        added = band if isinstance(band, Band) else Band(band)
        if added.name in self.band_names:
            raise ValueError(f"There is a band {added.name!r} already.")
        return BandDimension(self.name, [*self.bands, added])


class CubeMetadata:
    """Dimensions of a cube and their labels; each method returns what it changes anew."""

    def __init__(self, dimensions: Sequence[Dimension] | None = None) -> None:
        self._dimensions = list(dimensions or [])

    @classmethod
    def of(cls, told: Sequence[Mapping[str, Any]]) -> Self:
        """Make it of dimensions as a worker is told of them."""
        made: list[Dimension] = []
        for one in told:
            name, kind, labels = str(one["name"]), one["kind"], one.get("labels")
            if kind == "spatial":
                step = labels.get("step") if isinstance(labels, dict) else None
                made.append(SpatialDimension(name, step=None if step is None else abs(step)))
            elif kind == "bands":
                made.append(BandDimension(name, [Band(label) for label in labels or []]))
            elif kind == "temporal":
                ends = (labels[0], labels[-1]) if labels else (None, None)
                made.append(TemporalDimension(name, ends, labels))
            elif kind == "geometry":
                made.append(GeometryDimension(name, labels))
            else:
                made.append(Dimension(kind, name, labels))
        return cls(made)

    @property
    def dimensions(self) -> list[Dimension]:
        """All of them."""
        return list(self._dimensions)

    def dimension_names(self) -> list[str]:
        """Return their names."""
        return [dimension.name for dimension in self._dimensions]

    def assert_valid_dimension(self, dimension: str) -> str:
        """Return the name of a dimension if there is one of that name."""
        if dimension not in self.dimension_names():
            raise ValueError(
                f"There is no dimension {dimension!r}; there are {self.dimension_names()}."
            )
        return dimension

    def _only(self, kind: type[Dimension], what: str) -> Any:
        for dimension in self._dimensions:
            if isinstance(dimension, kind):
                return dimension
        raise MetadataException(f"There is no {what} dimension.")

    def has_band_dimension(self) -> bool:
        """Tell whether there are bands."""
        return any(isinstance(dimension, BandDimension) for dimension in self._dimensions)

    def has_temporal_dimension(self) -> bool:
        """Tell whether there are dates."""
        return any(isinstance(dimension, TemporalDimension) for dimension in self._dimensions)

    def has_geometry_dimension(self) -> bool:
        """Tell whether it is of a vector cube."""
        return any(isinstance(dimension, GeometryDimension) for dimension in self._dimensions)

    @property
    def band_dimension(self) -> BandDimension:
        """The bands."""
        found: BandDimension = self._only(BandDimension, "band")
        return found

    @property
    def temporal_dimension(self) -> TemporalDimension:
        """The dates."""
        found: TemporalDimension = self._only(TemporalDimension, "temporal")
        return found

    @property
    def geometry_dimension(self) -> GeometryDimension:
        """The geometries."""
        found: GeometryDimension = self._only(GeometryDimension, "geometry")
        return found

    @property
    def spatial_dimensions(self) -> list[SpatialDimension]:
        """Those along x and y."""
        return [d for d in self._dimensions if isinstance(d, SpatialDimension)]

    @property
    def bands(self) -> list[Band]:
        """The bands."""
        return self.band_dimension.bands

    @property
    def band_names(self) -> list[Any]:
        """Their names."""
        return self.band_dimension.band_names

    def get_band_index(self, band: int | str) -> int:
        """Return the position of a band."""
        return self.band_dimension.band_index(band)

    def _with(self, dimensions: Sequence[Dimension]) -> Self:
        made = copy.copy(self)
        made._dimensions = list(dimensions)  # noqa: SLF001 - its own
        return made

    def filter_bands(self, band_names: Sequence[int | str]) -> Self:
        """Keep some bands."""
        kept = self.band_dimension.filter_bands(band_names)
        return self._with([kept if d is self.band_dimension else d for d in self._dimensions])

    def append_band(self, band: Band | str) -> Self:
        """Add a band."""
        more = self.band_dimension.append_band(band)
        return self._with([more if d is self.band_dimension else d for d in self._dimensions])

    def rename_labels(
        self, dimension: str, target: Sequence[Any], source: Sequence[Any] | None = None
    ) -> Self:
        """Give a dimension other labels."""
        self.assert_valid_dimension(dimension)
        return self._with(
            [d.rename_labels(target, source) if d.name == dimension else d for d in self.dimensions]
        )

    def rename_dimension(self, source: str, target: str) -> Self:
        """Give a dimension another name."""
        self.assert_valid_dimension(source)
        return self._with([d.rename(target) if d.name == source else d for d in self.dimensions])

    def drop_dimension(self, name: str) -> Self:
        """Leave a dimension out."""
        self.assert_valid_dimension(name)
        return self._with([d for d in self.dimensions if d.name != name])

    def reduce_dimension(self, dimension_name: str) -> Self:
        """Leave a dimension out."""
        return self.drop_dimension(dimension_name)

    def reduce_spatial(self) -> Self:
        """Leave x and y out."""
        return self._with([d for d in self.dimensions if not isinstance(d, SpatialDimension)])

    def add_dimension(self, name: str, label: Any, type: str | None = None) -> Self:  # noqa: A002 - the client's name
        """Add a dimension of one label."""
        if name in self.dimension_names():
            raise DimensionAlreadyExistsException(f"There is a dimension {name!r} already.")
        added = CubeMetadata.of([{"name": name, "kind": type or "other", "labels": [label]}])
        return self._with([*self.dimensions, *added.dimensions])

    def resample_spatial(self, resolution: Any = 0.0, projection: Any = None) -> Self:
        """Give x and y another step, CRS or both."""
        steps = list(resolution) if isinstance(resolution, (list, tuple)) else [resolution] * 2
        made: list[Dimension] = []
        for one in self.dimensions:
            if isinstance(one, SpatialDimension):
                step = steps.pop(0)
                one = SpatialDimension(  # noqa: PLW2901 - the new one
                    one.name, one.extent, projection or one.crs, step or one.step
                )
            made.append(one)
        return self._with(made)


class CollectionMetadata(CubeMetadata):
    """The same under the name that `apply_metadata` is annotated with."""
