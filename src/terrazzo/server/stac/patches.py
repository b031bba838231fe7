"""Changes of documents: JSON merge patch (RFC 7396) and JSON patch (RFC 6902)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jsonpatch import JsonPatch, JsonPatchException, JsonPatchTestFailed
from jsonpointer import JsonPointer, JsonPointerException

from terrazzo.catalog.json_text import json_text
from terrazzo.server.stac.submitted import LARGEST, check_bounds
from terrazzo.server.stac.tags import PreconditionFailed
from terrazzo.server.web.faults import ContentTypeInvalid, RequestInvalid, RequestTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable

MERGE, OPERATIONS = "application/merge-patch+json", "application/json-patch+json"
_PLAIN = ("application/json", "application/geo+json", MERGE)
MOST = 100
"""Operations of a JSON patch."""

Json = dict[str, Any]


def patch_of(kind: str, body: object) -> Callable[[Json], Json]:
    """Return what a patch makes of a document.

    Args:
        kind: the media type of the patch; plain JSON is a merge patch.
        body: the patch.

    Raises:
        ContentTypeInvalid: it is no type of patches.
        RequestInvalid: it is no patch of that type. What is returned raises it, too, where the
            patch does not fit, and `PreconditionFailed` where a `test` of it is not met.
    """
    check_bounds(body)
    if kind == OPERATIONS:
        if not isinstance(body, list) or len(body) > MOST:
            raise RequestInvalid(f"A JSON patch is an array of at most {MOST} operations.")
        return lambda document: _operated(document, body)
    if kind not in _PLAIN:
        raise ContentTypeInvalid(
            f"A change comes as {MERGE} (application/json means the same) or {OPERATIONS}, not "
            f"as {kind[:60] or 'nothing'}."
        )
    if not isinstance(body, dict):
        raise RequestInvalid("A JSON merge patch is an object with the members that change.")
    return lambda document: _merged(document, body)


def _merged(target: object, patch: Mapping[str, Any]) -> Json:
    """Merge as RFC 7396 has it: null removes a member, objects are merged, all else replaces."""
    found = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = _merged(found.get(name), value) if isinstance(value, dict) else value
    return found


def _operated(document: Json, operations: list[Any]) -> Json:
    found: Any = copy.deepcopy(document)
    copied = 0
    for number, operation in enumerate(operations):
        try:
            copied += _copied(found, operation)
            if copied > LARGEST:  # copies of copies would grow without end
                raise RequestTooLarge(f"The patch copies more than {LARGEST:,} bytes.")
            found = JsonPatch([operation]).apply(found, in_place=True)
        except JsonPatchTestFailed:
            raise PreconditionFailed(
                f"Operation {number} of the patch tests for another value than there is."
            ) from None
        except RecursionError:
            raise RequestInvalid(
                f"Operation {number} of the patch is about what is nested too deeply."
            ) from None
        except (JsonPatchException, JsonPointerException, TypeError, ValueError) as problem:
            raise RequestInvalid(
                f"Operation {number} of the patch does not fit: {str(problem)[:200]}."
            ) from None
    if not isinstance(found, dict):
        raise RequestInvalid("The patch leaves no object.")
    return found


def _copied(document: object, operation: object) -> int:
    """Return how many bytes an operation copies."""
    if not isinstance(operation, dict) or operation.get("op") != "copy":
        return 0
    return len(json_text(JsonPointer(operation.get("from", "")).resolve(document)))
