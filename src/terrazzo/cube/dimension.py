"""Dimensions: what the axes of a cube count, and their labels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from terrazzo.errors import BandNotFound, LabelNotAvailable, suggest

if TYPE_CHECKING:
    from collections.abc import Mapping

Label = str | float | int
"""A dimension label: RFC 3339 text for time, a name for bands, text or a number elsewhere."""


class Kind(StrEnum):
    """What a dimension counts, in openEO's words."""

    SPATIAL = "spatial"
    TEMPORAL = "temporal"
    BANDS = "bands"
    GEOMETRY = "geometry"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class BandFacts:
    """What is known of a band beside its name."""

    common_name: str = ""
    """STAC common name, for example `nir`; empty if there is none."""
    wavelength_um: float | None = None
    """Centre wavelength, micrometres."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """One axis of a cube."""

    name: str
    """As the user knows it: `t`, `bands`, `x`, `y` unless renamed."""
    kind: Kind
    labels: tuple[Label, ...] = ()
    """RFC 3339 text for time; empty for x and y, whose positions the grid gives."""
    facts: Mapping[Label, BandFacts] = field(default_factory=dict, compare=False, repr=False)
    """What is known of bands, by label; of labels that are not there too."""
    axis: str = ""
    """`z` of a spatial dimension that has labels of its own, and x or y where no grid has them; its
    kind is other then. Empty for all the rest, x and y of rasters too."""

    @property
    def type(self) -> str:
        """What openEO calls it."""
        return Kind.SPATIAL.value if self.axis else self.kind.value

    def matching(self, name: Label) -> tuple[int, ...]:
        """Return the position of the band of that name, or of all bands with that common name."""
        if name in self.labels:
            return (self.labels.index(name),)
        known = enumerate(self.facts.get(label, BandFacts()).common_name for label in self.labels)
        return tuple(position for position, common in known if common and common == name)

    def renamed(self, names: Mapping[Label, Label]) -> Dimension:
        """Return the dimension with other labels in place of some."""
        labels = tuple(names.get(label, label) for label in self.labels)
        facts = {names.get(label, label): facts for label, facts in self.facts.items()}
        return replace(self, labels=labels, facts=facts)

    def index(self, label: Label) -> int:
        """Return the position of a label.

        Raises:
            BandNotFound: a band that is not there.
            LabelNotAvailable: any other label that is not there.
        """
        try:
            return self.labels.index(label)
        except ValueError:
            names = [str(known) for known in self.labels]
            if self.kind is Kind.BANDS:
                raise BandNotFound(str(label), names) from None
            shown = ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")  # noqa: PLR2004
            raise LabelNotAvailable(
                f"Dimension {self.name!r} has no label {label!r}.{suggest(str(label), names)} "
                f"Labels here: {shown or 'none'}."
            ) from None
