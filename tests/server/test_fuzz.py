"""Thousands of requests that nobody would write by hand, made of our own description of the API.

None may find a fault of the server; and every error is one of openEO's, whoever asks.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from tests.server.small import graph, make_home

from terrazzo.ledger import Database, database_url
from terrazzo.ledger.users import add_user
from terrazzo.server.running.listen import serving
from terrazzo.server.settings import Limits, ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

pytestmark = pytest.mark.slow

CASES = int(os.environ.get("TERRAZZO_FUZZ_CASES", "2000"))
"""How many requests each of the two, with and without a log-in, sends at least."""
NAME, PASSWORD = "anna", "correct horse battery staple"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    make_home(folder)
    return folder


@contextmanager
def served(home: Path) -> Iterator[str]:
    """Serve with log-ins; results are kept small, because many of them are computed."""
    from terrazzo.drivers.job import Workspace  # noqa: PLC0415 - loads the engine

    limits = Limits(pixels=1_000_000, body_bytes=1_000_000, upload_bytes=1_000_000)
    chosen = ServerSettings(open=False, job_workers=0, limits=limits)
    with serving(Workspace.of(home), settings=chosen) as url:
        yield url


def session(token: str = "") -> requests.Session:
    found = requests.Session()
    found.trust_env = False
    if token:
        found.headers["Authorization"] = f"Bearer {token}"
    return found


def logged_in(url: str, home: Path) -> requests.Session:
    database = Database(database_url(home))
    add_user(database, NAME, PASSWORD)
    database.close()
    answer = session().get(f"{url}/credentials/basic", auth=(NAME, PASSWORD), timeout=60)
    return session(f"basic//{answer.json()['access_token']}")


def known_of(url: str, who: requests.Session) -> dict[str, str]:
    """Make one of each thing; return its id by the name that paths have for it."""
    process = {"process": graph()}
    job = who.post(f"{url}/jobs", json=process, timeout=60)
    service = who.post(
        f"{url}/services", json={**process, "type": "XYZ", "configuration": {"min": 0, "max": 1}},
        timeout=60,
    )  # fmt: skip
    who.put(f"{url}/process_graphs/mine", json=graph(), timeout=60).raise_for_status()
    who.put(f"{url}/files/a.txt", data=b"a", timeout=60).raise_for_status()
    return {
        "job_id": job.headers["OpenEO-Identifier"],
        "service_id": service.headers["OpenEO-Identifier"],
        "process_graph_id": "mine",
        "path": "a.txt",
        "collection_id": "small",
        "matrix": "WebMercatorQuad",
        "form": "png",
    }


@dataclass
class Sender:
    """Somebody who sends requests, and what came of them."""

    who: requests.Session
    known: dict[str, str]
    """Ids of things that are there, by the name that paths have for them."""
    counts: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def send(self, url: str, case: Any, path: Mapping[str, Any]) -> None:
        case.path_parameters = dict(path)
        headers = dict(self.who.headers)
        answer = case.call(base_url=url, session=self.who, headers=headers, timeout=120)
        self.counts[answer.status_code] += 1
        problem = judged(answer)
        if problem and len(self.wrong) < 100:
            self.wrong.append(f"{case.method} {case.formatted_path} {case.query}: {problem}")


def send_all(url: str, senders: Sequence[Sender]) -> None:
    """Have each of some senders send the same requests, at least `CASES`.

    To make one takes longer than to answer it.
    """
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    schema.config.generation.update(with_security_parameters=False)  # they are the senders'
    operations = [one.ok() for one in schema.get_all_operations()]
    # What takes nothing is asked once, and leaves its share to the others.
    operations.sort(key=lambda one: bool(list(one.iter_parameters()) or one.body))
    numbers = itertools.count()
    made = 0
    for place, operation in enumerate(operations):

        @settings(
            max_examples=-(-(CASES - made) // (len(operations) - place)), derandomize=True,
            database=None, deadline=None, suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )  # fmt: skip
        @given(case=operation.as_strategy())
        def send(case: Any) -> None:
            drawn = dict(case.path_parameters or {})
            real = next(numbers) % 2 and operation.method != "delete"  # noqa: B023 - called at once
            for sender in senders:
                known = {name: sender.known.get(name, drawn[name]) for name in drawn}
                sender.send(url, case, known if real else drawn)

        send()
        made = senders[0].counts.total()


def judged(answer: Any) -> str:
    """Return what is wrong with an answer, if anything."""
    if answer.status_code >= 500:
        return f"{answer.status_code} {answer.content[:300]!r}"
    if answer.status_code >= 400:
        if "/wmts" in answer.request.path_url:  # OGC has errors of its own
            return "" if b"<ows:ExceptionReport" in answer.content else "no report of OGC"
        try:
            told = json.loads(answer.content)
        except ValueError:
            return f"{answer.status_code} is no JSON: {answer.content[:100]!r}"
        if not {"id", "code", "message"} <= told.keys():
            return f"{answer.status_code} is no error of openEO: {told}"
    return ""


def test_no_request_finds_a_fault_of_the_server_with_and_without_a_log_in(home: Path) -> None:
    with served(home) as url:
        who = logged_in(url, home)
        senders = Sender(who, known_of(url, who)), Sender(session(), {"collection_id": "small"})

        send_all(url, senders)

    for sender in senders:
        counts = sender.counts
        print(f"{counts.total()} requests: {dict(sorted(counts.items()))}")  # noqa: T201
        assert counts.total() >= CASES
        assert sum(count for status, count in counts.items() if status < 300) >= CASES / 20
        assert sender.wrong == [], "\n".join(sender.wrong[:30])
