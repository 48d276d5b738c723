"""Every word that the ECG page's script shows, and an ECG's numbers with name and unit, in the reader's language."""

from __future__ import annotations

from typing import Any

from api.refusals import N_
from api.translations import translate
from inference.vocabulary.terms import vocabulary

#: How a page writes units that UCUM spells for machines.
_UNITS = {"/min": N_("/min"), "deg": "°"}

_WORDS = {
    "sheet": N_("ECG paper"),
    "averaged": N_("Averaged beats"),
    "filters_on": N_("Filtered on this screen"),
    "filters_off": N_("Filters off: the signal as the device sent it."),
    "notch": N_("50 Hz notch"),
    "baseline": N_("0.5 Hz baseline"),
    "low_pass": N_("%(hz)s Hz low-pass"),
    "true_size": N_("True size"),
    "of_true_size": N_("%(percent)s%% of true size"),
    "not_calibrated": N_("Screen not calibrated: sizes are a guess."),
    "calibrated": N_("Screen calibrated."),
    "no_beats": N_("No beats were found, so there is no averaged beat."),
    "no_earlier": N_("This patient has no earlier ECG here."),
    "laid_over": N_("Laid over, dashed: %(at)s"),
    "caliper_ready": N_("Caliper: draw with mouse or finger, or move the lines with the arrow keys."),
    "caliper_gone": N_("Caliper removed."),
    "time_first": N_("Caliper, first time line"),
    "time_second": N_("Caliper, second time line"),
    "voltage_first": N_("Caliper, first voltage line"),
    "voltage_second": N_("Caliper, second voltage line"),
    "caliper_body": N_("Caliper, all of it"),
    "p_on": N_("P begins"),
    "p_off": N_("P ends"),
    "qrs_on": N_("QRS begins"),
    "qrs_off": N_("QRS ends"),
    "t_on": N_("T begins"),
    "t_off": N_("T ends"),
    "of_beats": N_("median of %(count)s beats"),
    "measurement": N_("Measurement"),
    "machine": N_("AI pre-read"),
    "device": N_("Device's own"),
    "doctor": N_("Doctor"),
    "earlier": N_("Earlier ECG"),
    "difference": N_("Difference"),
    "changed": N_("changed"),
    "unsaved": N_("not saved yet"),
    "measured_by": N_("Measured by %(name)s, %(at)s"),
    "saved": N_("Measurement saved."),
    "taken_back": N_("Measurement taken back."),
    "not_saved": N_("The measurement was not saved."),
    "lead": N_("Lead"),
    "signal": N_("Signal"),
    "height_r": N_("R (mV)"),
    "height_s": N_("S (mV)"),
    "height_j": N_("J (mV)"),
    "height_st60": N_("ST, J + 60 ms (mV)"),
    "rhythm": N_("Rhythm"),
    "device_says": N_("The device says"),
    "seconds_of": N_("Seconds %(from)s to %(to)s of %(all)s"),
}


def ecg_words(language: str) -> dict[str, str]:
    """Return the words by their key; places stay as ``%(name)s`` for the script to fill."""
    return {key: translate(language, message) for key, message in _WORDS.items()}


def number_words(code: str, language: str) -> dict[str, Any]:
    """Return a number's ``name``, ``unit``, ``digits`` and usual limits ``low`` and ``high``."""
    term = vocabulary().measurements[code]
    return {
        "name": term.zh if language == "zh" else term.en,
        "unit": translate(language, _UNITS.get(term.unit, term.unit)),
        "digits": term.digits,
        "low": term.low,
        "high": term.high,
    }


def number_in_words(code: str, value: float, language: str) -> str:
    """Return a number as a report writes it: name, value, unit."""
    words = number_words(code, language)
    return f"{words['name']} {value:.{words['digits']}f} {words['unit']}".rstrip().replace(" °", "°")
