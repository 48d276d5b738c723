"""Writes Orthanc's configuration: loopback unless told otherwise, generated credentials, our plugin, bytes kept as they came.

Options are explained at https://orthanc.uclouvain.be/book/users/configuration.html
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core.errors import SumuError
from core.settings import Settings
from pacs_bridge.credentials import archive_credentials

PLUGIN = Path(__file__).with_name("plugin.py")
#: Orthanc's plugins that the archive cannot work without, as Debian names the files.
NEEDED_PLUGINS = ("libOrthancDicomWeb.so", "libOrthancPython.so")
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class PluginMissing(SumuError):
    """Orthanc is there, but a plugin is not."""

    def __init__(self, file: Path) -> None:
        super().__init__(f"{file} is missing.", remedy="Run: apt-get install orthanc-dicomweb orthanc-python")


def write_configuration(settings: Settings) -> Path:
    """Write ``orthanc.json`` into the data folder and return it.

    Raises
    ------
    PluginMissing
        If the DICOMweb or the Python plugin is not where the settings say.
    """
    plugins = [settings.archive.plugins / name for name in NEEDED_PLUGINS]
    for plugin in plugins:
        if not plugin.exists():
            raise PluginMissing(plugin)
    file = settings.data / "archive" / "orthanc.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(json.dumps(_options(settings, plugins), indent=2, ensure_ascii=False), encoding="utf-8")
    return file


def _options(settings: Settings, plugins: list[Path]) -> dict[str, Any]:
    credentials = archive_credentials(settings.secrets)
    store = str((settings.data / "archive" / "store").resolve())
    return {
        "Name": "Sumu",
        "StorageDirectory": store,
        "IndexDirectory": store,
        "Plugins": [str(plugin) for plugin in plugins],
        "PythonScript": str(PLUGIN),
        "PythonVerbose": False,
        # The node is the only DICOM door; Orthanc's own would bypass custody.
        "DicomServerEnabled": False,
        "HttpPort": settings.archive.port,
        "HttpBindAddresses": [settings.archive.host],
        "HttpThreadsCount": 64,
        "KeepAlive": True,
        "TcpNoDelay": True,
        "HttpCompressionEnabled": False,
        "RemoteAccessAllowed": settings.archive.host not in LOOPBACK,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {credentials.username: credentials.password},
        "OrthancExplorerEnabled": False,
        "WebDavEnabled": False,
        # Custody compares hashes: what was sent is what lies on the disk.
        "StorageCompression": False,
        "OverwriteInstances": False,
        # The plugin syncs what it is asked to hash, many at once; the spool keeps its copy until then.
        "SyncStorageArea": False,
        "StoreMD5ForAttachments": False,
        "MaximumStorageCacheSize": 256,
        # Unlabelled text of Chinese devices is far oftener GB18030 than Latin-1.
        "DefaultEncoding": "Chinese",
        "StableAge": 5,
        "JobsHistorySize": 10,
        "LimitFindResults": 0,
        "CheckRevisions": False,
        "DicomWeb": {
            "Enable": True,
            "Root": "/dicom-web/",
            "EnableWado": False,
            "Ssl": False,
            # The proxy rewrites addresses; what Orthanc says of itself stays inside.
            "Host": settings.archive_address.removeprefix("http://"),
            "StudiesMetadata": "Full",
            "SeriesMetadata": "Full",
        },
        "Sumu": {
            "NoticeAddress": settings.notice_address,
            "NoticeToken": credentials.notice_token,
        },
    }
