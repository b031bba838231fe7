"""Routes of the page itself and of the server's health."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

from terrazzo import __version__

router = APIRouter()

PAGE = Path(__file__).parent / "static" / "index.html"
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@router.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """Return the map page."""
    return FileResponse(PAGE, headers=HEADERS)


@router.get("/favicon.ico", include_in_schema=False)
async def icon() -> Response:
    """Return nothing: the page brings its own icon."""
    return Response(status_code=204)


@router.get("/health")
async def health() -> dict[str, str]:
    """Tell that the server answers."""
    return {"status": "ok", "version": __version__}
