"""OHIF as published in its npm package, made ready to be served from ``/viewer/`` instead of ``/``.

The package is built for the root of a site. Two things say so: the addresses in ``index.html`` and webpack's public path in
some bundles. Both are rewritten when a file is first asked for; the result is kept compressed in the data folder, since the
largest bundle is 17 MB and phones open it too.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import mimetypes
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.refusals import N_, Refusal

#: Where it is served from; ends with a slash, as OHIF's ``PUBLIC_URL`` does.
ROOT = "/viewer/"
_COMPRESSED = {".js", ".css", ".wasm", ".svg", ".json", ".html"}
#: What a bundle and a style sheet hold when they were built for the root of a site.
_ROOTED = {".js": (b'__webpack_require__.p = "/";',), ".css": (b"url(/",)}
#: OHIF 3.13 opens no segmentation of a projection, which has no orientation in the patient: its masks lie as its image does.
_PLANE = b"SharedFunctionalGroupsSequence.PlaneOrientationSequence.ImageOrientationPatient : "
_MENDED = {".js": ((_PLANE + b"undefined;", _PLANE + b"multiframe.FrameOfReferenceUID ? undefined : [1, 0, 0, 0, 1, 0];"),)}
_HASHED_NAME = re.compile(r"[.-]?[0-9a-f]{16}\.")
#: Inline scripts (moved into our app-config.js, so that the page needs no 'unsafe-inline') and the service worker, which
#: loads its library from a foreign site.
_DROPPED = re.compile(
    r"<script>.*?</script>|<script[^>]*init-service-worker[^>]*></script>|<link rel=\"manifest\"[^>]*>", re.DOTALL
)
mimetypes.add_type("application/wasm", ".wasm")


class ViewerMissing(Refusal):
    """The folder of the viewer's package is empty or not set."""

    status = 503
    message_id = N_("The image viewer is not installed on this server.")
    remedy_id = N_(
        "The person who runs the service should unpack OHIF's package and name its dist folder in the setting `viewer`."
    )


class NoSuchFile(Refusal):
    """The package has no such file."""

    status = 404
    message_id = N_("The viewer has no such file.")
    remedy_id = N_("Open the study again from the worklist.")


@dataclass(frozen=True, kw_only=True)
class PackageFile:
    """One file as it goes out."""

    content: bytes
    media_type: str
    gzipped: bool
    #: Whether its name changes with its content.
    immutable: bool


class ViewerPackage:
    """The files of one unpacked OHIF."""

    def __init__(self, folder: Path, cache: Path) -> None:
        index = folder / "index.html"
        if not index.is_file() or not any(folder.glob("app.bundle.*.js")):
            raise ViewerMissing
        self._folder = folder.resolve()
        # What was rewritten otherwise before is not served again.
        version = hashlib.sha256(index.read_bytes() + repr(_MENDED).encode()).hexdigest()[:16]
        self._cache = cache / version

    def index(self) -> str:
        """Return OHIF's page with our addresses and without inline scripts."""
        page = _DROPPED.sub("", (self._folder / "index.html").read_text(encoding="utf-8"))
        return re.sub(r'(href|src|content)="/(?!/)', rf'\1="{ROOT}', page)

    def file(self, name: str) -> PackageFile:
        """Return one file of the package, compressed where that helps.

        Raises
        ------
        NoSuchFile
            If there is none of this name.
        """
        source = (self._folder / name).resolve()
        if not source.is_relative_to(self._folder) or not source.is_file():
            raise NoSuchFile
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        compress = source.suffix in _COMPRESSED
        content = self._compressed(source, name) if compress else source.read_bytes()
        immutable = _HASHED_NAME.search(source.name) is not None
        return PackageFile(content=content, media_type=media_type, gzipped=compress, immutable=immutable)

    def _compressed(self, source: Path, name: str) -> bytes:
        kept = self._cache / f"{name}.gz"
        if kept.is_file():
            return kept.read_bytes()
        content = source.read_bytes()
        for old in _ROOTED.get(source.suffix, ()):
            content = content.replace(old, old.replace(b"/", ROOT.encode()))
        for old, new in _MENDED.get(source.suffix, ()):
            content = content.replace(old, new)
        packed = gzip.compress(content, 6, mtime=0)
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft = kept.with_name(f".{kept.name}-{secrets.token_hex(4)}")
        draft.write_bytes(packed)
        os.replace(draft, kept)
        return packed


def configuration(*, language: str, home: str, title: str) -> str:
    """Return ``app-config.js``: where the images are, what a reader may do, in which language.

    Options are explained at https://docs.ohif.org/configuration/configurationFiles
    """
    config: dict[str, Any] = {
        "routerBasename": ROOT.rstrip("/"),
        "extensions": [],
        "modes": [],
        # The tour that OHIF begins with covers the image.
        "customizationService": [{"ohif.tours": {"$set": []}}],
        "showStudyList": False,
        "investigationalUseDialog": {"option": "never"},
        "maxNumberOfWebWorkers": 3,
        "showWarningMessageForCrossOrigin": False,
        "showCPUFallbackMessage": False,
        "showLoadingIndicator": True,
        "strictZSpacingForVolumeViewport": True,
        "showErrorDetails": "dev",
        "maxNumRequests": {"interaction": 20, "thumbnail": 5, "prefetch": 10},
        "defaultDataSourceName": "sumu",
        "dataSources": [
            {
                "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
                "sourceName": "sumu",
                "configuration": {
                    "friendlyName": title,
                    "name": "sumu",
                    "qidoRoot": "/dicom-web",
                    "wadoRoot": "/dicom-web",
                    "qidoSupportsIncludeField": False,
                    "imageRendering": "wadors",
                    "thumbnailRendering": "wadors",
                    "enableStudyLazyLoad": True,
                    "supportsFuzzyMatching": False,
                    "supportsWildcard": False,
                    "staticWado": False,
                    "singlepart": "video",
                    "bulkDataURI": {"enabled": True},
                    "omitQuotationForMultipartRequest": True,
                    "dicomUploadEnabled": False,
                },
            }
        ],
    }
    name = json.dumps(f"‹ {title}", ensure_ascii=False)
    # The viewer may stand in a frame of the reading page.
    home_link = {"href": home, "target": "_top", "className": "text-foreground text-lg", "style": {"padding": "0 .75rem"}}
    return f"""\
console.time("scriptToView");
window.PUBLIC_URL = {json.dumps(ROOT)};
function browserImportFunction(address) {{ return import(address); }}
localStorage.setItem("i18nextLng", {json.dumps(language)});
document.cookie = "i18next={language}; path={ROOT}; samesite=lax";
window.config = {json.dumps(config, ensure_ascii=False, indent=2)};
if (window.innerWidth < 768) {{  // on a phone the list of series would leave a strip for the image
  const closed = {{ layoutInstance: {{ props: {{ leftPanelClosed: {{ $set: true }} }} }} }};
  window.config.modesConfiguration = {{ "@ohif/mode-longitudinal": {{ routes: {{ 0: closed }} }} }};
}}
window.config.whiteLabeling = {{
  createLogoComponentFn: (React) => React.createElement("a", {json.dumps(home_link)}, {name}),
}};
"""
