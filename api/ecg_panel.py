"""What an ECG's numbers and statements rest on, in a reader's words: signal, rhythm, heights, what the device printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from api.ecg_evidence import EcgEvidence
from api.ecg_words import number_words
from api.refusals import N_
from api.translations import translate
from inference.vocabulary.terms import vocabulary

#: States of ``inference.ecg.quality`` as a page says them.
_STATES = {
    "good": N_("good"),
    "off": N_("no signal"),
    "saturated": N_("clipped"),
    "noisy": N_("noise"),
    "mains": N_("mains hum"),
    "wander": N_("wandering line"),
    "not_judged": N_("not judged"),
}
#: Kinds of beats that are worth a word (``V`` and ``S`` of AAMI EC57).
_KINDS = {"V": N_("ventricular (V): %(count)s"), "S": N_("supraventricular (S): %(count)s")}
#: A QTc of which the device does not say by which formula.
_UNNAMED_QTC = "ecg_qtc"
_HEIGHTS = ("r", "s", "j", "st60")


def panel_of(evidence: EcgEvidence, language: str) -> dict[str, Any]:
    """Return what the page shows beside the paper.

    Returns
    -------
    dict
        ``summary``, one line; ``doubtful``, whether the recording should be looked at with doubt; ``signal`` and ``rhythm``,
        sentences; ``leads``, each with ``name``, ``state``, ``words`` and heights ``r``, ``s``, ``j``, ``st60`` in mV or null;
        ``device``, null or ``source``, ``values`` by code, ``statements``; ``names`` of the device's numbers that are not ours.
    """
    noted = evidence.noted
    leads = [_lead(name, state, noted, language) for name, state in (noted.get("leads") or {}).items()]
    quality, device = noted.get("quality") or {}, noted.get("device") or None
    unfit = [lead for lead in leads if lead["state"] != "good"]
    doubtful = quality.get("usable") is False or bool(quality.get("exchange"))
    return {
        "summary": " · ".join(_summary(quality, unfit, device, language)),
        "doubtful": doubtful,
        "signal": list(_signal(noted, quality, unfit, language)),
        "rhythm": list(_rhythm(evidence, language)),
        "leads": leads,
        "device": device,
        "names": {_UNNAMED_QTC: _unnamed_qtc(language)} if device and _UNNAMED_QTC in (device.get("values") or {}) else {},
    }


def _lead(name: str, state: str, noted: Mapping[str, Any], language: str) -> dict[str, Any]:
    heights = (noted.get("heights") or {}).get(name) or {}
    words = translate(language, _STATES.get(state, state))
    return {"name": name, "state": state, "words": words, **{kind: heights.get(kind) for kind in _HEIGHTS}}


def _summary(
    quality: Mapping[str, Any], unfit: list[dict[str, Any]], device: Mapping[str, Any] | None, language: str
) -> Iterator[str]:
    if quality:
        usable = N_("Signal usable") if quality.get("usable") else N_("Signal not usable")
        yield translate(language, usable)
    if quality.get("exchange"):
        yield translate(language, N_("electrodes %(pair)s exchanged?"), pair=quality["exchange"])
    if unfit:
        yield translate(language, N_("%(count)s leads not good"), count=len(unfit))
    if device:
        yield translate(language, N_("device's own values"))


def _signal(noted: Mapping[str, Any], quality: Mapping[str, Any], unfit: list[dict[str, Any]], language: str) -> Iterator[str]:
    unacceptable = quality.get("unacceptable")
    if quality and unacceptable is not None:
        message = N_("Good enough to be read; probability that it is not: %(percent)s%%.")
        if not quality.get("usable"):
            message = N_("To be recorded again; probability that it is not good enough to be read: %(percent)s%%.")
        yield translate(language, message, percent=round(unacceptable * 100))
    if quality.get("exchange"):
        probability = round((quality.get("exchange_probability") or 0) * 100)
        message = N_("The electrodes %(pair)s may be exchanged, probability %(percent)s%%.")
        yield translate(language, message, pair=quality["exchange"], percent=probability)
    for state in dict.fromkeys(lead["state"] for lead in unfit):
        names = " ".join(lead["name"] for lead in unfit if lead["state"] == state)
        yield f"{names}: {translate(language, _STATES.get(state, state))}"
    reasons = dict.fromkeys([noted.get("reason"), noted.get("network_silent"), *(noted.get("absent") or {}).values()])
    yield from (_reason(code, language) for code in reasons if code)


def _rhythm(evidence: EcgEvidence, language: str) -> Iterator[str]:
    noted, beats, values = evidence.noted, evidence.beats, evidence.values
    if not beats:
        return
    lead = noted.get("rhythm_lead")
    found = N_("%(count)s beats, rhythm lead %(lead)s") if lead else N_("%(count)s beats")
    yield translate(language, found, count=len(beats), lead=lead)
    with_p = sum(beat.get("p_on") is not None for beat in beats)
    yield translate(language, N_("P wave before %(with_p)s of %(count)s"), with_p=with_p, count=len(beats))
    facts = noted.get("rhythm") or {}
    if "atrial_rate" in facts:
        yield translate(language, N_("atrial rate %(rate)s/min"), rate=round(facts["atrial_rate"]))
    if "rr_shortest_ms" in facts and "ecg_rr_longest" in values:
        shortest, longest = round(facts["rr_shortest_ms"]), round(values["ecg_rr_longest"])
        deviation = round(facts.get("rr_sd_ms", 0))
        message = N_("RR %(shortest)s to %(longest)s ms, standard deviation %(deviation)s ms")
        yield translate(language, message, shortest=shortest, longest=longest, deviation=deviation)
    kinds = Counter(str(beat.get("kind") or "") for beat in beats)
    yield from (translate(language, words, count=kinds[kind]) for kind, words in _KINDS.items() if kinds[kind])


def _reason(code: str, language: str) -> str:
    term = vocabulary().reasons.get(code)
    return code if term is None else term.zh if language == "zh" else term.en


def _unnamed_qtc(language: str) -> dict[str, Any]:
    words = number_words("ecg_qtc_bazett", language)
    return {**words, "name": translate(language, N_("QTc (formula not named)")), "low": None, "high": None}
