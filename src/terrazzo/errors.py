"""The error tree: one class per situation, each with its openEO code and HTTP status.

    TerrazzoError
    +-- GraphInvalid                 every problem of a process graph at once
    +-- ArgumentInvalid              a value that a process cannot work with
    |   +-- BandNotFound             lists the bands that there are
    |   +-- DimensionNotAvailable    lists the dimensions that there are
    |   +-- LabelNotAvailable        lists the labels that there are
    |   +-- LabelExists, DimensionExists, LabelMismatch, ...
    |   +-- NirBandAmbiguous, IncompatibleDataCubes, MinMaxSwapped, ArrayNotLabeled, ...
    |   +-- UdfInvalid, UdfFailed    code of a user; says the line
    |   +-- InvalidRuntime, InvalidVersion
    +-- UdfRefused                   code of users is not run here; says why
    +-- FileNotFound                 a file of a user is not there
    +-- CollectionNotFound           lists the collections that there are
    +-- CatalogUnusable              the file is no catalogue, or of a later Terrazzo
    +-- ItemNotFound                 a collection has no such item
    +-- NoDataAvailable              no items in the extent or period
    +-- PlanTooLarge                 a block cannot fit; names the size that would
    +-- SourceUnreadable             a file is corrupt, truncated or gone; names the item
    +-- AssetForbidden               the gate refuses to open something
    +-- RemoteUnusable               a bucket or host does not give or take what was named
    +-- OutputFailed                 a result could not be written
    +-- RunIncomplete                some blocks failed; what is done is kept

A message has the offending value, what would have been valid, and the way out. Errors of
bad input exit the command line with status 2; `RunIncomplete` with status 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Sequence


class TerrazzoError(Exception):
    """Anything that Terrazzo refuses or cannot do, said in a way a user can act on."""

    code: ClassVar[str] = "Internal"
    status: ClassVar[int] = 500
    of_pixels: bool = False
    """Whether it came up while pixels were computed: what failed is the graph, not a question."""

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what it says, not how it was made, so that errors cross process borders."""
        return _rebuilt, (type(self), self.args, dict(self.__dict__))


