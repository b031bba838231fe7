"""Remote files read from servers that misbehave: right, or refused in words and in bounded time."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.storage.files import UTM33, field
from tests.storage.hostile import Handler, Hostile, hostile

from terrazzo.cube import Cube, Dimension, Kind
from terrazzo.errors import AssetForbidden, SourceUnreadable, TerrazzoError
from terrazzo.geo.grid import Grid, Window
from terrazzo.storage.blocks import BlockCache
from terrazzo.storage.gate import AssetName, Gate
from terrazzo.storage.handles import HandlePool
from terrazzo.storage.raster import RasterReader
from terrazzo.storage.remote import files as remote
from terrazzo.storage.remote import transport
from terrazzo.storage.remote.stores import Store
from terrazzo.storage.writers.cog import write_cog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

EDGE = 900
PART = Window(100, 50, 300, 200)
INSIDE = Window(0, 0, EDGE, EDGE).slices(PART)


def cog(folder: Path, seed: int = 0) -> tuple[bytes, NDArray[np.float32]]:
    """Return the bytes of a COG whose tiles lie beyond its first block, and its pixels."""
    pixels = np.random.default_rng(seed).random((EDGE, EDGE), np.float32) + field(EDGE, EDGE)
    pixels = pixels.astype(np.float32)
    grid = Grid.of(UTM33, 500_000.0, 5_000_000.0, 10.0, EDGE, EDGE)
    cube = Cube(
        pixels[np.newaxis], np.ones((1, EDGE, EDGE), np.bool_),
        (Dimension("bands", Kind.BANDS, ("B04",)), Dimension("y", Kind.SPATIAL),
         Dimension("x", Kind.SPATIAL)),
        grid, grid.window,
    )  # fmt: skip
    write_cog(folder / "a.tif", [cube], grid, dtype=pixels.dtype, bands=("B04",))
    return (folder / "a.tif").read_bytes(), pixels


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    monkeypatch.setattr(transport, "PAUSE_S", 0.01)
    with hostile(cog(tmp_path)[0]) as told:
        yield told


def asset_of(server: Hostile) -> AssetName:
    return Gate((), (server.host,)).open_name(server.url(), item="scene", asset="B04")


def read(asset: AssetName, reader: RasterReader | None = None) -> NDArray[np.float32]:
    reader = reader or RasterReader(BlockCache(2**24), HandlePool(4))
    values, _ = reader.read_window(asset, 0, (1,), PART)
    return values[0]


def first(count: int, act: Callable[[Handler], None]) -> Callable[[Handler], bool]:
    """Behave so for the first requests."""
    left = [count]

    def behave(handler: Handler) -> bool:
        left[0] -= 1
        if left[0] < 0:
            return False
        act(handler)
        return True

    return behave


@pytest.mark.parametrize(
    "act",
    [
        lambda handler: handler.say(503, b""),
        lambda handler: handler.say(500, b"<html>"),
        lambda handler: handler.say(429, b"", **{"Retry-After": "0"}),
        Handler.reset,
        Handler.cut,
    ],
    ids=["503", "500", "429", "reset", "cut"],
)
def test_what_may_be_better_the_next_time_is_asked_again(
    server: Hostile, tmp_path: Path, act: Callable[[Handler], None]
) -> None:
    server.behave = first(transport.TRIES - 1, act)

    found = read(asset_of(server))

    np.testing.assert_array_equal(found, cog(tmp_path)[1][INSIDE])


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda handler: handler.say(503, b""), "HTTP status 503"),
        (lambda handler: handler.say(429, b""), "slow down"),
        (lambda handler: handler.say(403, b""), "refuses to give it"),
        (lambda handler: handler.say(404, b""), "it is not there"),
        (lambda handler: handler.say(401, b""), "password"),
        (Handler.reset, "does not answer"),
        (Handler.cut, "ends early, after 100 of 5,000 bytes"),
        (lambda handler: handler.give(shift=1), "another part of it"),
        (lambda handler: handler.give(ranges=False), "does not give parts of files"),
        (lambda handler: handler.give(extra="gzip"), "packed .gzip."),
        (lambda handler: handler.say(206, b"II*\0" * 16384), "another part of it"),
    ],
    ids=["503", "429", "403", "404", "401", "reset", "cut", "shift", "no-ranges", "gzip", "bare"],
)
def test_a_server_that_gives_nothing_usable_is_told_of_in_words(
    server: Hostile, act: Callable[[Handler], None], said: str
) -> None:
    server.behave = first(1000, act)

    with pytest.raises(SourceUnreadable, match=rf"'scene'.*'B04'.*{said}") as refused:
        read(asset_of(server))

    assert server.host not in str(refused.value)
    assert len(server.asked) <= transport.TRIES


def test_a_server_that_dribbles_is_left_after_a_known_time(
    server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "ANSWER_S", 0.5)
    monkeypatch.setattr(transport, "LONGEST_S", 1.5)
    stop = threading.Event()
    server.behave = first(1000, lambda handler: handler.dribble(stop))

    with pytest.raises(SourceUnreadable, match="does not answer in time"):
        read(asset_of(server))

    stop.set()


def test_redirects_are_refused_and_not_followed(server: Hostile) -> None:
    with hostile(server.content) as elsewhere:
        server.behave = first(9, lambda h: h.say(307, b"", Location=elsewhere.url()))

        with pytest.raises(AssetForbidden, match=r"'scene'.*redirects elsewhere"):
            read(asset_of(server))

        assert not elsewhere.asked
    assert len(server.asked) == 1


@pytest.mark.parametrize("heeds", [True, False], ids=["If-Match heeded", "If-Match ignored"])
def test_a_file_replaced_while_it_is_read_is_an_error_and_no_mixture(
    server: Hostile, tmp_path: Path, heeds: bool
) -> None:
    server.heeds_match = heeds
    reader, asset = RasterReader(BlockCache(2**24), HandlePool(4)), asset_of(server)
    reader.describe(asset)
    (tmp_path / "new").mkdir()
    server.content, pixels = cog(tmp_path / "new", seed=1)

    with pytest.raises(SourceUnreadable, match="replaced while it was read"):
        read(asset, reader)

    np.testing.assert_array_equal(read(asset, reader), pixels[INSIDE])


def test_a_file_that_was_replaced_is_noticed_when_it_is_asked_for_anew(
    server: Hostile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, asset = RasterReader(BlockCache(2**24), HandlePool(4)), asset_of(server)
    before, stamp = read(asset, reader), asset.stamp
    (tmp_path / "new").mkdir()
    server.content, pixels = cog(tmp_path / "new", seed=1)

    same = read(asset, reader)
    monkeypatch.setattr(remote, "BELIEVED_S", 0.0)
    new = read(asset, reader)

    np.testing.assert_array_equal(same, before)
    np.testing.assert_array_equal(new, pixels[INSIDE])
    assert stamp != asset.stamp


def test_a_cold_window_takes_the_header_and_one_request_per_run_of_tiles(
    server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, asset = RasterReader(BlockCache(2**24), HandlePool(4)), asset_of(server)

    read(asset, reader)
    cold = [one["range"] for one in server.asked]
    read(asset, reader)
    warm = len(server.asked) - len(cold)
    monkeypatch.setattr(remote, "BELIEVED_S", 0.0)
    asset.stamp  # noqa: B018 - asks whether it has changed

    assert cold[0] == "bytes=0-65535"
    assert len(cold) == 2  # the window meets one row of tiles, which lie one behind the other
    assert warm == 0
    assert server.asked[-1]["if-none-match"] == server.etag
    assert all(one["accept-encoding"] == "identity" for one in server.asked)


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (404, "NoSuchKey", "no such object"),
        (404, "NoSuchBucket", "no such bucket"),
        (400, "ExpiredToken", "have expired; set AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", "set AWS_ACCESS_KEY_ID"),
        (403, "InvalidAccessKeyId", "set AWS_ACCESS_KEY_ID"),
        (403, "AccessDenied", "AWS_NO_SIGN_REQUEST"),
        (403, "RequestTimeTooSkewed", "clocks of this machine"),
        (301, "PermanentRedirect", "set AWS_REGION and AWS_ENDPOINT_URL"),
        (307, "TemporaryRedirect", "set AWS_REGION and AWS_ENDPOINT_URL"),
        (400, "AuthorizationHeaderMalformed", "set AWS_REGION"),
        (503, "SlowDown", "slow down"),
    ],
)
def test_a_refusal_of_a_store_says_what_to_do(
    server: Hostile, monkeypatch: pytest.MonkeyPatch, status: int, code: str, said: str
) -> None:
    keys(monkeypatch, f"http://{server.host}")
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    server.behave = first(99, lambda h: h.say(status, body, Location="http://169.254.169.254/"))
    asset = Gate((), ("s3://bucket",)).open_name("s3://bucket/a.tif", item="scene", asset="B04")

    with pytest.raises(SourceUnreadable, match=rf"'scene'.*{said}.*{code}") as refused:
        read(asset)

    assert "very-secret" not in str(refused.value)
    assert "X-Amz" not in str(refused.value)


def test_keys_that_expire_while_a_run_reads_are_told_of_and_renewed_ones_are_taken_up(
    server: Hostile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys(monkeypatch, f"http://{server.host}")
    asset = Gate((), ("s3://bucket",)).open_name("s3://bucket/a.tif", item="scene", asset="B04")
    reader = RasterReader(BlockCache(2**24), HandlePool(4))
    reader.describe(asset)
    expired = b"<Error><Code>ExpiredToken</Code></Error>"

    def behave(handler: Handler) -> bool:
        if "renewed" in handler.path:
            return False
        handler.say(400, expired)
        return True

    server.behave = behave

    with pytest.raises(SourceUnreadable, match="have expired"):
        read(asset, reader)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "renewed")
    found = read(asset, reader)

    np.testing.assert_array_equal(found, cog(tmp_path)[1][INSIDE])


def keys(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")


def test_keys_come_from_a_profile_and_the_environment_goes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys(monkeypatch, "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id=plain\naws_secret_access_key=s\n"
        "[other]\naws_access_key_id=other\naws_secret_access_key=s\naws_session_token=t\n"
    )
    store = Store.of_environment()

    first_url = store.signed_url("bucket", "a b.tif") or ""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    second = store.signed_url("bucket", "a b.tif") or ""
    monkeypatch.setenv("AWS_PROFILE", "other")
    third = store.signed_url("bucket", "a b.tif") or ""

    assert first_url.startswith("http://127.0.0.1:9/bucket/a%20b.tif?")
    assert "Credential=key%2F" in first_url
    assert "Credential=plain%2F" in second
    assert "Credential=other%2F" in third
    assert "X-Amz-Security-Token=t" in third


NO_KEYS = """
    import sys
    from terrazzo.errors import TerrazzoError
    from terrazzo.storage.gate import Gate
    from terrazzo.storage.remote.objects import Bucket
    from terrazzo.storage.raster import RasterReader
    from terrazzo.storage.remote.stores import Store
    from terrazzo.storage.remote.transport import RemoteFailed

    asset = Gate((), ("s3://bucket",)).open_name("s3://bucket/a.tif")
    try:
        RasterReader().describe(asset)
    except TerrazzoError as error:
        print(error)
    for work in (lambda one: list(one.listed("")), lambda one: one.put_bytes("k", b"v", "a/b")):
        try:
            work(Bucket("bucket", Store.of_environment()))
        except RemoteFailed as error:
            print(error)
