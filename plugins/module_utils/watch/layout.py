# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The parts of the watch on a host: what they are called, where they lie, its settings and its units.

The plan compares by these texts and the module inference_watch writes them: there is no second opinion (decision 0033).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..host.machine import Machine
from ..proxy.configuration import UNIT as PROXY_UNIT
from ..proxy.configuration import confine

NAME = "nemoclaw-watch"
# Whoever repairs a host asks it: /usr/local/lib/nemoclaw-watch/watch.pyz status.
APP = f"/usr/local/lib/{NAME}/watch.pyz"
SETTINGS = f"/etc/{NAME}.json"
STATE = f"/var/lib/{NAME}"
# What the service writes in its state folder: the last result, the history, the metrics, and the request to close the auth proxy.
LAST, HISTORY, METRICS, FLAG = "last.json", "history.json", "metrics.prom", "close-proxy"
# Of last.json: what another release wrote is passed over, or no run of this one would ever replace it.
SCHEMA = 1
SERVICE, TIMER = f"{NAME}.service", f"{NAME}.timer"
CLOSE_PATH, CLOSE_SERVICE = f"{NAME}-close.path", f"{NAME}-close.service"
# The system's own: one of a user's home is hidden from the service, or could be exchanged by that user.
PYTHON = "/usr/bin/python3"
LEAST_PYTHON = (3, 9)

# What the textfile collector of the node exporter finds; a link, since its folder is not the service's to write.
LINK = "nemoclaw-watch.prom"
# Where Debian's and Ubuntu's prometheus-node-exporter looks (ARGS in its /etc/default file).
TEXTFILE_FOLDER = "/var/lib/prometheus/node-exporter"
AUTO, NONE = "auto", "none"

# Seconds in which a server has to say that it is there, and the auth proxy what it is: the look without a question.
LOOK_LIMIT = 20
# The look, the questions to the auth proxy (three of five seconds), Ollama's list, and the start of Python on a busy host.
_BESIDE_THE_QUESTION = 70


@dataclass(frozen=True)
class WatchSettings:
    """What the watch of a host is told; nothing of it is a secret.

    Attributes:
        user: Whose inference it is, and as whom the service runs.
        home: Of that user.
        host: The name by which the fleet knows the host, for the metrics.
        record: The route record.
        token: The file with the token of the auth proxy.
        interval: Seconds between two looks.
        timeout: Seconds that a question may take.
        proof: Whether the model is asked a question at all.
        proof_interval: Seconds between two questions to a model that answers.
        close_proxy: Whether the auth proxy is stopped when the engine behind it is open to the network.
        textfile: The folder of the node exporter's textfile collector, empty for none.
        ca_path: Certificates to trust instead of the system's.
        validate_certs: Whether the server's certificate has to be valid.

    """

    user: str
    home: str
    host: str
    record: str
    token: str
    interval: int = 60
    timeout: int = 60
    proof: bool = True
    proof_interval: int = 600
    close_proxy: bool = False
    textfile: str = ""
    ca_path: str = ""
    validate_certs: bool = True

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> WatchSettings:
        """Return the settings of values by the names of the fields; what is named otherwise is passed over."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


def textfile_folder(machine: Machine, wanted: str) -> str:
    """Return the folder of the node exporter's textfile collector, empty for none."""
    if wanted == AUTO:
        return TEXTFILE_FOLDER if machine.path(TEXTFILE_FOLDER).is_dir() else ""
    return "" if wanted in (NONE, "") else wanted


def render_files(settings: WatchSettings) -> dict[str, str]:
    """Return the texts of the settings file and the units, by their paths."""
    texts = {
        SETTINGS: json.dumps(asdict(settings), indent=2) + "\n",
        unit_path(SERVICE): _SERVICE.format(
            user=settings.user,
            python=PYTHON,
            app=APP,
            state=NAME,
            limit=LOOK_LIMIT + settings.timeout + _BESIDE_THE_QUESTION,
            # No AF_UNIX: neither Docker's socket nor the bus, whatever groups the user is in.
            confinement=confine("AF_INET AF_INET6", home="read-only"),
        ),
        unit_path(TIMER): _TIMER.format(
            interval=settings.interval, service=SERVICE, spread=max(1, min(5, settings.interval // 10))
        ),
    }
    if settings.close_proxy:
        texts[unit_path(CLOSE_PATH)] = _CLOSE_PATH.format(flag=f"{STATE}/{FLAG}", service=CLOSE_SERVICE)
        texts[unit_path(CLOSE_SERVICE)] = _CLOSE_SERVICE.format(
            flag=f"{STATE}/{FLAG}",
            state=STATE,
            unit=PROXY_UNIT,
            # The folder is the user's, and root opens it; systemctl speaks with systemd over a socket.
            confinement=confine("AF_UNIX", capabilities="CAP_DAC_OVERRIDE"),
        )
    return texts


def unit_path(unit: str) -> str:
    """Return where a unit of ours lies."""
    return f"/etc/systemd/system/{unit}"


_MANAGED = (
    "# Managed by nemoclaw.local_inference, role watch: changes are overwritten. Own lines belong into a drop-in.\n"
)

_SERVICE = (
    _MANAGED
    + """[Unit]
Description=Look whether the local inference of this host works
Documentation=file:{app}
After=network.target

[Service]
Type=oneshot
# The record and the token are this user's; root reads nothing in that user's home.
User={user}
ExecStart={python} -I {app} run
# 1 says that something does not work, which is an answer.
SuccessExitStatus=1
# A run that was ended or broke is noted as one.
ExecStopPost=/bin/sh -c '[ "$SERVICE_RESULT" = success ] || exec {python} -I {app} ended'
TimeoutStartSec={limit}
# Not two lines of systemd's for each run; what changes is said with priority notice or above.
LogLevelMax=notice
StateDirectory={state}
StateDirectoryMode=0755
MemoryMax=256M
TasksMax=32

{confinement}PrivateIPC=yes
KeyringMode=private
UMask=0022
"""
)

_TIMER = (
    _MANAGED
    + """[Unit]
Description=Look every {interval} s whether the local inference of this host works

[Timer]
Unit={service}
OnActiveSec=1s
OnUnitActiveSec={interval}s
# A fleet does not ask a shared server in the same instant.
RandomizedDelaySec={spread}s
AccuracySec=1s

[Install]
WantedBy=timers.target
"""
)

_CLOSE_PATH = (
    _MANAGED
    + """[Unit]
Description=Close the auth proxy when the watch finds its engine open to the network

[Path]
PathExists={flag}
Unit={service}

[Install]
WantedBy=paths.target
"""
)

# It decides nothing and reads nothing that the watch writes, but that the file is there.
_CLOSE_SERVICE = (
    _MANAGED
    + """[Unit]
Description=Stop the auth proxy, whose engine is open to the network

[Service]
Type=oneshot
# First, or the path unit would start this again and again.
ExecStartPre=/bin/rm -f {flag}
ExecStart=/bin/systemctl stop {unit}
ExecStart=/bin/echo <3>Stopped {unit}, whose engine is open to the network. The playbook nemoclaw.local_inference.site starts it.

{confinement}ReadWritePaths={state}
PrivateNetwork=yes
"""
)
