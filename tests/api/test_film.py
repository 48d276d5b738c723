"""The film's pages: from the staff's button to the patient's phone and back."""

from __future__ import annotations

import io
import zipfile

import pytest
from PIL import Image

from core.tables import FilmGrant
from tests.api.film_house import (
    BIRTH_DATE,
    FilmHouse,
    ct_study,
    house,
    is_film_cookie_set,
    mark_ours,
    pydicom_file,
    quick_hashes,
    slide_study,
    study_of,
)

__all__ = ["house", "quick_hashes"]

PAGE = {"Accept": "text/html"}


def test_the_desk_gives_a_film_of_a_signed_study_and_prints_the_slip_once(house: FilmHouse) -> None:
    uid = house.receive(ct_study(1), house.county.township)
    house.sign_report(uid)
    form_token = house.sign_in(house.county.operator)
    slip = house.client.post(f"/studies/{uid}/film", data={"form_token": form_token}, headers=PAGE)
    assert slip.status_code == 200
    assert "<svg" in slip.text
    assert "张三" in slip.text
    assert "1958" not in slip.text, "the slip must not carry the answer"
    link = slip.text.split(f"{house.settings.web_address}/f/")[1].split("<")[0].strip()
    assert link not in house.client.get(f"/studies/{uid}/film", headers=PAGE).text
    house.forget()
    assert house.client.post(f"/f/{link}", data={"check": BIRTH_DATE}, follow_redirects=False).status_code == 303


def test_before_the_report_a_film_is_given_only_when_images_alone_are_meant(house: FilmHouse) -> None:
    uid = house.receive(ct_study(1, birth_date=""), house.county.township)
    form_token = house.sign_in(house.county.operator)
    refused = house.client.post(f"/studies/{uid}/film", data={"form_token": form_token}, headers=PAGE)
    assert refused.status_code == 409
    slip = house.client.post(f"/studies/{uid}/film", data={"form_token": form_token, "images_only": "true"}, headers=PAGE)
    assert slip.status_code == 200
    assert 'class="slip-code"' in slip.text


def test_the_desk_is_closed_to_foreign_studies_and_forged_forms(house: FilmHouse) -> None:
    foreign = house.receive(ct_study(1), house.county.other_township)
    form_token = house.sign_in(house.county.operator)
    assert house.client.get(f"/studies/{foreign}/film").status_code == 404
    given = house.client.post(f"/studies/{foreign}/film", data={"form_token": form_token, "images_only": "true"})
    assert given.status_code == 404
    own = house.receive(ct_study(1), house.county.township)
    assert house.client.post(f"/studies/{own}/film", data={"images_only": "true"}).status_code == 403


def test_a_patient_opens_the_film_and_sees_report_and_images(house: FilmHouse) -> None:
    uid = house.receive(ct_study(3))
    house.sign_report(uid)
    link = house.grant(uid)
    question = house.client.get(f"/f/{link.token}", headers=PAGE)
    assert question.status_code == 200
    assert "张三" not in question.text, "nothing of the patient shows before the answer"
    assert house.open_film(link, "19000101") == 403
    assert not is_film_cookie_set(house.client)
    assert house.open_film(link) == 303
    page = house.client.get("/film", headers=PAGE).text
    for shown in ("张三", "未见明确异常。", "王医生", "/images/1.jpg", "1</span> / 3"):
        assert shown in page
    picture = house.client.get(f"/film/{house.visit_id()}/images/3.jpg")
    assert picture.headers["cache-control"].startswith("private")
    image = Image.open(io.BytesIO(picture.content)).convert("L")
    low, high = image.getextrema()
    assert int(high) - int(low) > 100, "a CT without a window in its header must not be black"
    assert house.client.get(f"/film/{house.visit_id()}/images/4.jpg").status_code == 404


def test_ultrasound_frames_ecg_and_slides_are_in_the_film(house: FilmHouse) -> None:
    ultrasound = house.receive(pydicom_file("examples_ybr_color.dcm"))
    link = house.grant(ultrasound)
    assert house.open_film(link) == 303
    assert "1</span> / 30" in house.client.get("/film", headers=PAGE).text
    assert house.client.get(f"/film/{house.visit_id()}/images/30.jpg").content[:2] == b"\xff\xd8"
    assert house.client.get(f"/studies/{ultrasound}/viewer", follow_redirects=False).status_code in (303, 503)

    assert house.open_film(house.grant(house.receive(pydicom_file("waveform_ecg.dcm"))), "19710123") == 303
    assert "<svg" in house.client.get(f"/film/{house.visit_id()}/ecg/1.svg").text

    slide = slide_study()
    uid = house.receive(slide)
    assert house.open_film(house.grant(uid)) == 303
    address = f"/slides/{uid}/{slide[0].SeriesInstanceUID}"
    assert address in house.client.get("/film", headers=PAGE).text
    assert house.client.get(f"{address}/tiles/1/0_0.jpg").status_code == 200


