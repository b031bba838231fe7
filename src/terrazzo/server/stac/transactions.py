"""Routes that change the catalogue: STAC's transactions of collections and items."""

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from terrazzo.catalog.stored import StoredItem
from terrazzo.ledger import Principal
from terrazzo.server.parts import Parts, parts
from terrazzo.server.people.principal import user
from terrazzo.server.stac.collection_documents import described
from terrazzo.server.stac.documents import GEOJSON
from terrazzo.server.stac.patches import patch_of
from terrazzo.server.stac.submitted import LARGEST
from terrazzo.server.stac.tags import collection_tag, tag_of
from terrazzo.server.stac.wanted import Json
from terrazzo.server.stac.writing import Writer
from terrazzo.server.web.links import link
from terrazzo.server.web.payload import media_type, parsed, read_json
from terrazzo.server.web.waiting import Waiting

router = APIRouter(tags=["Transactions"])

Shared = Annotated[Parts, Depends(parts)]
CLASSES = (
    "https://api.stacspec.org/v1.0.0/collections/extensions/transaction",
    "https://api.stacspec.org/v1.0.0/ogcapi-features/extensions/transaction",
    "http://www.opengis.net/spec/ogcapi-features-4/1.0/conf/simpletx",
)
"""The conformance classes of what the routes here do."""
BODY = 4 * LARGEST
"""Bytes of a request with one document."""
SMALL = 100_000
"""Bytes of a body that is received before it is known whether its sender may write."""

writes = Waiting(4)
"""The catalogue lets one write at a time: those who wait keep no thread from those who read."""


async def writer(
    who: Annotated[Principal, Depends(user)], request: Request, shared: Shared
) -> Writer:
    """Return who asks, as somebody who writes.

    Raises:
        AuthenticationRequired: nobody is logged in.
    """
    return Writer(shared, who, request)


Writing = Annotated[Writer, Depends(writer)]


@router.post("/collections", status_code=201)
async def create_collection(writing: Writing) -> Response:
    """Add a collection; it is private to somebody who is no admin."""
    body = await read_json(writing.request, BODY)

    def work() -> Response:
        name = writing.make_collection(parsed(body))
        return _collection(writing, name, 201, {"Location": writing.address("collections", name)})

    return await writes.run(work)


@router.post("/collections/{collection_id:path}/items", status_code=201, response_class=Response)
async def create_items(collection_id: str, writing: Writing) -> Response:
    """Add an item, or all items of a FeatureCollection."""
    body = await _body(writing, collection_id, writing.shared.settings.limits.items_bytes)

    def work() -> Response:
        made = writing.add_items(collection_id, partial(parsed, body))
        here = ("collections", collection_id, "items")
        if isinstance(made, StoredItem):
            return _item(writing, made, 201, {"Location": writing.address(*here, made.id)})
        links = [link("items", writing.address(*here), GEOJSON)]
        return JSONResponse({"created": made, "links": links}, 201)

    return await writes.run(work)


# Ids may hold slashes, so the longer paths come first.
@router.put("/collections/{collection_id:path}/items/{item_id}", response_class=Response)
async def replace_item(collection_id: str, item_id: str, writing: Writing) -> Response:
    """Replace an item; answered with it if `Prefer: return=representation` asks for it."""
    body = await _body(writing, collection_id)
    read = partial(_replacing, body)
    return await writes.run(
        lambda: _item(writing, writing.change_item(collection_id, item_id, read), 200)
    )


@router.patch("/collections/{collection_id:path}/items/{item_id}", response_class=Response)
async def change_item(collection_id: str, item_id: str, writing: Writing) -> Response:
    """Change members of an item, by a JSON merge patch or a JSON patch; answered like PUT."""
    body = await _body(writing, collection_id)
    read = partial(_patching, media_type(writing.request), body)
    return await writes.run(
        lambda: _item(writing, writing.change_item(collection_id, item_id, read), 200)
    )


@router.delete("/collections/{collection_id:path}/items/{item_id}", status_code=204)
async def delete_item(collection_id: str, item_id: str, writing: Writing) -> Response:
    """Delete an item."""
    await writes.run(writing.delete_item, collection_id, item_id)
    return Response(status_code=204)


@router.put("/collections/{collection_id:path}")
async def replace_collection(collection_id: str, writing: Writing) -> Response:
    """Replace what is told of a collection; its items stay. Answered like PUT of an item."""
    body = await _body(writing, collection_id)

    def work() -> Response:
        writing.change_collection(collection_id, partial(_replacing, body))
        return _collection(writing, collection_id, 200)

    return await writes.run(work)


@router.patch("/collections/{collection_id:path}")
async def change_collection(collection_id: str, writing: Writing) -> Response:
    """Change members of a collection, by a JSON merge patch or a JSON patch."""
    body = await _body(writing, collection_id)
    kind = media_type(writing.request)

    def work() -> Response:
        writing.change_collection(collection_id, partial(_patching, kind, body))
        return _collection(writing, collection_id, 200)

    return await writes.run(work)


@router.delete("/collections/{collection_id:path}", status_code=204)
async def delete_collection(collection_id: str, writing: Writing) -> Response:
    """Delete a collection with all its items."""
    await writes.run(writing.delete_collection, collection_id)
    return Response(status_code=204)


async def _body(writing: Writer, collection: str, largest: int = BODY) -> bytes:
    """Return the body of a request; a large one only of somebody who may write."""
    said = writing.request.headers.get("content-length", "")
    if not said.isdecimal() or int(said) > SMALL:
        await writes.run(writing.admit, collection)
    return await read_json(writing.request, largest)


def _replacing(body: bytes) -> Callable[[Json], object]:
    new = parsed(body)
    return lambda _: new


def _patching(kind: str, body: bytes) -> Callable[[Json], object]:
    return patch_of(kind, parsed(body))


def _wanted(writing: Writer) -> bool:
    """Tell whether who changes something wants to see it as it is then (RFC 7240)."""
    return "return=representation" in writing.request.headers.get("prefer", "").replace(" ", "")


def _item(
    writing: Writer, item: StoredItem, status: int, headers: dict[str, str] | None = None
) -> Response:
    told = {"ETag": tag_of(item.plain()), **(headers or {})}
    if status == HTTPStatus.OK and not _wanted(writing):
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=told)
    return Response(writing.served(item), status, told, GEOJSON)


def _collection(
    writing: Writer, name: str, status: int, headers: dict[str, str] | None = None
) -> Response:
    shared, request = writing.shared, writing.request
    with shared.workspace_of(writing.who).catalog() as catalog:
        told = described(catalog, name, request, shared.settings)
        tag = collection_tag(catalog.collection(name))
    if status == HTTPStatus.OK and not _wanted(writing):
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={"ETag": tag})
    return JSONResponse(told, status, {"ETag": tag, **(headers or {})})
