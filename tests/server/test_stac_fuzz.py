"""Thousands of requests at the routes of the STAC API; none finds a fault of the server."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.server.stac_items import COUNT, NAME, PLACE, item, items
from tests.server.test_fuzz import judged

from terrazzo.catalog import make_collection
from terrazzo.drivers.job import Workspace
from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

CASES = int(os.environ.get("TERRAZZO_FUZZ_CASES", "2000"))
"""How many hostile requests are sent, and half as many of the description at least."""
KNOWN = {"collection_id": NAME, "item_id": "scene-001", "key": "data"}
ROUTES = (
    "/", "/conformance", "/collections", "/children", "/search", "/queryables",
    "/collection-queryables", "/aggregate", "/aggregations",
)  # fmt: skip
"""Routes of STAC beside those below a collection."""

hostile = st.sampled_from(
    ["", "\0", "a\0b", "*", "../..", "2024", "2024-13-01T00:00:00Z", "9" * 400, "-1", "1e999",
     "NaN", "[]", "{}", "null", "((((", "'", '"', "\\", "%", "\ud7ff", "😀", "a" * 3000, "a,a", ",",
     "properties.", ".", "..", "id", "-id,+id", "WyJhIl0=", "W10=", "bnVsbA==", "AND", "NOT NOT",
     "0,0,1,1", "180,-90,-180,90", "1,2,3,4,5,6", "inf,0,1,1", '{"type":"Point"}', "eo:cloud_cover",
     "eo:cloud_cover<", "s_intersects(geometry,POINT(0 0))", '{"op":"and","args":[]}',
     "total_count",
     "x_frequency,x_min", "/", "2023-01-01T00:00:00Z/..", "auto", "cql2-json", "cql2-text"]
)  # fmt: skip
"""What somebody might try in any parameter."""
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**20), st.floats(allow_nan=False), hostile,
    st.just(PLACE), st.just([0, 0, 1, 1]), st.just({"eo:cloud_cover": {"lt": 20}}),
)  # fmt: skip
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["op", "args", "property", "include", "field", "a"]), inner
        )
    ),
    max_leaves=6,
)
JSON = {"Content-Type": "application/json"}
MEMBERS = (
    "collections", "ids", "bbox", "intersects", "datetime", "limit", "token", "sortby", "fields",
    "filter", "filter-lang", "filter-crs", "query", "q", "aggregations",
    "datetime_frequency_interval", "centroid_geohash_grid_frequency_precision",
    "cloud_cover_frequency_ranges", "after",
)  # fmt: skip


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    workspace = Workspace.of(tmp_path_factory.mktemp("home"))
    with workspace.catalog(create=True) as catalog:
        catalog.put_collection(make_collection(NAME, title="Scenes"))
        catalog.put_items(items())
    with serving(workspace, settings=ServerSettings(open=False, job_workers=0)) as url:
        yield url


@pytest.fixture
def who() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def quietly(examples: int) -> Any:
    return settings(
        max_examples=examples, derandomize=True, database=None, deadline=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip


def test_no_request_of_the_description_finds_a_fault(url: str, who: requests.Session) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [
        one
        for one in (found.ok() for found in schema.get_all_operations())
        if one.path in ROUTES or one.path.startswith("/collections/")
    ]
    counts, wrong = Counter[int](), list[str]()
    for operation in operations:
        numbers = iter(range(1_000_000))

        @quietly(-(-3 * CASES // (4 * len(operations))))  # some take nothing, and are asked once
        @given(case=operation.as_strategy())
        def send(case: Any) -> None:
            if next(numbers) % 4:  # noqa: B023 - called at once
                case.path_parameters = {
                    name: KNOWN.get(name, value)
                    for name, value in (case.path_parameters or {}).items()
                }
            answer = case.call(base_url=url, session=who, timeout=60)
            counts[answer.status_code] += 1
            problem = judged(answer)
            if problem:
                wrong.append(f"{case.method} {case.formatted_path} {case.query}: {problem}")

        send()

    print(f"{len(operations)} operations, {dict(sorted(counts.items()))}")  # noqa: T201
    assert wrong == [], "\n".join(wrong[:20])
    assert counts.total() >= CASES / 2
    assert counts[200] >= CASES / 20


def test_no_hostile_request_finds_a_fault(url: str, who: requests.Session) -> None:
    counts, wrong = Counter[int](), list[str]()
    paths = ("/search", "/collections", f"/collections/{NAME}/items", "/aggregate", "/children")

    @quietly(CASES // 2)
    @given(
        path=st.sampled_from(paths),
        query=st.dictionaries(st.sampled_from(MEMBERS), hostile, min_size=1, max_size=3),
    )
    def get(path: str, query: dict[str, str]) -> None:
        note(who.get(url + path, params=query, timeout=60), query)

    @quietly(CASES // 2)
    @given(
        path=st.sampled_from(("/search", "/aggregate", f"/collections/{NAME}/aggregate")),
        body=st.dictionaries(st.sampled_from(MEMBERS), anything, min_size=1, max_size=3) | anything,
    )
    def post(path: str, body: Any) -> None:
        note(who.post(url + path, data=json.dumps(body), headers=JSON, timeout=60), body)

    def note(answer: requests.Response, asked: Any) -> None:
        counts[answer.status_code] += 1
        if problem := judged(answer):
            wrong.append(f"{answer.request.url} {asked}: {problem}")

    get()
    post()

    print(dict(sorted(counts.items())))  # noqa: T201
    assert wrong == [], "\n".join(wrong[:20])
    assert counts.total() >= CASES - 2
    assert set(counts) <= {200, 400, 404, 413}
    assert item(COUNT - 1)["id"] in who.get(f"{url}/search", timeout=60).text
