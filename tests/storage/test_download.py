"""Documents over HTTP from servers that answer strangely."""

from __future__ import annotations

import socket
import threading

import pytest

from terrazzo.errors import AssetForbidden, SourceUnreadable
from terrazzo.storage.remote.download import download
from terrazzo.storage.remote.transport import Address

OK = b"HTTP/1.1 200 OK\r\n"


def asked(answer: bytes) -> bytes:
    """Download from a server that gives one answer, whatever it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.getsockname()[1]}/file"
            return download(Address(url, known=("127.0.0.1",)), "file")
        finally:
            thread.join(10)


def test_a_whole_answer_is_returned() -> None:
    assert asked(OK + b"Content-Length: 2\r\n\r\nhi") == b"hi"
    assert asked(OK + b"\r\nhi") == b"hi"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (OK + b"Content-Length: 10\r\n\r\nhi", "8 bytes early"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nFF\r\nhi", "no whole HTTP"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nhi", "no whole HTTP"),
        (OK + b"X: " + b"x" * 100_000, "no whole HTTP"),
        (b"hello\r\n\r\n", "no whole HTTP"),
        (b"", "does not answer"),
        (b"HTTP/1.1 404 Gone\r\n\r\n", "404"),
    ],
)
def test_half_an_answer_is_none(answer: bytes, message: str) -> None:
    with pytest.raises(SourceUnreadable, match=message):
        asked(answer)


def test_a_redirect_is_not_followed() -> None:
    with pytest.raises(AssetForbidden, match="redirects"):
        asked(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/hostname\r\n\r\n")
