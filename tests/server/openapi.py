"""Answers against the text of the openEO API: route, status, media type, headers, body.

`checked(client)` hooks itself into a test client of Starlette, a client of httpx or a session of
requests (the official Python client's is `connection.session`); from then on every answer that is
not what `openapi.yaml` promises raises `NotOpenEO`. The folder with that file is named by
TERRAZZO_SHARED, so tests that use this take the fixture `shared`.
"""

from __future__ import annotations

import functools
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

import jsonschema
import yaml
from jsonschema import Draft202012Validator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

C = TypeVar("C")

METHODS = ("get", "post", "put", "patch", "delete")
FREE = ("files",)
"""First parts of paths whose last parameter may hold slashes."""
OPENEO_HEADERS = {("POST", "/jobs"), ("POST", "/services")}
FAULTS = (
    "oneOf:\n        - title: Generic\n",
    "oneOf:\n              - type: array\n                title: Set of values\n",
)
LOG_ENTRY = 424
"""Status with which the last log entry of a failed job comes; its code is that of the failure."""
SHOWN = 5
"""Faults of a body that are told."""

TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")

formats = jsonschema.FormatChecker(formats=())


class NotOpenEO(AssertionError):
    """An answer is not what the openEO API promises."""


@formats.checks("date-time")
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or bool(TIME.fullmatch(value))


@formats.checks("uri")
def _is_address(value: object) -> bool:
    return not isinstance(value, str) or bool(urlsplit(value).scheme)


@dataclass(frozen=True)
class Route:
    """A path of the API and what it may answer."""

    template: str
    """The path as the API writes it: `/jobs/{job_id}`."""
    pattern: re.Pattern[str]
    """What matches such paths."""
    operations: Mapping[str, Mapping[str, Any]]
    """By method, in upper case."""


def written(folder: Path) -> str:
    """Return the text of the API that a folder has, with `anyOf` where it cannot mean `oneOf`.

    Schemas of parameters have to match exactly one of three, the first of which all of them
    match: `{"type": "string"}` is valid nowhere (Open-EO/openeo-api#600). And every range of a
    collection's summaries is a JSON Schema as well.
    """
    text = (folder / "openapi.yaml").read_text(encoding="utf-8")
    for fault in FAULTS:
        assert text.count(fault) == 1
        text = text.replace(fault, fault.replace("oneOf", "anyOf"))
    return text


@functools.cache
def document() -> dict[str, Any]:
    """Return the API as JSON Schema reads it (OpenAPI 3.0 has a `nullable` of its own)."""
    text = written(Path(os.environ["TERRAZZO_SHARED"]) / "openeo")
    read: dict[str, Any] = _schema(yaml.load(text, yaml.CSafeLoader))
    return read


@functools.cache
def standard_errors() -> dict[str, int]:
    """Return the status that openEO gives to each of its error codes."""
    path = Path(os.environ["TERRAZZO_SHARED"]) / "openeo" / "errors.json"
    return {code: told["http"] for code, told in json.loads(path.read_text()).items()}


@functools.cache
def routes() -> tuple[Route, ...]:
    """Return the paths of the API, those without parameters first."""
    found = []
    for template, item in document()["paths"].items():
        parts = [re.escape(part) for part in template.split("/")]
        free = ".+" if template.split("/")[1] in FREE else "[^/]+"
        pattern = "/".join(re.sub(r"^\\\{.*\\\}$", free, part) for part in parts)
        operations = {method.upper(): item[method] for method in METHODS if method in item}
        found.append(Route(template, re.compile(pattern), operations))
    return tuple(sorted(found, key=lambda route: "{" in route.template))


def route_of(path: str) -> Route | None:
    """Return which path of the API a path is; None if it is one of our own."""
    return next((route for route in routes() if route.pattern.fullmatch(path)), None)


def checked(client: C) -> C:
    """Let every answer that a client gets be checked from now on; returns the client."""
    hooks: dict[str, list[Any]] = getattr(client, "event_hooks", None) or getattr(client, "hooks")  # noqa: B009 - either of two libraries
    if _hook not in hooks["response"]:
        changed = hooks | {"response": [*hooks["response"], _hook]}
        setattr(client, "event_hooks" if hasattr(client, "event_hooks") else "hooks", changed)
    return client