"""


def test_without_keys_nobody_is_asked_for_any(server: Hostile, tmp_path: Path) -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    caught = dict.fromkeys(
        ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
         "AWS_METADATA_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT",
         "AWS_CONTAINER_CREDENTIALS_FULL_URI", "CPL_AWS_EC2_API_ROOT_URL"),
        f"http://{server.host}",
    )  # fmt: skip

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(NO_KEYS)], check=True, text=True,
        capture_output=True, timeout=300,
        env=plain | caught | {"HOME": str(tmp_path), "no_proxy": "", "NO_PROXY": ""},
    )  # fmt: skip

    assert done.stdout.count("there are no keys of the object store") == 3
    assert server.asked == []


def test_a_name_that_leads_elsewhere_by_then_is_not_connected_to(
    server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(server.host.rpartition(":")[2])
    monkeypatch.setattr("terrazzo.storage.gate._addresses", lambda *_: ("1.1.1.1",))
    asset = Gate((), (f"data.example:{port}",)).open_name(f"http://data.example:{port}/a.tif")
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", port))])

    with pytest.raises(SourceUnreadable, match="not public"):
        read(asset)

    assert server.asked == []


def test_a_connection_that_is_not_safe_is_refused(server: Hostile) -> None:
    gate = Gate((), (server.host,))

    with pytest.raises(SourceUnreadable, match="TLS"):
        read(gate.open_name(server.url().replace("http://", "https://")))


@pytest.mark.parametrize("entry", ["http://{}/open", "http://{}/open/"])
def test_a_part_of_a_host_lets_through_what_is_below_it(server: Hostile, entry: str) -> None:
    gate = Gate((), (entry.format(server.host),))

    passed = gate.open_name(server.url("open/a.tif"))

    assert passed.key == server.url("open/a.tif")
    for name in ("a.tif", "opener/a.tif", "open/%2e%2e/a.tif", "closed/open/a.tif"):
        with pytest.raises(AssetForbidden):
            gate.open_name(server.url(name))


def test_a_part_of_a_bucket_lets_through_what_is_below_it() -> None:
    store = Store("https://store.example", "eu-1", anonymous=True)
    gate = Gate((), (), (("s3://bucket/open", store),))

    passed = gate.open_name("s3://bucket/open/x/a.tif")

    assert passed.address is not None
    assert passed.address.url == "https://store.example/bucket/open/x/a.tif"
    for name in ("a.tif", "opener/a.tif", "open/../a.tif"):
        with pytest.raises(TerrazzoError):
            gate.open_name(f"s3://bucket/{name}")
