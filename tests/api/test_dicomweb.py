"""The DICOMweb proxy: whose images leave, in which form, and what is written down."""

from __future__ import annotations

import io

import pydicom
import pytest
from pydicom.uid import generate_uid

from core.tables import Patient
from tests.api.film_house import FilmHouse, ct_study, house, mark_ours, pydicom_file, quick_hashes, study_of

__all__ = ["house", "quick_hashes"]

FRAME = "multipart/related; type=application/octet-stream; transfer-syntax=*"


def path_of(instance: pydicom.Dataset) -> str:
    return (
        f"/dicom-web/studies/{instance.StudyInstanceUID}/series/{instance.SeriesInstanceUID}/instances/{instance.SOPInstanceUID}"
    )


def test_a_doctor_reads_a_study_and_one_trace_is_left(house: FilmHouse) -> None:
    slices = ct_study()
    uid = house.receive(slices)
    house.sign_in(house.county.doctor)
    found = house.client.get(f"/dicom-web/studies?StudyInstanceUID={uid}").json()
    assert [one["0020000D"]["Value"] for one in found] == [[uid]]
    metadata = house.client.get(f"/dicom-web/studies/{uid}/series/{slices[0].SeriesInstanceUID}/metadata")
    assert len(metadata.json()) == 3
    assert metadata.headers["content-type"].startswith("application/dicom+json")
    for one in slices:
        frame = house.client.get(path_of(one) + "/frames/1", headers={"Accept": FRAME})
        assert frame.status_code == 200
        assert one.PixelData in frame.content
    assert [event.subject for event in house.events("images_opened")] == [f"study:{uid}"]


def test_addresses_in_answers_are_ours(house: FilmHouse) -> None:
    uid = house.receive(ecg := pydicom_file("waveform_ecg.dcm"))
    house.sign_in(house.county.doctor)
    for address in (f"/dicom-web/studies?StudyInstanceUID={uid}", path_of(ecg[0]) + "/metadata"):
        answer = house.client.get(address)
        assert "127.0.0.1" not in answer.text
        assert f"http://film.test/dicom-web/studies/{uid}" in answer.text


def test_an_ecg_waveform_comes_without_an_envelope_when_asked_so(house: FilmHouse) -> None:
    (ecg,) = pydicom_file("waveform_ecg.dcm")
    house.receive([ecg])
    house.sign_in(house.county.doctor)
    address = path_of(ecg) + "/bulk/54000100/1/54001010"
    bare = house.client.get(address, headers={"Accept": "application/octet-stream"})
    assert bare.headers["content-type"] == "application/octet-stream"
    assert bare.content == ecg.WaveformSequence[0].WaveformData
    enveloped = house.client.get(address, headers={"Accept": "multipart/related; type=application/octet-stream"})
    assert enveloped.headers["content-type"].startswith("multipart/related")
    assert bare.content in enveloped.content


def test_an_instance_comes_as_it_was_sent(house: FilmHouse) -> None:
    (one,) = ct_study(1)
    house.receive([one])
    house.sign_in(house.county.doctor)
    answer = house.client.get(path_of(one), headers={"Accept": "application/dicom"})
    assert pydicom.dcmread(io.BytesIO(answer.content)).PixelData == one.PixelData


@pytest.mark.parametrize("accept", ["image/jpeg", "image/*", "*/*", "image/avif,image/webp,*/*"])
def test_rendered_images_are_given_to_every_browser(house: FilmHouse, accept: str) -> None:
    (one,) = pydicom_file("examples_ybr_color.dcm")
    house.receive([one])
    house.sign_in(house.county.doctor)
    assert house.client.get(path_of(one) + "/frames/2/rendered", headers={"Accept": accept}).content[:2] == b"\xff\xd8"


def test_nobody_sees_nothing(house: FilmHouse) -> None:
    uid = house.receive(ct_study(1))
    answer = house.client.get(f"/dicom-web/studies?StudyInstanceUID={uid}")
    assert answer.status_code == 401
    assert answer.json()["remedy"]


def test_a_study_of_another_township_does_not_exist(house: FilmHouse) -> None:
    slices = ct_study(1)
    uid = house.receive(slices, house.county.other_township)
    house.sign_in(house.county.operator)
    for address in (
        f"/dicom-web/studies?StudyInstanceUID={uid}",
        f"/dicom-web/studies/{uid}/series",
        path_of(slices[0]) + "/frames/1",
    ):
        answer = house.client.get(address)
        assert answer.status_code == 404
        assert answer.json()["remedy"]
    assert house.events("images_opened") == []


