"""Annotations of the cube processes: the type that the function sees, the schema that users see."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from terrazzo.cube import Cube, Label
from terrazzo.processes.periods import PERIODS
from terrazzo.processes.schemas import Callback, Schema

_CUBE: dict[str, Any] = {"type": "object", "subtype": "datacube"}
_RASTER = _CUBE | {"dimensions": [{"type": "spatial", "axis": ["x", "y"]}]}
_VECTOR = _CUBE | {"dimensions": [{"type": "geometry"}]}
_NULL = {"type": "null"}
_ANY: dict[str, Any] = {"description": "Any data type."}
_LABEL = {"type": ["number", "string"]}
_LABELED_ARRAY = {"type": "array", "subtype": "labeled-array", "items": _ANY}
_GEOJSON = {"type": "object", "subtype": "geojson"}
_OLD_GEOJSON = _GEOJSON | {"deprecated": True}
_WKT2 = {"type": "string", "subtype": "wkt2-definition"}
_EPSG = {"type": "integer", "subtype": "epsg-code", "minimum": 1000, "examples": [3857]}
_HEIGHT = {"type": ["number", "null"], "default": None}
_BBOX = {
    "type": "object",
    "subtype": "bounding-box",
    "required": ["west", "south", "east", "north"],
    "properties": {
        "west": {"type": "number"},
        "south": {"type": "number"},
        "east": {"type": "number"},
        "north": {"type": "number"},
        "base": _HEIGHT,
        "height": _HEIGHT,
        "crs": {"anyOf": [_EPSG, _WKT2], "default": 4326},
    },
}
_DATE_TIME = {"type": "string", "format": "date-time", "subtype": "date-time"}
_DATE = {"type": "string", "format": "date", "subtype": "date"}
_TIME = {"type": "string", "subtype": "time", "pattern": r"^\d{2}:\d{2}:\d{2}$"}
_INTERVAL: dict[str, Any] = {
    "type": "array",
    "subtype": "temporal-interval",
    "minItems": 2,
    "maxItems": 2,
    "items": {"anyOf": [_DATE_TIME, _DATE, _NULL]},
}
_INTERVAL_EXAMPLES = {
    "examples": [["2015-01-01T00:00:00Z", "2016-01-01T00:00:00Z"], ["2015-01-01", "2016-01-01"]]
}
_DURATION = {
    "type": "string",
    "subtype": "duration",
    "pattern": (
        r"^(-?)P(?=\d|T\d)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)([DW]))?"
        r"(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$"
    ),
}
_CHUNKS = {
    "type": "array",
    "items": {
        "type": "object",
        "subtype": "chunk-size",
        "required": ["dimension", "value"],
        "properties": {
            "dimension": {"type": "string"},
            "value": {
                "default": None,
                "anyOf": [_NULL, {"type": "number", "minimum": 0}, _DURATION],
            },
            "unit": {"default": None, "anyOf": [_NULL, {"type": "string", "enum": ["px", "m"]}]},
        },
    },
}


def _callback(parameters: Mapping[str, Any], returns: Any, *, context: bool = True) -> Schema:
    listed: list[dict[str, Any]] = [{"name": n, "schema": s} for n, s in parameters.items()]
    if context:
        listed.append({"name": "context", "schema": _ANY, "optional": True, "default": None})
    return Schema(
        {
            "type": "object",
            "subtype": "process-graph",
            "parameters": listed,
            "returns": {"schema": returns},
        }
    )


Geo = Mapping[str, Any] | Cube
"""A bounding box, GeoJSON or vector cube as it comes out of the graph."""
Ends = Sequence[str | None]
"""Both ends of a temporal interval."""

Text = Annotated[str, Schema({"type": "string"})]
TextOrNull = Annotated[str | None, Schema({"type": ["string", "null"]})]
Truth = Annotated[bool, Schema({"type": "boolean"})]
Real = Annotated[float, Schema({"type": "number"})]

RasterOrVectorCube = Annotated[Cube, Schema([_RASTER, _VECTOR])]
TemporalCube = Annotated[Cube, Schema(_CUBE | {"dimensions": [{"type": "temporal"}]})]
BandsCube = Annotated[Cube, Schema(_CUBE | {"dimensions": [{"type": "bands"}]})]
VectorCube = Annotated[Cube, Schema(_VECTOR)]
RasterBandsCube = Annotated[
    Cube,
    Schema(_CUBE | {"dimensions": [{"type": "spatial", "axis": ["x", "y"]}, {"type": "bands"}]}),
]
SavedResult = Annotated[Cube, Schema({"type": "object", "subtype": "stac"})]

CollectionId = Annotated[
    str, Schema({"type": "string", "subtype": "collection-id", "pattern": r"^[\w\-\.~/]+$"})
]
Url = Annotated[
    str, Schema({"type": "string", "format": "uri", "subtype": "uri", "pattern": "^https?://"})
]
BoundingBox = Annotated[Mapping[str, Any], Schema(_BBOX)]
Extent = Annotated[Geo | None, Schema([_BBOX, _GEOJSON, _VECTOR, _NULL])]
CollectionExtent = Annotated[Geo | None, Schema([_BBOX, _OLD_GEOJSON, _VECTOR, _NULL])]
GeometriesOrGeoJson = Annotated[Geo, Schema([_VECTOR, _OLD_GEOJSON])]
GeoJson = Annotated[Mapping[str, Any], Schema(_GEOJSON)]
PointCube = Annotated[
    Cube,
    Schema(
        _CUBE | {"dimensions": [{"type": "geometry", "geometry_type": ["Point", "MultiPoint"]}]}
    ),
]
PropertyNames = Annotated[
    Sequence[str], Schema({"type": "array", "uniqueItems": True, "items": {"type": "string"}})
]
Relation = Annotated[
    str,
    Schema(
        {
            "type": "string",
            "enum": [
                "intersects",
                "disjoint",
                "equals",
                "touches",
                "crosses",
                "overlaps",
                "contains",
                "within",
            ],
        }
    ),
]
BufferDistance = Annotated[float, Schema({"type": "number", "not": {"const": 0}})]
SampleDistance = Annotated[float, Schema({"type": "number", "minimumExclusive": 0})]
CountOrNull = Annotated[int | None, Schema([{"type": "integer", "minimum": 1}, _NULL])]
Seed = Annotated[int | None, Schema({"type": ["integer", "null"]})]
PolygonsOrGeoJson = Annotated[
    Geo,
    Schema(
        [
            _CUBE
            | {"dimensions": [{"type": "geometry", "geometry_type": ["Polygon", "MultiPolygon"]}]},
            _OLD_GEOJSON,
        ]
    ),
]
_POLYGONS = {"dimensions": [{"type": "geometry", "geometry_type": ["Polygon", "MultiPolygon"]}]}
Polygons = Annotated[Geo, Schema(_CUBE | _POLYGONS)]
TemporalInterval = Annotated[Ends, Schema(_INTERVAL | _INTERVAL_EXAMPLES)]
TemporalExtent = Annotated[
    Ends | None, Schema([_INTERVAL | _INTERVAL_EXAMPLES | {"uniqueItems": True}, _NULL])
]
_INTERVAL_OF_DAY = _INTERVAL | {"items": {"anyOf": [_DATE_TIME, _DATE, _TIME, _NULL]}}
TemporalIntervals = Annotated[
    Sequence[Ends],
    Schema(
        {
            "type": "array",
            "subtype": "temporal-intervals",
            "minItems": 1,
            "items": _INTERVAL_OF_DAY | {"uniqueItems": True},
            "examples": [
                [
                    ["2015-01-01", "2016-01-01"],
                    ["2016-01-01", "2017-01-01"],
                    ["2017-01-01", "2018-01-01"],
                ],
                [["06:00:00", "18:00:00"], ["18:00:00", "06:00:00"]],
            ],
        },
        # Equal ends are an empty interval, which has an error of its own.
        checked={"type": "array", "minItems": 1, "items": _INTERVAL_OF_DAY},
    ),
]
Period = Annotated[str, Schema({"type": "string", "enum": list(PERIODS)})]

BandName = Annotated[str, Schema({"type": "string", "subtype": "band-name"})]
TargetBand = Annotated[str | None, Schema([{"type": "string", "pattern": r"^\w+$"}, _NULL])]
BandNames = Annotated[
    Sequence[str], Schema({"type": "array", "items": {"type": "string", "subtype": "band-name"}})
]
BandNamesOrNull = Annotated[
    Sequence[str] | None,
    Schema(
        [
            {"type": "array", "minItems": 1, "items": {"type": "string", "subtype": "band-name"}},
            _NULL,
        ]
    ),
]
Wavelengths = Annotated[
    Sequence[Sequence[float]],
    Schema(
        {
            "type": "array",
            "items": {
                "type": "array",
                "minItems": 2,
                "maxItems": 2,
                "items": {"type": "number"},
                "examples": [[[0.45, 0.5], [0.6, 0.7]]],
            },
        }
    ),
]
PropertyFilters = Annotated[
    Mapping[str, Callback] | None,
    Schema(
        [
            {
                "type": "object",
                "subtype": "metadata-filter",
                "additionalProperties": _callback(
                    {"value": _ANY}, {"type": "boolean"}, context=False
                ).json,
            },
            _NULL,
        ]
    ),
]
OneLabel = Annotated[Label, Schema([{"type": "number"}, {"type": "string"}])]
NewLabels = Annotated[
    Sequence[Label], Schema({"type": "array", "uniqueItems": True, "items": _LABEL})
]
LabelArray = Annotated[tuple[Label, ...], Schema({"type": "array", "items": _LABEL})]
DimensionType = Annotated[
    str,
    Schema({"type": "string", "enum": ["bands", "geometry", "spatial", "temporal", "other"]}),
]

LabelCondition = Annotated[
    Callback, _callback({"value": [{"type": "number"}, {"type": "string"}]}, {"type": "boolean"})
]
Reducer = Annotated[Callback, _callback({"data": _LABELED_ARRAY}, _ANY)]
ZonalReducer = Annotated[Callback, _callback({"data": {"type": "array", "items": _ANY}}, _ANY)]
PixelProcess = Annotated[Callback, _callback({"x": _ANY}, _ANY)]
ArrayProcess = Annotated[
    Callback, _callback({"data": _LABELED_ARRAY}, {"type": "array", "items": _ANY})
]
OverlapResolver = Annotated[Callback | None, _callback({"x": _ANY, "y": _ANY}, _ANY)]
NeighborhoodProcess = Annotated[
    Callback,
    _callback(
        {"data": [_RASTER, {"type": "array", "subtype": "labeled-array"}]},
        [_RASTER, {"type": "array"}],
    ),
]
SubCubeProcess = Annotated[Callback, _callback({"data": _RASTER}, {"schema": _RASTER})]
ChunkSizes = Annotated[Sequence[Mapping[str, Any]], Schema(_CHUNKS)]
Overlaps = Annotated[Sequence[Mapping[str, Any]] | None, Schema([_NULL, _CHUNKS])]

Kernel = Annotated[
    Sequence[Sequence[float]],
    Schema(
        {
            "type": "array",
            "subtype": "kernel",
            "items": {"type": "array", "items": {"type": "number"}},
        }
    ),
]
Border = Annotated[
    str | float,
    Schema(
        [
            {"type": "string", "enum": ["replicate", "reflect", "reflect_pixel", "wrap"]},
            {"type": "number"},
        ]
    ),
]
MaskReplacement = Annotated[
    float | bool | str | None, Schema({"type": ["number", "boolean", "string", "null"]})
]
PolygonReplacement = Annotated[
    float | bool | str | None,
    Schema([{"type": "number"}, {"type": "boolean"}, {"type": "string"}, _NULL]),
]

Resolution = Annotated[
    float | Sequence[float],
    Schema(
        [
            {"type": "number", "minimum": 0},
            {
                "type": "array",
                "minItems": 2,
                "maxItems": 2,
                "items": {"type": "number", "minimum": 0},
            },
        ]
    ),
]
Projection = Annotated[int | str | None, Schema([_EPSG, _WKT2, _NULL])]
TargetCrs = Annotated[int | str, Schema([_EPSG, _WKT2])]
RESAMPLING_METHODS = (
    "average",
    "bilinear",
    "cubic",
    "cubicspline",
    "lanczos",
    "max",
    "med",
    "min",
    "mode",
    "near",
    "q1",
    "q3",
    "rms",
    "sum",
)
ALIGNMENTS = ("lower-left", "upper-left", "lower-right", "upper-right")
ResamplingMethod = Annotated[str, Schema({"type": "string", "enum": list(RESAMPLING_METHODS)})]
Alignment = Annotated[str, Schema({"type": "string", "enum": list(ALIGNMENTS)})]
FilePaths = Annotated[
    Sequence[str],
    Schema(
        {
            "type": "array",
            "subtype": "file-paths",
            "items": {
                "type": "string",
                "subtype": "file-path",
                "pattern": "^[^\r\n\\:'\"]+$",
            },
        }
    ),
]
InputFormat = Annotated[str, Schema({"type": "string", "subtype": "input-format"})]
InputOptions = Annotated[
    Mapping[str, Any], Schema({"type": "object", "subtype": "input-format-options"})
]
OutputFormat = Annotated[str, Schema({"type": "string", "subtype": "output-format"})]
OutputOptions = Annotated[
    Mapping[str, Any], Schema({"type": "object", "subtype": "output-format-options"})
]
