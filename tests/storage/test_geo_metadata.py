"""GeoParquet that says what its geometries are beside the schema that Arrow keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas
import pyarrow.parquet as pq
import shapely

from terrazzo.storage.gate import Gate
from terrazzo.storage.vectors.features import Asked, open_features
from terrazzo.storage.vectors.reading import read_polygons

if TYPE_CHECKING:
    from pathlib import Path


def test_the_crs_is_found_in_the_metadata_of_the_file(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame(
        {"name": ["a"]}, geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:32633"
    )
    frame.to_parquet(tmp_path / "plain.parquet")
    table = pq.read_table(tmp_path / "plain.parquet")
    geo = table.schema.metadata[b"geo"]
    path = tmp_path / "beside.parquet"
    with pq.ParquetWriter(path, table.schema.with_metadata({"tool": "another"})) as writer:
        writer.write_table(table.replace_schema_metadata({"tool": "another"}))
        writer.add_key_value_metadata({"geo": geo})
    assert b"geo" not in pq.read_schema(path).metadata
    gate = Gate((tmp_path,))

    with open_features(path, gate, Asked()) as features:
        crs = features.crs

    assert crs == read_polygons(path, gate).crs == "EPSG:32633"