def test_the_originals_leave_as_they_came_and_without_our_objects(house: FilmHouse) -> None:
    slices = ct_study(3)
    uid = house.receive(slices)
    mark_ours(house.database, slices[2].SOPInstanceUID)
    assert house.open_film(house.grant(uid)) == 303
    answer = house.client.get(f"/film/{house.visit_id()}/originals.zip")
    names = zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    assert "DICOMDIR" in names
    assert len(names) == 3
    (event,) = house.events("film_downloaded")
    assert event.detail["what"] == "originals"
    assert "2" in house.client.get("/film", headers=PAGE).text.split('class="film-count"')[1][:60]


def test_after_revoking_nothing_opens(house: FilmHouse) -> None:
    slices = ct_study(1)
    uid = house.receive(slices)
    link = house.grant(uid)
    assert house.open_film(link) == 303
    visit = house.visit_id()
    film_cookie = house.client.cookies["sumu_film"]
    form_token = house.sign_in(house.county.doctor)
    done = house.client.post(
        f"/studies/{uid}/film/{link.grant_id}/revoke", data={"form_token": form_token}, follow_redirects=False
    )
    assert done.status_code == 303
    house.forget()
    house.client.cookies.set("sumu_film", film_cookie)
    for address in (
        "/film",
        f"/film/{visit}/images/1.jpg",
        f"/film/{visit}/originals.zip",
        f"/film/{visit}/report.pdf",
        f"/dicom-web/studies/{uid}/series",
        f"/studies/{uid}/viewer",
        "/viewer/index.html",
    ):
        answer = house.client.get(address, headers=PAGE, follow_redirects=False)
        assert answer.status_code == 401, address
    assert house.open_film(link) == 410


def test_a_locked_link_says_whom_to_call_and_the_desk_unlocks_it(house: FilmHouse) -> None:
    uid = house.receive(ct_study(1))
    link = house.grant(uid)
    answers = [house.open_film(link, "0") for _ in range(house.settings.film.tries)]
    assert answers == [403] * (house.settings.film.tries - 1) + [410]
    assert house.open_film(link) == 410
    assert "解锁" in house.client.get(f"/f/{link.token}", headers=PAGE).text
    form_token = house.sign_in(house.county.doctor)
    desk = house.client.get(f"/studies/{uid}/film", headers=PAGE).text
    assert "grant-locked" in desk
    house.client.post(f"/studies/{uid}/film/{link.grant_id}/unlock", data={"form_token": form_token})
    assert house.open_film(link) == 303


def test_an_expired_link_says_so_and_the_desk_extends_it(house: FilmHouse) -> None:
    uid = house.receive(ct_study(1))
    link = house.grant(uid)
    with house.database.writing() as session:
        grant = session.get_one(FilmGrant, link.grant_id)
        grant.expires_at = grant.created_at
    gone = house.client.get(f"/f/{link.token}", headers=PAGE)
    assert gone.status_code == 410
    assert "到期" in gone.text
    assert house.open_film(link) == 410
    form_token = house.sign_in(house.county.doctor)
    house.client.post(f"/studies/{uid}/film/{link.grant_id}/extend", data={"form_token": form_token})
    assert house.open_film(link) == 303


def test_an_unknown_link_asks_like_any_other(house: FilmHouse) -> None:
    known = house.grant(house.receive(ct_study(1)))
    pages = [house.client.get(f"/f/{token}", headers=PAGE) for token in (known.token, "AAAAAAAAAAAAAAAAAAAAAA")]
    assert pages[0].text == pages[1].text
    answers = [house.client.post(f"/f/{token}", data={"check": "1"}, headers=PAGE) for token in (known.token, "AAAA")]
    assert (answers[0].status_code, answers[0].text) == (answers[1].status_code, answers[1].text)


def test_one_visit_never_shows_what_belongs_to_another(house: FilmHouse) -> None:
    assert house.open_film(house.grant(house.receive(ct_study(1)))) == 303
    first = house.visit_id()
    assert house.open_film(house.grant(house.receive(ct_study(1)))) == 303
    assert house.visit_id() != first
    assert house.client.get(f"/film/{first}/images/1.jpg").status_code == 401
    assert house.client.get("/film/x/images/1.jpg").status_code in (401, 404, 422)


def test_the_patient_sees_who_looked(house: FilmHouse) -> None:
    link = house.grant(house.receive(ct_study(1)))
    house.open_film(link, "19000101")
    house.client.post(f"/f/{link.token}", data={"check": BIRTH_DATE}, headers={"User-Agent": "MicroMessenger Android"})
    house.open_film(link)
    page = house.client.get("/film", headers=PAGE).text
    assert page.count("<time>") >= 3
    assert page.count("<em>") == 3
    assert "微信" in page
    assert "答错" in page


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_page_speaks_both_languages(house: FilmHouse, language: str) -> None:
    uid = house.receive(ct_study(1))
    link = house.grant(uid)
    house.client.cookies.set("sumu_language", language)
    assert ("出生日期" in house.client.get(f"/f/{link.token}", headers=PAGE).text) == (language == "zh")
    house.open_film(link)
    assert ("谁看过" in house.client.get("/film", headers=PAGE).text) == (language == "zh")
    with house.database.reading() as session:
        assert study_of(session, uid).patient.name == "张三"
