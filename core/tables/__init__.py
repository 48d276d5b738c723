"""The tables of the house, one module for each thing they are about."""

from core.tables.archive import ArchiveCursor
from core.tables.audit import AuditEvent
from core.tables.base import Base
from core.tables.custody import Association, CharacterSetSighting, Commitment, Door, Instance, Quarantined
from core.tables.ecg_measurements import EcgMeasurement
from core.tables.films import FilmGrant, FilmVisit, VisitOutcome
from core.tables.orders import Order, OrderSource, PerformedStep
from core.tables.organisations import Device, Level, Organisation, RefusedCaller
from core.tables.people import Role, SignIn, User, UserRole
from core.tables.prereads import Finding, Measurement, PreRead, Verdict
from core.tables.reports import Report, ReportVersion
from core.tables.studies import Patient, Study, Urgency

__all__ = [
    "ArchiveCursor",
    "Association",
    "AuditEvent",
    "Base",
    "CharacterSetSighting",
    "Commitment",
    "Device",
    "Door",
    "EcgMeasurement",
    "FilmGrant",
    "FilmVisit",
    "Finding",
    "Instance",
    "Level",
    "Measurement",
    "Order",
    "OrderSource",
    "Organisation",
    "Patient",
    "PerformedStep",
    "PreRead",
    "Quarantined",
    "RefusedCaller",
    "Report",
    "ReportVersion",
    "Role",
    "SignIn",
    "Study",
    "Urgency",
    "User",
    "UserRole",
    "Verdict",
    "VisitOutcome",
]
