"""The page: files that were built into the wheel, served as they are. Where they are missing, one sentence says how to get them.

Names are looked up in the list of files that there are, made once; no path of a request reaches the file system. All data comes
through the API: the files hold none, so they need no token.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from ..kernel.errors import NotFound
from .policy import GuardedRoute

routes = APIRouter(route_class=GuardedRoute)

INDEX: Final = "index.html"
FOREVER: Final = "public, max-age=31536000, immutable"
"""For what has its hash in its name."""


class PageMissing(NotFound):
    """The page was not built into this copy of ONEX; the API is there all the same."""

    code = "page_missing"


def page_files(folder: Path | None = None) -> Mapping[str, Path]:
    """Name in the address -> file. Empty where the page was not built."""
    root = folder or Path(str(files(__package__ or "onex.service").joinpath("page")))
    if not root.is_dir():
        return {}
    return {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if path.is_file()}


@routes.get("/", include_in_schema=False)
async def index(request: Request) -> Response:
    return _file(request, INDEX)


@routes.get("/page/{path:path}", include_in_schema=False)
async def asset(request: Request, path: str) -> Response:
    return _file(request, path)


def _file(request: Request, name: str) -> Response:
    """Raises PageMissing, NotFound."""
    there: Mapping[str, Path] = request.app.state.page
    if not there:
        raise PageMissing(
            "the page was not built into this copy of ONEX: make page does it, and says what it needs. The API is here, see "
            "/openapi.json; onex ls and onex show tell the same in a terminal"
        )
    if name not in there:
        raise NotFound(f"the page has no file {name[:80]!r}")
    media = mimetypes.guess_type(name)[0] or "application/octet-stream"
    cache = FOREVER if name.startswith("assets/") else "no-cache"
    return FileResponse(there[name], media_type=media, headers={"Cache-Control": cache})
