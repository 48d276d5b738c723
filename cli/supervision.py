"""All processes under one supervisor (supervisord): restarted when they die, stopped together."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from xmlrpc.client import ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from cli.processes import ProcessKind
from core.settings import ServiceRole, Settings

ROOT = Path(__file__).resolve().parents[1]

#: In the order in which they start; they stop in the reverse one.
DEFAULT_PROCESSES = (ProcessKind.ARCHIVE, ProcessKind.NODE, ProcessKind.REGISTRAR, ProcessKind.WORKER, ProcessKind.WEB)
#: Of a township's edge node: no archive, no pre-reads.
EDGE_PROCESSES = (ProcessKind.NODE, ProcessKind.REGISTRAR, ProcessKind.FORWARDER, ProcessKind.WEB)

_HEAD = """\
; Written by `sumu up` at every start.
[unix_http_server]
file = {run}/supervisor.sock
chmod = 0700

[supervisord]
nodaemon = true
silent = true
logfile = {logs}/supervisor.log
logfile_maxbytes = 5MB
logfile_backups = 2
pidfile = {run}/supervisor.pid
childlogdir = {logs}
identifier = sumu

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl = unix://{run}/supervisor.sock
"""

_PROGRAM = """
[program:{kind}]
command = "{python}" -m cli process {kind}
priority = {priority}
autorestart = true
startsecs = 2
startretries = 1000000
stopwaitsecs = 20
stopasgroup = true
killasgroup = true
stdout_logfile = {logs}/{kind}.log
stdout_logfile_maxbytes = 20MB
stdout_logfile_backups = 5
redirect_stderr = true
"""


def write_configuration(settings: Settings, kinds: Iterable[ProcessKind] | None = None) -> Path:
    """Write the supervisor's configuration into the data folder and return it; without ``kinds``, for what the role needs."""
    if kinds is None:
        kinds = EDGE_PROCESSES if settings.role is ServiceRole.EDGE else DEFAULT_PROCESSES
    run, logs = (settings.data / "run").resolve(), (settings.data / "logs").resolve()
    for folder in (run, logs):
        folder.mkdir(parents=True, exist_ok=True)
    text = _HEAD.format(run=_escaped(run), logs=_escaped(logs)) + "".join(
        _PROGRAM.format(kind=kind, priority=10 * place, python=_escaped(sys.executable), logs=_escaped(logs))
        for place, kind in enumerate(kinds, start=1)
    )
    file = run / "supervisord.conf"
    file.write_text(text, encoding="utf-8")
    return file


def supervisor_command(configuration: Path) -> list[str]:
    """Return the command that runs the supervisor in the foreground."""
    return [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(configuration)]


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment in which the processes find the same settings as their parent."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "TCP_NODELAY": "1",
        "SUMU_DATA": str(settings.data.resolve()),
        "SUMU_DATABASE_URL": settings.database_url,
        "SUMU_MACHINE": settings.machine,
        "SUMU_ROLE": settings.role,
        "SUMU_NODE__HOST": settings.node.host,
        "SUMU_NODE__PORT": str(settings.node.port),
        "SUMU_ARCHIVE__PORT": str(settings.archive.port),
        "SUMU_WEB__HOST": settings.web.host,
        "SUMU_WEB__PORT": str(settings.web.port),
        "SUMU_VIEWER": str(settings.viewer),
    }


class Supervisor:
    """A supervisor that this process started, as ``demo`` and the tests use it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        configuration = write_configuration(settings)
        # A session of its own: Ctrl-C reaches us alone, and we stop it in order.
        self._process = subprocess.Popen(
            supervisor_command(configuration), env=environment(settings), start_new_session=True, stdout=subprocess.DEVNULL
        )

    def process_ids(self) -> dict[str, int]:
        """Return the running processes' ids by name."""
        socket = (self._settings.data / "run" / "supervisor.sock").resolve()
        transport = SupervisorTransport(None, None, f"unix://{socket}")
        with ServerProxy("http://127.0.0.1", transport=transport) as server:
            entries: list[dict[str, object]] = server.supervisor.getAllProcessInfo()  # type: ignore[assignment]
        return {str(entry["name"]): int(str(entry["pid"])) for entry in entries if entry["statename"] == "RUNNING"}

    def alive(self) -> bool:
        """Return whether the supervisor itself runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Stop all processes, then the supervisor."""
        if self.alive():
            self._process.terminate()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def _escaped(path: object) -> str:
    """Return a path as supervisord's configuration wants it: it expands percent signs."""
    return str(path).replace("%", "%%")
