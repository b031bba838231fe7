"""Routes that list what can be chosen: file formats, runtimes of user code, kinds of services."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from terrazzo.sandbox import Mode, runtimes
from terrazzo.server.maps.types import SERVICE_TYPES
from terrazzo.server.openeo.file_formats import formats
from terrazzo.server.parts import Parts, parts

router = APIRouter()


@router.get("/file_formats")
async def file_formats() -> dict[str, Any]:
    """List the formats that are read and written."""
    return formats()


@router.get("/udf_runtimes")
def udf_runtimes(shared: Annotated[Parts, Depends(parts)]) -> dict[str, Any]:
    """List in what code of users is run; nothing where none is run."""
    rules = shared.workspace.udf
    return {} if rules.mode is Mode.OFF else runtimes(rules.environments)


@router.get("/service_types")
async def service_types() -> dict[str, Any]:
    """List the kinds of web services, with their configuration."""
    return SERVICE_TYPES
