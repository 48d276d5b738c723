"""The radiology viewer (OHIF) under ``/viewer/``, for signed-in persons and for visitors of a film."""

from __future__ import annotations

import gzip
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from api.house import House, house_of
from api.image_access import Looks, Onlooker, looks_of, onlooker
from api.pages import language_of
from api.viewer_package import ROOT, ViewerPackage, configuration

#: OHIF compiles WebAssembly decoders and, for its render pipelines, functions from text; its workers start from blobs.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-eval' blob:",
        "worker-src 'self' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "frame-ancestors 'self'",
        "base-uri 'none'",
        "object-src 'none'",
    )
)

router = APIRouter(include_in_schema=False)


def viewer_package(request: Request, house: Annotated[House, Depends(house_of)]) -> ViewerPackage:
    """Return the application's viewer: a FastAPI dependency.

    Raises
    ------
    ViewerMissing
        If the settings name no folder that holds one; asked again each time, so that no restart is needed.
    """
    state = request.app.state
    if not hasattr(state, "viewer_package"):
        state.viewer_package = ViewerPackage(house.settings.viewer, house.settings.data / "viewer")
    package: ViewerPackage = state.viewer_package
    return package


@router.get("/studies/{study_uid}/viewer")
def open_study(
    study_uid: str,
    who: Annotated[Onlooker, Depends(onlooker)],
    looks: Annotated[Looks, Depends(looks_of)],
    package: Annotated[ViewerPackage, Depends(viewer_package)],
) -> Response:
    """Lead to the viewer with this study, if it may be seen."""
    looks.must_see(who, study_uid)
    return RedirectResponse(f"{ROOT}viewer?StudyInstanceUIDs={study_uid}", status_code=303)


@router.get("/viewer/app-config.js")
def app_config(
    request: Request, who: Annotated[Onlooker, Depends(onlooker)], house: Annotated[House, Depends(house_of)]
) -> Response:
    """Write OHIF's configuration for this reader."""
    language, county = language_of(request), house.settings.county
    home, title = ("/worklist", county.name_zh if language == "zh" else county.name_en)
    if who.person is None:
        home = "/film"
    script = configuration(language=language, home=home, title=title)
    return Response(
        script, media_type="text/javascript", headers={"Cache-Control": "no-store", "Content-Security-Policy": POLICY}
    )


@router.get("/viewer/{path:path}")
def viewer_file(
    path: str,
    request: Request,
    who: Annotated[Onlooker, Depends(onlooker)],
    package: Annotated[ViewerPackage, Depends(viewer_package)],
) -> Response:
    """Serve a file of the package; addresses without an extension are OHIF's own pages."""
    if "." not in path.rsplit("/", 1)[-1] or path == "index.html":
        return HTMLResponse(package.index(), headers={"Cache-Control": "no-store", "Content-Security-Policy": POLICY})
    file = package.file(path)
    headers = {
        # A worker obeys the policy of its own script, not of the page that starts it.
        "Content-Security-Policy": POLICY,
        "Cache-Control": "private, max-age=31536000, immutable" if file.immutable else "private, max-age=3600",
    }
    content = file.content
    if file.gzipped:
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
        else:
            content = gzip.decompress(content)
    return Response(content, media_type=file.media_type, headers=headers)
