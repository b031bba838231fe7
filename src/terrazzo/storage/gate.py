"""The gate: the one place that turns an asset's href into something that GDAL may open.

An href comes from a catalogue, an upload or a user, so it is hostile until checked. GDAL opens
strings that are whole programs (`<VRTDataset>`, `/vsicurl?header_file=...`, `GTIFF_DIR:...`); none
of them passes here. What passes is a regular file inside a registered folder, by its real path, a
plain URL on an allow-listed host, or an object in an allow-listed bucket; and it is always opened
with one named driver, so that a `.tif` that is a VRT inside stays a broken TIFF.

GDAL 3.10 cannot be told not to follow redirects. `refuse_redirect` asks the server once before an
asset is opened; a server that answers differently later is trusted as far as it is allow-listed.
GDAL also resolves a host again when it connects: allow-list hosts whose DNS you trust, or
addresses.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import re
import socket
import stat
import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urljoin, urlsplit

from terrazzo.errors import AssetForbidden

if TYPE_CHECKING:
    from urllib.parse import SplitResult

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+._-]*:")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_OBJECT = re.compile(r"[\w !$&'()*+,.:;=@~/-]+")
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
_TIMEOUT_S = 10.0

SAFE_OPTIONS: dict[str, str | int] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_CACHEMAX": 64,
    "GDAL_NUM_THREADS": "1",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    "GDAL_HTTP_TIMEOUT": "60",
    "GDAL_HTTP_NETRC": "NO",
    "CPL_VSIL_CURL_USE_S3_REDIRECT": "NO",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ",".join(_DRIVERS),
}
"""GDAL's configuration for everything that the gate lets through; 64 MB of GDAL's own cache."""


@dataclass(frozen=True, slots=True)
class AssetName:
    """Something that may be opened. Only a `Gate` makes one; readers take nothing else."""

    gdal: str
    """What GDAL is given: a real path, `/vsicurl/` and a URL, or `/vsis3/` and bucket and key."""
    key: str
    """What caches call it."""
    driver: str
    """The one GDAL driver that may open it."""
    item: str = field(default="", compare=False)
    """Id of the item that it belongs to, for messages."""
    asset: str = field(default="", compare=False)
    """Key of the asset in the item, for messages."""

    @property
    def is_remote(self) -> bool:
        """Whether it is read over the network."""
        return self.gdal.startswith(("/vsicurl/", "/vsis3/"))

    @property
    def is_object(self) -> bool:
        """Whether it is in an object store."""
        return self.gdal.startswith("/vsis3/")

    @property
    def stamp(self) -> tuple[int, int]:
        """(modification time in ns, bytes) of a local file now; zeros for a remote or lost one."""
        if self.is_remote:
            return 0, 0
        try:
            facts = os.stat(self.gdal)  # noqa: PTH116 - called for every read
        except OSError:
            return 0, 0
        return facts.st_mtime_ns, facts.st_size


@dataclass(frozen=True, slots=True)
class Gate:
    """Decides what may be opened: files in `roots`, URLs on `hosts`. Can be pickled."""

    roots: tuple[Path, ...]
    """Folders whose files may be read, links followed before the check."""
    hosts: tuple[str, ...] = ()
    """`host` or `host:port`, exactly. A private or loopback address must be named as such, for
    example `127.0.0.1:9000`, or as `minio.local:9000=10.0.0.5`. `s3://bucket` lets through the
    objects of a bucket; in which store and by which key is the environment's (`AWS_...`)."""

    def open_name(
        self, href: str, base: Path | str | None = None, *, item: str = "", asset: str = ""
    ) -> AssetName:
        """Check an href and return what readers take.

        Args:
            href: a path, a `file://`, `http://`, `https://` or `s3://` URL, or relative to `base`.
            base: the folder (or URL of the folder) that the item lies in.
            item: id of the item, for messages.
            asset: key of the asset, for messages.

        Raises:
            AssetForbidden: the href is not a plain name, leaves the roots, names a host that is
                not allow-listed, or is of a kind that is not read. The message holds no path.
        """
        text = _plain(href)
        if isinstance(base, str) and _is_url(base) and not _has_scheme(text):
            text = urljoin(base.rstrip("/") + "/", text)
        item, asset = item or _stem(text), asset or "data"
        if text[: len(_S3)].lower() == _S3:
            name = self._object(text[len(_S3) :])
            return AssetName(f"/vsis3/{name}", f"{_S3}{name}", _driver(name), item, asset)
        if _is_url(text):
            url = self._url(text)
            return AssetName(f"/vsicurl/{url}", url, _driver(url), item, asset)
        path = self.local_path(text, base)
        return AssetName(str(path), str(path), _driver_of_file(path), item, asset)

    def address(self, url: str, base: str = "") -> str:
        """Check the address of a document and return it; relative ones count from `base`.

        Raises:
            AssetForbidden: it is no http(s) URL, or its host is not allow-listed.
        """
        text, mark, query = (urljoin(base, url.strip(" ")) if base else url).partition("?")
        if not _is_url(_plain(text)):
            raise AssetForbidden("Documents are loaded from http:// and https:// addresses only.")
        if _CONTROL.search(query) or not query.isascii() or set(query) & set(' <>#\\"{}'):
            raise AssetForbidden("The query of the address holds characters that are not sent.")
        return self._url(_plain(text)) + mark + query

    def local_path(self, href: str, base: Path | str | None = None) -> Path:
        """Return the real path of a local href; a file that is gone passes, for readers to report.

        Raises:
            AssetForbidden: outside the roots, or neither a regular file nor missing.
        """
        text = _plain(href)
        if _SCHEME.match(text):
            text = _file_url(text)
        if not text.startswith("/"):
            if base is None:
                raise AssetForbidden(
                    "A relative href needs the folder of its item. Use an absolute path or URL."
                )
            text = os.path.join(os.fspath(base), text)  # noqa: PTH118 - `text` may be hostile
        path = Path(os.path.realpath(text))
        if not any(path.is_relative_to(os.path.realpath(root)) for root in self.roots):
            raise AssetForbidden(
                f"File {path.name!r} lies outside the folders that may be read here. Copy it into "
                "one of them, or name its folder with `--root`."
            )
        try:
            mode = path.stat().st_mode
        except OSError:
            return path
        if not stat.S_ISREG(mode):
            raise AssetForbidden(f"{path.name!r} is not a regular file.")
        return path

    def _object(self, text: str) -> str:
        """Check the name of an object and return it as bucket and key."""
        bucket, _, key = text.partition("/")
        if not _BUCKET.fullmatch(bucket) or ".." in bucket:
            raise AssetForbidden("The href names no valid bucket. Use s3://BUCKET/KEY.")
        parts = key.split("/")
        if not _OBJECT.fullmatch(key) or any(part in {"", ".", ".."} for part in parts):
            raise AssetForbidden("The key of the object holds characters that are not opened.")
        if f"{_S3}{bucket}" not in {entry.rstrip("/") for entry in self.hosts}:
            raise AssetForbidden(
                f"Bucket {bucket!r} is not on the list of what may be read. Add it with "
                f"`--allow-host s3://{bucket}`."
            )
        return f"{bucket}/{key}"

    def _url(self, text: str) -> str:
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
        self._check_host(host, port, parts.scheme.lower())
        path = unquote(parts.path)
        if _CONTROL.search(path) or "\\" in path or "/../" in f"{path}/":
            raise AssetForbidden("The path of the URL holds characters that are not opened.")
        where = host if port is None else f"{host}:{port}"
        return f"{parts.scheme.lower()}://{where}{quote(path, safe='/:~,;=+()!*')}"

    def _check_host(self, host: str, port: int | None, scheme: str) -> None:
        """Refuse a host that is not listed, or that resolves to an address that is not public."""
        names = {host if port is None else f"{host}:{port}"}
        if port in {None, _PORTS[scheme]}:
            names |= {host, f"{host}:{_PORTS[scheme]}"}
        allowed: set[str] = set()
        listed = False
        for entry in self.hosts:
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
            if address not in allowed and not _is_public(address):
                raise AssetForbidden(
                    f"Host {host!r} resolves to an address that is not public. To read it, "
                    "list it with its address: `--allow-host NAME=ADDRESS`."
                )


