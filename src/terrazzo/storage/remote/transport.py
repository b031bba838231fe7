"""Reading from servers of files and object stores: strict, bounded in time, and tried again.

A request goes to an address that the gate let through and to no other: names are resolved here,
and what they resolve to is checked before the connection is made; redirects are not followed.
Answers are whole or an error, in a time that is known beforehand however slowly they come.
"""

from __future__ import annotations

import http.client
import io
import os
import random
import re
import socket
import ssl
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from rasterio.errors import RasterioError
from typing_extensions import override

from terrazzo.storage.remote.networks import carried, is_public

if TYPE_CHECKING:
    from collections.abc import Mapping

    from terrazzo.storage.remote.stores import Store

TRIES = 4
"""How often a request is made whose answer may be better the next time."""
PAUSE_S = 0.2
"""Before the second try; doubled for each further one, and varied by half."""
LONGEST_PAUSE_S = 10.0
"""However long a server asks to wait."""
CONNECT_S = 10.0
"""Until a connection stands."""
SILENCE_S = 20.0
"""How long a server may say nothing."""
ANSWER_S = 60.0
"""Until an answer is whole, of one try."""
LONGEST_S = 150.0
"""Until an answer is whole, of all tries together."""

_KEPT: Final = 16
_ERROR_BYTES: Final = 65_536
_PART: Final = 262_144
_PORTS: Final = {"http": 80, "https": 443}
_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_BUSY_CODES: Final = frozenset({
    "SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "OperationAborted",
})  # fmt: skip
_CODE: Final = re.compile(rb"<Code>(\w{1,64})</Code>")
_KEYS: Final = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a key that may, or "
    "AWS_NO_SIGN_REQUEST=YES for public buckets"
)
_ELSEWHERE: Final = (
    "the bucket is in another region or at another endpoint; set AWS_REGION and AWS_ENDPOINT_URL"
)
NO_KEYS: Final = f"there are no keys of the object store; {_KEYS}"
REPLACED: Final = "it was replaced while it was read; read it again"
_REASONS: Final[Mapping[str, str]] = {
    "NoSuchKey": "there is no such object",
    "NoSuchBucket": "there is no such bucket",
    "ExpiredToken": "the keys of the object store have expired; set AWS_ACCESS_KEY_ID, "
    "AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN anew",
    "RequestTimeTooSkewed": "the clocks of this machine and the store differ; set this one's right",
    "PermanentRedirect": _ELSEWHERE,
    "TemporaryRedirect": _ELSEWHERE,
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "IllegalLocationConstraintException": _ELSEWHERE,
    "SlowDown": "the object store asks to slow down; try again later, with fewer --workers",
    **dict.fromkeys(
        ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"),
        f"the object store refuses it; {_KEYS}",
    ),
}
_STATUSES: Final[Mapping[int, str]] = {
    401: "the server wants a password, which is not given",
    403: "the server refuses to give it",
    404: "it is not there",
    410: "it is gone",
    412: REPLACED,
    416: "it is shorter than it was",
    429: "the server asks to slow down; try again later, with fewer --workers",
}