def test_no_detour_leads_to_a_foreign_study(house: FilmHouse) -> None:
    foreign = house.receive(hidden := ct_study(1), house.county.other_township)
    own = house.receive(ct_study(1), house.county.township)
    house.sign_in(house.county.operator)
    ask = house.client.get
    # Orthanc itself would follow the dots.
    assert ask(f"/dicom-web/studies/{own}/%2e%2e/{foreign}/metadata").status_code == 404
    assert ask(f"/dicom-web/studies/{own}%2f..%2f{foreign}/metadata").status_code == 404
    series, instance = hidden[0].SeriesInstanceUID, hidden[0].SOPInstanceUID
    assert ask(f"/dicom-web/studies/{own}/series/{series}/metadata").status_code == 404
    assert ask(f"/dicom-web/studies/{own}/series/{series}/instances/{instance}/frames/1").status_code == 404
    assert foreign not in ask(f"/dicom-web/studies/{own}/series?StudyInstanceUID={foreign}").text
    assert ask(f"/dicom-web/studies?StudyInstanceUID={own}&StudyInstanceUID={foreign}").status_code == 400
    assert ask(f"/dicom-web/studies?StudyInstanceUID={own},{foreign}").status_code == 400
    assert ask(f"/dicom-web/studies?StudyInstanceUID={own}&0020000D={foreign}").status_code == 400


@pytest.mark.parametrize("query", ["studies", "studies?PatientName=*", "series", "instances", "studies?StudyInstanceUID="])
def test_lists_of_a_county_are_refused(house: FilmHouse, query: str) -> None:
    house.sign_in(house.county.doctor)
    answer = house.client.get(f"/dicom-web/{query}")
    assert answer.status_code == 400
    assert "StudyInstanceUID" in answer.json()["remedy"]


def test_earlier_studies_of_a_patient_show_unless_two_people_share_the_number(house: FilmHouse) -> None:
    first, second, stranger = ct_study(1), ct_study(1), ct_study(1)
    second[0].PatientID = stranger[0].PatientID = first[0].PatientID
    uids = {house.receive(first), house.receive(second)}
    house.sign_in(house.county.doctor)
    asked = f"/dicom-web/studies?00100020={first[0].PatientID}&limit=101&includefield=00081030"
    assert {one["0020000D"]["Value"][0] for one in house.client.get(asked).json()} == uids
    stranger_uid = house.receive(stranger)
    with house.database.writing() as session:
        other = Patient(
            organisation_id=house.county.township, identifier=first[0].PatientID, name="李四", name_latin="li si", sex="F"
        )
        session.add(other)
        session.flush()
        study_of(session, stranger_uid).patient_id = other.id
    assert house.client.get(asked).json() == []


def test_a_film_shows_its_own_study_without_our_pre_read(house: FilmHouse) -> None:
    slices = ct_study(2)
    result = slices[1]
    result.SeriesInstanceUID = generate_uid()
    uid, other = house.receive(slices), house.receive(ct_study(1))
    mark_ours(house.database, result.SOPInstanceUID)
    assert house.open_film(house.grant(uid)) == 303
    series = house.client.get(f"/dicom-web/studies/{uid}/series").json()
    assert [one["0020000E"]["Value"][0] for one in series] == [slices[0].SeriesInstanceUID]
    assert house.client.get(path_of(slices[0]) + "/frames/1", headers={"Accept": FRAME}).status_code == 200
    assert house.client.get(path_of(result) + "/metadata").status_code == 404
    for whole in (f"studies/{uid}", f"studies/{uid}/metadata", f"studies/{uid}/instances"):
        assert house.client.get(f"/dicom-web/{whole}").status_code == 403
    assert house.client.get(f"/dicom-web/studies/{other}/series").status_code == 404
    assert [event.actor for event in house.events("images_opened")] == ["film:1"]


def test_what_the_archive_cannot_give_is_said_with_a_remedy(house: FilmHouse) -> None:
    (one,) = ct_study(1)
    house.receive([one])
    house.sign_in(house.county.doctor)
    answer = house.client.get(path_of(one) + "/frames/99", headers={"Accept": FRAME})
    assert answer.status_code in (400, 404)
    assert answer.json()["remedy"]
    assert house.client.post(path_of(one), content=b"x").status_code in (403, 405)
