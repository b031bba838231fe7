"""Files of the pages, which browsers ask about again before they show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.staticfiles import StaticFiles
from typing_extensions import override

if TYPE_CHECKING:
    from fastapi.responses import Response


class FreshFiles(StaticFiles):
    """Files with an ETag: the pages of a new version never run the scripts of an old one."""

    @override
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Return a file, or that it is unchanged."""
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response