class RemoteFailed(RasterioError):  # type: ignore[misc] # without type information
    """A server gave no answer that can be used; raised where GDAL would fail, and handled so."""

    def __init__(
        self, reason: str, *, code: str = "", status: int = 0, again: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        """What happened and what to do, without names of servers."""
        self.code = code
        """The object store's word for it."""
        self.status = status
        """Of HTTP; 0 where there was no answer."""
        self.again = again
        """Whether the next try may succeed."""

    @property
    def redirected(self) -> bool:
        """Whether the server sends us elsewhere."""
        return 300 <= self.status < 400 and self.status != 304  # noqa: PLR2004 - HTTP's redirects

    @property
    def missing(self) -> bool:
        """Whether there is no such thing."""
        return self.status in {404, 410}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a remote file or bucket is; only a `Gate` or the operator's own word makes one."""

    url: str
    """`scheme://host[:port]/path`, without a signature."""
    store: Store | None = None
    """The object store, whose requests are signed; None is plain HTTP."""
    bucket: str = ""
    """Of the object store."""
    key: str = ""
    """Of the object."""
    known: tuple[str, ...] = ()
    """Addresses that may be connected to although they are not public."""

    @classmethod
    def of_object(cls, store: Store, bucket: str, key: str) -> Address:
        """Return the address of an object."""
        return cls(store.url(bucket, key), store, bucket, key)

    def requested(self) -> str:
        """Return the URL that is requested now.

        Raises:
            RemoteFailed: this process has no keys.
        """
        if self.store is None:
            return self.url
        found = self.store.signed_url(self.bucket, self.key)
        if found is None:
            raise RemoteFailed(NO_KEYS)
        return found

    def admits(self, address: str) -> bool:
        """Tell whether what the name resolves to may be connected to."""
        if self.store is not None:
            return not any(one.is_link_local for one in carried(address))
        return address in self.known or is_public(address)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    """Empty where it is more than was asked for."""
    whole: bool
    """Whether the body is all of it."""


def ask(
    address: Address, *, headers: Mapping[str, str] | None = None, most: int = 1_000_000
) -> Answer:
    """Get something, again if need be.

    Args:
        address: of whom.
        headers: further ones.
        most: bytes of the body that are read; of a longer one nothing is.

    Returns:
        An answer of status 2xx or 304.

    Raises:
        RemoteFailed: says why there is none.
    """
    end = time.monotonic() + LONGEST_S
    number = 0
    while True:
        number += 1
        wait_s = PAUSE_S * 2 ** (number - 1) * random.uniform(0.75, 1.25)  # noqa: S311 - a pause
        try:
            stop = min(time.monotonic() + ANSWER_S, end)
            answer = _once(address, dict(headers or {}), most, stop)
            failed = _failure(answer, address.store)
            if failed is None:
                return answer
            asked = answer.headers.get("retry-after", "")
            wait_s = max(wait_s, float(asked) if asked.isascii() and asked.isdigit() else 0.0)
        except TimeoutError:
            failed = RemoteFailed("its server does not answer in time", again=True)
        except RemoteFailed as error:
            failed = error
        except (OSError, http.client.HTTPException) as error:
            failed = _broken(error)
        wait_s = min(wait_s, LONGEST_PAUSE_S)
        if not failed.again or number >= TRIES or time.monotonic() + wait_s >= end:
            raise failed
        time.sleep(wait_s)


def told_of(status: int, text: str) -> RemoteFailed:
    """Return what an answer of an object store means, of which somebody else tells."""
    answer = Answer(status, {}, text.encode(), whole=True)
    return _failure(answer, None, of_store=True) or RemoteFailed("it does not answer as it should")


def _failure(answer: Answer, store: Store | None, *, of_store: bool = False) -> RemoteFailed | None:
    status, of_store = answer.status, of_store or store is not None
    if 200 <= status < 300 or status == 304:  # noqa: PLR2004 - HTTP's good answers
        return None
    found = _CODE.search(answer.body) if of_store else None
    code = found[1].decode() if found else ""
    reason = _REASONS.get(code) or _STATUSES.get(status)
    if of_store and status == 403 and not code:  # noqa: PLR2004 - answers to HEAD
        reason = _REASONS["AccessDenied"]
    if 300 <= status < 400 and not code:  # noqa: PLR2004 - HTTP's redirects
        reason = (
            "the server redirects elsewhere, and redirects are not followed. Use the final address"
        )
    word = code or f"HTTP status {status}"
    reason = f"{reason or 'its server does not give it'} ({word})"
    again = status in _BUSY or code in _BUSY_CODES
    return RemoteFailed(reason, code=code, status=status, again=again)


def _broken(error: Exception) -> RemoteFailed:
    if isinstance(error, ssl.SSLError):
        why = str(getattr(error, "verify_message", "") or error.reason or "no reason given")[:100]
        return RemoteFailed(
            f"the connection to its server cannot be made safe (TLS: {why}); name the authority "
            "that signed its certificate with SSL_CERT_FILE"
        )
    if isinstance(error, http.client.HTTPException) and not isinstance(error, ConnectionError):
        return RemoteFailed("its server's answer is no whole HTTP", again=True)
    if isinstance(error, socket.gaierror):
        return RemoteFailed("its server's name is not known", again=True)
    return RemoteFailed(f"its server does not answer ({type(error).__name__})", again=True)


def _once(address: Address, headers: dict[str, str], most: int, stop: float) -> Answer:
    """Make a request once; over a connection that stands, if there is one."""
    parts = urlsplit(address.requested())
    place = parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme]
    headers |= {"Accept-Encoding": "identity", "User-Agent": "terrazzo", "Host": parts.netloc}
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    kept = _idle[(*place, address.store is not None, address.known)]
    while True:
        try:
            connection, fresh = kept.pop(), False
        except IndexError:
            connection, fresh = _Connection(address, place), True
        done = False
        try:
            connection.stop = stop
            connection.request("GET", target, headers=headers)
            response = connection.getresponse()
            answer = _read(response, most)
            done = answer.whole and not response.will_close
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            if fresh:
                raise
            continue
        finally:
            if not done:
                connection.close()
        if done and len(kept) < _KEPT:
            kept.append(connection)
        return answer


