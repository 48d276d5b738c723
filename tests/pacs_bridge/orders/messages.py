"""HL7 v2 orders as hospital systems write them."""

from __future__ import annotations

ORDER = {
    "control": "NW",
    "number": "HIS-1001",
    "kind": "ORM^O01",
    "application": "HIS",
    "facility": "NEAR",
    "receiver": "",
    "patient": "P77^^^HIS^MR",
    "name": "王建国",
    "birth": "19580302",
    "sex": "M",
    "priority": "R",
    "code": "CT01^胸部CT平扫^L",
    "section": "CT",
    "reason": "咳嗽两周",
    "doctor": "D12^王^医生",
    "start": "20261125103000+0800",
    "control_id": "MSG0001",
    "character_set": "UNICODE UTF-8",
}


def order_message(encoding: str = "utf-8", **changes: str) -> bytes:
    """Return an order as bytes; ``changes`` replace parts of ``ORDER``."""
    said = {**ORDER, **changes}
    lines = [
        rf"MSH|^~\&|{said['application']}|{said['facility']}|SUMU|{said['receiver']}|20261125102000||{said['kind']}"
        f"|{said['control_id']}|P|2.4||||||{said['character_set']}",
        f"PID|1||{said['patient']}||{said['name']}||{said['birth']}|{said['sex']}",
        "PV1|1|O|门诊^^^NEAR",
        f"ORC|{said['control']}|{said['number']}|||||^^^{said['start']}^^{said['priority']}|||||{said['doctor']}",
        f"OBR|1|{said['number']}||{said['code']}|||||||||{said['reason']}||CHEST|||||||||{said['section']}",
    ]
    return ("\r".join(lines) + "\r").encode(encoding)
