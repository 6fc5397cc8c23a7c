# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Ollama's user and its unit, as Ollama's own installer makes them; what is there already is the administrator's and stays."""

from __future__ import annotations

from ...failure import Failure
from ...host.machine import READ_LIMIT, Machine, replace_file
from ..service.presence import UNIT
from ..service.systemd import Systemd

PATH = f"/etc/systemd/system/{UNIT}"
USER = "ollama"

_RUN_LIMIT_S = 30.0
_HOME = "/usr/share/ollama"
# The groups that own a GPU's device nodes.
_GROUPS = ("render", "video")
# As ollama's scripts/install.sh writes it (upstream-facts N10); it lets PATH be that of whoever runs it.
_TEXT = """\
[Unit]
Description=Ollama Service
After=network-online.target

[Service]
ExecStart={prefix}/bin/ollama serve
User=ollama
Group=ollama
Restart=always
RestartSec=3
Environment="PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

[Install]
WantedBy=default.target
"""


def render(prefix: str) -> str:
    """Return the text of the unit."""
    return _TEXT.format(prefix=prefix)


def is_missing(machine: Machine) -> bool:
    """Tell whether systemd runs and has no unit of Ollama.

    Raises:
        Failure: C(systemd_failed).

    """
    return Systemd.is_running(machine) and not Systemd(machine).show(UNIT).known


def missing_groups(machine: Machine) -> list[str] | None:
    """Return which of the GPU's groups the user ollama has yet to join, None where there is no such user yet."""
    # All of both: a system account stands at the end, and hosts with a thousand users have more than a usual read takes.
    users = (machine.read("/etc/passwd", READ_LIMIT) or "").splitlines()
    if not any(line.startswith(f"{USER}:") for line in users):
        return None
    rows = [line.split(":") for line in (machine.read("/etc/group", READ_LIMIT) or "").splitlines()]
    return [row[0] for row in rows if row[0] in _GROUPS and len(row) > 3 and USER not in row[3].split(",")]


def make(machine: Machine, prefix: str) -> None:
    """Make the user and the unit. Nothing is started: that is ollama_service's, on loopback.

    Raises:
        Failure: C(user_not_made), C(install_unwritable), C(systemd_failed).

    """
    if missing_groups(machine) is None:
        more = ["--system", "--shell", "/bin/false", "--user-group", "--create-home", "--home-dir", _HOME]
        _run(machine, "useradd", [*more, USER])
    groups = missing_groups(machine)
    if groups:
        _run(machine, "usermod", ["--append", "--groups", ",".join(groups), USER])
    try:
        replace_file(str(machine.path(PATH)), render(prefix), 0o644)
    except OSError as error:
        raise Failure(
            "install_unwritable",
            f"The unit {PATH} cannot be written: {error.strerror}. What was there before is back in its place.",
        ) from error
    Systemd(machine).do("daemon-reload")


def remove(machine: Machine) -> None:
    """Take the unit away again; the user stays, as its home may hold something."""
    machine.path(PATH).unlink(missing_ok=True)
    Systemd(machine).do("daemon-reload")


def _run(machine: Machine, name: str, words: list[str]) -> None:
    path = machine.find_command(name)
    answer = machine.run([path, *words], _RUN_LIMIT_S) if path else None
    if answer is None or answer.code != 0:
        said = " ".join(answer.output.split())[:300] or answer.problem if answer else "there is no such program"
        raise Failure(
            "user_not_made",
            f"Ran {name} for the user {USER}, as which the service runs: {said}. Make it by hand "
            f"(system user with the home {_HOME}, groups {' and '.join(_GROUPS)}), then run it again.",
        )
