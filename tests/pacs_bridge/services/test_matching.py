"""Attribute matching by itself (PS3.4 C.2.2.2)."""

from __future__ import annotations

import time
from typing import Any

import pytest
from pydicom import Dataset

from pacs_bridge.services.matching import check_keys, matches, values_of
from pacs_bridge.services.projection import project
from pacs_bridge.services.refusals import Refused


def data_set(**values: Any) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


@pytest.mark.parametrize(
    ("keyword", "asked", "held", "expected"),
    [
        ("StudyID", "", "7", True),
        ("StudyID", "*", "", True),
        ("StudyID", "7", "", False),
        ("StudyID", "?7*", "x7yz", True),
        ("StudyID", "a[bc]", "ab", False),
        ("StudyID", "a[bc]", "a[bc]", True),
        ("Modality", "ct", "CT", False),
        ("SOPInstanceUID", ["1.2", "1.3"], "1.3", True),
        ("SOPInstanceUID", "1.*", "1.3", False),
        ("StudyTime", "10", "1059", True),
        ("StudyTime", "1000-1015", "101500.5", True),
        ("StudyTime", "1000-1015", "1016", False),
        ("StudyTime", "-0900", "0859", True),
        ("StudyDate", "2026.03.01-2026.03.05", "20260305", True),
        ("StudyDate", "20260301", "", False),
        ("SeriesNumber", "3", "03", True),
        ("ModalitiesInStudy", "M*", ["CT", "MR"], True),
        ("ReferringPhysicianName", "LI^S*", "Li^Si=李^四", True),
        ("ReferringPhysicianName", "李四", "Li^Si=李^四", True),
        ("ReferringPhysicianName", "Müller", "Muller^A", False),
        ("ReferringPhysicianName", "Müller*", "Muller^A", True),
    ],
)
def test_a_key_matches_a_value(keyword: str, asked: Any, held: Any, expected: bool) -> None:
    assert matches(data_set(**{keyword: asked}), data_set(**{keyword: held})) is expected


def test_a_key_that_nobody_knows_is_passed_over_and_given_back_empty() -> None:
    asked, held = data_set(StudyID="7", InstitutionName="here"), data_set(StudyID="7")
    assert matches(asked, held)
    answer = project(asked, held)
    assert answer.StudyID == "7"
    assert not answer.InstitutionName


def test_a_sequence_matches_if_one_of_its_items_does() -> None:
    held = data_set(
        ScheduledProcedureStepSequence=[data_set(Modality="MR"), data_set(Modality="CT", ScheduledProcedureStepID="5")]
    )
    asked = data_set(ScheduledProcedureStepSequence=[data_set(Modality="CT", ScheduledProcedureStepID="")])
    assert matches(asked, held)
    assert not matches(data_set(ScheduledProcedureStepSequence=[data_set(Modality="US")]), held)
    assert matches(data_set(ScheduledProcedureStepSequence=[]), held)
    assert len(project(data_set(ScheduledProcedureStepSequence=[]), held).ScheduledProcedureStepSequence) == 2


def test_a_pattern_made_to_be_slow_is_not() -> None:
    asked = data_set(StudyDescription="*a*a*a*a*a*a*a*a*a*a*a*a*b")
    began = time.monotonic()
    assert not matches(asked, data_set(StudyDescription="a" * 64))
    assert time.monotonic() - began < 1
    with pytest.raises(Refused, match="too many wildcards"):
        check_keys(asked)
    with pytest.raises(Refused, match="too long"):
        check_keys(data_set(ScheduledProcedureStepSequence=[data_set(ScheduledStationName="x" * 5000)]))


def test_universal_keys_have_no_values() -> None:
    asked = data_set(StudyInstanceUID=["1.2", "1.3"], PatientID="*", AccessionNumber="")
    assert values_of(asked, "StudyInstanceUID") == ["1.2", "1.3"]
    assert values_of(asked, "PatientID") == values_of(asked, "AccessionNumber") == values_of(asked, "StudyID") == []
