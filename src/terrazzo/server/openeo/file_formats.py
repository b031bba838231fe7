"""File formats as openEO describes them, made of the tables by which results are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from terrazzo.drivers.results import (
    LARGEST_PICTURE,
    RASTER_FORMATS,
    TABLE_FORMATS,
    VALUE_FORMATS,
    VECTOR_FORMATS,
    choices,
)
from terrazzo.processes.load import UPLOAD_FORMATS
from terrazzo.processes.load import VECTOR_FORMATS as VECTOR_FILES

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES: Mapping[str, str] = {
    "GTIFF": "GTiff",
    "NETCDF": "netCDF",
    "PARQUET": "Parquet",
    "GEOPARQUET": "GeoParquet",
    "GEOJSON": "GeoJSON",
    "ESRI SHAPEFILE": "ESRI Shapefile",
    "ZARR": "Zarr",
    "WEBP": "WebP",
}
"""How formats are written, as GDAL has them; others are upper case. Any case is accepted."""
_TITLES: Mapping[str, tuple[str, str]] = {
    "GTIFF": (
        "GeoTIFF",
        "One file per date, all bands in it; cloud-optimised like COG.",
    ),
    "COG": (
        "Cloud-optimised GeoTIFF",
        "One file per date, all bands in it, tiled and with overviews.",
    ),
    "NETCDF": (
        "NetCDF",
        "One CF file: a variable per band, or per property of a vector cube, with all dates.",
    ),
    "PNG": (
        "Portable Network Graphics",
        f"A picture of one band or of three as colours, at most {LARGEST_PICTURE:,} pixels.",
    ),
    "JPEG": (
        "JPEG",
        f"A picture like PNG, with loss and without transparency; {LARGEST_PICTURE:,} pixels.",
    ),
    "WEBP": (
        "WebP",
        f"A picture like PNG, at most 16,383 pixels along an edge and {LARGEST_PICTURE:,} in all.",
    ),
    "ZARR": (
        "Zarr",
        "A zipped store of version 3: a CF array per band, with all dates, at several scales.",
    ),
    "JSON": (
        "JSON",
        "A value or an array as it is; a cube without pixels as an object of columns.",
    ),
    "CSV": ("Comma-separated values", "A table with one row per geometry or per value."),
    "PARQUET": ("Apache Parquet", "A table with one row per geometry or per value."),
    "GEOPARQUET": ("GeoParquet", "A vector cube with its geometries, one row each."),
    "GEOJSON": ("GeoJSON", "A vector cube as features in longitude and latitude."),
    "GPKG": ("GeoPackage", "Geometries of one layer."),
    "ESRI SHAPEFILE": ("Shapefile", "Geometries of one layer, with its parts or in a zip archive."),
}
_OPTIONS: Mapping[str, dict[str, Any]] = {
    "nodata": {
        "type": ["number", "null"],
        "description": "Value that marks no data. Without it NaN for floating numbers, and the "
        "end of the range for whole ones.",
    },
    "compression": {
        "type": "string",
        "description": "How pixels are compressed; always without loss.",
        "default": "deflate",
    },
    "overviews": {
        "type": "string",
        "description": "How smaller versions are made. Without it measurements are averaged, and "
        "of whole numbers, which may be classes, the nearest is taken.",
    },
    "archive": {
        "type": "boolean",
        "description": "Whether the store is one zip file. Without one, in batch, it is a folder "
        "into which all workers write.",
        "default": True,
    },
    "min": {
        "type": ["number", "null"],
        "description": "Value that is black, or has the first colour. Given together with `max`.",
    },
    "max": {
        "type": ["number", "null"],
        "description": "Value that is white, or has the last colour. Given together with `min`.",
    },
    "colormap": {
        "type": "string",
        "description": "Colours of one band.",
        "default": "gray",
    },
    "layout": {
        "type": "string",
        "description": "One row per geometry (wide), or one row per value (long, which is what "
        "JSON has without this).",
    },
}
_LOADED: Mapping[str, dict[str, Any]] = {
    "properties": {
        "type": "array",
        "items": {"type": "string"},
        "description": "Attributes that become values of the vector cube.",
    },
    "id": {"type": "string", "description": "Attribute that names the geometries."},
    "crs": {
        "type": ["integer", "string"],
        "description": "EPSG code or WKT2 of the coordinates, where the file does not say.",
    },
    "layer": {"type": "string", "description": "Layer of a GeoPackage; its first one without."},
}
_IMAGES: Mapping[str, tuple[str, str]] = {
    "GTiff": ("GeoTIFF", "Images with their dates in metadata or names."),
    "JP2OpenJPEG": ("JPEG 2000", "Images with their dates in names."),
    "netCDF": ("NetCDF", "CF cubes, NetCDF-4 (HDF5) or classic."),
    "GRIB": ("GRIB", "Fields on regular grids."),
}
_OF_IMAGES: Mapping[str, dict[str, Any]] = {
    "datetime": {
        "type": "string",
        "description": "Instant, or period start/end, of files that name none; for "
        "`load_uploaded_files`.",
    },
    "bands": {
        "type": "array",
        "items": {"type": "string"},
        "description": "Names of the bands instead of those in the file; for "
        "`load_uploaded_files`.",
    },
}


def formats() -> dict[str, Any]:
    """Return the formats that are read and written, as `GET /file_formats` lists them."""
    return {"input": _input(), "output": _output()}


def _output() -> dict[str, Any]:
    kinds = {
        "raster": (RASTER_FORMATS,),
        "vector": (VECTOR_FORMATS,),
        "table": (TABLE_FORMATS, VALUE_FORMATS),
    }
    found: dict[str, Any] = {}
    for kind, tables in kinds.items():
        for name, (_, options) in (entry for table in tables for entry in table.items()):
            told = found.setdefault(name, _format(name))
            if kind not in told["gis_data_types"]:
                told["gis_data_types"].append(kind)
            told["parameters"] |= {option: _option(name, option) for option in options}
    return {NAMES.get(name, name): found[name] for name in sorted(found)}


def _option(name: str, option: str) -> dict[str, Any]:
    words = choices(name, option)
    return _OPTIONS[option] | ({"enum": list(words)} if words else {})


def _input() -> dict[str, Any]:
    found = {
        name: {
            "title": title,
            "description": f"{told} `load_uploaded_files` reads them, also in a zip archive.",
            "gis_data_types": ["raster"],
            "parameters": dict(_OF_IMAGES),
        }
        for name, (title, told) in _IMAGES.items()
    }
    for name in UPLOAD_FORMATS:
        told = _format(name)
        readers = "`load_url` and `load_uploaded_files` read"
        if name not in VECTOR_FILES:
            readers = "`load_uploaded_files` reads"
        told["description"] = f"Geometries and their attributes, which {readers}."
        told["gis_data_types"] = ["vector"]
        told["parameters"] = {
            option: schema
            for option, schema in _LOADED.items()
            if option != "layer" or name == "GPKG"
        }
        found[NAMES.get(name, name)] = told
    return dict(sorted(found.items()))


def _format(name: str) -> dict[str, Any]:
    title, description = _TITLES.get(name, (name, ""))
    return {
        "title": title,
        "description": description,
        "gis_data_types": [],
        "parameters": {},
    }
