"""The gate: the one place that turns an asset's href into something that GDAL may open.

An href comes from a catalogue, an upload or a user, so it is hostile until checked. GDAL opens
strings that are whole programs (`<VRTDataset>`, `/vsicurl?header_file=...`, `GTIFF_DIR:...`); none
of them passes here. What passes is a regular file inside a registered folder, by its real path, a
plain URL on an allow-listed host, or an object in an allow-listed bucket; and it is always opened
with one named driver, so that a `.tif` that is a VRT inside stays a broken TIFF.

GDAL itself never connects to anything: remote files are read by `remote` and `transport`, which
follow no redirects, and look at each address that a name resolves to before they connect to it.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import stat
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urljoin, urlsplit

from terrazzo.errors import AssetForbidden
from terrazzo.storage.folders import Folders
from terrazzo.storage.remote.files import version_of
from terrazzo.storage.remote.networks import is_public
from terrazzo.storage.remote.stores import Store
from terrazzo.storage.remote.transport import Address, RemoteFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terrazzo.storage.folders import Links

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+._-]*:")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_OBJECT = re.compile(r"[\w !$&'()*+,.:;=@~/-]+")
_HARMLESS = re.compile(r"/(?!vsi)(?:[\w.+-]+/(?!vsi))*[\w.+-]+", re.ASCII | re.IGNORECASE)
"""Most absolute paths; nothing that is refused is among them."""
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_DRIVERS = {
    ".tif": "GTiff",
    ".tiff": "GTiff",
    ".gtiff": "GTiff",
    ".jp2": "JP2OpenJPEG",
    ".j2k": "JP2OpenJPEG",
}
_S3 = "s3://"
_PORTS = {"http": 80, "https": 443}
_RESOLVE_AGAIN_S = 60

SAFE_OPTIONS: dict[str, str | int] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_NUM_THREADS": "1",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none",
}
"""GDAL's configuration of a thread for everything that the gate lets through."""


