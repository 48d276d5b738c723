"""One recording of an ECG machine, in the machine's own steps: what every reader here makes, and the DICOM writer takes.

Samples stay the integers that the machine wrote, each lead with the size of its step, so that nothing is rounded on
the way into the archive.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime

import numpy as np
import numpy.typing as npt

#: The order in which leads stand on paper.
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

#: Stands in ``EcgLead.samples`` where nothing was recorded.
MISSING = int(np.iinfo(np.int32).min)

Steps = npt.NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, eq=False)
class EcgLead:
    """One channel."""

    #: Of ``LEADS`` where it is one of the twelve; otherwise as the machine calls it.
    name: str
    samples: Steps
    microvolts_per_step: float
    #: Voltage of the sample 0.
    microvolts_at_zero: float = 0.0
    #: Leads that it was computed from; empty when the machine stored it.
    computed_from: tuple[str, ...] = ()

    @property
    def microvolts(self) -> npt.NDArray[np.float64]:
        """The samples in microvolts, NaN where nothing was recorded."""
        values = self.samples * self.microvolts_per_step + self.microvolts_at_zero
        return np.where(self.samples == MISSING, np.nan, values)


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Filters that the machine says it applied, in Hz; None where it says nothing, or says that there was none."""

    low_hz: float | None = None
    high_hz: float | None = None
    notch_hz: float | None = None


@dataclass(frozen=True, kw_only=True)
class EcgPatient:
    """What the machine was told of the patient; empty where nothing was typed."""

    identifier: str = ""
    family_name: str = ""
    given_name: str = ""
    #: ``M``, ``F``, ``O`` or empty.
    sex: str = ""
    birth_date: date | None = None
    #: As typed; it wins over the birth date, which machines often fill in themselves.
    age_years: int | None = None


@dataclass(frozen=True, kw_only=True)
class EcgDevice:
    """The machine."""

    manufacturer: str = ""
    model: str = ""
    serial_number: str = ""
    software_version: str = ""
    institution: str = ""


@dataclass(frozen=True, kw_only=True)
class PrintedMeasurements:
    """The machine's own measurements, as it prints them on its paper; milliseconds, degrees, beats a minute.

    Whole numbers where it prints whole numbers, as nearly every machine does.
    """

    heart_rate: float | None = None
    rr_ms: float | None = None
    pr_ms: float | None = None
    qrs_ms: float | None = None
    qt_ms: float | None = None
    #: By a formula that the file does not name.
    qtc_ms: float | None = None
    qtc_bazett_ms: float | None = None
    qtc_fridericia_ms: float | None = None
    p_axis: float | None = None
    qrs_axis: float | None = None
    t_axis: float | None = None
    #: Its interpretation, a line each; in the wording of whoever confirmed it last.
    statements: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class EcgRecording:
    """One recording: leads of one length and one rate, and what the file says about them."""

    #: Name of the file's format: ``GE MUSE XML``.
    format: str
    leads: tuple[EcgLead, ...]
    #: Hz.
    sampling_rate: float
    #: Naive when the file names no time zone: the machine's wall clock. None when the file carries no time.
    taken_at: datetime | None = None
    patient: EcgPatient = field(default_factory=EcgPatient)
    device: EcgDevice = field(default_factory=EcgDevice)
    filters: Filters = field(default_factory=Filters)
    printed: PrintedMeasurements = field(default_factory=PrintedMeasurements)
    #: What was left out or is doubtful, a sentence each.
    notes: tuple[str, ...] = ()

    @property
    def length(self) -> int:
        """Samples of each lead."""
        return len(self.leads[0].samples)

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return self.length / self.sampling_rate

    def lead(self, name: str) -> EcgLead | None:
        """Return a lead by its name, or None."""
        return next((lead for lead in self.leads if lead.name == name), None)


def in_paper_order(leads: tuple[EcgLead, ...]) -> tuple[EcgLead, ...]:
    """Return the twelve leads in the order of the paper, the others behind them as they came."""
    return tuple(sorted(leads, key=lambda lead: LEADS.index(lead.name) if lead.name in LEADS else len(LEADS)))


def of_one_length(leads: tuple[EcgLead, ...]) -> tuple[EcgLead, ...]:
    """Return leads that all last as long as the longest; what is behind the end of a shorter one is missing."""
    length = max((len(lead.samples) for lead in leads), default=0)
    return tuple(
        lead
        if len(lead.samples) == length
        else replace(lead, samples=np.append(lead.samples, np.full(length - len(lead.samples), MISSING, np.int32)))
        for lead in leads
    )
