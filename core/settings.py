"""Settings of a Sumu service: environment first, then ``sumu.toml``, then the defaults written here.

Every setting has one line of description; ``docs/settings.md`` lists them all and a test holds the two together.
In the environment a setting is ``SUMU_`` and its path joined by two underscores: ``SUMU_NODE__PORT=11112``.
"""

from __future__ import annotations

import os
import socket
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

#: Names a settings file other than ``sumu.toml`` in the present folder.
SETTINGS_FILE_VARIABLE = "SUMU_SETTINGS"

Port = Annotated[int, Field(ge=1, le=65535)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CountySettings(_Section):
    """Who runs the service."""

    name_zh: str = Field("苏木县", description="The county's name in Chinese, shown on pages, reports and films.")
    name_en: str = Field("Sumu County", description="The county's name in English.")
    timezone: str = Field("Asia/Shanghai", description="Time zone of pages and reports.")
    language: str = Field("zh", description="Language of a page before its reader chooses: `zh` or `en`.")


class NodeSettings(_Section):
    """The DICOM node that townships push to."""

    host: str = Field("0.0.0.0", description="Address on which the node listens.")
    port: Port = Field(11112, description="Port of the node (104 is the registered one, 11112 needs no privilege).")
    ae_title: str = Field("SUMU", min_length=1, max_length=16, description="AE title by which devices call the node.")
    tls_port: int = Field(0, ge=0, le=65535, description="Port of the node with TLS (2762 is the registered one); 0: none.")
    tls_certificate: Path = Field(Path(), description="The node's certificate chain, PEM; empty: made at the first start.")
    tls_key: Path = Field(Path(), description="Key of the node's certificate, PEM.")
    max_associations: int = Field(200, ge=1, description="Associations served at once; a silent one makes room for a new one.")
    max_associations_of_device: int = Field(40, ge=1, description="Associations of one device served at once.")
    max_pdu_bytes: int = Field(131072, ge=4096, description="Largest PDU that the node offers to receive (PS3.8 D.1).")
    idle_seconds: float = Field(60, gt=0, description="An association silent for so long is ended.")
    pdu_seconds: float = Field(300, gt=0, description="One PDU that has begun must be whole within this time.")
    max_instance_bytes: int = Field(
        16 * 1024**3, gt=0, description="Largest instance that is received; a device may have a smaller limit of its own."
    )
    private_sop_classes: list[str] = Field(
        [], description="UIDs of private storage SOP classes that the node takes; `*` takes every private one."
    )
    free_bytes: int = Field(2 * 1024**3, ge=0, description="Below this free space on the spool's disk, C-STORE answers A700.")


class ArchiveSettings(_Section):
    """Orthanc, on loopback."""

    program: str = Field("Orthanc", description="Name or path of the Orthanc program.")
    plugins: Path = Field(Path("/usr/share/orthanc/plugins"), description="Folder that holds Orthanc's plugins.")
    host: str = Field(
        "127.0.0.1", description="Address on which Orthanc listens; leave it on loopback unless other machines share it."
    )
    port: Port = Field(18042, description="Orthanc's HTTP port.")
    url: str = Field("", description="Where the other processes find Orthanc; empty: on loopback, at the port above.")
    timeout_seconds: float = Field(60, gt=0, description="Longest wait for one answer of the archive.")


class DeliverySettings(_Section):
    """From the spool to the archive."""

    first_retry_seconds: float = Field(1, gt=0, description="Wait after the first failed delivery; it doubles each time.")
    longest_retry_seconds: float = Field(120, gt=0, description="Longest wait between two tries. Tries never end.")
    parallel: int = Field(8, ge=1, description="Instances delivered at once.")


class ExaminationSettings(_Section):
    """What an instance may be before anything else opens it; larger bounds need more memory everywhere behind."""

    depth: int = Field(32, ge=1, description="Deepest nesting of sequences.")
    elements: int = Field(2_000_000, ge=1, description="Most data elements of one instance, nested ones counted.")
    header_bytes: int = Field(256 * 1024**2, ge=1, description="Most bytes outside pixel data, waveforms and other bulk.")
    inflated_bytes: int = Field(1024**3, ge=1, description="Most bytes that a deflated data set may inflate to.")
    decoded_bytes: int = Field(256 * 1024**3, ge=1, description="Most bytes that compressed frames may decode to.")
    seconds: float = Field(60, gt=0, description="Most processor time of one examination.")


class CompletenessSettings(_Section):
    """When a study may be read."""

    quiet_seconds: float = Field(20, ge=0, description="Quiet time after the last instance, for modalities not listed below.")
    quiet_seconds_by_modality: dict[str, float] = Field(
        {"DX": 0, "CR": 0, "ECG": 0, "SM": 10, "US": 30, "CT": 15, "MR": 30},
        description="Quiet time by modality. 0: the study settles when the association that brought it ends.",
    )
    missing_seconds: float = Field(
        300, ge=0, description="Quiet time where the device itself said that it made more instances than have come."
    )
    gap_seconds: float = Field(60, ge=0, description="Quiet time where a series' instance numbers have gaps.")


class InferenceRuntime(StrEnum):
    """Where networks run."""

    #: A graphics card where the installed ONNX Runtime finds one, else the processor.
    AUTOMATIC = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"


class PreReadSettings(_Section):
    """Inference."""

    runtime: InferenceRuntime = Field(
        InferenceRuntime.AUTOMATIC,
        description="Where networks run: `auto`, `cpu`, `cuda` or `tensorrt`. One asked for by name and missing is an error.",
    )
    parallel: int = Field(0, ge=0, description="Studies that one worker reads at once; 0: one for each processor.")
    threads: int = Field(1, ge=1, description="Threads of one model run.")
    batch: int = Field(
        1,
        ge=1,
        description="Studies read by one process at once, whose images share model runs; more than 1 is for a graphics card.",
    )
    batch_milliseconds: float = Field(10, ge=0, description="The first image of a shared model run waits so long for others.")
    memory_mb: int = Field(
        4096, ge=256, description="A reading process that has grown beyond this is replaced before its next study."
    )
    gpu_memory_mb: int = Field(0, ge=0, description="Most memory that a model takes of a graphics card; 0: no limit.")
    tries: int = Field(3, ge=1, description="Tries of one pre-read before it is marked failed.")
    seconds: float = Field(120, gt=0, description="Longest reading of one study, for engines not listed below.")
    seconds_by_engine: dict[str, float] = Field(
        {"pathology": 3600}, description="Longest reading of one study by engine; a pre-read that takes longer has failed."
    )


class ModelSettings(_Section):
    """Models that the county added."""

    folder: Path = Field(Path(), description="Folder of added models; empty: `models` in the data folder.")
    unpacked_bytes: int = Field(4 * 1024**3, ge=1, description="Most bytes that an added model may unpack to.")
    trial_seconds: int = Field(120, ge=1, description="Most processor time of a model's trial; by the clock four times as much.")
    trial_memory_bytes: int = Field(8 * 1024**3, ge=1, description="Most memory (address space) of a model's trial.")


class DropSettings(_Section):
    """Folders into which ECG machines write their files."""

    folder: Path = Field(
        Path(), description="Folder with one folder for each organisation's code; empty: `drop` in the data folder."
    )
    quiet_seconds: float = Field(5, ge=0, description="A file that nobody writes and that has not changed for so long is whole.")


class WebSettings(_Section):
    """Pages and APIs."""

    host: str = Field("127.0.0.1", description="Address on which pages are served; put a TLS proxy in front before you open it.")
    port: Port = Field(8080, description="Port of the pages.")
    internal_url: str = Field(
        "", description="Where the archive's plugin finds the pages' process; empty: on its own machine, at the port above."
    )
    public_url: str = Field("", description="Address that phones use, printed in QR codes; empty: the host and port above.")
    client_certificate_header: str = Field(
        "",
        description="Header in which the TLS proxy passes a caller's certificate (RFC 9440, or escaped PEM); it must overwrite "
        "what callers send. Empty: devices show tokens.",
    )
    sign_in_hours: float = Field(12, gt=0, description="A sign-in ends after so many hours.")
    claim_minutes: float = Field(
        30, gt=0, description="A claimed study that its reader leaves untouched is free again after this."
    )


class OrdersSettings(_Section):
    """Orders that other systems send by HL7 v2 over MLLP."""

    mllp_port: int = Field(
        0, ge=0, le=65535, description="Port for HL7 v2 orders over MLLP (2575 is the registered one); 0: none."
    )
    mllp_tls_port: int = Field(
        0, ge=0, le=65535, description="Port for HL7 v2 orders over MLLP with TLS, for systems admitted as devices; 0: none."
    )
    mllp_host: str = Field("0.0.0.0", description="Address on which orders are listened for.")
    mllp_senders: list[str] = Field(
        [], description="Addresses or networks (`10.1.0.0/16`) that may send orders without TLS; empty: this machine alone."
    )
    facilities: dict[str, str] = Field(
        {}, description="Organisation codes by sending facility (MSH-4), where the facility is not itself an organisation's code."
    )
    character_set: str = Field(
        "UNICODE UTF-8", description="What a message is written in that names no character set itself (MSH-18): `GB 18030-2000`."
    )


class FilmSettings(_Section):
    """Cloud film."""

    days: int = Field(180, ge=1, description="Days for which a film link opens.")
    tries: int = Field(5, ge=1, description="Wrong second checks before a link is locked.")
    visit_minutes: float = Field(30, gt=0, description="After a right second check the film stays open for so long.")


class ServiceRole(StrEnum):
    """What a machine is in the county's service."""

    COUNTY = "county"
    #: A township's node that forwards to its county: no archive, no pre-reads.
    EDGE = "edge"


class EdgeSettings(_Section):
    """A township's edge node: what it acknowledged goes to the county over one HTTPS connection."""

    county_url: str = Field("", description="Address of the county's pages, as in `https://imaging.county.cn`.")
    token_file: Path = Field(
        Path(), description="File with the edge's device token; empty: `edge.token` in the folder `secrets` of the data folder."
    )
    certificate: Path = Field(Path(), description="Client certificate that the edge shows, PEM; empty: none.")
    key: Path = Field(Path(), description="Key of the client certificate, PEM.")
    county_certificates: Path = Field(
        Path(), description="Certificates that the county's must come from, PEM; empty: the authorities that this system trusts."
    )
    timetable: dict[str, float] = Field(
        {},
        description="Most kilobytes a second on the line by hours of the day: `08:00-18:00` = 200. At other hours there is no "
        "limit; 0 lets only urgent studies through, which no limit holds back.",
    )
    zstd_level: int = Field(3, ge=0, le=19, description="Compression on the line (zstd); 0: none.")
    request_bytes: int = Field(4 * 1024**2, ge=1, description="Small instances go together, up to so many bytes a request.")
    piece_bytes: int = Field(
        16 * 1024**2, ge=1, le=64 * 1024**2, description="Larger instances go in pieces of so many bytes and go on after a break."
    )
    line_seconds: float = Field(30, gt=0, description="With nothing to send, the edge asks so often whether the county answers.")
    stalled_seconds: float = Field(60, gt=0, description="A line on which nothing moves for so long counts as broken.")


class Settings(BaseSettings):
    """All settings of one process."""

    model_config = SettingsConfigDict(
        env_prefix="SUMU_", env_nested_delimiter="__", extra="forbid", frozen=True, nested_model_default_partial_update=True
    )

    data: Path = Field(Path("var"), description="Folder of everything that the service keeps.")
    database_url: str = Field(
        "",
        description="Address of the database; empty: SQLite in the data folder. `postgresql+psycopg://…` for many machines.",
    )
    machine: str = Field(
        default_factory=socket.gethostname, description="Name of this machine among several; the default is its host name."
    )
    role: ServiceRole = Field(
        ServiceRole.COUNTY,
        description="What this machine is: `county` for the whole service, `edge` for a township's node that forwards to it.",
    )
    viewer: Path = Field(Path(), description="Folder of the unpacked OHIF viewer (`dist`); the launcher sets it.")
    county: CountySettings = CountySettings()
    node: NodeSettings = NodeSettings()
    archive: ArchiveSettings = ArchiveSettings()
    delivery: DeliverySettings = DeliverySettings()
    examination: ExaminationSettings = ExaminationSettings()
    completeness: CompletenessSettings = CompletenessSettings()
    pre_read: PreReadSettings = PreReadSettings()
    models: ModelSettings = ModelSettings()
    orders: OrdersSettings = OrdersSettings()
    web: WebSettings = WebSettings()
    film: FilmSettings = FilmSettings()
    drop: DropSettings = DropSettings()
    edge: EdgeSettings = EdgeSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file over defaults."""
        file = Path(os.environ.get(SETTINGS_FILE_VARIABLE, "sumu.toml"))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=file)

    @property
    def database_address(self) -> str:
        """The database's SQLAlchemy address."""
        return self.database_url or f"sqlite:///{self.data.resolve() / 'sumu.db'}"

    @property
    def workflow_address(self) -> str:
        """Where DBOS keeps its workflows: a file of its own beside SQLite, the same database (schema ``dbos``) on PostgreSQL."""
        return self.database_url or f"sqlite:///{self.data.resolve() / 'workflows.db'}"

    @property
    def spool(self) -> Path:
        """Folder of acknowledged instances that the archive does not hold yet."""
        return self.data / "spool"

    @property
    def drop_folder(self) -> Path:
        """Folder whose folders, one for each organisation's code, take files of ECG machines."""
        return self.drop.folder if self.drop.folder != Path() else self.data / "drop"

    @property
    def models_folder(self) -> Path:
        """Folder of the models that the county added."""
        return self.models.folder if self.models.folder != Path() else self.data / "models"

    @property
    def quarantine(self) -> Path:
        """Folder of what was set aside with its reason."""
        return self.data / "quarantine"

    @property
    def originals(self) -> Path:
        """Folder of instances as received, where the archive holds a repaired or transcoded copy."""
        return self.data / "originals"

    @property
    def secrets(self) -> Path:
        """Folder, readable by the service alone, of generated credentials."""
        return self.data / "secrets"

    @property
    def web_address(self) -> str:
        """Address of the pages as a reader types it."""
        return self.web.public_url.rstrip("/") or f"http://{self.web.host}:{self.web.port}"

    @property
    def archive_address(self) -> str:
        """Address of Orthanc's REST interface."""
        return self.archive.url.rstrip("/") or f"http://127.0.0.1:{self.archive.port}"

    @property
    def notice_address(self) -> str:
        """Where the archive's plugin tells of changes."""
        host = "127.0.0.1" if self.web.host in ("0.0.0.0", "::") else self.web.host
        return (self.web.internal_url.rstrip("/") or f"http://{host}:{self.web.port}") + "/internal/archive/changes"