def _hook(response: Any, *_: Any, **__: Any) -> None:
    request = response.request
    if "text/html" in request.headers.get("accept", "").split(",")[0]:
        return
    if not hasattr(response, "raw"):
        response.read()  # httpx hands the answer over before its body
    check(
        request.method,
        unquote(urlsplit(str(request.url)).path),
        response.status_code,
        response.headers,
        response.content,
    )


def check(method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Compare an answer with the API.

    Args:
        method: of the request.
        path: of the request, without the host, unquoted.
        status: of the answer.
        headers: of the answer; their names in any case.
        body: of the answer.

    Raises:
        NotOpenEO: tells everything that is wrong with it.
    """
    found = list(faults(method, path, status, {k.lower(): v for k, v in headers.items()}, body))
    if found:
        raise NotOpenEO(f"{method} {path} -> {status}\n  " + "\n  ".join(found))


def faults(
    method: str, path: str, status: int, headers: Mapping[str, str], body: bytes
) -> Iterator[str]:
    """Give what is wrong with an answer; header names in lower case."""
    route = route_of(path)
    operation = route.operations.get(method) if route else None
    if status >= 400:
        yield from _error_faults(status, headers, body)
        return
    if route is None or operation is None or status == 304:
        return
    promised = operation["responses"]
    answer = promised.get(str(status))
    if answer is None:
        yield f"the API knows {', '.join(promised)} here, not {status}"
        return
    answer = _resolved(answer)
    yield from _header_faults(route, method, status, headers, body)
    if body and status == 204:
        yield "204 has no body"
    yield from _body_faults(answer, headers.get("content-type", ""), body)


def _header_faults(
    route: Route, method: str, status: int, headers: Mapping[str, str], body: bytes
) -> Iterator[str]:
    if (method, route.template) in OPENEO_HEADERS:
        if not headers.get("openeo-identifier"):
            yield "201 has a header OpenEO-Identifier"
        if not urlsplit(headers.get("location", "")).scheme:
            yield "201 has an absolute address in the header Location"
    if body and "content-type" not in headers:
        yield f"{status} with a body has a header Content-Type"


def _body_faults(answer: Mapping[str, Any], kind: str, body: bytes) -> Iterator[str]:
    content = answer.get("content")
    if not content:
        return
    kind = kind.split(";", maxsplit=1)[0].strip().lower()
    if "application/octet-stream" in content:
        return
    if kind not in content:
        yield f"the media type is {' or '.join(content)}, not {kind!r}"
        return
    yield from _json_faults(content[kind].get("schema"), body)


def _json_faults(schema: Mapping[str, Any] | None, body: bytes) -> Iterator[str]:
    try:
        value = json.loads(body, parse_constant=_no_number)
    except ValueError as error:
        yield f"the body is no JSON: {error}"
        return
    if schema is not None:
        errors = _validator(json.dumps(schema, default=str)).iter_errors(value)
        for error in sorted(errors, key=lambda error: error.json_path)[:SHOWN]:
            yield from _told(error)


def _told(error: jsonschema.ValidationError) -> Iterator[str]:
    yield f"{error.json_path}: {error.message[:300]}"
    for inner in (error.context or ())[:SHOWN]:
        yield f"  {inner.json_path}: {inner.message[:200]}"


def _error_faults(status: int, headers: Mapping[str, str], body: bytes) -> Iterator[str]:
    kind = headers.get("content-type", "").split(";")[0]
    if kind != "application/json":
        yield f"errors are application/json, not {kind!r}"
        return
    yield from _json_faults({"$ref": "#/components/schemas/error"}, body)
    told = json.loads(body)
    meant = standard_errors().get(told.get("code"), status) if isinstance(told, dict) else status
    if status not in {meant, LOG_ENTRY}:
        yield f"openEO's {told['code']} has status {meant}"


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


@functools.cache
def _validator(schema: str) -> Draft202012Validator:
    whole = {"components": document()["components"], "allOf": [json.loads(schema)]}
    return Draft202012Validator(whole, format_checker=formats)


def _resolved(value: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in value:
        found: Any = document()
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        value = found
    return value


def _schema(value: Any) -> Any:
    """Turn OpenAPI 3.0's schemas into JSON Schema."""
    if isinstance(value, list):
        return [_schema(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("$ref"), str):
        return {"$ref": value["$ref"]}
    told = {name: _schema(entry) for name, entry in value.items()}
    return {"anyOf": [{"type": "null"}, told]} if told.get("nullable") is True else told