def _rebuilt(kind: type[TerrazzoError], args: tuple[Any, ...], state: dict[str, Any]) -> Any:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a process graph."""

    code: str
    """openEO error code, for example `ProcessParameterRequired`."""
    message: str
    """The offending value, what would be valid, and how to mend it."""
    node: str
    """Id of the node, inside callbacks too. Empty for the graph itself."""
    path: str
    """JSON path from the root of the document, for example `$.ndvi.arguments.nir`."""


class GraphInvalid(TerrazzoError):
    """A process graph is invalid; carries every problem that was found."""

    code, status = "ProcessGraphInvalid", 400

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [f"  {p.path}: {p.message} [{p.code}]" for p in self.problems[:50]]
        if len(self.problems) > len(lines):
            lines.append(f"  ... and {len(self.problems) - len(lines)} more")
        count = f"{len(self.problems)} problem" + ("s" if len(self.problems) != 1 else "")
        super().__init__(f"The process graph has {count}:\n" + "\n".join(lines))


class ArgumentInvalid(TerrazzoError):
    """A process got a value that it cannot work with."""

    code, status = "ProcessParameterInvalid", 400


class BandNotFound(ArgumentInvalid):
    """A process asked for a band the cube does not have."""

    code = "BandNotFound"

    def __init__(self, band: str, available: Sequence[str]) -> None:
        super().__init__(
            f"Band {band!r} is not in this cube.{suggest(band, available)} "
            f"Bands here: {', '.join(available) or 'none'}. Names are case-sensitive; "
            "rename them with `rename_labels`."
        )


class DimensionNotAvailable(ArgumentInvalid):
    """A process asked for a dimension the cube does not have."""

    code = "DimensionNotAvailable"

    def __init__(self, dimension: str, available: Sequence[str]) -> None:
        super().__init__(
            f"Dimension {dimension!r} is not in this cube.{suggest(dimension, available)} "
            f"Dimensions here: {', '.join(available) or 'none'}."
        )


class DimensionMismatch(ArgumentInvalid):
    """Dimensions of two cubes that should fit each other do not."""

    code = "DimensionMismatch"


class DimensionExists(ArgumentInvalid):
    """A process was asked to add a dimension that is already there."""

    code = "DimensionExists"


class DimensionMissing(ArgumentInvalid):
    """A process needs a kind of dimension (bands, time, space) that the cube lacks."""

    code = "DimensionMissing"


class TooManyDimensions(ArgumentInvalid):
    """A dimension must be named because several could be meant."""

    code = "TooManyDimensions"


class LabelNotAvailable(ArgumentInvalid):
    """A process asked for a label the dimension does not have."""

    code = "LabelNotAvailable"


class LabelExists(ArgumentInvalid):
    """A label would occur twice in one dimension."""

    code = "LabelExists"


class LabelMismatch(ArgumentInvalid):
    """Numbers of labels do not agree."""

    code = "LabelMismatch"


class ArrayElementNotAvailable(ArgumentInvalid):
    """`array_element` asked for an index or label the array does not have."""

    code = "ArrayElementNotAvailable"


class OverlapUnresolved(ArgumentInvalid):
    """`merge_cubes` found overlapping pixels and no `overlap_resolver`."""

    code = "OverlapResolverMissing"


class TemporalExtentEmpty(ArgumentInvalid):
    """A temporal interval holds no instant."""

    code = "TemporalExtentEmpty"


class SpatialExtentEmpty(ArgumentInvalid):
    """A bounding box or geometry holds no pixel."""

    code = "SpatialExtentEmpty"


class DimensionLabelCountMismatch(ArgumentInvalid):
    """A dimension has more than the one label that it may have."""

    code = "DimensionLabelCountMismatch"


class LabelsNotEnumerated(ArgumentInvalid):
    """Labels were to be renamed by position but are not 0, 1, 2, ..."""

    code = "LabelsNotEnumerated"


class DistinctDimensionLabelsRequired(ArgumentInvalid):
    """Two labels of one dimension would be equal."""

    code = "DistinctDimensionLabelsRequired"


class BandFilterParameterMissing(ArgumentInvalid):
    """`filter_bands` was asked for nothing."""

    code = "BandFilterParameterMissing"


class NirBandAmbiguous(ArgumentInvalid):
    """No band can be taken for the near infrared."""

    code = "NirBandAmbiguous"


class RedBandAmbiguous(ArgumentInvalid):
    """No band can be taken for the red."""

    code = "RedBandAmbiguous"


class BandExists(ArgumentInvalid):
    """A band would occur twice."""

    code = "BandExists"


class DimensionAmbiguous(ArgumentInvalid):
    """The bands dimension is missing, or there are several."""

    code = "DimensionAmbiguous"


class TargetDimensionExists(ArgumentInvalid):
    """A dimension to be made is already there."""

    code = "TargetDimensionExists"


class KernelDimensionsUneven(ArgumentInvalid):
    """A kernel has no pixel in its middle: a side of it is even."""

    code = "KernelDimensionsUneven"


class DataCubePropertiesImmutable(ArgumentInvalid):
    """A callback changed the dimensions of a cube that must keep them."""

    code = "DataCubePropertiesImmutable"


class IncompatibleDataCubes(ArgumentInvalid):
    """Two cubes cannot be used together because their dimensions or labels differ."""

    code = "IncompatibleDataCubes"


class IncompatibleGeometryTypes(ArgumentInvalid):
    """Vector cubes of points, lines and polygons were to be merged."""

    code = "IncompatibleGeometryTypes"


class GeometriesOverlap(ArgumentInvalid):
    """A pixel belongs to several polygons, and each pixel may be computed once only."""

    code = "GeometriesOverlap"


class FormatUnsupported(ArgumentInvalid):
    """No writer knows the format, or the format cannot hold the result."""

    code = "FormatUnsupported"


class FormatUnsuitable(FormatUnsupported):
    """A known format does not fit the data, or the data are not in it."""

    code = "FormatUnsuitable"


class FormatArgumentUnsupported(FormatUnsupported):
    """A format has no such option."""

    code = "FormatArgumentUnsupported"


class FormatArgumentInvalid(FormatUnsupported):
    """An option of a format has a value that means nothing."""

    code = "FormatArgumentInvalid"


class UnitMismatch(ArgumentInvalid):
    """A distance in metres was given for coordinates that are not in metres."""

    code = "UnitMismatch"


class CountMismatch(ArgumentInvalid):
    """Fewer points were asked for than there are geometries."""

    code = "CountMismatch"


class MinMaxSwapped(ArgumentInvalid):
    """A lower bound lies above its upper bound."""

    code = "MinMaxSwapped"


class QuantilesParameterMissing(ArgumentInvalid):
    """Neither `probabilities` nor `q` was given."""

    code = "QuantilesParameterMissing"


class QuantilesParameterConflict(ArgumentInvalid):
    """Both `probabilities` and `q` were given."""

    code = "QuantilesParameterConflict"


class AscendingProbabilitiesRequired(ArgumentInvalid):
    """Probabilities do not ascend."""

    code = "AscendingProbabilitiesRequired"


class ArrayElementParameterMissing(ArgumentInvalid):
    """Neither `index` nor `label` was given."""

    code = "ArrayElementParameterMissing"


class ArrayElementParameterConflict(ArgumentInvalid):
    """Both `index` and `label` were given."""

    code = "ArrayElementParameterConflict"


class ArrayNotLabeled(ArgumentInvalid):
    """A label was given for an array without labels."""

    code = "ArrayNotLabeled"


class ArrayLabelConflict(ArgumentInvalid):
    """Two arrays that are joined share a label."""

    code = "ArrayLabelConflict"


class ArrayLengthMismatch(ArgumentInvalid):
    """Two arrays that belong together entry by entry have different lengths."""

    code = "ArrayLengthMismatch"


class InvalidRuntime(ArgumentInvalid):
    """No UDF runtime has that name."""

    code = "InvalidRuntime"


class InvalidVersion(ArgumentInvalid):
    """A UDF runtime has no such version."""

    code = "InvalidVersion"


class UdfInvalid(ArgumentInvalid):
    """Code of a user asks for what there is not, or is of no known form."""

    code = "UdfInvalid"


class UdfFailed(ArgumentInvalid):
    """Code of a user raised an error, took too much, or returned what does not fit."""

    code = "UdfFailed"


class UdfRefused(TerrazzoError):
    """Code of users is not run here, or cannot be shut in."""

    code, status = "UdfRefused", 501


class FileNotFound(TerrazzoError):
    """A file of a user is not there."""

    code, status = "FileNotFound", 404


class CollectionNotFound(TerrazzoError):
    """The catalogue has no such collection."""

    code, status = "CollectionNotFound", 404

    def __init__(self, collection: str, available: Sequence[str]) -> None:
        super().__init__(
            f"Collection {collection!r} is not in this catalogue."
            f"{suggest(collection, available)} Collections here: "
            f"{', '.join(available) or 'none'}. Add one with `terrazzo ingest PATH "
            f"--collection {collection}`."
        )


class CatalogUnusable(TerrazzoError):
    """A file is no catalogue, is newer than this code, or cannot be opened."""

    code, status = "CatalogUnusable", 500


class FilterInvalid(ArgumentInvalid):
    """A filter of items (CQL2) is not one, or asks for what the catalogue cannot do."""


class DatabaseUnusable(TerrazzoError):
    """The database of users and jobs cannot be reached, or is newer than this code."""

    code, status = "DatabaseUnusable", 500


class ItemNotFound(TerrazzoError):
    """A collection has no such item."""

    code, status = "ItemNotFound", 404

    def __init__(self, collection: str, item: str) -> None:
        self.collection, self.item = collection, item
        super().__init__(
            f"Item {item!r} is not in collection {collection!r}. List what there is with "
            f"`terrazzo search {collection}`."
        )


class NoDataAvailable(TerrazzoError):
    """No item of a collection lies in the extent, period and filter."""

    code, status = "NoDataAvailable", 400


class PlanTooLarge(TerrazzoError):
    """A block would need more memory than is allowed; raised before any read."""

    code, status = "ProcessGraphComplexity", 400


class SourceUnreadable(TerrazzoError):
    """A file cannot be read; names the item and asset, never the server's path."""

    code, status = "SourceUnreadable", 424

    def __init__(self, item: str, asset: str, reason: str, way_out: str = "") -> None:
        self.item, self.asset, self.reason = item, asset, reason
        skip = "carry on without it with `--skip-bad` (it is listed in the run's record)."
        way_out = way_out or f"Ingest the item again, or {skip}"
        super().__init__(f"Item {item!r}, asset {asset!r} cannot be read: {reason}. {way_out}")


class AssetForbidden(TerrazzoError):
    """The gate refuses to open something that a user or a file named."""

    code, status = "AssetForbidden", 403


class RemoteUnusable(TerrazzoError):
    """A bucket or host that the operator named does not give or take what it should."""

    code, status = "RemoteUnusable", 502


class OutputFailed(TerrazzoError):
    """A result could not be written (disk full, no permission)."""

    code, status = "OutputFailed", 507


class RunDiffers(ArgumentInvalid):
    """A folder holds another run than the one that is to go on in it."""


class RunIncomplete(TerrazzoError):
    """Some blocks of a run failed; what is done is kept and the run can be resumed."""

    code, status = "RunIncomplete", 500

    def __init__(self, message: str, first: TerrazzoError | None = None) -> None:
        self.first = first
        """Why the first block failed, where that is something that a user may be told."""
        super().__init__(message)


def suggest(name: str, available: Sequence[str]) -> str:
    """Return " Did you mean 'x'?" for a near miss, else an empty string."""
    near = get_close_matches(name, available, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
