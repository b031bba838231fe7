"""Object stores: where a bucket is, and by whose keys it is opened.

Keys are those of the process: the environment's (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
`AWS_SESSION_TOKEN`), else those of a profile in `~/.aws/credentials`. They are looked up for each
request, so that a profile that is renewed is taken up, and kept nowhere. Nobody is ever asked for
keys over the network: the address that gives them to machines in a cloud would give them to
whoever makes us ask.
"""

from __future__ import annotations

import configparser
import os
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import obstore
from obstore.store import S3Store

from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from obstore.store import S3Credential
TIMEOUT = timedelta(seconds=300)
"""How long a request to write or list may take."""
RETRY_TIMEOUT = timedelta(seconds=120)
"""How long such requests are made again."""
_REGION: Final = "us-east-1"
_TRUE: Final = frozenset({"yes", "true", "on", "1"})
_SIGNED_FOR: Final = timedelta(hours=1)
_SIGN_AGAIN_S: Final = 600


@dataclass(frozen=True, slots=True)
class Store:
    """Where buckets are; it holds no secret, so that it may be kept and sent."""

    endpoint: str = ""
    """URL of the service; empty is Amazon's."""
    region: str = _REGION
    """Region that requests are signed for."""
    anonymous: bool = False
    """Whether requests go unsigned: for public buckets."""

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Store:
        """Return the store that the environment names.

        Raises:
            ArgumentInvalid: `AWS_ENDPOINT_URL` is no URL.
        """
        get = environment.get
        endpoint = (get("AWS_ENDPOINT_URL_S3") or get("AWS_ENDPOINT_URL") or "").rstrip("/")
        if endpoint and not endpoint.startswith(("http://", "https://")):
            raise ArgumentInvalid(
                f"AWS_ENDPOINT_URL is {endpoint!r:.200}, which is no URL. Set it to the store's, "
                "for example https://s3.example.org."
            )
        region = get("AWS_REGION") or get("AWS_DEFAULT_REGION") or _profile_region(environment)
        anonymous = get("AWS_NO_SIGN_REQUEST", "").lower() in _TRUE
        return cls(endpoint, region or _REGION, anonymous)

    def url(self, bucket: str, key: str) -> str:
        """Return the address of an object, as it is asked for without a signature."""
        return f"{self._endpoint}/{bucket}/{quote(key, safe='/-_.~')}"

    def signed_url(self, bucket: str, key: str) -> str | None:
        """Return the address with the signature of this process's keys; None if it has none."""
        if self.anonymous:
            return self.url(bucket, key)
        keys = keys_of()
        if keys is None:
            return None
        return _signed(self, bucket, key, keys, int(time.monotonic() // _SIGN_AGAIN_S))

    def opened(self, bucket: str) -> S3Store | None:
        """Return what lists and writes a bucket; None if this process has no keys."""
        keys = keys_of()
        return _opened(self, bucket, keys) if self.anonymous or keys is not None else None

    @property
    def _endpoint(self) -> str:
        return self.endpoint or f"https://s3.{self.region}.amazonaws.com"


@lru_cache(maxsize=4096)
def _signed(store: Store, bucket: str, key: str, keys: Keys, era: int) -> str:  # noqa: ARG001 - ends its life
    return obstore.sign(_opened(store, bucket, keys), "GET", key, _SIGNED_FOR)


@lru_cache(maxsize=64)
def _opened(store: Store, bucket: str, keys: Keys | None) -> S3Store:
    """Open a bucket; all is stated, so that nothing is looked for elsewhere."""
    return S3Store(
        bucket,
        endpoint=store._endpoint,  # noqa: SLF001 - its own module
        region=store.region,
        virtual_hosted_style_request=False,
        skip_signature=store.anonymous,
        credential_provider=None if keys is None else keys.told,
        client_options={
            "allow_http": store.endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=10),
            "timeout": TIMEOUT,
        },
        retry_config={"max_retries": 5, "retry_timeout": RETRY_TIMEOUT},
    )


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """What opens a store."""

    access: str
    secret: str
    token: str = ""

    def told(self) -> S3Credential:
        """Return them as obstore asks for them."""
        told: S3Credential = {
            "access_key_id": self.access,
            "secret_access_key": self.secret,
            "token": self.token or None,
            "expires_at": None,
        }
        return told


def keys_of(environment: Mapping[str, str] = os.environ) -> Keys | None:
    """Return the keys of this process; None if it has none."""
    access, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    if access and secret:
        return Keys(access, secret, environment.get("AWS_SESSION_TOKEN", ""))
    found = _section(_file(environment, "AWS_SHARED_CREDENTIALS_FILE", "credentials"), environment)
    access, secret = found.get("aws_access_key_id"), found.get("aws_secret_access_key")
    if access and secret:
        return Keys(access, secret, found.get("aws_session_token", ""))
    return None


def _file(environment: Mapping[str, str], variable: str, name: str) -> Path:
    return Path(environment.get(variable) or Path("~/.aws", name)).expanduser()


def _section(path: Path, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Return what a file of profiles says of the profile that is chosen."""
    try:
        changed = path.stat().st_mtime_ns
    except (OSError, RuntimeError):
        return {}
    profiles = _profiles(path, changed)
    name = environment.get("AWS_PROFILE") or "default"
    return profiles.get(name) or profiles.get(f"profile {name}") or {}


@lru_cache(maxsize=8)
def _profiles(path: Path, changed: int) -> Mapping[str, Mapping[str, str]]:  # noqa: ARG001 - its version
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, configparser.Error):
        return {}
    return {name: dict(parser[name]) for name in parser.sections()}


def _profile_region(environment: Mapping[str, str]) -> str:
    return _section(_file(environment, "AWS_CONFIG_FILE", "config"), environment).get("region", "")
