"""The engine reads a study of DICOM files, and says why when it does not."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage

from inference.ecg.engine import EcgEngine
from inference.ecg.leads import LEADS
from inference.ecg.rulebook import regions
from inference.ecg.waveform import Ecg, NoEcgLeads
from inference.engine import Engine, InstanceFile, Outcome, StudyFiles
from inference.vocabulary.terms import vocabulary
from tests.inference.ecg.hearts import ecg_dataset, heart, regular, saved


@pytest.fixture(scope="module")
def engine() -> EcgEngine:
    return EcgEngine()


def study_of(folder: Path, *datasets: Dataset) -> StudyFiles:
    paths = [saved(dataset, folder) for dataset in datasets]
    return StudyFiles(
        study_instance_uid="1.2.3",
        instances=tuple(InstanceFile(path=path, header=dcmread(path, stop_before_pixels=True)) for path in paths),
    )


def test_it_is_an_engine_for_ecg_waveforms(engine: EcgEngine) -> None:
    as_engine: Engine = engine
    assert as_engine.name == "ecg"
    assert engine.wants(ecg_dataset({"II": np.zeros(10)}))
    image = Dataset()
    image.SOPClassUID = CTImageStorage
    assert not engine.wants(image)
    assert not engine.wants(Dataset())


def test_a_healthy_recording_is_read(engine: EcgEngine, tmp_path: Path) -> None:
    ecg = ecg_dataset(heart(regular(0.8, seconds=6), seconds=6))
    reading = engine.read(study_of(tmp_path, ecg))
    assert reading.outcome is Outcome.READ
    # Six seconds are too short for the network: the rules speak alone, and a rule has no probability.
    assert [finding.code for finding in reading.findings] == ["ecg_sinus_rhythm", "ecg_normal_measurements"]
    assert all(finding.probability is None for finding in reading.findings)
    assert all(f.region is not None and f.region.sop_instance_uid == ecg.SOPInstanceUID for f in reading.findings)
    numbers = {number.code: number.value for number in reading.measurements}
    assert numbers["ecg_heart_rate"] == pytest.approx(75, abs=0.5)
    words = vocabulary()
    assert numbers.keys() <= words.measurements.keys()
    assert {number.sop_instance_uid for number in reading.measurements} == {ecg.SOPInstanceUID}


def test_the_network_speaks_beside_the_rules_with_its_probability(device_ecg: Ecg, engine: EcgEngine) -> None:
    reading = engine.read_recording(device_ecg)
    probabilities = reading.evidence["statements"]
    assert len(probabilities) == 71
    assert all(0 <= value <= 1 for value in probabilities.values())
    assert reading.evidence["network_silent"] is None
    sinus = next(finding for finding in reading.findings if finding.code == "ecg_sinus_rhythm")
    assert sinus.probability == pytest.approx(probabilities["SR"], abs=1e-4)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"age_years": 17}, "ecg_statements_child"),
        ({"leads": tuple(name for name in LEADS if name != "V6")}, "ecg_statements_leads"),
    ],
)
def test_outside_of_what_it_learned_the_network_is_silent(
    device_ecg: Ecg, engine: EcgEngine, change: dict[str, Any], reason: str
) -> None:
    kept = [device_ecg.leads.index(name) for name in change.get("leads", LEADS)]
    reading = engine.read_recording(replace(device_ecg, microvolts=device_ecg.microvolts[kept], **change))
    assert reading.outcome is Outcome.READ
    assert reading.evidence["network_silent"] == reason
    assert reading.evidence["statements"] == {}
    assert all(finding.probability is None for finding in reading.findings)
    assert reason in vocabulary().reasons


def test_the_evidence_is_plain_json_and_the_model_is_named(engine: EcgEngine, tmp_path: Path) -> None:
    reading = engine.read(study_of(tmp_path, ecg_dataset(heart(regular(0.8, seconds=6), seconds=6))))
    evidence = json.loads(json.dumps(reading.evidence))
    assert evidence["rhythm_lead"] == "II"
    assert evidence["sampling_rate"] == 500
    assert len(evidence["leads"]) == 12
    assert len(evidence["beats"]) == 7
    assert evidence["beats"][0].keys() == {"p_on", "p_off", "qrs_on", "r", "qrs_off", "t_on", "t_off", "kind"}
    assert {beat["kind"] for beat in evidence["beats"]} == {"N"}
    assert evidence["device"] is None
    assert np.diff([beat["r"] for beat in evidence["beats"]]) == pytest.approx(0.8, abs=0.01)
    delineator, network, acceptance, exchange, rules = reading.models
    assert "openecg" in delineator.name
    assert (acceptance.name, exchange.name) == ("ecg_quality", "ecg_exchange")
    assert "500 Hz" in delineator.preprocessing
    assert network.name == "ecg_statements"
    assert "100 Hz" in network.preprocessing
    assert all(len(model.weights_sha256 or "") == 64 for model in (delineator, network, acceptance, exchange))
    assert evidence["network_silent"] == "ecg_statements_short"
    assert rules.weights_sha256 is None
    assert rules.version


def test_the_evidence_says_what_the_recording_is_worth(engine: EcgEngine, device_ecg: Ecg) -> None:
    evidence = json.loads(json.dumps(engine.read_recording(device_ecg).evidence))
    assert evidence["quality"]["usable"] is True
    assert evidence["quality"]["exchange"] is None
    assert evidence["quality"]["unacceptable"] < 0.1
    assert set(evidence["heights"]) == set(LEADS)
    assert evidence["heights"]["V5"]["r"] > 1.5
    assert evidence["heights"]["V5"].keys() == {"r", "s", "j", "st60"}
    assert evidence["rhythm"]["atrial_rate"] == pytest.approx(61, abs=1)


def test_what_the_machine_printed_stands_beside_our_numbers(engine: EcgEngine, device_ecg: Ecg) -> None:
    reading = engine.read_recording(device_ecg)
    device = json.loads(json.dumps(reading.evidence["device"]))
    assert device["values"] == {
        "ecg_rr": 982, "ecg_pr": 161, "ecg_qrs": 75, "ecg_qt": 368, "ecg_qtc": 370,
        "ecg_axis_p": 74, "ecg_axis_qrs": 52, "ecg_axis_t": 57,
    }  # fmt: skip
    assert device["statements"] == ["RITMO SINUSALE", "ECG NORMALE"]
    declined = engine.read_recording(replace(device_ecg, microvolts=device_ecg.microvolts * 0))
    assert declined.outcome is Outcome.DECLINED
    assert declined.evidence["device"] == device


def test_exchanged_arms_are_suspected(engine: EcgEngine, device_ecg: Ecg) -> None:
    one, two, three = (device_ecg.microvolts[LEADS.index(name)] for name in ("I", "II", "III"))
    right, left, foot = (device_ecg.microvolts[LEADS.index(name)] for name in ("aVR", "aVL", "aVF"))
    wrong = replace(device_ecg, microvolts=np.stack([-one, three, two, left, right, foot, *device_ecg.microvolts[6:]]))
    reading = engine.read_recording(wrong)
    quality = reading.evidence["quality"]
    assert quality["exchange"] == "RA/LA"
    assert quality["exchange_probability"] > 0.9
    assert reading.findings[0].code == "ecg_electrodes_exchanged"


def test_a_recording_that_should_be_made_again_silences_the_statement_network(engine: EcgEngine, device_ecg: Ecg) -> None:
    spoilt = device_ecg.microvolts.copy()
    for name in ("aVL", "III"):
        spoilt[LEADS.index(name)] = 0
    reading = engine.read_recording(replace(device_ecg, microvolts=spoilt))
    assert reading.outcome is Outcome.READ
    assert reading.evidence["quality"]["usable"] is False
    assert reading.evidence["network_silent"] == "ecg_statements_leads"


def _strange() -> dict[str, dict[str, Any]]:
    random, time = np.random.default_rng(8), np.arange(5000) / 500
    beats = heart(regular(0.8))
    return {
        "noise": {name: random.normal(0, 500, 5000) for name in beats},
        "a walk": {name: np.cumsum(random.normal(0, 30, 5000)) for name in beats},
        "silence": {name: np.zeros(5000) for name in beats},
        "one level": {name: np.full(5000, 3000.0) for name in beats},
        "mains only": {name: 300 * np.sin(2 * np.pi * 50 * time) for name in beats},
        "one lead": {"V2": beats["V2"]},
        "one noisy lead": {"aVR": random.normal(0, 300, 5000)},
        "one beat": heart([4.0]),
        "half is silent": {name: np.where(time < 5, row, 0.0) for name, row in beats.items()},
        "steps": {name: 2000 * np.sign(np.sin(2 * np.pi * 1.1 * time)) for name in beats},
        "spikes": {name: row + 8000 * (random.random(5000) < 0.002) for name, row in beats.items()},
        "five seconds": {name: row[:2500] for name, row in beats.items()},
        "three samples": {name: row[:3] for name, row in beats.items()},
    }


@pytest.mark.parametrize("kind", _strange())
@pytest.mark.filterwarnings("error")
def test_no_recording_however_strange_stops_the_engine(engine: EcgEngine, tmp_path: Path, kind: str) -> None:
    reading = engine.read(study_of(tmp_path, ecg_dataset(_strange()[kind])))
    assert reading.outcome in (Outcome.READ, Outcome.DECLINED)
    assert reading.reason is None or reading.reason in vocabulary().reasons
    assert json.dumps(reading.evidence, allow_nan=False)
    assert all(np.isfinite(number.value) for number in reading.measurements)


def test_a_pause_of_three_seconds_is_a_critical_value(engine: EcgEngine, tmp_path: Path) -> None:
    paused = ecg_dataset(heart([0.5, 1.3, 2.1, 5.4, 6.2, 7.0], seconds=8))
    codes = {finding.code for finding in engine.read(study_of(tmp_path, paused)).findings}
    assert "ecg_critical_pause" in codes
    assert "ecg_normal_measurements" not in codes


def test_electrodes_off_are_declined_with_a_reason(engine: EcgEngine, tmp_path: Path) -> None:
    reading = engine.read(study_of(tmp_path, ecg_dataset({name: np.zeros(5000) for name in ("I", "II", "V1")})))
    assert (reading.outcome, reading.reason) == (Outcome.DECLINED, "ecg_leads_off")
    assert not reading.findings
    assert set(reading.evidence["leads"].values()) == {"off"}
    assert reading.reason in vocabulary().reasons


def test_movement_without_a_beat_asks_for_a_person_at_once(engine: EcgEngine, tmp_path: Path) -> None:
    wave = 120 * np.sin(2 * np.pi * 0.7 * np.arange(5000) / 500)
    reading = engine.read(study_of(tmp_path, ecg_dataset({"I": wave, "II": wave * 1.5, "V1": wave})))
    assert (reading.outcome, reading.reason) == (Outcome.DECLINED, "ecg_no_beats")
    assert "停搏" in vocabulary().reasons["ecg_no_beats"].zh


def test_a_bad_recording_does_not_hide_a_good_one(engine: EcgEngine, tmp_path: Path) -> None:
    nameless = ecg_dataset({"II": np.zeros(5000)}, code=lambda name: ("P1", "99VENDOR", "Pleth"))
    flat = ecg_dataset({"II": np.zeros(5000)})
    good = ecg_dataset({"II": heart(regular(0.8, seconds=6), seconds=6)["II"]})
    reading = engine.read(study_of(tmp_path, nameless, flat, good))
    assert reading.outcome is Outcome.READ
    assert reading.evidence["sop_instance_uid"] == good.SOPInstanceUID
    assert [other["reason"] for other in reading.evidence["others"]] == ["ecg_leads_off"]


def test_a_study_whose_only_recording_names_no_lead_fails_with_its_remedy(engine: EcgEngine, tmp_path: Path) -> None:
    nameless = ecg_dataset({"II": np.zeros(5000)}, code=lambda name: ("P1", "99VENDOR", "Pleth"))
    with pytest.raises(NoEcgLeads):
        engine.read(study_of(tmp_path, nameless))


def test_a_study_without_ecg_is_not_its_business(engine: EcgEngine) -> None:
    assert engine.read(StudyFiles(study_instance_uid="1.2.3", instances=())).outcome is Outcome.NO_MODEL


def test_every_reason_that_can_be_given_is_in_the_vocabulary() -> None:
    folder = Path(regions.__code__.co_filename).parent
    sources = [path.read_text(encoding="utf-8") for path in folder.glob("*.py") if path.stem in ("engine", "measure", "quality")]
    given = set(re.findall(r'"(ecg_[a-z_]+)"', "".join(sources)))
    words = vocabulary()
    assert {"ecg_leads_off", "ecg_pr_varies", "ecg_too_long"} <= given
    assert given <= words.reasons.keys() | words.measurements.keys() | words.findings.keys()
