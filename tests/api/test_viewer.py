"""OHIF under /viewer/: a package that was built for the root of a site, served below it."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.viewer_package import NoSuchFile, ViewerMissing, ViewerPackage, configuration
from tests.api.film_house import FilmHouse, ct_study, house, quick_hashes

__all__ = ["house", "quick_hashes"]

INDEX = """<!doctype html><html lang="en"><head><script>window.PUBLIC_URL="/"</script>
<link rel="manifest" href="/manifest.json"><link rel="icon" href="/assets/favicon.ico">
<script rel="preload" as="script" src="/app-config.js"></script>
<script rel="preload" as="script" type="module" src="/init-service-worker.js"></script>
<script defer src="/app.bundle.0123456789abcdef.js"></script><link href="/app.bundle.css" rel="stylesheet"></head>
<body><a href="//elsewhere.example/">x</a><div id="root"></div></body></html>"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of the shape that OHIF's has."""
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(INDEX)
    (folder / "app.bundle.0123456789abcdef.js").write_text('__webpack_require__.p = "/";\nmain();')
    (folder / "app.bundle.css").write_text("@font-face{src:url(/a.woff2)}")
    (folder / "assets" / "favicon.ico").write_bytes(b"icon")
    (tmp_path / "secret.txt").write_text("no")
    return folder


@pytest.fixture
def client(house: FilmHouse, package: Path) -> Iterator[TestClient]:
    """A doctor's browser at a house whose viewer is installed."""
    settings = house.settings.model_copy(update={"viewer": package, "data": house.settings.data})
    house.sign_in(house.county.doctor)
    with TestClient(create_app(settings), base_url="http://film.test", cookies=house.client.cookies) as client:
        yield client


def test_the_index_is_moved_below_viewer_and_has_no_inline_script(client: TestClient) -> None:
    page = client.get("/viewer/viewer?StudyInstanceUIDs=1.2.3")
    assert "<script>" not in page.text
    assert "service-worker" not in page.text
    assert 'src="/viewer/app.bundle.0123456789abcdef.js"' in page.text
    assert 'src="/viewer/app-config.js"' in page.text
    assert 'href="//elsewhere.example/"' in page.text
    policy = page.headers["content-security-policy"]
    assert "'unsafe-eval'" in policy
    assert "'unsafe-eval'" not in client.get("/sign-in").headers["content-security-policy"]


def test_bundles_are_rewritten_and_compressed(client: TestClient) -> None:
    bundle = client.get("/viewer/app.bundle.0123456789abcdef.js")
    assert bundle.headers["content-encoding"] == "gzip"
    assert "immutable" in bundle.headers["cache-control"]
    assert '__webpack_require__.p = "/viewer/";' in bundle.text
    assert "unsafe-eval" in bundle.headers["content-security-policy"], "workers obey their own script's policy"
    plain = client.get("/viewer/app.bundle.css", headers={"Accept-Encoding": "identity"})
    assert plain.text == "@font-face{src:url(/viewer/a.woff2)}"
    assert client.get("/viewer/assets/favicon.ico").content == b"icon"


def test_segmentations_of_projections_are_given_the_plane_of_their_image(package: Path, tmp_path: Path) -> None:
    line = "x = SharedFunctionalGroupsSequence.PlaneOrientationSequence.ImageOrientationPatient : undefined;"
    (package / "seg.bundle.js").write_text(line)
    served = gzip.decompress(ViewerPackage(package, tmp_path / "cache").file("seg.bundle.js").content).decode()
    assert served == line.replace("undefined;", "multiframe.FrameOfReferenceUID ? undefined : [1, 0, 0, 0, 1, 0];")


def test_only_the_package_is_served_and_only_to_those_who_may_look(client: TestClient, house: FilmHouse) -> None:
    assert client.get("/viewer/%2e%2e/secret.txt").status_code == 404
    assert client.get("/viewer/nothing.js").status_code == 404
    client.cookies.clear()
    assert client.get("/viewer/app-config.js").status_code == 401
    sent_away = client.get("/viewer/index.html", headers={"Accept": "text/html"}, follow_redirects=False)
    assert sent_away.headers["location"].startswith("/sign-in")


def test_a_study_is_opened_only_by_those_who_may_see_it(client: TestClient, house: FilmHouse) -> None:
    uid = house.receive(ct_study(1))
    opened = client.get(f"/studies/{uid}/viewer", follow_redirects=False)
    assert opened.headers["location"] == f"/viewer/viewer?StudyInstanceUIDs={uid}"
    assert client.get("/studies/1.2.3/viewer", follow_redirects=False).status_code == 404


def test_the_configuration_speaks_the_readers_language(client: TestClient) -> None:
    chinese = client.get("/viewer/app-config.js?lang=zh").text
    assert '"i18nextLng", "zh"' in chinese
    assert "苏木县" in chinese
    assert '"qidoRoot": "/dicom-web"' in chinese
    assert '"i18nextLng", "en"' in configuration(language="en", home="/film", title="Sumu County")


def test_a_missing_package_is_said_with_its_remedy(house: FilmHouse, tmp_path: Path) -> None:
    house.sign_in(house.county.doctor)
    answer = house.client.get("/viewer/index.html", headers={"Accept": "text/html"})
    assert answer.status_code == 503
    assert "OHIF" in answer.text
    with pytest.raises(ViewerMissing):
        ViewerPackage(tmp_path, tmp_path / "cache")


def test_a_file_is_compressed_once(package: Path, tmp_path: Path) -> None:
    viewer = ViewerPackage(package, tmp_path / "cache")
    first = viewer.file("app.bundle.css")
    (package / "app.bundle.css").unlink()
    (package / "app.bundle.css").write_text("changed")
    assert viewer.file("app.bundle.css").content == first.content
    assert gzip.decompress(first.content).startswith(b"@font-face")
    with pytest.raises(NoSuchFile):
        viewer.file("../secret.txt")
