"""The list of predefined processes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from terrazzo.processes import PROCESSES

if TYPE_CHECKING:
    from starlette.testclient import TestClient

PLAIN = {"accept-encoding": "identity"}


def test_all_processes_are_listed_as_they_are_described(api: TestClient) -> None:
    told = api.get("/processes").json()["processes"]

    specs = {name: process.spec.to_json() for name, process in PROCESSES.items()}
    assert {one["id"]: one for one in told} == json.loads(json.dumps(specs))
    assert len(told) >= 144


def test_the_list_is_squeezed_for_who_takes_that(client: TestClient) -> None:
    plain = client.get("/processes", headers=PLAIN)
    squeezed = client.get("/processes", headers={"accept-encoding": "gzip"})

    assert "content-encoding" not in plain.headers
    assert squeezed.headers["content-encoding"] == "gzip"
    assert squeezed.content == plain.content  # the client has unpacked it
    assert int(squeezed.headers["content-length"]) < len(plain.content) / 4


def test_who_has_the_list_is_not_sent_it_again(api: TestClient) -> None:
    tag = api.get("/processes").headers["etag"]

    again = api.get("/processes", headers={"if-none-match": f'"other", W/{tag}'})
    other = api.get("/processes", headers={"if-none-match": '"other"'})

    assert (again.status_code, again.content) == (304, b"")
    assert other.status_code == 200


def test_the_list_comes_whole_for_clients_that_read_only_the_first_page(api: TestClient) -> None:
    answer = api.get("/processes?limit=50")

    assert [one["id"] for one in answer.json()["processes"]] == sorted(PROCESSES)
    assert "next" not in {link["rel"] for link in answer.json()["links"]}