def refuse_redirect(asset: AssetName) -> None:
    """Ask the server of a remote asset once, and refuse one that sends us elsewhere.

    Object stores are the operator's choice and are not asked.

    Raises:
        AssetForbidden: the answer is a redirect.
        OSError: the server does not answer.
    """
    if asset.is_object:
        return
    parts: SplitResult = urlsplit(asset.key)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=_TIMEOUT_S)
    try:
        connection.request("HEAD", parts.path)
        status = connection.getresponse().status
    except http.client.HTTPException as error:
        raise OSError("the server's answer is not HTTP") from error
    finally:
        connection.close()
    if 300 <= status < 400:  # noqa: PLR2004 - HTTP's redirects
        raise AssetForbidden(
            f"Item {asset.item!r}, asset {asset.asset!r}: the server redirects elsewhere, and "
            "redirects are not followed. Put the final address into the catalogue."
        )


def _plain(href: str) -> str:
    """Refuse everything that is not a plain name; the order matters only for the message."""
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
    suffix = Path(name).suffix.lower()
    if suffix not in _DRIVERS:
        raise AssetForbidden(
            f"Files ending in {suffix!r} are not read as images; these are: {', '.join(_DRIVERS)}."
        )
    return _DRIVERS[suffix]


def _driver_of_file(path: Path) -> str:
    """Choose by the name; a `.jp2` may be a TIFF inside, as some archives have them."""
    driver = _driver(path.name)
    if driver != "GTiff":
        try:
            with path.open("rb") as file:
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


def _is_public(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_global and not parsed.is_multicast
