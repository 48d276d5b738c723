"""A whole station for the services: Orthanc, node with and without TLS, registrar and courier, and devices of three places."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE
from sqlalchemy import func, select

from core.clock import now
from core.database import Database
from core.lifecycles.custody import CustodyState
from core.migrations import upgrade
from core.settings import Settings
from core.tables import Device, Instance
from pacs_bridge.delivery import Courier
from pacs_bridge.devices import AdmittedDevice
from pacs_bridge.node import Node
from pacs_bridge.registrar import Registrar
from pacs_bridge.tls import make_certificate, node_certificate, read_certificate
from pacs_bridge.upper_layer.calling import call
from pacs_bridge.upper_layer.command_set import Tag
from pacs_bridge.upper_layer.negotiation import ProposedContext
from tests.conftest import County, RunningArchive, free_port, make_county, orthanc, settings_in


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A device's certificate and key as files."""

    certificate: Path
    key: Path
    pem: str


@dataclass(kw_only=True)
class Station:
    """What the tests of the services share; each uses fresh UIDs and patients in it."""

    settings: Settings
    database: Database
    archive: RunningArchive
    county: County
    folder: Path
    #: Of TLS_STATION.
    credentials: Credentials
    #: Ports on which the devices listen, by AE title.
    ports: dict[str, int] = field(default_factory=dict)

    def store(self, *instances: Dataset, ae_title: str = "WORKSTATION") -> None:
        """Send instances and wait until each of them is compared."""
        self.send(*instances, ae_title=ae_title)
        self.wait_compared([str(one.SOPInstanceUID) for one in instances])

    def send(self, *instances: Dataset, ae_title: str = "WORKSTATION") -> None:
        """Send instances as a device."""
        pairs = list(dict.fromkeys((str(one.SOPClassUID), str(one.file_meta.TransferSyntaxUID)) for one in instances))
        contexts = [
            ProposedContext(id=2 * place + 1, abstract_syntax=sop_class, transfer_syntaxes=(syntax,))
            for place, (sop_class, syntax) in enumerate(pairs)
        ]
        node = AdmittedDevice(id=0, organisation_id=0, ae_title="SUMU")
        association = call(
            node, ("127.0.0.1", self.settings.node.port), contexts, calling_ae_title=ae_title,
            implementation=("1.2.3", "DEVICE"), max_pdu_bytes=1 << 16, connect_seconds=10, answer_seconds=60,
        )  # fmt: skip
        accepted = {(context.abstract_syntax, context.transfer_syntax): context for context in association.contexts}
        for one in instances:
            context = accepted[one.SOPClassUID, one.file_meta.TransferSyntaxUID]
            elements: dict[int, int | str] = {
                Tag.AFFECTED_SOP_CLASS: str(one.SOPClassUID), Tag.AFFECTED_SOP_INSTANCE: str(one.SOPInstanceUID)
            }  # fmt: skip
            buffer = DicomBytesIO()
            buffer.is_little_endian, buffer.is_implicit_VR = True, context.transfer_syntax == ImplicitVRLittleEndian
            write_dataset(buffer, one)
            assert association.store(context, elements, [buffer.getvalue()]) == 0
        association.release()

    def wait_compared(self, uids: list[str], seconds: float = 60) -> None:
        """Wait until the archive has these instances and they were compared."""
        deadline = time.monotonic() + seconds
        while True:
            with self.database.reading() as session:
                count = session.scalar(
                    select(func.count()).where(
                        Instance.sop_instance_uid.in_(uids), Instance.state == CustodyState.COMPARED
                    )
                )  # fmt: skip
            if count == len(uids):
                return
            assert time.monotonic() < deadline, f"{count} of {len(uids)} compared"
            time.sleep(0.05)

    def device_id(self, ae_title: str) -> int:
        """Return a device's number."""
        with self.database.reading() as session:
            return session.scalars(select(Device.id).where(Device.ae_title == ae_title)).one()

    def run(self, program: str, *arguments: str, ae_title: str = "WORKSTATION", tls: bool = False) -> str:
        """Run a DCMTK client against the node and return what it printed; with ``tls`` as TLS_STATION."""
        if not tls:
            return run_dcmtk(program, "-aet", ae_title, "-aec", "SUMU", *arguments, "127.0.0.1", str(self.settings.node.port))
        secret = ["+tls", str(self.credentials.key), str(self.credentials.certificate), "+cf", self.node_certificate]
        port = str(self.settings.node.tls_port)
        return run_dcmtk(program, *secret, "-aet", "TLS_STATION", "-aec", "SUMU", *arguments, "127.0.0.1", port)

    @property
    def node_certificate(self) -> str:
        """The node's own certificate, as a file."""
        return str(node_certificate(self.settings)[0])

    def tls(self) -> ssl.SSLContext:
        """Return the TLS by which TLS_STATION calls."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self.node_certificate)
        context.load_cert_chain(self.credentials.certificate, self.credentials.key)
        return context

    @contextmanager
    def tunnel(self) -> Iterator[int]:
        """Give a plain port that leads to the node's TLS port with TLS_STATION's certificate.

        DCMTK's movescu and getscu have no TLS of their own.
        """
        with socket.create_server(("127.0.0.1", 0)) as door:

            def serve() -> None:
                while True:
                    try:
                        near, _ = door.accept()
                    except OSError:
                        return
                    far = self.tls().wrap_socket(socket.create_connection(("127.0.0.1", self.settings.node.tls_port)))
                    for source, sink in ((near, far), (far, near)):
                        threading.Thread(target=_pump, args=(source, sink), daemon=True).start()

            threading.Thread(target=serve, daemon=True).start()
            yield int(door.getsockname()[1])

    @contextmanager
    def storescp(self, ae_title: str, *options: str, tls: bool = False) -> Iterator[Path]:
        """Run DCMTK's storescp as a device and give the folder that it fills."""
        folder = self.folder / f"received-{time.monotonic_ns()}"
        folder.mkdir()
        secret = ["+tls", str(self.credentials.key), str(self.credentials.certificate), "+cf", self.node_certificate]
        port = self.ports[ae_title]
        process = subprocess.Popen(
            ["storescp", *(secret if tls else []), *options, "-aet", ae_title, "-od", str(folder), str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + 10
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            yield folder
        finally:
            process.terminate()
            process.wait(10)


def run_dcmtk(program: str, *arguments: str) -> str:
    """Run a DCMTK program that must succeed."""
    done = subprocess.run([program, *arguments], capture_output=True, timeout=120, check=False)
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert done.returncode == 0, said[-3000:]
    return said


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while piece := source.recv(1 << 16):
            sink.sendall(piece)
    except OSError:
        pass
    finally:
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def devices(county: County, credentials: Credentials, ports: dict[str, int]) -> list[Device]:
    """Return the devices of the station."""

    def device(ae_title: str, organisation: int, **more: Any) -> Device:
        given: dict[str, Any] = {"plain": True, "may_query": True, "address": "127.0.0.1", "port": ports[ae_title], **more}
        return Device(organisation_id=organisation, ae_title=ae_title, name=ae_title, admitted_at=now(), **given)

    certificate = read_certificate(credentials.pem)
    secured = {"plain": False, "certificate": certificate.pem, "certificate_sha256": certificate.sha256}
    return [
        device("WORKSTATION", county.township),
        device("FAR_STATION", county.other_township),
        device("COUNTY_PACS", county.county),
        device("TLS_STATION", county.township, **secured),
        device("IR58_CT", county.township, worklist_character_set="ISO 2022 IR 58", may_query=False),
        device("ASCII_CR", county.township, worklist_character_set="ISO_IR 6", may_query=False),
        device("NO_PORT", county.township, port=None, address=None),
    ]


@pytest.fixture(scope="session")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """One station for all tests of the services."""
    folder = tmp_path_factory.mktemp("station")
    settings = settings_in(folder / "data")
    settings.data.mkdir()
    settings = settings.model_copy(update={"node": settings.node.model_copy(update={"tls_port": free_port()})})
    pem, key = make_certificate("TLS_STATION", ["127.0.0.1"])
    credentials = Credentials(certificate=folder / "device.pem", key=folder / "device.key", pem=pem)
    credentials.certificate.write_text(pem)
    credentials.key.write_text(key)
    names = ("WORKSTATION", "FAR_STATION", "COUNTY_PACS", "TLS_STATION", "IR58_CT", "ASCII_CR", "NO_PORT")
    ports = {name: free_port() for name in names}
    database = Database(settings.database_address)
    upgrade(database)
    county = make_county(database)
    with database.writing() as session:
        session.add_all(devices(county, credentials, ports))
    with orthanc(settings) as archive:
        node = Node(settings, database, name="1")
        node.start()
        with _working(settings, database, archive):
            yield Station(
                settings=settings,
                database=database,
                archive=archive,
                county=county,
                folder=folder,
                credentials=credentials,
                ports=ports,
            )
        node.stop()
    database.close()


@contextmanager
def _working(settings: Settings, database: Database, archive: RunningArchive) -> Iterator[None]:
    registrar, courier = Registrar(settings, database), Courier(settings, database, archive.archive)
    stopping = threading.Event()

    def repeat(step: Callable[[], int]) -> None:
        while not stopping.is_set():
            if not step():
                stopping.wait(0.02)

    threads = [threading.Thread(target=repeat, args=(step,)) for step in (registrar.round, courier.round)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
        registrar.close()
        courier.close()


@dataclass
class Study:
    """A study that a test makes."""

    instances: list[Dataset]

    @property
    def uid(self) -> str:
        """Study Instance UID."""
        return str(self.instances[0].StudyInstanceUID)

    @property
    def uids(self) -> list[str]:
        """SOP Instance UIDs."""
        return [str(instance.SOPInstanceUID) for instance in self.instances]


def make_study(slices: int = 2, *, series: int = 1, source: str = "CT_small.dcm", **attributes: object) -> Study:
    """Make a study of ``series`` times ``slices`` images under fresh UIDs; ``attributes`` by keyword."""
    study = generate_uid()
    instances: list[Dataset] = []
    for number in range(1, series + 1):
        series_uid = generate_uid()
        for place in range(1, slices + 1):
            instance = pydicom.dcmread(str(get_testdata_file(source)))
            instance.StudyInstanceUID, instance.SeriesInstanceUID, instance.SOPInstanceUID = study, series_uid, generate_uid()
            instance.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
            instance.SeriesNumber, instance.InstanceNumber = number, place
            instance.PatientID = f"P{study[-12:]}"
            for keyword, value in attributes.items():
                setattr(instance, keyword, value)
            instances.append(instance)
    return Study(instances)


def associate(station: Station, *contexts: str, ae_title: str = "WORKSTATION", tls: bool = False, **more: Any) -> Any:
    """Open an association of pynetdicom to the node."""
    entity = AE(ae_title="TLS_STATION" if tls else ae_title)
    for context in contexts:
        entity.add_requested_context(context)
    port = station.settings.node.tls_port if tls else station.settings.node.port
    if tls:
        more["tls_args"] = (station.tls(), None)
    association = entity.associate("127.0.0.1", port, ae_title="SUMU", **more)
    assert association.is_established
    hold(association)
    return association


def hold(association: Any) -> None:
    """Keep pynetdicom's reactor from taking a response off the queue before the method that waits for it.

    Its pause has a gap: a reactor that is about to leave it counts as paused. Here it stays paused until the release.
    """
    checkpoint, release, abort = association._reactor_checkpoint, association.release, association.abort
    checkpoint.clear()
    time.sleep(0.02)
    while not association._is_paused:
        time.sleep(0.001)
    checkpoint.set = lambda: None

    def first_resume(end: Callable[[], None]) -> Callable[[], None]:
        def ending() -> None:
            resume(association)
            end()

        return ending

    association.release, association.abort = first_resume(release), first_resume(abort)


def resume(association: Any) -> None:
    """Let the reactor of a held association serve what the node asks."""
    checkpoint = association._reactor_checkpoint
    if "set" in vars(checkpoint):
        del checkpoint.set
        checkpoint.set()
