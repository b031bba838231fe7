"""What user code finds as `openeo.udf`: the classes of the openEO client that UDFs are written for.

They stand in a worker only, and the client itself is not needed there.

Source: openEO Python client 0.53, `openeo.udf` (the public names and what they do).
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from terrazzo.sandbox import metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import xarray

    Tell = Callable[..., None]


class OpenEoUdfException(Exception):
    """A UDF cannot be run."""


class XarrayDataCube:
    """A data cube that wraps a DataArray."""

    def __init__(self, array: xarray.DataArray) -> None:
        self._array = array

    @property
    def array(self) -> xarray.DataArray:
        """The DataArray."""
        return self._array

    def get_array(self) -> xarray.DataArray:
        """Return the DataArray."""
        return self._array

    @property
    def id(self) -> Any:
        """Name of the DataArray."""
        return self._array.name


class FeatureCollection:
    """Features with an id; their table is a GeoDataFrame."""

    def __init__(self, id: str, data: Any, start_times: Any = None, end_times: Any = None) -> None:  # noqa: A002 - the client's name
        self.id, self.data = id, data
        self.start_times, self.end_times = start_times, end_times


class StructuredData:
    """A list, a table or a mapping."""

    def __init__(self, data: Any, description: str = "", type: str = "") -> None:  # noqa: A002 - the client's name
        self.data = data
        self.type = type or data.__class__.__name__
        self.description = description or self.type


class UdfData:
    """All that a UDF gets, and where it puts all that it makes."""

    def __init__(
        self,
        proj: Mapping[str, Any] | None = None,
        datacube_list: list[XarrayDataCube] | None = None,
        feature_collection_list: list[FeatureCollection] | None = None,
        structured_data_list: list[StructuredData] | None = None,
        user_context: dict[str, Any] | None = None,
    ) -> None:
        self.proj = proj
        self.datacube_list = datacube_list
        self.feature_collection_list = feature_collection_list
        self.structured_data_list = structured_data_list
        self.user_context = user_context or {}

    def get_datacube_list(self) -> list[XarrayDataCube] | None:
        """Return the data cubes."""
        return self.datacube_list

    def set_datacube_list(self, datacube_list: list[XarrayDataCube] | None) -> None:
        """Replace the data cubes."""
        self.datacube_list = datacube_list

    def get_feature_collection_list(self) -> list[FeatureCollection] | None:
        """Return the features."""
        return self.feature_collection_list

    def set_feature_collection_list(
        self, feature_collection_list: list[FeatureCollection] | None
    ) -> None:
        """Replace the features."""
        self.feature_collection_list = feature_collection_list

    def get_structured_data_list(self) -> list[StructuredData] | None:
        """Return the structured data."""
        return self.structured_data_list

    def set_structured_data_list(self, structured_data_list: list[StructuredData] | None) -> None:
        """Replace the structured data."""
        self.structured_data_list = structured_data_list


def execute_local_udf(*_: Any, **__: Any) -> UdfData:
    """Refuse: it is for the client's own machine.

    Raises:
        OpenEoUdfException: always.
    """
    raise OpenEoUdfException(
        "A UDF cannot run a UDF: keep `execute_local_udf` and `run_udf_code` for your own machine."
    )


_METADATA = {
    one.__name__: one
    for one in (
        metadata.Band,
        metadata.BandDimension,
        metadata.CollectionMetadata,
        metadata.CubeMetadata,
        metadata.Dimension,
        metadata.DimensionAlreadyExistsException,
        metadata.GeometryDimension,
        metadata.MetadataException,
        metadata.SpatialDimension,
        metadata.TemporalDimension,
    )
}


def install(tell: Tell) -> None:
    """Let user code import these classes by the names that it knows.

    Args:
        tell: takes `level`, `message`, `code` and `data` of a log entry.
    """

    def inspect(
        data: Any = None, message: str = "", code: str = "User", level: str = "info"
    ) -> None:
        """Log data, as the openEO process of that name does."""
        tell(level, message, code=code, data=data)

    names: dict[str, dict[str, Any]] = {
        "openeo": {},
        "openeo.metadata": _METADATA,
        "openeo.udf": {
            "FeatureCollection": FeatureCollection,
            "OpenEoUdfException": OpenEoUdfException,
            "StructuredData": StructuredData,
            "UdfData": UdfData,
            "XarrayDataCube": XarrayDataCube,
            "execute_local_udf": execute_local_udf,
            "inspect": inspect,
            "run_udf_code": execute_local_udf,
        },
        "openeo.udf.debug": {"inspect": inspect},
        "openeo.udf.feature_collection": {"FeatureCollection": FeatureCollection},
        "openeo.udf.structured_data": {"StructuredData": StructuredData},
        "openeo.udf.udf_data": {"UdfData": UdfData},
        "openeo.udf.xarraydatacube": {"XarrayDataCube": XarrayDataCube},
    }
    for name, content in names.items():
        module = ModuleType(name, "What Terrazzo has of the openEO client for UDFs.")
        module.__path__ = []
        module.__dict__.update(content)
        sys.modules[name] = module
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], last, module)
