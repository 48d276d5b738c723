"""Runs inside Orthanc: tells Sumu of every instance that the archive keeps, and says what its bytes are on the disk.

Orthanc's own list of changes is the queue: this plugin follows it from the last change that Sumu says it has, in
batches, and tries again for ever. So nothing is missed while either side is down. It uses the standard library alone,
because it runs in the Python of Orthanc and not in ours.
"""

import hashlib
import json
import os
import threading
import time
import urllib.request
import uuid
from typing import Any

import orthanc

BATCH = 200
LONGEST_WAIT_SECONDS = 30

configuration = json.loads(orthanc.GetConfiguration())
settings = configuration["Sumu"]
news = threading.Event()
stopping = threading.Event()


def identity() -> str:
    """Return this archive's name, made once and kept beside its index: Orthanc tells its own only from 1.11 on."""
    file = os.path.join(configuration["IndexDirectory"], "sumu-archive-identity")
    try:
        with open(file, "x", encoding="ascii") as handle:
            handle.write(str(uuid.uuid4()))
    except FileExistsError:
        pass
    with open(file, encoding="ascii") as handle:
        return handle.read()


def changes_after(last: int) -> tuple[list[dict[str, str]], int, bool]:
    """Return new instances after change ``last``, and the number of the last change looked at."""
    answer = json.loads(orthanc.RestApiGet(f"/changes?since={last}&limit={BATCH}"))
    instances = []
    for change in answer["Changes"]:
        if change["ChangeType"] != "NewInstance":
            continue
        try:
            metadata = json.loads(orthanc.RestApiGet(f"/instances/{change['ID']}/metadata?expand"))
        except orthanc.OrthancException:
            continue  # deleted since
        instances.append(
            {"archive_id": change["ID"], "origin": metadata.get("Origin", ""), "address": metadata.get("RemoteIP", "")}
        )
    return instances, answer["Last"], answer["Done"]


def tell(archive: str, after: int, upto: int, instances: list[dict[str, str]]) -> int:
    """Send one batch; Sumu answers with the last change that it has taken in."""
    body = json.dumps({"archive": archive, "after": after, "upto": upto, "instances": instances}).encode()
    request = urllib.request.Request(
        settings["NoticeAddress"],
        data=body,
        headers={"Content-Type": "application/json", "Authorization": "Bearer " + settings["NoticeToken"]},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        return int(json.load(answer)["last"])


def follow() -> None:
    """Keep Sumu's picture of the archive up to date until Orthanc stops."""
    archive = identity()
    last: int | None = None
    wait = 1
    while not stopping.is_set():
        try:
            if last is None:
                last = tell(archive, 0, 0, [])
            instances, upto, done = changes_after(last)
            if upto > last:
                last = tell(archive, last, upto, instances)
            wait = 1
        except Exception as error:  # whatever it was, the list of changes is still there
            orthanc.LogWarning(f"Sumu could not be told of changes ({error}); trying again in {wait} s")
            last, done = None, False
            stopping.wait(wait)
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)
            continue
        if done:
            news.wait(LONGEST_WAIT_SECONDS)
            news.clear()


def digest(instance: str) -> tuple[int, str] | None:
    """Put an instance's file on the disk and return size and SHA-256 of its data set; None if the archive does not hold it.

    The data set begins behind the file meta information, whose length (0002,0000) tells (PS3.10 7.1).
    """
    try:
        attachment = json.loads(orthanc.RestApiGet(f"/instances/{instance}/attachments/dicom/info"))["Uuid"]
        folder = os.path.join(configuration["StorageDirectory"], attachment[:2], attachment[2:4])
        with open(os.path.join(folder, attachment), "rb") as file:
            os.fsync(file.fileno())
            head = file.read(144)
            file.seek(144 + int.from_bytes(head[140:144], "little"))
            size, digest = 0, hashlib.sha256()
            while piece := file.read(1 << 20):
                size += len(piece)
                digest.update(piece)
        sync(folder)
        return size, digest.hexdigest()
    except (orthanc.OrthancException, FileNotFoundError):
        return None


def answer_digests(output: Any, uri: str, **request: Any) -> None:
    """Answer ``POST /sumu/digests``: a list of instances in, a list of sizes and hashes out, all of them durable."""
    digests = [digest(str(instance)) for instance in json.loads(request["body"])]
    # Orthanc commits to its SQLite index without waiting for the disk; a power cut must not forget what was compared.
    for name in ("index-wal", "index"):
        file = os.path.join(configuration["IndexDirectory"], name)
        if os.path.exists(file):
            sync(file)
    output.AnswerBuffer(json.dumps(digests), "application/json")


def sync(path: str) -> None:
    """Put a file or a folder's entries on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def on_change(kind: int, level: int, resource: str) -> None:
    """Wake the follower; no REST call may be made in here (Orthanc holds a lock)."""
    if kind == orthanc.ChangeType.ORTHANC_STARTED:
        threading.Thread(target=follow, name="sumu-changes", daemon=True).start()
    elif kind == orthanc.ChangeType.NEW_INSTANCE:
        news.set()
    elif kind == orthanc.ChangeType.ORTHANC_STOPPED:
        stopping.set()
        news.set()
        time.sleep(0.1)


orthanc.RegisterOnChangeCallback(on_change)
orthanc.RegisterRestCallback("/sumu/digests", answer_digests)
