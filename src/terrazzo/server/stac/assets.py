"""The file behind an asset's address, for those who may have it."""

from __future__ import annotations

import mimetypes
from typing import TYPE_CHECKING

from terrazzo.errors import AssetForbidden
from terrazzo.ledger import files, folders
from terrazzo.server import scratch
from terrazzo.server.stac.documents import asset_text
from terrazzo.server.web.faults import AssetNotFound
from terrazzo.storage.gate import Gate

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.ledger import Principal
    from terrazzo.server.parts import Parts

_PRIVATE = frozenset({files.FOLDER, folders.FOLDER, scratch.FOLDER})
"""Folders in the home folder that hold what belongs to users."""


def asset_file(
    shared: Parts, who: Principal, named: tuple[str, str, str], signature: str
) -> tuple[Path, str]:
    """Return the file of an asset and its media type.

    Args:
        shared: the parts of the server.
        who: asks.
        named: the collection, the item and the asset's key.
        signature: of the address, for those who are not logged in; empty for none.

    Raises:
        CollectionNotFound, ItemNotFound, AssetNotFound: it is not there for who asks.
    """
    collection, name, key = named
    signed = bool(signature) and shared.signer.is_signed(asset_text(*named), signature)
    workspace = shared.workspace if signed else shared.workspace_of(who)
    missing = AssetNotFound(f"Item {name[:80]!r} has no file for the asset {key[:80]!r}.")
    with workspace.catalog() as catalog:
        item = catalog.item(collection, name)
    assets = item.get("assets")
    asset = assets.get(key) if isinstance(assets, dict) else None
    if not isinstance(asset, dict) or not isinstance(asset.get("href"), str):
        raise missing
    try:
        path = Gate((workspace.home, *workspace.roots)).local_path(asset["href"])
    except AssetForbidden:
        raise missing from None
    if _is_private(path, workspace.home.resolve()) or not path.is_file():
        raise missing
    told = asset.get("type")
    return path, str(told) if told else mimetypes.guess_type(path.name)[
        0
    ] or "application/octet-stream"


def _is_private(path: Path, home: Path) -> bool:
    """Tell whether a file is one of those that a server keeps for itself and its users."""
    if not path.is_relative_to(home):
        return False
    folder, *rest = path.relative_to(home).parts
    return not rest or folder in _PRIVATE or folder.startswith(".")
