"""A real OpenID Connect provider on loopback, and somebody who logs in there with a browser."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import tempfile
import urllib.parse
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import requests
from tests.leftovers import MARK
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

PUBLIC_CLIENT, AUDIENCE = "openeo-public", "urn:eo"
SERVICE_CLIENT, SERVICE_SECRET = "service", "service-secret"
PACKAGES = Path(tempfile.gettempdir()) / f"terrazzo-oidc-packages-{os.getuid()}"
"""Where its packages are kept from one run of the tests to the next."""
ENVIRONMENT = dict(os.environ)
"""As it was before tests cut off the network, which npm needs once."""


@contextmanager
def provider(shared: Path) -> Iterator[str]:
    """Run a provider with a port and folder of its own; yields its issuer."""
    script = shared / "services" / "oidc.sh"
    home = Path(tempfile.gettempdir()) / f"terrazzo-oidc-{uuid.uuid4().hex[:12]}"
    settings = ENVIRONMENT | {
        "OIDC_HOME": str(home), "OIDC_PORT": str(free_port()), MARK: os.environ.get(MARK, ""),
    }  # fmt: skip
    home.mkdir()
    if (PACKAGES / "node_modules").is_dir():
        for kept in PACKAGES.iterdir():
            (home / kept.name).symlink_to(kept)
    try:
        started = subprocess.run(
            ["bash", str(script), "start"], env=settings, capture_output=True, text=True, check=True
        )
        _keep_packages(home)
        yield started.stdout.strip().splitlines()[-1]
    finally:
        subprocess.run(["bash", str(script), "stop"], env=settings, check=True)
        shutil.rmtree(home, ignore_errors=True)


def settings_file(folder: Path, issuer: str) -> Path:
    """Write the file for `terrazzo serve --oidc` that lists the provider as `test`."""
    path = folder / "providers.toml"
    path.write_text(
        f'[[provider]]\nid = "test"\nissuer = "{issuer}"\ntitle = "Test"\n'
        f'client = "{PUBLIC_CLIENT}"\naudience = "{AUDIENCE}"\n'
    )
    return path


def service_token(issuer: str) -> str:
    """Return an access token that a client gets for itself."""
    answer = requests.post(
        f"{issuer}/token",
        data={"grant_type": "client_credentials", "scope": "openid", "resource": AUDIENCE},
        auth=(SERVICE_CLIENT, SERVICE_SECRET),
        timeout=30,
    )
    answer.raise_for_status()
    return str(answer.json()["access_token"])


def approve(address: str, name: str) -> None:
    """Do what somebody does in a browser with the address that a device shows: log in, agree."""
    browser = requests.Session()
    page = browser.get(address, timeout=30)
    for _ in range(8):
        form = re.search(r"<form[^>]*action=\"([^\"]+)\"[^>]*>(.*?)</form>", page.text, re.DOTALL)
        if form is None:
            assert "Success" in page.text, page.text
            return
        where = urllib.parse.urljoin(page.url, html.unescape(form[1]))
        given = dict(re.findall(r"name=\"([^\"]+)\"[^>]*value=\"([^\"]*)\"", form[2]))
        given |= {"login": name, "password": "any"} if 'name="login"' in form[2] else {}
        page = browser.post(where, data=given, timeout=30)
    raise AssertionError(f"the provider asks again and again: {page.text}")


def _keep_packages(home: Path) -> None:
    """Move what npm fetched to where the next run finds it; whoever comes first decides."""
    if (home / "node_modules").is_symlink():
        return
    copy = PACKAGES.with_name(f"{PACKAGES.name}-{uuid.uuid4().hex[:12]}")
    copy.mkdir(mode=0o700)
    for name in ("node_modules", "package.json"):
        source = home / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
    try:
        copy.rename(PACKAGES)
    except OSError:
        shutil.rmtree(copy)
