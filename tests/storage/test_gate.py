from __future__ import annotations

import ast
import os
import pickle
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from tests.storage.files import field, fresh_reader, write_tif

from terrazzo.errors import AssetForbidden, SourceUnreadable
from terrazzo.storage import gate as gate_module
from terrazzo.storage.folders import Folders, are_as_ever
from terrazzo.storage.gate import Gate
from terrazzo.storage.raster import RasterReader


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    write_tif(folder / "image.tif", field(70, 70))
    return folder


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return write_tif(tmp_path / "secret.tif", field(70, 70))


VRT = """<VRTDataset rasterXSize="20" rasterYSize="1"><VRTRasterBand dataType="Byte" band="1"
 subClass="VRTRawRasterBand"><SourceFilename relativetoVRT="0">{path}</SourceFilename>
 <ImageOffset>0</ImageOffset><PixelOffset>1</PixelOffset><LineOffset>20</LineOffset>
 </VRTRasterBand></VRTDataset>"""


@pytest.mark.parametrize(
    "href",
    [
        "{secret}",
        "../secret.tif",
        "file://{secret}",
        "file:///root/../{secret}",
        "file://elsewhere{root}/image.tif",
        "{root}/../secret.tif",
        "{root}/%2e%2e/secret.tif\0",
        VRT.format(path="/etc/passwd"),
        " <VRTDataset/>",
        "<GDAL_WMS><Service name='TMS'/></GDAL_WMS>",
        "%3CVRTDataset/%3E",
        "vrt://{root}/image.tif?bands=1",
        "VRT://{root}/image.tif",
        "/vsicurl/http://127.0.0.1:9/image.tif",
        "/VSICURL/http://127.0.0.1:9/image.tif",
        "/vsicurl?header_file=/etc/passwd&url=http://127.0.0.1:9/image.tif",
        "/vsisubfile/0_100,{secret}",
        "/vsizip/{root}/x.zip/image.tif",
        "/vsimem/x.tif",
        "/vsis3/bucket/image.tif",
        "{root}/vsizip/../image.tif?x",
        "GTIFF_DIR:1:{secret}",
        "GTIFF_RAW:{secret}",
        "DERIVED_SUBDATASET:LOGAMPLITUDE:{secret}",
        "HDF5:{secret}://x",
        "NETCDF:{secret}:x",
        'NETCDF:"{secret}":x',
        "JPEG2000:{secret}",
        "ZARR:/vsicurl/http://127.0.0.1:9/x",
        "STACIT:{root}/x.json",
        "MEM:::DATAPOINTER=1",
        "WMS:http://127.0.0.1:9/",
        "C:\\secret.tif",
        "s3://bucket/image.tif",
        "ftp://127.0.0.1/image.tif",
        '{{"type": "gdal_streamed_alg"}}',
        "{root}/image.tif\n",
        "",
        "{root}",
        "{root}/image.vrt",
        "http://127.0.0.1:9/image.tif",
        "http://localhost/image.tif",
        "http://169.254.169.254/latest/image.tif",
        "http://user:word@data.example/image.tif",
        "http://data.example@127.0.0.1/image.tif",
        "http://data.example:81/image.tif",
        "http://data.example.evil.example/image.tif",
        "http://data.example\\@evil.example/image.tif",
        "http://data.example/a.tif?url=http://127.0.0.1",
        "http://data.example/%0d%0aHost:%20evil/a.tif",
        "http://data.example/a/../../b.tif",
        "http:///image.tif",
        "http://[::1]/image.tif",
        "http://0x7f000001/image.tif",
        "http://data.example:port/image.tif",
    ],
)
def test_attacks_do_not_pass(href: str, root: Path, secret: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gate_module, "_addresses", lambda *_: ("93.184.215.14",))
    gate = Gate((root,), ("data.example",))
    asked = href.format(secret=secret, root=root) if "VRTRaster" not in href else href

    with pytest.raises(AssetForbidden) as refused:
        gate.open_name(asked, root)

    assert str(secret.parent) not in str(refused.value)