def _read(response: Any, most: int) -> Answer:
    """Read an answer to its end, or leave it unread where it is longer than what is wanted.

    Raises:
        RemoteFailed: it is cut short.
    """
    headers = {name.lower(): value for name, value in response.getheaders()}
    good = response.status < 300  # noqa: PLR2004 - HTTP's good answers
    limit = most if good else _ERROR_BYTES
    told = response.length
    if response.status == 304:  # noqa: PLR2004 - answers without a body
        response.close()
        return Answer(response.status, headers, b"", whole=True)
    if told is not None and told > limit:
        return Answer(response.status, headers, b"", whole=False)
    parts, size = [], 0
    while part := response.read1(_PART):
        size += len(part)
        if size > limit:
            return Answer(response.status, headers, b"", whole=False)
        parts.append(part)
    response.close()  # reading to the end does not, and the connection would be of no more use
    if told is not None and size != told:
        raise RemoteFailed(
            f"its server's answer ends early, after {size:,} of {told:,} bytes", again=True
        )
    return Answer(response.status, headers, b"".join(parts), whole=True)


class _Connection(http.client.HTTPConnection):
    """A connection to an address that was checked, each of whose answers has its time."""

    stop = 0.0

    def __init__(self, address: Address, place: tuple[str, str, int]) -> None:
        self._address, self._place = address, place
        super().__init__(place[1], place[2])

    @override
    def connect(self) -> None:
        scheme, host, port = self._place
        left = min(CONNECT_S, self.stop - time.monotonic())
        if left <= 0:
            raise TimeoutError
        raw = reached(self._address, host, port, left)
        if scheme == "https":
            try:
                raw = _tls().wrap_socket(raw, server_hostname=host)
            except BaseException:
                raw.close()
                raise
        self.sock: Any = _Paced(raw, self)


def reached(address: Address, host: str, port: int, left: float) -> socket.socket:
    """Connect to the first address of a name that may be and can be connected to.

    Raises:
        RemoteFailed: none of them may be.
        OSError: those that may be do not answer.
    """
    refused: Exception | None = None
    for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        where = str(found[4][0])
        if not address.admits(where):
            refused = RemoteFailed("its server's name leads to an address that is not public")
            continue
        try:
            made = socket.create_connection((where, port), timeout=left)
        except OSError as error:
            refused = refused or error
            continue
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made
    raise refused or OSError("the name has no address")


class _Paced:
    """A socket for `http.client` whose reads end when the time of the answer does."""

    def __init__(self, raw: socket.socket, connection: _Connection) -> None:
        self._raw, self._connection = raw, connection

    def wait(self) -> None:
        """Let the next step take no longer than what is left.

        Raises:
            TimeoutError: nothing is.
        """
        left = self._connection.stop - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._raw.settimeout(min(left, SILENCE_S))

    def sendall(self, data: bytes) -> None:
        """Send a request."""
        self.wait()
        self._raw.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return what an answer is read from."""
        del mode
        return io.BufferedReader(_Reads(self._raw, self), _PART)

    def close(self) -> None:
        """Close the connection."""
        self._raw.close()


class _Reads(io.RawIOBase):
    """The reading side of a socket, which stays open until it is closed itself."""

    def __init__(self, raw: socket.socket, paced: _Paced) -> None:
        super().__init__()
        self._file, self._paced = raw.makefile("rb", buffering=0), paced

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any) -> int | None:
        """Read what there is."""
        self._paced.wait()
        return self._file.readinto(buffer)

    @override
    def close(self) -> None:
        self._file.close()
        super().close()


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or None)


_idle: defaultdict[tuple[object, ...], deque[_Connection]] = defaultdict(deque)
"""Connections that stand, by scheme, host, port, and what they may lead to."""


def _start_afresh() -> None:
    """In a forked child: the connections are the parent's."""
    _parents.append(dict(_idle))
    _idle.clear()


_parents: list[object] = []
os.register_at_fork(after_in_child=_start_afresh)
