"""Zip archives of strangers, unpacked into one flat folder, or refused as a whole."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path, PurePosixPath
from typing import Final

from terrazzo.errors import AssetForbidden, SourceUnreadable

MOST_FILES: Final = 1000
MOST_BYTES: Final = 2_000_000_000
MOST_RATIO: Final = 200
"""Bytes that may become of a packed one; a bomb has a thousand."""
_SMALL: Final = 10_000_000
"""Bytes in all that may come of any ratio: empty images pack well."""
_PIECE: Final = 1 << 20
_ARCHIVES: Final = (".zip", ".7z", ".gz", ".tar", ".tgz", ".bz2", ".xz", ".zst", ".rar", ".kmz")


def unpack(path: Path, folder: Path) -> list[Path]:
    """Unpack an archive; what lies in folders of it lies in the one folder then.

    Args:
        path: the archive.
        folder: where to.

    Returns:
        The files.

    Raises:
        AssetForbidden: it holds a name that leads out of the folder, the same name twice, a link
            or another archive, or becomes too many files or bytes.
        SourceUnreadable: it is damaged, encrypted, or no archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [one for one in archive.infolist() if not one.is_dir()]
            names = checked_names(entries)
            return [
                _unpacked(archive, entry, folder / name)
                for name, entry in zip(names, entries, strict=True)
            ]
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError) as error:
        raise SourceUnreadable(
            path.stem, "archive", f"damaged, encrypted or no archive ({type(error).__name__})"
        ) from None


def checked_names(entries: list[zipfile.ZipInfo]) -> list[str]:
    """Return what the files of an archive are called once they are unpacked.

    Raises:
        AssetForbidden: see `unpack`.
    """
    if len(entries) > MOST_FILES:
        raise AssetForbidden(f"the archive holds more than {MOST_FILES:,} files")
    size, packed = (sum(getattr(e, n) for e in entries) for n in ("file_size", "compress_size"))
    if size > MOST_BYTES or (size > _SMALL and size > MOST_RATIO * max(packed, 1)):
        raise AssetForbidden("the archive becomes too large when it is unpacked")
    names = [_name(entry) for entry in entries]
    if len({name.casefold() for name in names}) < len(names):
        raise AssetForbidden("the archive holds two files of the same name")
    return names


def _name(entry: zipfile.ZipInfo) -> str:
    text = entry.orig_filename
    parts = PurePosixPath(text).parts
    name = parts[-1] if parts else ""
    if text.startswith("/") or ".." in parts or "\\" in text or ":" in text:
        raise AssetForbidden("the archive holds a name that leads out of it")
    if not text.isprintable() or not name or len(name.encode()) > 200:  # noqa: PLR2004 - bytes
        raise AssetForbidden("the archive holds a name that no file may have")
    if stat.S_IFMT(entry.external_attr >> 16) not in {0, stat.S_IFREG}:
        raise AssetForbidden("the archive holds a link")
    if PurePosixPath(name).suffix.lower() in _ARCHIVES:
        raise AssetForbidden("the archive holds another archive")
    return name


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, place: Path) -> Path:
    """Write one file, of no more bytes than the archive has said."""
    left = entry.file_size
    with archive.open(entry) as packed, place.open("xb") as file:
        while piece := packed.read(min(_PIECE, left + 1)):
            left -= len(piece)
            if left < 0:
                raise AssetForbidden("the archive becomes too large when it is unpacked")
            file.write(piece)
    return place