def test_links_out_of_the_roots_do_not_pass(root: Path, secret: Path):
    (root / "link.tif").symlink_to(secret)
    (root / "folder").symlink_to(secret.parent)
    (root / "inside.tif").symlink_to(root / "image.tif")
    gate = Gate((root,))

    for href in ("link.tif", "folder/secret.tif"):
        with pytest.raises(AssetForbidden):
            gate.open_name(href, root)

    assert gate.open_name("inside.tif", root).gdal == str(root / "image.tif")


@pytest.mark.parametrize(
    "name",
    [
        "image.tif", "./image.tif", "a/../image.tif", "a//b/./image.tif", "to_a/b/image.tif",
        "to_a/../image.tif", "a/to_b/image.tif", "to_a/to_b/image.tif", "to_to_b/image.tif",
        "to_image.tif", "a/up/image.tif", "not/there.tif", "to_nothing/x.tif", "loop/x.tif",
        "a/b/to_image.tif", "to_nowhere.tif", "loop.tif", "to_a/b/../to_b/image.tif",
    ],
)  # fmt: skip
def test_paths_are_real_paths_however_many_are_asked_for(root: Path, name: str):
    (root / "a" / "b").mkdir(parents=True)
    for folder in (root / "a", root / "a" / "b"):
        write_tif(folder / "image.tif", field(10, 10))
    for link, there in {
        "to_a": "a", "a/to_b": "b", "to_to_b": "to_a/to_b", "to_image.tif": "a/image.tif",
        "a/up": "..", "to_nothing": "nothing", "loop": "loop", "loop.tif": "loop.tif",
        "a/b/to_image.tif": "../../to_image.tif", "to_nowhere.tif": "to_nothing/x.tif",
    }.items():  # fmt: skip
        (root / link).symlink_to(there)
    gate, folders = Gate((root,)), Folders()

    for _ in range(2):
        opened = gate.open_name(f"{root}/{name}", folders=folders)
        assert opened.gdal == opened.key == os.path.realpath(f"{root}/{name}")
        assert opened == gate.open_name(name, root)
    assert gate.local_path(name, root) == Path(opened.gdal)
    assert are_as_ever(opened.links)
    links = [root / part for part in ("to_a", "a/to_b", "to_to_b", "to_image.tif")]
    for link in links:
        link.unlink()
        link.symlink_to("elsewhere")
    if os.path.realpath(f"{root}/{name}") != opened.gdal:
        assert not are_as_ever(opened.links)


def test_what_is_no_regular_file_does_not_pass(root: Path):
    os.mkfifo(root / "pipe.tif")
    (root / "folder.tif").mkdir()

    for href in ("pipe.tif", "folder.tif"):
        with pytest.raises(AssetForbidden):
            Gate((root,)).open_name(href, root)


def test_a_vrt_that_is_called_tif_is_not_read(root: Path, secret: Path):
    text = secret.parent / "passwords.txt"
    text.write_text("very secret numbers")
    (root / "evil.tif").write_text(VRT.format(path=text))
    asset = Gate((root,)).open_name("evil.tif", root, item="evil", asset="data")

    with pytest.raises(SourceUnreadable) as refused:
        RasterReader().describe(asset)

    assert "evil" in str(refused.value)
    assert str(root) not in str(refused.value)


def test_sidecars_of_an_image_are_not_read(root: Path):
    (root / "image.tif.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><NoDataValue>7</NoDataValue></PAMRasterBand>"
        "</PAMDataset>"
    )

    info = fresh_reader().describe(Gate((root,)).open_name("image.tif", root))

    assert info.nodata == (None,)


