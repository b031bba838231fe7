"""Exports of both back ends are the same, and either reads what the other one wrote."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from tests.drivers.catalogue_items import COLLECTION, awkward_items, filled

from terrazzo.catalog import open_catalog
from terrazzo.drivers.catalogue_files import export_collection, import_items

if TYPE_CHECKING:
    from pathlib import Path


def test_what_one_back_end_wrote_the_other_reads(address: str, tmp_path: Path) -> None:
    items = awkward_items()
    with filled(open_catalog(tmp_path / "first.sqlite"), items) as first:
        ours = export_collection(first, COLLECTION, tmp_path / "first.parquet")
    with open_catalog(address) as other:
        report = import_items(ours.path, other)
        theirs = export_collection(other, COLLECTION, tmp_path / "second.parquet")
        lines = export_collection(other, COLLECTION, tmp_path / "second.ndjson")

    assert (report.made, dict(report.failed)) == (len(items), {})
    assert pq.read_table(theirs.path).equals(pq.read_table(ours.path))
    with lines.path.open("rb") as file:
        _, *found = map(json.loads, file)
    assert {item["id"]: item for item in found} == {item["id"]: item for item in items}
