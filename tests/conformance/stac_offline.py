"""stac-api-validator without a network: STAC's schemas come from the ones inside pystac.

Schemas of extensions are in no package, so what they want is taken as met. Run as a program of its
own, because it changes how everything in its process asks for addresses.
"""

from __future__ import annotations

import io
import json
import sys
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pystac.validation
import requests
from pystac.stac_io import DefaultStacIO
from stac_api_validator.__main__ import main

SCHEMAS = Path(pystac.validation.__file__).parent / "jsonschemas"
FOLDERS = {
    "schemas.stacspec.org": SCHEMAS / "stac-spec" / "v1.1.0",
    "geojson.org": SCHEMAS / "geojson",
}
EXTENSIONS = "stac-extensions.github.io"
DRAFT = "http://json-schema.org/draft-07/schema#"

send = requests.Session.send
open_address = urllib.request.urlopen
read = DefaultStacIO.read_text_from_href


def schema(url: str) -> bytes | None:
    """Return the schema at an address; None for an address of this machine."""
    parts = urlsplit(url)
    if parts.hostname == "127.0.0.1":
        return None
    if parts.hostname == EXTENSIONS:
        return json.dumps({"$schema": DRAFT, "$id": url}).encode()
    folder = FOLDERS.get(parts.hostname or "")
    path = None if folder is None else folder / Path(parts.path).name
    if path is None or not path.exists():
        # What is not there is no part of what is tested, but has to be known.
        sys.stdout.write(f"MISSING {url}\n")
        raise requests.ConnectionError(url)
    return path.read_bytes()


def sent(session: requests.Session, request: Any, **options: Any) -> requests.Response:
    content = schema(request.url)
    if content is None:
        return send(session, request, **options)
    answer = requests.Response()
    answer.status_code, answer.url, answer.raw = 200, request.url, io.BytesIO(content)
    answer.headers["Content-Type"] = "application/json"
    answer.request = request
    return answer


def opened(target: Any, *arguments: Any, **options: Any) -> Any:
    url = target if isinstance(target, str) else target.full_url
    content = schema(url)
    return open_address(target, *arguments, **options) if content is None else io.BytesIO(content)


def read_text(io: DefaultStacIO, href: str) -> str:
    content = schema(href)
    return read(io, href) if content is None else content.decode()


if __name__ == "__main__":
    requests.Session.send = sent  # type: ignore[method-assign]
    urllib.request.urlopen = opened
    DefaultStacIO.read_text_from_href = read_text  # type: ignore[method-assign]
    main(prog_name="stac-api-validator")