def test_plain_names_pass(root: Path):
    gate = Gate((root,))
    names = [
        gate.open_name(str(root / "image.tif")),
        gate.open_name("image.tif", root),
        gate.open_name("./image.tif", str(root)),
        gate.open_name(f"file://{root}/image.tif"),
        gate.open_name(f"file://localhost{root}/image.tif"),
    ]

    assert {name.gdal for name in names} == {str(root / "image.tif")}
    assert {name.driver for name in names} == {"GTiff"}
    assert pickle.loads(pickle.dumps(gate)) == gate  # noqa: S301 - ours
    assert pickle.loads(pickle.dumps(names[0])) == names[0]  # noqa: S301 - ours


def test_a_relative_name_without_folder_does_not_pass():
    with pytest.raises(AssetForbidden, match="folder"):
        Gate((Path("/"),)).open_name("image.tif")


def test_names_that_resolve_to_private_addresses_do_not_pass(monkeypatch: pytest.MonkeyPatch):
    gate = Gate((), ("data.example", "store.example=10.0.0.5"))
    for address in (
        "127.0.0.1",
        "10.0.0.5",
        "169.254.169.254",
        "::1",
        "::ffff:10.0.0.1",
        "0.0.0.0",  # noqa: S104 - what must be refused
    ):
        monkeypatch.setattr(gate_module, "_addresses", lambda *_, a=address: ("1.1.1.1", a))

        with pytest.raises(AssetForbidden, match="not public"):
            gate.open_name("https://data.example/a.tif")

    monkeypatch.setattr(gate_module, "_addresses", lambda *_: ("10.0.0.5",))
    assert gate.open_name("https://store.example/a.tif").gdal == ("https://store.example/a.tif")


def test_relative_names_of_remote_items_stay_on_their_host(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gate_module, "_addresses", lambda *_: ("1.1.1.1",))
    gate = Gate((), ("data.example",))

    name = gate.open_name("./B04.tif", "https://data.example/items/one")

    assert name.gdal == "https://data.example/items/one/B04.tif"
    with pytest.raises(AssetForbidden):
        gate.open_name("//evil.example/B04.tif", "https://data.example/items/one")


class _Server(BaseHTTPRequestHandler):
    content = b""

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(self.content)

    def _answer(self, body: bytes) -> None:
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "/image.tif")
            self.end_headers()
            return
        start, end = 0, len(self.content) - 1
        asked = self.headers.get("Range")
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or end), end)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(self.content)}")
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(end - start + 1))
        self.end_headers()
        if body:
            self.wfile.write(body[start : end + 1])

    def log_message(self, *_: object) -> None:
        pass


def test_an_allowed_host_is_read_and_its_redirects_are_not_followed(root: Path):
    pixels = field(70, 70)
    _Server.content = (root / "image.tif").read_bytes()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"127.0.0.1:{server.server_address[1]}"
    gate, reader = Gate((), (host,)), fresh_reader()
    try:
        good = gate.open_name(f"http://{host}/image.tif")
        moved = gate.open_name(f"http://{host}/moved.tif")

        values, _ = reader.read_window(good, 0, [1], reader.describe(good).grid.window)

        np.testing.assert_array_equal(values[0], pixels)
        with pytest.raises(AssetForbidden, match="redirect"):
            reader.describe(moved)
    finally:
        reader.handles.close()
        server.shutdown()
        server.server_close()


def test_a_server_that_is_gone_is_named_by_item():
    with socket.create_server(("127.0.0.1", 0)) as free:
        host = f"127.0.0.1:{free.getsockname()[1]}"
    asset = Gate((), (host,)).open_name(f"http://{host}/a.tif", item="one", asset="red")

    with pytest.raises(SourceUnreadable, match=r"'one'.*'red'.*does not answer"):
        fresh_reader().describe(asset)


def test_only_the_gate_makes_names():
    made = [
        path.name
        for path in (Path(gate_module.__file__).parents[1]).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and "AssetName" in ast.unparse(node.func)
    ]

    assert set(made) == {"gate.py"}
