"""Files as ECG machines write them, small, with samples that a test knows. The texts are ours; the layouts are the formats'."""

from __future__ import annotations

import base64
import binascii
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

Samples = dict[str, npt.NDArray[np.int32]]

EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
TWELVE = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
#: Every step between two heights, odd and even, so that a rounding shows.
LENGTH = 1000
RATE = 500


def eight_leads(length: int = LENGTH) -> Samples:
    """Eight leads of steps that no other lead has."""
    numbers = np.random.default_rng(7)
    return {name: numbers.integers(-700, 700, length, dtype=np.int32) for name in EIGHT}


def twelve_leads(length: int = LENGTH) -> Samples:
    """The same with III, aVR, aVL, aVF as a machine rounds them."""
    leads = eight_leads(length)
    one, two = leads["I"], leads["II"]
    three = two - one
    limb = {"III": three, "aVR": -((one + two) // 2), "aVL": (one - three) // 2, "aVF": (two + three) // 2}
    return {name: (leads | limb)[name] for name in TWELVE}


def base64_of(samples: npt.NDArray[np.int32]) -> str:
    return base64.b64encode(samples.astype("<i2").tobytes()).decode()


def muse(folder: Path, leads: Samples, *, step: str = "4.88", encoding: str = "UTF-8", name: str = "王小明") -> Path:
    waves = "".join(
        f"<LeadData><LeadByteCountTotal>{2 * len(row)}</LeadByteCountTotal><LeadTimeOffset>0</LeadTimeOffset>"
        f"<LeadSampleCountTotal>{len(row)}</LeadSampleCountTotal>"
        f"<LeadAmplitudeUnitsPerBit>{step}</LeadAmplitudeUnitsPerBit><LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits>"
        f"<LeadSampleSize>2</LeadSampleSize><LeadID>{lead}</LeadID>"
        f"<LeadDataCRC32>{binascii.crc32(row.astype('<i2').tobytes())}</LeadDataCRC32>"
        f"<WaveFormData>{base64_of(row)}</WaveFormData></LeadData>"
        for lead, row in leads.items()
    )
    return _written(
        folder / "muse.xml",
        f"""<?xml version="1.0" encoding="{encoding}"?>
<!DOCTYPE RestingECG SYSTEM "restecg.dtd">
<RestingECG><MuseInfo><MuseVersion>9.0</MuseVersion></MuseInfo>
<PatientDemographics><PatientID>M0001</PatientID><PatientAge>63</PatientAge><AgeUnits>YEARS</AgeUnits>
<DateofBirth>02-03-1961</DateofBirth><Gender>FEMALE</Gender><PatientLastName>{name}</PatientLastName></PatientDemographics>
<TestDemographics><AcquisitionDevice>MAC</AcquisitionDevice><AcquisitionTime>08:15:30</AcquisitionTime>
<AcquisitionDate>11-24-2026</AcquisitionDate></TestDemographics>
<RestingECGMeasurements><VentricularRate>72</VentricularRate><PRInterval>150</PRInterval><QRSDuration>90</QRSDuration>
<QTInterval>380</QTInterval><QTCorrected>416</QTCorrected><PAxis>40</PAxis><RAxis>-12</RAxis><TAxis>30</TAxis>
</RestingECGMeasurements>
<Diagnosis><DiagnosisStatement><StmtFlag>ENDSLINE</StmtFlag><StmtText>窦性心律</StmtText></DiagnosisStatement></Diagnosis>
<Waveform><WaveformType>Median</WaveformType><SampleBase>500</SampleBase><SampleExponent>0</SampleExponent>{waves}</Waveform>
<Waveform><WaveformType>Rhythm</WaveformType><SampleBase>500</SampleBase><SampleExponent>0</SampleExponent>
<HighPassFilter>5</HighPassFilter><LowPassFilter>150</LowPassFilter><ACFilter>50</ACFilter>{waves}</Waveform></RestingECG>""",
        encoding,
    )


def hl7(folder: Path, leads: Samples, *, scale: str = "2.5", increment: str = "0.002") -> Path:
    sequences = "".join(
        f'<component><sequence><code code="MDC_ECG_LEAD_{lead}" codeSystem="2.16.840.1.113883.6.24"/>'
        f'<value xsi:type="SLIST_PQ"><origin value="0" unit="uV"/><scale value="{scale}" unit="uV"/>'
        f"<digits>{' '.join(map(str, row))}</digits></value></sequence></component>"
        for lead, row in leads.items()
    )
    annotations = "".join(
        f'<component><annotation><code code="MDC_ECG_{code}"/><value xsi:type="PQ" value="{value}" unit="{unit}"/></annotation>'
        "</component>"
        for code, value, unit in (
            ("HEART_RATE", 66, "bpm"), ("TIME_PD_PR", 148, "ms"), ("TIME_PD_QRS", 96, "ms"), ("TIME_PD_QT", 0.402, "s"),
            ("TIME_PD_QTcB", 421, "ms"), ("ANGLE_QRS_FRONT", -61, "deg"),
        )
    )  # fmt: skip
    annotations += (
        '<component><annotation><code code="MDC_ECG_RHY"/><value xsi:type="CE" code="MDC_ECG_RHY_SINUS_RHY" '
        'displayName="Sinus Rhythm"/></annotation></component><component><annotation><code code="MDC_ECG_INTERPRETATION"/>'
        '<component><annotation><code code="MDC_ECG_INTERPRETATION_STATEMENT"/><value xsi:type="ST">左前分支阻滞</value>'
        "</annotation></component></annotation></component>"
    )
    return _written(
        folder / "annotated.xml",
        f"""<?xml version="1.0" encoding="UTF-8"?>
<AnnotatedECG xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" type="Observation">
<id root="61d1a24f-b47e-41aa-ae95-f8ac302f4eec"/><effectiveTime><center value="20261124081530"/></effectiveTime>
<componentOf><timepointEvent><componentOf><subjectAssignment><subject><trialSubject><id extension="H0001"/>
<subjectDemographicPerson><name><family>李</family><given>四</given></name><administrativeGenderCode code="M"/>
<birthTime value="19700102"/></subjectDemographicPerson></trialSubject></subject></subjectAssignment></componentOf>
</timepointEvent></componentOf>
<component><series><code code="RHYTHM"/><component><sequenceSet>
<component><sequence><code code="TIME_ABSOLUTE"/><value xsi:type="GLIST_TS"><head value="20261124081530"/>
<increment value="{increment}" unit="s"/></value></sequence></component>
{sequences}</sequenceSet></component>
<subjectOf><annotationSet>{annotations}</annotationSet></subjectOf></series></component></AnnotatedECG>""",
    )


def sierra(folder: Path, leads: Samples, *, version: str = "1.04", mark: bool = False, compressed: bool = False) -> Path:
    """Philips Sierra; ``mark`` puts the 1 mV calibration mark behind the recording."""
    if mark:
        pulse = np.concatenate([np.zeros(50), np.full(100, 200), np.zeros(50)]).astype(np.int32)
        leads = {name: np.concatenate([row, pulse]) for name, row in leads.items()}
    length = len(next(iter(leads.values())))
    data = base64.b64encode(xli(leads)).decode() if compressed else base64_of(np.concatenate(list(leads.values())))
    how = 'compression="XLI"' if compressed else 'compressflag="False"'
    kind = "SierraECG" if version == "1.03" else "PhilipsECG"
    resolution = "signalresolution" if version == "1.03" else "resolution"
    return _written(
        folder / "sierra.xml",
        f"""<?xml version="1.0" encoding="UTF-16"?>
<restingecgdata xmlns="http://www3.medical.philips.com"><documentinfo><documenttype>{kind}</documenttype>
<documentversion>{version}</documentversion></documentinfo>
<dataacquisition date="2026-11-24" time="08:15:30"><signalcharacteristics><samplingrate>500</samplingrate>
<{resolution}>5</{resolution}><hipass>0.05</hipass><lowpass>150</lowpass><acquisitiontype>STD-12</acquisitiontype>
<numberchannelsallocated>{len(leads)}</numberchannelsallocated></signalcharacteristics></dataacquisition>
<patient><generalpatientdata><patientid>S0001</patientid><name><lastname>赵</lastname><firstname>六</firstname></name>
<sex>Female</sex></generalpatientdata></patient>
<interpretations><interpretation><globalmeasurements><heartrate>41</heartrate><rrint>1463</rrint><print>144</print>
<qrsdur>102</qrsdur><qtint>564</qtint><qtcb>466</qtcb><pfrontaxis>19</pfrontaxis></globalmeasurements>
<statement><leftstatement>窦性心动过缓</leftstatement><rightstatement>V-rate&lt;60</rightstatement></statement>
</interpretation></interpretations>
<waveforms><parsedwaveforms dataencoding="Base64" {how} leadlabels="{" ".join(leads)}" numberofleads="{len(leads)}"
durationperchannel="{length * 1000 // RATE}">{data}</parsedwaveforms></waveforms></restingecgdata>""",
        "utf-16",
    )


def xli(leads: Samples) -> bytes:
    """Philips' XLI with literal codes only: second differences, high bytes before low bytes, ten bits a byte."""
    one, two = leads["I"].astype(int), leads["II"].astype(int)
    three = leads["III"].astype(int)
    residuals = {
        "III": two - one - three,
        "aVR": -leads["aVR"] - (one + two) // 2,
        "aVL": (one - three) // 2 - leads["aVL"],
        "aVF": (two + three) // 2 - leads["aVF"],
    }
    chunks = []
    for name, row in leads.items():
        stored = np.asarray(residuals.get(name, row), int)
        turns = 2 * stored[1:-1] - stored[:-2] - stored[2:]
        deltas = np.concatenate([stored[:2], turns[1:] + 64, [64]]).astype(">i2").view(np.uint8).reshape(-1, 2)
        bits = "".join(f"{byte:010b}" for byte in (*deltas[:, 0], *deltas[:, 1]))
        body = int(bits.ljust(-(-len(bits) // 8) * 8, "1"), 2).to_bytes(-(-len(bits) // 8), "big")
        chunks.append(struct.pack("<iHh", len(body), 0, int(turns[0])) + body)
    return b"".join(chunks)


def mortara(folder: Path, leads: Samples, *, units_per_millivolt: int = 400) -> Path:
    channels = "".join(
        f'<CHANNEL NAME="{lead.upper()}" BITS="16" FORMAT="SIGNED" UNITS_PER_MV="{units_per_millivolt}" DURATION="{len(row)}" '
        f'SAMPLE_FREQ="500" ENCODING="BASE64" OFFSET="0" DATA="{base64_of(row)}"/>'
        for lead, row in leads.items()
    )
    return _written(
        folder / "eli.xml",
        f"""<?xml version="1.0" encoding="UTF-8"?>
<ECG ACQUISITION_TIME="20261124081530" AGE="55" AGE_UNITS="YEARS" VENT_RATE="61" NUM_QRS="10">
<SUBJECT LAST_NAME="SUN" FIRST_NAME="QI" ID="E0001" GENDER="MALE" DOB="19710101"/>
<SOURCE MANUFACTURER="Mortara" MODEL="ELI 250" LOW_PASS_FILTER="300"/>
<TYPICAL_CYCLE PR_DURATION="160" QRS_DURATION="88" QT="400" QTC="403" P_AXIS="20" QRS_AXIS="30" T_AXIS="25"/>
<AUTOMATIC_INTERPRETATION><STATEMENT TEXT="NORMAL SINUS RHYTHM"/></AUTOMATIC_INTERPRETATION>
{channels}</ECG>""",
    )


def cardiosoft(folder: Path, leads: Samples, *, encoding: str = "gb2312") -> Path:
    waves = "".join(f'<WaveformData lead="{lead}">\n\t{",".join(map(str, row))}</WaveformData>' for lead, row in leads.items())
    return _written(
        folder / "cardiosoft.xml",
        f"""<?xml version="1.0" encoding="{encoding}" ?>
<CardiologyXML><ObservationType>RestECG</ObservationType>
<ObservationDateTime><Hour>8</Hour><Minute>15</Minute><Second>30</Second><Day>24</Day><Month>11</Month><Year>2026</Year>
</ObservationDateTime>
<ClinicalInfo><DeviceInfo><Desc>CardioSoft</Desc><SoftwareVer>V6.73</SoftwareVer></DeviceInfo></ClinicalInfo>
<PatientInfo><PID>C0001</PID><Name><FamilyName>周</FamilyName><GivenName>八</GivenName></Name><Age units="years">47</Age>
<BirthDateTime><Day>5</Day><Month>6</Month><Year>1979</Year></BirthDateTime><Gender>MALE</Gender></PatientInfo>
<FilterSetting><CubicSpline>No</CubicSpline><Filter50Hz>Yes</Filter50Hz><Filter60Hz>No</Filter60Hz>
<LowPass units="Hz">100</LowPass><HighPass units="Hz">0.01</HighPass></FilterSetting>
<Interpretation><Diagnosis><DiagnosisText>窦性心律</DiagnosisText></Diagnosis></Interpretation>
<RestingECGMeasurements><VentricularRate units="BPM">60</VentricularRate><PQInterval units="ms">140</PQInterval>
<QRSDuration units="ms">94</QRSDuration><QTInterval units="ms">400</QTInterval><QTCInterval units="ms">400</QTCInterval>
<RAxis units="degrees">83</RAxis></RestingECGMeasurements>
<StripData><NumberOfLeads>{len(leads)}</NumberOfLeads><SampleRate units="Hz">500</SampleRate>
<Resolution units="uVperLsb">5</Resolution>{waves}</StripData></CardiologyXML>""",
        encoding,
    )


def contec(folder: Path, leads: Samples, *, off: tuple[str, ...] = (), name: str = "王秀英") -> Path:
    """Contec stores II and III, and 0x6800 for a lead whose electrode is off."""
    stored = {"II": leads["II"], "III": leads["II"] - leads["I"], **{lead: leads[lead] for lead in EIGHT[2:]}}
    columns = [np.full(len(row), 0x6800) if lead in off else row + 2048 for lead, row in stored.items()]
    header = struct.pack("<8s2x20s2x8sBBB", b"0000012", b"2026-11-24 08:15:30", name.encode("gb18030"), 0, 70, 60)
    path = folder / "0000012.ECG"
    path.write_bytes(header + np.stack(columns, axis=1).astype("<u2").tobytes() + bytes(37))
    return path


def edf(folder: Path, leads: Samples, *, patient: bytes = b"E-77 F 02-MAR-1961 Wang,Xiaoming") -> Path:
    """EDF+C in records of one second; 0.5 uV a step, and a breathing channel that is no voltage."""
    names = [*(f"ECG {lead}" for lead in leads), "Resp"]
    seconds = len(next(iter(leads.values()))) // RATE
    count = len(names)

    def field(values: list[str], width: int) -> bytes:
        return b"".join(value.ljust(width).encode() for value in values)

    header = b"0       " + patient.ljust(80) + b"Startdate 24-NOV-2026 X X Holter".ljust(80) + b"24.11.2608.15.30"
    header += str(256 * (count + 1)).ljust(8).encode() + b"EDF+C".ljust(44) + str(seconds).ljust(8).encode()
    header += b"1".ljust(8) + str(count).ljust(4).encode()
    header += field(names, 16) + field([""] * count, 80) + field(["uV"] * len(leads) + ["%"], 8)
    header += field(["-16384"] * count, 8) + field(["16383.5"] * count, 8)
    header += field(["-32768"] * count, 8) + field(["32767"] * count, 8)
    header += field(["HP:0.05Hz LP:150Hz N:50Hz"] * count, 80) + field([str(RATE)] * count, 8) + field([""] * count, 32)
    table = np.stack([*leads.values(), np.zeros(seconds * RATE, np.int32)]).reshape(count, seconds, RATE)
    path = folder / "holter.edf"
    path.write_bytes(header + table.transpose(1, 0, 2).astype("<i2").tobytes())
    return path


def wfdb(folder: Path, leads: Samples, *, gain: str = "200(0)/mV", file: str = "r1.dat", rate: str = "500") -> Path:
    """A record of format 16: a header and its signal file."""
    length = len(next(iter(leads.values())))
    lines = [f"r1 {len(leads)} {rate} {length} 08:15:30 24/11/2026"]
    for lead, row in leads.items():
        total = int(row.sum()) & 0xFFFF
        lines.append(f"{file} 16 {gain} 16 0 {row[0]} {total - 0x10000 if total > 0x7FFF else total} 0 {lead}")
    np.stack(list(leads.values()), axis=1).astype("<i2").tofile(folder / "r1.dat")
    return _written(folder / "r1.hea", "\n".join([*lines, "# age: 66", "# sex: Male", ""]))


def scp(folder: Path, leads: Samples, *, interval: int = 2000, step_nanovolts: int = 4880) -> Path:
    """SCP-ECG 2.0 without compression; sections 0, 1, 3, 6, 7 and 8."""
    numbers = {"I": 1, "II": 2, "V1": 3, "V2": 4, "V3": 5, "V4": 6, "V5": 7, "V6": 8}
    length = len(next(iter(leads.values())))

    def tag(number: int, value: bytes) -> bytes:
        return struct.pack("<BH", number, len(value)) + value

    patient = tag(0, "孙".encode("gb2312") + b"\0") + tag(1, "九".encode("gb2312") + b"\0") + tag(2, b"P0001\0")
    patient += tag(8, b"\x02") + tag(5, struct.pack("<HBB", 1980, 7, 8)) + tag(25, struct.pack("<HBB", 2026, 11, 24))
    patient += tag(26, bytes((8, 15, 30))) + tag(27, struct.pack("<H", 5)) + tag(28, struct.pack("<H", 150)) + tag(29, b"\x02")
    patient += tag(255, b"")
    definition = bytes((len(leads), 0x04 | len(leads) << 3))
    definition += b"".join(struct.pack("<IIB", 1, length, numbers[lead]) for lead in leads)
    rows = [row.astype("<i2").tobytes() for row in leads.values()]
    rhythm = struct.pack("<HHBB", step_nanovolts, interval, 0, 0) + struct.pack(f"<{len(rows)}H", *map(len, rows))
    waves = struct.pack("<BBHH5H3h", 1, 0, 833, 833, 286, 388, 434, 554, 854, 44, -61, 86)
    statement = "窦性心律".encode("gb2312") + b"\0"
    said = struct.pack("<BHBB3BBBH", 0, 2026, 11, 24, 8, 15, 30, 1, 1, len(statement)) + statement
    bodies = {1: patient, 3: definition, 6: rhythm + b"".join(rows), 7: waves, 8: said}
    sections, pointers = b"", b""
    begin = 6 + 16 + 10 * 12
    for number in range(1, 12):
        if number not in bodies:
            pointers += struct.pack("<HII", number, 0, 0)
            continue
        part = _section(number, bodies[number])
        pointers += struct.pack("<HII", number, len(part), begin + len(sections) + 1)
        sections += part
    directory = _section(0, struct.pack("<HII", 0, 16 + 10 * 12, 7) + pointers)
    rest = struct.pack("<I", 6 + len(directory) + len(sections)) + directory + sections
    path = folder / "record.scp"
    path.write_bytes(struct.pack("<H", binascii.crc_hqx(rest, 0xFFFF)) + rest)
    return path


def _section(number: int, body: bytes) -> bytes:
    body += b"\0" * (len(body) % 2)
    rest = struct.pack("<HIBB6s", number, 16 + len(body), 20, 20, b"SCPECG" if number == 0 else bytes(6)) + body
    return struct.pack("<H", binascii.crc_hqx(rest, 0xFFFF)) + rest


def _written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path
