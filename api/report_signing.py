"""A signature: the password again, the paper printed and sealed, then the report final, in this order.

The paper is made before the write transaction, because printing takes a second and a writer of SQLite keeps the node from
acknowledging images; the transaction then checks that nobody wrote meanwhile.
"""

from __future__ import annotations

from api import sign_in_tries
from api.claims import hold
from api.ecg_signed import keep_signed_ecg, signed_ecg_document
from api.house import House
from api.refusals import N_, Refusal
from api.report_pdf import compose, keep, print_sheet
from api.reports import ReportText, must_be_signable, report_of, save, sign
from api.studies import visible_study
from core.access import Permission, Person
from core.clock import now
from core.passwords import password_matches
from core.tables import User


class WrongSigningPassword(Refusal):
    """The password that confirms a signature is wrong."""

    status = 403
    message_id = N_("The password is wrong; nothing was signed.")
    remedy_id = N_("Type the password of your own account again.")


def sign_report(house: House, person: Person, study_instance_uid: str, text: ReportText, *, password: str, address: str) -> None:
    """Save ``text`` and make it the signed report of a study.

    Raises
    ------
    WrongSigningPassword, TooManyTries
        If the password is not the person's.
    NotClaimed, NothingWritten, StillArriving, ForbiddenTransition
        If the report may not be signed by them now; the text is kept where that is possible.
    """
    person.must(Permission.SIGN_REPORT)
    confirm(house, person, password, address)
    with house.database.writing() as session:
        save(session, person, visible_study(session, person, study_instance_uid, for_change=True), text)
    with house.database.reading() as session:
        study = visible_study(session, person, study_instance_uid)
        hold(person, study)
        version = must_be_signable(study, report_of(session, study))
        signed_at = now()
        sheet = compose(session, house, person, study, version, signed_at)
        document = signed_ecg_document(session, house, person, study, version, signed_at)
    pdf_sha256 = keep(house, print_sheet(house, sheet))
    with house.database.writing() as session:
        study = visible_study(session, person, study_instance_uid, for_change=True)
        sign(session, person, study, text, signed_at=signed_at, pdf_sha256=pdf_sha256)
        if document is not None:
            keep_signed_ecg(session, house, study, document)


def confirm(house: House, person: Person, password: str, address: str) -> None:
    """Pass if ``password`` is the person's own; wrong ones count like wrong sign-ins."""
    with house.database.reading() as session:
        sign_in_tries.check(session, person.username, address)
        kept_hash = session.get_one(User, person.user_id).password_hash
    if password_matches(kept_hash, password):
        return
    with house.database.writing() as session:
        sign_in_tries.record_refusal(session, person.username, address)
    raise WrongSigningPassword
