"""The pages that show processes and build graphs, made of openEO's own web components."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

router = APIRouter()

STATIC = Path(__file__).parents[1] / "static"
HEADERS = {
    # The components bring their styles inside their scripts.
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
    "Vary": "Accept",
}


def processes_page() -> FileResponse:
    """Return the page of all processes, which browsers get at `/processes`."""
    return FileResponse(STATIC / "processes.html", headers=HEADERS)


@router.get("/editor", include_in_schema=False)
async def editor() -> FileResponse:
    """Return the graph editor."""
    return FileResponse(STATIC / "editor.html", headers=HEADERS)
