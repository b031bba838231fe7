"""Routes of the page itself."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

router = APIRouter()

PAGE = Path(__file__).parents[1] / "static" / "index.html"
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def page() -> FileResponse:
    """Return the map page, which browsers get at `/`."""
    return FileResponse(PAGE, headers=HEADERS)


@router.get("/favicon.ico", include_in_schema=False)
async def icon() -> Response:
    """Return nothing: the page brings its own icon."""
    return Response(status_code=204)
