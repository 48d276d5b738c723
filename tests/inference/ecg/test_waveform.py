"""DICOM electrocardiograms become microvolts in the order of the paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread, examples
from pydicom.uid import CTImageStorage, TwelveLeadECGWaveformStorage

from core.errors import SumuError
from inference.ecg.leads import LEADS
from inference.ecg.waveform import Ecg, NoEcgLeads, NotAnEcg, UnreadableWaveform, read_ecg
from tests.inference.ecg.hearts import SCP, ecg_dataset, ecg_of, heart, regular, saved

BEATS = heart(regular(0.8, seconds=3), seconds=3)


def test_a_devices_file_has_twelve_leads_in_microvolts(device_ecg: Ecg) -> None:
    assert device_ecg.leads == LEADS
    assert device_ecg.microvolts.shape == (12, 10_000)
    assert device_ecg.microvolts.dtype == np.float32
    assert device_ecg.sampling_rate == 1000
    assert (device_ecg.age_years, device_ecg.sex) == (42, "F")
    assert (device_ecg.filters.low_hz, device_ecg.filters.high_hz, device_ecg.filters.notch_hz) == (0.05, 300, None)
    # The file's samples are in steps of 1.25 uV.
    raw = dcmread(examples.get_path("waveform")).waveform_array(0)
    np.testing.assert_allclose(device_ecg.lead("V5"), raw[:, 10], atol=1e-3)


def test_the_rhythm_is_chosen_and_the_median_beat_is_noted(device_ecg: Ecg) -> None:
    assert device_ecg.has_median_beat
    assert device_ecg.seconds == 10
    swapped = dcmread(examples.get_path("waveform"))
    swapped.WaveformSequence = list(reversed(swapped.WaveformSequence))
    np.testing.assert_array_equal(read_ecg(swapped).microvolts, device_ecg.microvolts)


@pytest.mark.parametrize(
    ("unit", "sensitivity", "factor", "baseline"),
    [("uV", 2.5, 1.0, 0.0), ("uV", 5.0, 0.5, 100.0), ("mV", 0.0025, 1.0, -0.5), ("nV", 2500.0, 1.0, 0.0)],
)
def test_units_sensitivity_correction_and_baseline_give_the_same_microvolts(
    unit: str, sensitivity: float, factor: float, baseline: float
) -> None:
    ecg = ecg_of(BEATS, unit=unit, sensitivity=sensitivity, factor=factor, baseline=baseline)
    np.testing.assert_allclose(ecg.lead("V5"), BEATS["V5"], atol=1.3)


def test_missing_limb_leads_follow_from_einthoven_and_goldberger() -> None:
    ecg = ecg_of(BEATS)
    assert ecg.leads == LEADS
    assert ecg.derived == ("III", "aVR", "aVL", "aVF")
    one, two = BEATS["I"], BEATS["II"]
    for name, expected in (("III", two - one), ("aVR", -(one + two) / 2), ("aVL", one - two / 2), ("aVF", two - one / 2)):
        np.testing.assert_allclose(ecg.lead(name), expected, atol=3)


def test_leads_that_the_device_recorded_are_kept_as_they_are() -> None:
    own = np.full_like(BEATS["I"], 250.0)
    ecg = ecg_of({**BEATS, "aVR": own})
    assert "aVR" not in ecg.derived
    np.testing.assert_allclose(ecg.lead("aVR"), own, atol=1.3)


@pytest.mark.parametrize(
    "code",
    [
        lambda name: (f"2:{SCP[name]}", "MDC", "?"),
        lambda name: (f"MDC_ECG_LEAD_{name.upper()}", "MDC", "?"),
        lambda name: (str(131072 + SCP[name]), "MDC", "?"),
        lambda name: ("X1", "99VENDOR", f"Lead {name} (Einthoven)"),
    ],
)
def test_every_way_to_name_a_lead_is_understood(code: object) -> None:
    shuffled = dict(reversed(BEATS.items()))
    ecg = ecg_of(shuffled, code=code)
    assert ecg.leads == LEADS
    np.testing.assert_allclose(ecg.lead("V2"), BEATS["V2"], atol=1.3)


def test_a_strip_of_one_lead_is_read_alone() -> None:
    ecg = ecg_of({"II": BEATS["II"]})
    assert (ecg.leads, ecg.derived) == (("II",), ())
    assert ecg.lead("V1") is None


def test_padding_is_the_zero_line() -> None:
    dataset = ecg_dataset(BEATS, baseline=40.0)
    item = dataset.WaveformSequence[0]
    samples = np.frombuffer(item.WaveformData, "<i2").reshape(-1, 8).copy()
    samples[:100] = -32768
    item.WaveformData = samples.tobytes()
    item.WaveformPaddingValue = b"\x00\x80"
    assert not read_ecg(dataset).microvolts[:, :100].any()


def test_age_follows_from_the_birth_date_when_the_device_left_it_out() -> None:
    dataset = ecg_dataset(BEATS, age="")
    dataset.PatientBirthDate, dataset.StudyDate = "20080930", "20260929"
    assert read_ecg(dataset).age_years == 17
    dataset.StudyDate = "20260930"
    assert read_ecg(dataset).age_years == 18
    assert ecg_of(BEATS, age="011M").age_years == 0


def test_a_file_on_disk_is_read(tmp_path: Path) -> None:
    assert read_ecg(saved(ecg_dataset(BEATS), tmp_path)).leads == LEADS


def test_another_kind_of_object_is_refused_with_a_remedy() -> None:
    image = Dataset()
    image.SOPClassUID = CTImageStorage
    with pytest.raises(NotAnEcg, match=r"12-lead, general or ambulatory") as refusal:
        read_ecg(image)
    assert isinstance(refusal.value, SumuError)


def test_an_ecg_without_known_leads_says_what_its_channels_name() -> None:
    with pytest.raises(NoEcgLeads, match="Pleth") as refusal:
        ecg_of({"II": BEATS["II"]}, code=lambda name: ("P1", "99VENDOR", "Pleth"))
    assert "Channel Source Sequence" in refusal.value.remedy
    empty = Dataset()
    empty.SOPClassUID = TwelveLeadECGWaveformStorage
    with pytest.raises(NoEcgLeads):
        read_ecg(empty)


def test_a_waveform_that_does_not_fit_its_description_is_refused() -> None:
    short = ecg_dataset(BEATS)
    short.WaveformSequence[0].WaveformData = short.WaveformSequence[0].WaveformData[:100]
    still = ecg_dataset(BEATS)
    still.WaveformSequence[0].SamplingFrequency = "0"
    unitless = ecg_dataset(BEATS, unit="mmHg")
    for dataset, words in ((short, "."), (still, "sampling frequency"), (unitless, "mmHg")):
        with pytest.raises(UnreadableWaveform, match=words):
            read_ecg(dataset)
