"""The printed report: what it says, what it looks like to a machine, and its seal."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from api.report_pdf import _css_string, compose, sheet_html
from api.report_seal import seal_file
from api.reports import signed_report
from api.studies import visible_study
from core.access import person_of
from core.database import Database
from core.settings import Settings
from core.tables import User
from tests.api.conftest import Browser, add_pre_read, add_study
from tests.api.test_reading import add_ecg, create_app_on
from tests.conftest import PASSWORD, County, RunningArchive

SignedIn = Callable[[str], Browser]


def signed_pdf(doctor: Browser, uid: str, **words: str) -> bytes:
    doctor.post(f"/studies/{uid}/claim")
    answer = doctor.post(f"/studies/{uid}/report/sign", password=PASSWORD, **words)
    assert answer.status_code == 303, answer.text
    return doctor.get(f"/studies/{uid}/report.pdf").content


def paper_of(app: FastAPI, database: Database, uid: str) -> str:
    """Return the page that the signed report of a study is printed from."""
    with database.reading() as session:
        doctor = person_of(session, session.query(User).filter_by(username="doctor").one())
        study = visible_study(session, doctor, uid)
        version = signed_report(session, study)
        assert version is not None
        assert version.signed_at is not None
        house = app.state.house
        return sheet_html(house, compose(session, house, doctor, study, version, version.signed_at))


def test_the_paper_says_who_what_when_and_by_whom(
    app: FastAPI, signed_in: SignedIn, database: Database, settings: Settings, county: County
) -> None:
    uid = add_study(database, county.township)
    pdf = signed_pdf(signed_in("doctor"), uid, findings="右肺下野片状影。" * 250, impression="右肺炎症。", critical="true")
    paper = paper_of(app, database, uid)
    for words in ("苏木县", "近苏木卫生院", "王建国", "67岁", "右肺炎症。", "危急值", "王医生", "共 ", uid):
        assert words in paper, words
    assert "AI预读" not in paper
    assert (settings.data / "reports" / f"{hashlib.sha256(pdf).hexdigest()}.pdf").exists()
    printed = PdfFileReader(io.BytesIO(pdf))
    assert printed.root["/Pages"]["/Count"] == 2
    assert "王建国" in str(printed.trailer["/Info"]["/Title"])


def test_a_report_with_an_engines_words_says_so(app: FastAPI, signed_in: SignedIn, database: Database, county: County) -> None:
    uid = add_study(database, county.township)
    add_pre_read(database, uid, ("ecg_sinus_tachycardia", None))
    signed_pdf(signed_in("doctor"), uid, findings="", impression="窦性心动过速")
    paper = paper_of(app, database, uid)
    assert "test model 1.0" in paper
    assert "AI预读不是诊断" in paper


def test_the_seal_holds_and_breaks_with_any_change(
    signed_in: SignedIn, database: Database, settings: Settings, county: County
) -> None:
    pdf = signed_pdf(signed_in("doctor"), add_study(database, county.township), impression="未见异常。")
    assert seal_file(settings).stat().st_mode & 0o077 == 0
    [signature] = PdfFileReader(io.BytesIO(pdf)).embedded_signatures
    trusted = ValidationContext(trust_roots=[signature.signer_cert], allow_fetching=False)
    status = validate_pdf_signature(signature, signer_validation_context=trusted)
    assert status.intact
    assert status.valid

    place = pdf.index(b"/MediaBox")
    changed = pdf[:place] + b"/mediabox" + pdf[place + 9 :]
    [broken] = PdfFileReader(io.BytesIO(changed)).embedded_signatures
    assert not validate_pdf_signature(broken, signer_validation_context=trusted).intact


def test_two_reports_carry_the_same_seal(signed_in: SignedIn, database: Database, settings: Settings, county: County) -> None:
    doctor = signed_in("doctor")
    signed_pdf(doctor, add_study(database, county.township), impression="一")
    before = seal_file(settings).read_bytes()
    signed_pdf(doctor, add_study(database, county.township), impression="二")
    assert seal_file(settings).read_bytes() == before


def test_an_ecg_stands_on_its_report(
    settings: Settings, database: Database, county: County, running_archive: RunningArchive
) -> None:
    uid = add_study(database, county.township, modality="ECG")
    add_ecg(database, uid, running_archive)
    app = create_app_on(running_archive, settings)
    doctor = Browser(app)
    doctor.enter(database, "doctor")
    pdf = signed_pdf(doctor, uid, impression="窦性心律。")
    assert 'src="data:image/svg+xml;base64,' in paper_of(app, database, uid)
    without = signed_pdf(doctor, add_study(database, county.township), impression="窦性心律。")
    assert len(pdf) > len(without) + 10_000


def test_a_name_cannot_write_into_the_paper(app: FastAPI, signed_in: SignedIn, database: Database, county: County) -> None:
    uid = add_study(database, county.township, name='"; } </style><script>')
    signed_pdf(signed_in("doctor"), uid, impression="未见异常。")
    paper = paper_of(app, database, uid)
    assert paper.count("</style>") == 1
    assert "<script>" not in paper


@pytest.mark.parametrize("text", ['a"b', "a\\b", "</style>", "a\nb"])
def test_a_string_of_a_style_sheet_cannot_be_left(text: str) -> None:
    inside = _css_string(text)[1:-1]
    assert not set(inside) & set('"<>\n')