@dataclass(frozen=True, slots=True)
class AssetName:
    """Something that may be opened. Only a `Gate` makes one; readers take nothing else."""

    gdal: str
    """The real path that GDAL is given; of a remote file its URL, which GDAL is not given."""
    key: str
    """What caches call it."""
    driver: str
    """The one GDAL driver that may open it."""
    item: str = field(default="", compare=False)
    """Id of the item that it belongs to, for messages."""
    asset: str = field(default="", compare=False)
    """Key of the asset in the item, for messages."""
    address: Address | None = field(default=None, compare=False)
    """Where it is read, if that is over the network."""
    closed_for: str | None = field(default=None, compare=False)
    """The account for which a closed worker decodes it; None = it is decoded in this process."""
    links: Links = field(default=(), compare=False)
    """The symbolic links by which a local file was found, each with what it led to."""

    @property
    def is_remote(self) -> bool:
        """Whether it is read over the network."""
        return self.address is not None

    @property
    def stamp(self) -> tuple[int, int]:
        """What the content is known by now, and its bytes; zeros for a file that is lost.

        Of a local file that is the time of change in ns; of a remote one a number made of what
        its server says of it, which is asked once a minute.
        """
        if self.address is not None:
            try:
                return version_of(self.address).stamp
            except RemoteFailed:
                return 0, 0
        try:
            facts = os.stat(self.gdal)  # noqa: PTH116 - called for every read
        except OSError:
            return 0, 0
        return facts.st_mtime_ns, facts.st_size

    @property
    def modified(self) -> datetime:
        """When it was changed last, as far as that is told; else the beginning of 1970."""
        if self.address is None:
            return datetime.fromtimestamp(self.stamp[0] // 1_000_000_000, UTC)
        try:
            return parsedate_to_datetime(version_of(self.address).modified).astimezone(UTC)
        except (RemoteFailed, ValueError, TypeError):
            return datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Gate:
    """Decides what may be opened: files in `roots`, URLs on `hosts`. Can be pickled."""

    roots: tuple[Path, ...]
    """Folders whose files may be read, links followed before the check."""
    hosts: tuple[str, ...] = ()
    """`host` or `host:port`, exactly. A private or loopback address must be named as such, for
    example `127.0.0.1:9000`, or as `minio.local:9000=10.0.0.5`. `https://host/folder` lets through
    what is in a folder of a host, and `s3://bucket` or `s3://bucket/prefix` the objects of a
    bucket; by whose key is the environment's (`AWS_...`)."""
    stores: tuple[tuple[str, Store], ...] = ()
    """Further `s3://bucket/prefix`, and where their buckets are. Others are where the environment
    says."""
    places: tuple[str, ...] = ()
    """Further `https://host/folder`."""
    trusted: bool = False
    """Whether files of strangers are decoded in this process, and not in a closed worker."""
    owner: str = ""
    """The account that asks."""
    strange: bool = False
    """Whether it is for names that anybody may have written."""

    def for_strangers(self) -> Gate:
        """Return the gate for what anybody may have written: without what ingestion remembered.

        Who may see the items of a remembered place is another matter than who may name it. What
        it lets through of other hosts has been looked at by nobody, so it is decoded in closed
        workers.
        """
        return replace(self, stores=(), places=(), strange=True)

    def open_name(
        self,
        href: str,
        base: Path | str | None = None,
        *,
        item: str = "",
        asset: str = "",
        folders: Folders | None = None,
    ) -> AssetName:
        """Check an href and return what readers take.

        Args:
            href: a path, a `file://`, `http://`, `https://` or `s3://` URL, or relative to `base`.
            base: the folder (or URL of the folder) that the item lies in.
            item: id of the item, for messages.
            asset: key of the asset, for messages.
            folders: what is known of folders by now, where many files are asked for.

        Raises:
            AssetForbidden: the href is not a plain name, leaves the roots, names a host that is
                not allow-listed, or is of a kind that is not read. The message holds no path.
        """
        text = _plain(href)
        if isinstance(base, str) and _is_url(base) and not _has_scheme(text):
            text = urljoin(base.rstrip("/") + "/", text)
        item, asset = item or _stem(text), asset or "data"
        if text[: len(_S3)].lower() == _S3:
            name, where = self._object(text[len(_S3) :])
        elif _is_url(text):
            where = self._url(text)
            name = where.url
        else:
            where = None
        if where is not None:
            closed_for = self.owner if self.strange and not self.trusted else None
            return AssetName(name, name, _driver(name), item, asset, where, closed_for)
        path, links = self._local(_absolute(text, base), folders or Folders())
        return AssetName(path, path, _driver_of_file(path), item, asset, links=links)

    def address(self, url: str, base: str = "") -> Address:
        """Check the address of a document and return it; relative ones count from `base`.

        Raises:
            AssetForbidden: it is no http(s) URL, or its host is not allow-listed.
        """
        text, mark, query = (urljoin(base, url.strip(" ")) if base else url).partition("?")
        if not _is_url(_plain(text)):
            raise AssetForbidden("Documents are loaded from http:// and https:// addresses only.")
        if _CONTROL.search(query) or not query.isascii() or set(query) & set(' <>#\\"{}'):
            raise AssetForbidden("The query of the address holds characters that are not sent.")
        where = self._url(_plain(text))
        return replace(where, url=where.url + mark + query)

    def local_path(self, href: str, base: Path | str | None = None) -> Path:
        """Return the real path of a local href; a file that is gone passes, for readers to report.

        Raises:
            AssetForbidden: outside the roots, or neither a regular file nor missing.
        """
        path, _ = self._local(_absolute(_plain(href), base), Folders())
        return Path(path)

    def _local(self, text: str, folders: Folders) -> tuple[str, Links]:
        """Return the real path of an absolute one, and the links that lead to it."""
        folder, _, name = text.rpartition("/")
        if name in {"", ".", ".."}:
            path, links = folders.real(text)
        else:
            folder, links = folders.real(folder)
            path = f"{folder}/{name}"
        try:
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                path = os.path.realpath(path)
                links = (*links, (text, path))
                mode = os.stat(path).st_mode  # noqa: PTH116
        except (OSError, ValueError):
            mode = stat.S_IFREG
        roots = map(str, self.roots)
        if not any(_is_below(path, folders.real(_whole(root))[0]) for root in roots):
            raise AssetForbidden(
                f"File {Path(path).name!r} lies outside the folders that may be read here. Copy it "
                "into one of them, or name its folder with `--root`."
            )
        if not stat.S_ISREG(mode):
            raise AssetForbidden(f"{Path(path).name!r} is not a regular file.")
        return path, links

    def remote(self, href: str) -> Address:
        """Check the address of a file of any kind, `s3://` or `http(s)://`, that is read whole.

        Raises:
            AssetForbidden: it is none, or not on the list of what may be read.
        """
        text = _plain(href)
        if text[: len(_S3)].lower() == _S3:
            return self._object(text[len(_S3) :])[1]
        if _is_url(text):
            return self._url(text)
        raise AssetForbidden("Remote files have s3://, http:// or https:// addresses.")

    def _object(self, text: str) -> tuple[str, Address]:
        """Check the name of an object and return it, and where it is."""
        bucket, _, key = text.partition("/")
        if not _BUCKET.fullmatch(bucket) or ".." in bucket:
            raise AssetForbidden("The href names no valid bucket. Use s3://BUCKET/KEY.")
        parts = key.split("/")
        if not _OBJECT.fullmatch(key) or any(part in {"", ".", ".."} for part in parts):
            raise AssetForbidden("The key of the object holds characters that are not opened.")
        name = f"{_S3}{bucket}/{key}"
        for entry, store in self._stores():
            if _is_below(name, entry):
                where = store or Store.of_environment()
                return name, Address.of_object(where, bucket, key)
        raise AssetForbidden(
            f"Bucket {bucket!r}, or this part of it, is not on the list of what may be read. Add "
            f"it with `--allow-host s3://{bucket}`."
        )

    def _stores(self) -> Iterator[tuple[str, Store | None]]:
        """Yield what of buckets may be read, and where it is; the longest name goes first."""
        listed = [(entry, None) for entry in self.hosts if entry.startswith(_S3)]
        yield from sorted([*self.stores, *listed], key=lambda one: -len(one[0]))

    def _url(self, text: str) -> Address:
        """Rebuild a URL from its checked parts, so that no parser can read it differently."""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise AssetForbidden("The href is not a valid URL.") from None
        host = (parts.hostname or "").lower()
        host = f"[{host}]" if ":" in host else host
        if parts.username is not None or parts.password is not None or "@" in parts.netloc:
            raise AssetForbidden("A URL with a user name or password is not opened.")
        if not _HOST.fullmatch(host):
            raise AssetForbidden("The href names no valid host.")
        path = unquote(parts.path)
        if _CONTROL.search(path) or "\\" in path or _leads_up(path):
            raise AssetForbidden("The path of the URL holds characters that are not opened.")
        known = self._check_host(host, port, parts.scheme.lower(), path)
        where = host if port is None else f"{host}:{port}"
        url = f"{parts.scheme.lower()}://{where}{quote(path, safe='/:~,;=+()!*')}"
        return Address(url, known=known)

    def _check_host(self, host: str, port: int | None, scheme: str, path: str) -> tuple[str, ...]:
        """Refuse a host that is not listed, or that resolves to an address that is not public.

        Returns the addresses that were named with it, which need not be public.
        """
        names = {host if port is None else f"{host}:{port}"}
        if port in {None, _PORTS[scheme]}:
            names |= {host, f"{host}:{_PORTS[scheme]}"}
        allowed: set[str] = set()
        listed = False
        for entry in (*self.hosts, *self.places):
            if _is_url(entry):
                folder = urlsplit(entry)
                name, address = folder.netloc.lower(), ""
                if folder.scheme.lower() != scheme or not _is_below(
                    path, unquote(folder.path) or "/"
                ):
                    continue
            else:
                name, _, address = entry.lower().partition("=")
            if name in names:
                listed = True
                allowed.add(address or host.strip("[]"))
        if not listed:
            raise AssetForbidden(
                f"Host {host!r} is not on the list of hosts that may be read. Add it with "
                f"`--allow-host {host}`."
            )
        era = int(time.monotonic() // _RESOLVE_AGAIN_S)
        for address in _addresses(host.strip("[]"), port or _PORTS[scheme], era):
            if address not in allowed and not is_public(address):
                raise AssetForbidden(
                    f"Host {host!r} resolves to an address that is not public. To read it, "
                    "list it with its address: `--allow-host NAME=ADDRESS`."
                )
        return tuple(sorted(allowed))


def _leads_up(path: str) -> bool:
    """Tell whether a path leaves a folder; some servers read `..;x` as `..`."""
    return any(part.partition(";")[0] == ".." for part in path.split("/"))


def _is_below(name: str, folder: str) -> bool:
    """Tell whether a name is that of a folder, or of something inside."""
    folder = folder.rstrip("/")
    return name == folder or name.startswith(f"{folder}/")


def _absolute(text: str, base: Path | str | None) -> str:
    """Return the absolute path that a plain name is, as it is written."""
    if _SCHEME.match(text):
        text = _file_url(text)
    if text.startswith("/"):
        return text
    if base is None:
        raise AssetForbidden(
            "A relative href needs the folder of its item. Use an absolute path or URL."
        )
    return f"{_whole(os.fspath(base))}/{text}"


def _whole(name: str) -> str:
    """Return an absolute name; it may hold links."""
    return name if name.startswith("/") else f"{Path.cwd()}/{name}"


def _plain(href: str) -> str:
    """Refuse everything that is not a plain name; the order matters only for the message."""
    if _HARMLESS.fullmatch(href):
        return href
    text = href.strip(" ")
    lowered = unquote(text).lower()
    if not text or _CONTROL.search(text) or _CONTROL.search(lowered):
        raise AssetForbidden("The href is empty or holds control characters.")
    if lowered.startswith(("<", "/vsi", "vrt:", "{")):
        raise AssetForbidden("The href is a GDAL expression, not the name of a file.")
    if "?" in lowered or "#" in text or "\\" in text or "<" in lowered:
        raise AssetForbidden("An href with options ('?', '#', '\\', '<') is not opened.")
    if re.search(r"/vsi[a-z0-9_]+[/?]", lowered):
        raise AssetForbidden("The href is a GDAL expression, not the name of a file.")
    if _SCHEME.match(text) and not lowered.startswith(("file://", "http://", "https://", _S3)):
        raise AssetForbidden(
            "The href begins with a prefix that is not opened. Use a path, or a file://, http://, "
            "https:// or s3:// URL."
        )
    return text


def _file_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme.lower() != "file" or parts.netloc.lower() not in {"", "localhost"}:
        raise AssetForbidden("Only file:// URLs of this machine are files.")
    return _plain(unquote(parts.path))


def _is_url(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))


def _has_scheme(text: str) -> bool:
    return _SCHEME.match(text) is not None


def _stem(text: str) -> str:
    return text.rstrip("/").rsplit("/", 1)[-1].rsplit(".", 1)[0]


def _driver(name: str) -> str:
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - of a million images
    if suffix not in _DRIVERS:
        raise AssetForbidden(
            f"Files ending in {suffix!r} are not read as images; these are: {', '.join(_DRIVERS)}."
        )
    return _DRIVERS[suffix]


def _driver_of_file(path: str) -> str:
    """Choose by the name; a `.jp2` may be a TIFF inside, as some archives have them."""
    driver = _driver(path)
    if driver != "GTiff":
        try:
            with Path(path).open("rb") as file:
                return "GTiff" if file.read(4) in _TIFF else driver
        except OSError:
            return driver
    return driver


@lru_cache(maxsize=256)
def _addresses(host: str, port: int, era: int) -> tuple[str, ...]:  # noqa: ARG001 - ends its life
    try:
        return (str(ipaddress.ip_address(host)),)
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise AssetForbidden(f"Host {host!r} is not known.") from None
    return tuple(sorted({str(entry[4][0]) for entry in found}))
