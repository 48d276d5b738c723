"""The ECG pre-read: quality, measurements, statements of rules and network in one list.

Evidence, for the pages: ``sop_instance_uid``, ``leads`` (state by name), ``rhythm_lead``, ``sampling_rate``, ``absent``
(measurement to reason) and ``beats``: seconds of ``p_on``, ``p_off``, ``qrs_on``, ``r``, ``qrs_off``, ``t_on``, ``t_off``, null
for a wave that was not seen, and ``kind``: ``N`` usual, ``V`` ventricular, ``S`` early from above the ventricles, ``?`` not
decided.
``statements`` holds the network's calibrated probability of each statement of PTB-XL, empty where it stays silent, and
``network_silent`` the reason for that; ``silenced`` says which code was not said because of which other.
``quality`` says whether the recording is ``usable`` or should be made again, the probability ``unacceptable`` of that, null with
fewer than twelve leads, and the two electrodes that may be exchanged (``exchange``, null where none is suspected).
``heights`` holds R, S, J and ST 60 ms after J of each lead in mV, ``rhythm`` the atrial rate and how RR is spread.
``device`` holds what the machine itself printed, null where the object carries nothing of it, and also where the reading was
declined: ``values``, numbers by code, exactly as printed (codes of the vocabulary's measurements, and ``ecg_qtc`` for a QTc whose
formula nobody names); ``statements``, its lines, in its own language; ``source``, maker and model, empty where none is named.
``others`` holds the same of the study's further recordings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

from pydicom import Dataset

from core.errors import SumuError
from inference.ecg.acceptance import AcceptanceModel
from inference.ecg.delineation import Delineator
from inference.ecg.device import device_evidence
from inference.ecg.exchange import ExchangeDetector
from inference.ecg.interpretation import interpret
from inference.ecg.measure import Measures, measure
from inference.ecg.precedence import precedence
from inference.ecg.quality import LeadState, Quality, quality_of
from inference.ecg.rulebook import FILE, rulebook
from inference.ecg.rules import statements_of
from inference.ecg.statements import LEADS_UNFIT, StatementNetwork, silence_of
from inference.ecg.waveform import ECG_SOP_CLASSES, Ecg, read_ecg
from inference.engine import Finding, Measurement, ModelIdentity, Outcome, Reading, Region, StudyFiles

#: Facts of ``Measures`` that a doctor asks for and no vocabulary names.
_RHYTHM_FACTS = ("atrial_rate", "rr_shortest_ms", "rr_sd_ms")


#: Said when two electrodes seem to have been exchanged; the evidence names them.
EXCHANGED = "ecg_electrodes_exchanged"


class EcgEngine:
    """Reads resting electrocardiograms."""

    name = "ecg"

    def __init__(self, *, region: str = "strictest") -> None:
        """Judge by the critical values of ``region``, one of ``rulebook.regions()``."""
        self._region = region
        self._rules = rulebook(region)
        self._acceptance = AcceptanceModel()
        self._exchange = ExchangeDetector()
        self._delineator = Delineator()
        self._network = StatementNetwork()

    def wants(self, instance: Dataset) -> bool:
        """Return whether the instance is an ECG waveform."""
        return str(instance.get("SOPClassUID", "")) in ECG_SOP_CLASSES

    def read(self, study: StudyFiles) -> Reading:
        """Read every recording of the study.

        Raises
        ------
        SumuError
            If no recording of the study can be opened.
        """
        readings: list[Reading] = []
        refusals: list[SumuError] = []
        for instance in study.instances:
            if self.wants(instance.header):
                try:
                    readings.append(self.read_recording(read_ecg(instance.path)))
                except SumuError as refusal:
                    refusals.append(refusal)
        if not readings:
            if refusals:
                raise refusals[0]
            return Reading(outcome=Outcome.NO_MODEL, reason="ecg_none_in_study")
        # Those that were read come first: the page shows the first one's evidence.
        readings.sort(key=lambda reading: reading.outcome is not Outcome.READ)
        return _joined(readings)

    def read_recording(self, ecg: Ecg) -> Reading:
        """Read one recording."""
        quality = quality_of(ecg, self._rules.quality)
        evidence: dict[str, Any] = {
            "sop_instance_uid": ecg.sop_instance_uid,
            "leads": {name: state.value for name, state in quality.leads.items()},
            "quality": self._quality_words(ecg, quality),
            "sampling_rate": ecg.sampling_rate,
            "beats": [],
            "rhythm_lead": None,
            "rhythm": {},
            "heights": {},
            "absent": {},
            "statements": {},
            "network_silent": None,
            "silenced": {},
            "device": device_evidence(ecg),
        }
        if quality.reason is not None:
            return Reading(outcome=Outcome.DECLINED, reason=quality.reason, evidence=evidence)
        measures = measure(ecg, quality.usable, self._delineator)
        evidence |= {
            "beats": [beat.as_evidence() for beat in measures.beats],
            "rhythm_lead": measures.rhythm_lead,
            "rhythm": {name: round(measures.facts[name], 1) for name in _RHYTHM_FACTS if name in measures.facts},
            "heights": {name: dict(heights) for name, heights in measures.heights.items()},
            "absent": dict(measures.absent),
        }
        if not measures.beats:
            return Reading(outcome=Outcome.DECLINED, reason="ecg_no_beats", models=self._models(), evidence=evidence)
        where = Region(sop_instance_uid=ecg.sop_instance_uid)
        return Reading(
            outcome=Outcome.READ,
            models=self._models(),
            findings=tuple(
                Finding(code=code, probability=probability, region=where)
                for code, probability in self._statements(ecg, quality.usable, measures, evidence)
            ),
            measurements=tuple(
                Measurement(code=code, value=value, sop_instance_uid=ecg.sop_instance_uid)
                for code, value in measures.values.items()
            ),
            evidence=evidence,
        )

    def _quality_words(self, ecg: Ecg, quality: Quality) -> dict[str, Any]:
        """Return the recording's part of the quality; a recording of a wrong length is not asked about."""
        judged = bool(quality.leads) and LeadState.NOT_JUDGED not in quality.leads.values()
        unacceptable = self._acceptance.unacceptable(ecg) if judged else None
        suspicion = self._exchange.suspicion(ecg, quality.usable) if judged else None
        return {
            "usable": quality.reason is None and (unacceptable is None or unacceptable < self._acceptance.threshold),
            "unacceptable": None if unacceptable is None else round(unacceptable, 3),
            "exchange": suspicion and suspicion.pair,
            "exchange_probability": suspicion and round(suspicion.probability, 3),
        }

    def _statements(
        self, ecg: Ecg, usable: Collection[str], measures: Measures, evidence: dict[str, Any]
    ) -> list[tuple[str, float | None]]:
        """Return codes and probabilities; write into the evidence what the network thought and what gave way."""
        probabilities: dict[str, float] = {}
        silent = silence_of(
            ecg, usable, adult_from_years=self._rules.adult_from_years, shortest_seconds=precedence().shortest_seconds
        )
        if silent is None and not evidence["quality"]["usable"]:
            silent = LEADS_UNFIT
        if silent is None:
            probabilities = self._network.probabilities(ecg)
        interpretation = interpret(
            statements_of(measures, self._rules, sex=ecg.sex, age_years=ecg.age_years),
            self._network.spoken(probabilities) if probabilities else None,
            {**measures.facts, **measures.values},
            sex=ecg.sex,
        )
        evidence |= {
            "statements": {code: round(value, 4) for code, value in probabilities.items()},
            "network_silent": silent,
            "silenced": dict(interpretation.silenced),
        }
        said = [(statement.code, statement.probability) for statement in interpretation.said]
        exchange = evidence["quality"]["exchange_probability"]
        # It stands first: everything below it may be a lead that is another one.
        return [(EXCHANGED, exchange), *said] if exchange is not None else said

    def _models(self) -> tuple[ModelIdentity, ...]:
        rules = ModelIdentity(
            name="sumu ecg rules",
            version=hashlib.sha256(FILE.read_bytes()).hexdigest()[:12],
            preprocessing=f"thresholds of rules.toml over the measurements, critical values: {self._region}",
        )
        networks = (self._delineator, self._network, self._acceptance, self._exchange)
        return *(network.identity for network in networks), rules


def _joined(readings: list[Reading]) -> Reading:
    first, *others = readings
    return Reading(
        outcome=first.outcome,
        reason=first.reason,
        models=first.models,
        findings=tuple(finding for reading in readings for finding in reading.findings),
        measurements=tuple(number for reading in readings for number in reading.measurements),
        evidence={**first.evidence, "others": [{**other.evidence, "reason": other.reason} for other in others]},
    )
