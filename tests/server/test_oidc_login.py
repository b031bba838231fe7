"""Logging in as people do: the official client, a real provider, device codes with PKCE."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import openeo
import pytest
from openeo.rest import OpenEoApiError
from tests.server.oidc_provider import (
    SERVICE_CLIENT,
    SERVICE_SECRET,
    approve,
    provider,
    service_token,
    settings_file,
)
from tests.server.people import closed

from terrazzo.drivers.job import Workspace
from terrazzo.server.login.providers import read_providers
from terrazzo.server.running.listen import serving
from terrazzo.server.running.opening import opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def issuer(shared: Path) -> Iterator[str]:
    with provider(shared) as issuer:
        yield issuer


@pytest.fixture(scope="module")
def server(issuer: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("home")
    workspace = Workspace.of(home)
    listed = read_providers(settings_file(home, issuer))
    settings = opened(workspace, closed(providers=listed), "127.0.0.1")
    with serving(workspace, settings=settings) as url:
        yield url


def log_in_with_device(server: str, name: str) -> openeo.Connection:
    """Let the client show its address, and somebody approve it there."""
    connection = openeo.connect(server, auto_validate=False)

    def approved(*shown: Any, **_: Any) -> None:
        found = re.search(r"http://\S+user_code=[\w-]+", " ".join(map(str, shown)))
        if found:
            approve(found[0], name)

    connection.authenticate_oidc_device(display=approved, max_poll_time=60)
    return connection


def test_a_device_code_of_a_real_provider_logs_in(server: str):
    connection = log_in_with_device(server, "alice")

    told = connection.describe_account()

    assert told["name"] == "alice"
    assert re.fullmatch(r"[\w\-.~]+", told["user_id"])
    assert connection.auth.bearer.startswith("oidc/test/ey")
    assert log_in_with_device(server, "alice").describe_account() == told
    assert log_in_with_device(server, "bob").describe_account()["user_id"] != told["user_id"]


def test_a_program_logs_in_with_its_own_credentials(server: str):
    connection = openeo.connect(server, auto_validate=False)
    connection.authenticate_oidc_client_credentials(SERVICE_CLIENT, SERVICE_SECRET)

    assert connection.describe_account()["name"] == SERVICE_CLIENT


def test_a_changed_token_of_a_real_provider_does_not_log_in(server: str, issuer: str):
    head, body, signature = service_token(issuer).split(".")
    tampered = f"{head}.{body[:-4]}AAAA.{signature}"
    connection = openeo.connect(server, auto_validate=False)
    connection.authenticate_oidc_access_token(tampered, provider_id="test")

    with pytest.raises(OpenEoApiError, match="TokenInvalid"):
        connection.describe_account()


def test_a_token_of_a_real_provider_for_another_service_is_refused(issuer: str, tmp_path: Path):
    [known] = read_providers(settings_file(tmp_path, issuer))
    listed = (replace(known, audience="urn:other"),)
    workspace = Workspace.of(tmp_path)
    with serving(workspace, settings=closed(providers=listed)) as url:
        connection = openeo.connect(url, auto_validate=False)
        connection.authenticate_oidc_access_token(service_token(issuer), provider_id="test")
        with pytest.raises(OpenEoApiError, match="another service"):
            connection.describe_account()
