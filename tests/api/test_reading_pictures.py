"""What the reading page draws over a radiograph, for whom, and the picture below it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from api.signing_in import COOKIE
from core.tables import Finding, PreRead, Role, UserRole, Verdict
from tests.api.film_house import FilmHouse, ct_study, house, quick_hashes, study_of
from tests.api.radiograph_house import COLUMNS, ROWS, receive_chest

__all__ = ["house", "quick_hashes"]


def page_of(house: FilmHouse, uid: str, query: str = "?picture=1&lang=en") -> str:
    house.sign_in(house.county.doctor)
    answer = house.client.get(f"/studies/{uid}{query}", headers={"Accept": "text/html"})
    assert answer.status_code == 200, answer.text
    return str(answer.text)


def judge(house: FilmHouse, uid: str, code: str, verdict: Verdict) -> None:
    with house.database.writing() as session:
        [pre_read] = session.query(PreRead).filter_by(study_id=study_of(session, uid).id)
        next(finding for finding in pre_read.findings if finding.code == code).verdict = verdict


def test_the_drawing_has_the_lines_the_ratio_lengths_outlines_and_the_box(house: FilmHouse, tmp_path: Path) -> None:
    uid, said = receive_chest(house, tmp_path)
    page = page_of(house, uid)
    assert f'viewBox="0 0 {COLUMNS} {ROWS}"' in page
    for (x1, y), (x2, _) in said["lines"].values():
        assert f'<line x1="{x1}" x2="{x2}" y1="{y}" y2="{y}"/>' in page
    assert f"CTR {said['ratio']:.2f}" in page
    (left, _), (right, _) = said["lines"]["thorax"]
    assert f"Width of the thorax {0.7 * (right - left):.0f} mm" in page
    assert "in the plane of the detector" in page
    assert page.count("<polygon") == 3
    assert '<rect x="300.0" y="180.0" width="80.0" height="70.0"/>' in page
    assert "the field may be cut off" in page


def test_without_a_pixel_spacing_there_are_no_lengths_and_the_page_says_why(house: FilmHouse, tmp_path: Path) -> None:
    uid, _ = receive_chest(house, tmp_path, ImagerPixelSpacing=None)
    page = page_of(house, uid)
    assert "the image tells no pixel spacing" in page
    assert " mm" not in page.split('class="picture"')[1].split('class="panel"')[0]


def test_a_struck_finding_is_not_drawn(house: FilmHouse, tmp_path: Path) -> None:
    uid, _ = receive_chest(house, tmp_path)
    judge(house, uid, "chest_nodule", Verdict.STRUCK)
    page = page_of(house, uid)
    assert 'class="box ' not in page
    assert "Heat map" not in page


def test_a_heat_map_that_does_not_point_is_for_researchers_only(house: FilmHouse, tmp_path: Path) -> None:
    uid, _ = receive_chest(house, tmp_path, localises=False)
    assert "Heat map" not in page_of(house, uid)
    with house.database.writing() as session:
        session.add(UserRole(user_id=house.county.doctor, role=Role.RESEARCHER))
    page = page_of(house, uid)
    assert "Heat map" in page
    assert "For research only" in page
    assert 'href="data:image/png;base64,' in page


def test_the_panel_gives_the_cautions_and_leads_to_the_drawing(house: FilmHouse, tmp_path: Path) -> None:
    uid, _ = receive_chest(house, tmp_path)
    page = page_of(house, uid, "?lang=zh")
    assert "肺底或肋膈角紧贴或超出图像下缘" in page
    assert "患者年龄不详" in page
    assert f'href="/studies/{uid}?picture=1"' in page
    assert '<iframe class="viewer"' in page, "the viewer comes first: a reader looks before the machine speaks"


def test_a_study_without_a_drawing_shows_its_viewer(house: FilmHouse) -> None:
    uid = house.receive(ct_study(1))
    page = page_of(house, uid)
    assert "AI drawing" not in page
    assert '<iframe class="viewer"' in page


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_the_picture_is_grey_as_the_header_says_in_the_images_proportions(
    house: FilmHouse, tmp_path: Path, photometric: str
) -> None:
    uid, said = receive_chest(house, tmp_path, PhotometricInterpretation=photometric)
    house.sign_in(house.county.doctor)
    answer = house.client.get(f"/studies/{uid}/radiographs/{said['sop_instance_uid']}.jpg")
    assert answer.headers["content-type"] == "image/jpeg"
    picture = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert picture.shape == (ROWS, COLUMNS)
    lung, mediastinum = picture[270, 140], picture[372, 275]
    assert bool(lung < mediastinum) is (photometric == "MONOCHROME2")


def test_a_picture_is_given_only_to_those_who_may_see_the_study(house: FilmHouse, tmp_path: Path) -> None:
    uid, said = receive_chest(house, tmp_path)
    address = f"/studies/{uid}/radiographs/{said['sop_instance_uid']}.jpg"
    other = house.receive(ct_study(1))
    house.sign_in(house.county.doctor)
    assert house.client.get(f"/studies/{other}/radiographs/{said['sop_instance_uid']}.jpg").status_code == 404
    with house.database.writing() as session:
        study = study_of(session, uid)
        study.organisation_id = study.patient.organisation_id = house.county.other_township
    house.client.cookies.delete(COOKIE)
    house.sign_in(house.county.operator)
    assert house.client.get(address).status_code == 404
    house.forget()
    assert house.client.get(address).status_code in (401, 303)


def test_a_limb_has_its_box_in_an_image_whose_size_the_archive_tells(house: FilmHouse, tmp_path: Path) -> None:
    uid, said = receive_chest(house, tmp_path, BodyPartExamined="HAND")
    region = {"sop_instance_uid": said["sop_instance_uid"], "frame": 1, "box": [50.0, 60.0, 70.0, 80.0]}
    with house.database.writing() as session:
        [pre_read] = session.query(PreRead).filter_by(study_id=study_of(session, uid).id)
        pre_read.evidence, pre_read.measurements = {"images": [], "localises": False, "heatmaps": {}}, []
        pre_read.findings = [Finding(code="limb_fracture", probability=0.83, region=region)]
    page = page_of(house, uid)
    assert f'viewBox="0 0 {COLUMNS} {ROWS}"' in page
    assert '<rect x="50.0" y="60.0" width="70.0" height="80.0"/>' in page
    assert "Possible fracture 83%" in page
    assert "CTR" not in page
