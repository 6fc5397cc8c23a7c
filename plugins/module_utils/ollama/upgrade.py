# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The upgrade of an Ollama, by its archives or by Ollama's own installer, its manifest, and the way back to the previous one.

What an installation replaces is kept beside it: for as long as it runs, or until its caller has proved more than it can. A run may be
killed between any two of these steps, so each of them can be begun anew: what is kept stays whole until it is in its place again, and a
folder without the file that names its version is nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..clock import Deadline
from ..failure import Failure, mask
from ..fetch.download import Source
from ..host.machine import SYSTEM_DIRECTORIES, Account, Machine, find_account
from ..host.systemd import Systemd
from ..transport.url import proxy_secrets
from . import presence, processes
from .client import LIBRARY, MANIFEST, MANIFEST_COPY, PARTS, PREVIOUS_VERSION, PROGRAM, ask_ollama_daemon
from .names import is_older
from .presence import UNIT, Found, look, named_holder
from .processes import UnitStart, reason_in

_FOLDER = PREVIOUS_VERSION.parent


def write_manifest(prefix: Path, version: str, sha256: str | None) -> None:
    """Record what lies below a prefix as one installation.

    Raises:
        OSError: The folder cannot be written.

    """
    library = prefix / LIBRARY
    found = [prefix / PROGRAM, *(Path(folder, name) for folder, _dirs, names in os.walk(library) for name in names)]
    links = [Path(folder, name) for folder, names, _files in os.walk(library) for name in names]
    found += [path for path in links if path.is_symlink()]
    files = {
        str(path.relative_to(prefix)): f"-> {path.readlink()}" if path.is_symlink() else path.stat().st_size
        for path in sorted(found)
        if path != prefix / MANIFEST
    }
    library.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"version": version, "sha256": sha256, "files": files}, indent=1)
    (prefix / MANIFEST).write_text(text + "\n", encoding="utf-8")


def copy_manifest(prefix: Path) -> None:
    """Keep a copy of the manifest where it outlives the library folder, or none where there is none; half a copy counts as none.

    Raises:
        OSError: The folder cannot be written.

    """
    (prefix / MANIFEST_COPY).unlink(missing_ok=True)  # of what was replaced
    if (prefix / MANIFEST).exists():
        shutil.copyfile(prefix / MANIFEST, prefix / MANIFEST_COPY)


def copy(prefix: Path, folder: Path) -> None:
    """Keep the program and its libraries in a folder of the same file system.

    The libraries are linked and not copied: gigabytes in no time. Whoever replaces them writes new files.
    """
    for name in PARTS:
        _copy(prefix / name, folder / name.parts[0])


def put_back(prefix: Path, folder: Path) -> None:
    """Put what was kept in its place again, instead of what is there; the folder keeps its copy."""
    for name in PARTS:
        place, kept, fresh = prefix / name, folder / name.parts[0], folder / f"{name.parts[0]}.back"
        _remove(fresh)
        _copy(kept, fresh)
        _remove(place)
        if fresh.exists() or fresh.is_symlink():
            place.parent.mkdir(exist_ok=True)
            fresh.rename(place)


def keep(prefix: Path, version: str) -> None:
    """Keep a version over the end of this run.

    Never where one is kept already (find_previous): an interrupted run has replaced that and proved nothing, and what lies in its
    place may be half of the one and half of the other.
    """
    folder = prefix / _FOLDER
    forget(prefix)
    folder.mkdir()
    copy(prefix, folder)
    fresh = folder / f"{PREVIOUS_VERSION.name}.new"
    fresh.write_text(version, encoding="utf-8")
    fresh.rename(prefix / PREVIOUS_VERSION)  # last, and in one step: a folder without it is not whole


def restore(prefix: Path) -> None:
    """Put the version that is kept in its place again. It stays kept, until forget()."""
    put_back(prefix, prefix / _FOLDER)
    copy_manifest(prefix)


def forget(prefix: Path) -> None:
    """Let go of what is kept."""
    (prefix / PREVIOUS_VERSION).unlink(missing_ok=True)  # first: what is left of it is not whole
    shutil.rmtree(prefix / _FOLDER, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, symlinks=True, copy_function=os.link)
    elif source.exists() or source.is_symlink():
        shutil.copy2(source, target, follow_symlinks=False)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


_POLL_S = 0.2


@dataclass(frozen=True)
class Running:
    """A daemon that we may restart: a unit, or a process with its owner and its environment.

    Attributes:
        port: TCP port on 127.0.0.1.
        version: What it says of itself now.
        unit: Its unit, None without one.
        pid: The process.
        program: The file that it runs.
        owner: Whose process it is.
        environment: What it was started with.

    """

    port: int
    version: str
    unit: str | None
    pid: int
    program: str
    owner: Account
    environment: dict[str, str]

    def __str__(self) -> str:
        return self.unit or f"process {self.pid}"


def find_running(machine: Machine, port: int, version: str, program: str) -> Running | None:
    """Return the daemon on a port, which has to be one that we may restart: asked before anything is changed.

    Args:
        machine: The host.
        port: Where the daemon is.
        version: What it says of itself.
        program: The file that will be new. A daemon of another program is None, since nothing changes for it.

    Raises:
        Failure: C(daemon_not_ours), C(root_needed), C(not_ollama).

    """
    found = look(machine, port)
    local = found.local
    unit = found.unit.name if found.unit and local and local == found.own else None
    owner = local.owner if local else next((one["user"] for one in found.listeners), None)
    if (
        owner is None
        or (local and (local.origin.is_users or (local.is_contained and local != found.own)))
        or not all(presence.is_ollama(one) for one in found.listeners if one["process"])
    ):
        raise _not_ours(found, port, version)
    if local is None or (os.geteuid() != 0 and (unit or find_account(owner).uid != os.geteuid())):
        raise Failure(
            "root_needed",
            f"The daemon on port {port} runs Ollama {version} and has to be restarted, which only root may do. Run the task with "
            "become: true. Nothing was changed.",
        )
    runs = presence.program_of(machine, local.pid)
    if runs is not None and runs != os.path.realpath(machine.path(program)):
        return None
    environment = presence.environment_of(machine, local.pid) or {"PATH": machine.environ.get("PATH", os.defpath)}
    return Running(port, version, unit, local.pid, program, find_account(owner), environment)


def restart(machine: Machine, running: Running, minimum: str, timeout: float, afterwards: str) -> None:
    """Restart it, and wait until it says that it is new enough.

    Args:
        machine: The host.
        running: The daemon.
        minimum: The version that it has to have at least.
        timeout: Seconds to wait for it.
        afterwards: What the caller does where it is not, as a sentence.

    Raises:
        Failure: C(daemon_not_upgraded), or what systemd and the process say.

    """
    do_restart(machine, running)
    start = UnitStart(Systemd(machine), running.unit) if running.unit else None
    version = await_answer(running.port, timeout, start)
    if not is_older(version, minimum):
        return
    over = start.why_over() if start and version is None else None
    logs = start.last_logs() if start else []
    said = reason_in(logs) if version is None else None
    seen = f"it is still Ollama {version}" if version else over or f"it does not answer after {timeout:.0f} s"
    raise Failure(
        "daemon_not_upgraded",
        f"Installed Ollama and restarted {running} on port {running.port}: {seen}.{f' Its log says: {said}.' if said else ''} {afterwards} "
        f"See failure.last_logs{'' if running.unit else ' and ~/.ollama/serve.log of its user'}, and whether it runs another program.",
        daemon_version=version,
        last_logs=logs,
    )


def await_answer(port: int, timeout: float, start: UnitStart | None = None) -> str | None:
    """Wait for a daemon and return its version, None where none answers in time, or will any more."""
    deadline = Deadline(timeout)
    while deadline.remaining:
        version = ask_ollama_daemon(port)[0]
        if version:
            return version
        if start and start.why_over():
            return None
        deadline.sleep(_POLL_S)
    return None


def find_unit(machine: Machine) -> str | None:
    """Return Ollama's unit where it runs Ollama, or tries to; None without one."""
    unit = Systemd(machine).show(UNIT) if Systemd.is_running(machine) else None
    return UNIT if unit and unit.known and unit.active != "inactive" else None


def do_restart(machine: Machine, running: Running) -> None:
    """Restart it, whatever it runs then: also to bring the old one back after its files were."""
    if running.unit:
        Systemd(machine).do("restart", running.unit)
        return
    now = look(machine, running.port).local
    processes.start(machine, running.program, running.owner, running.environment, [now.pid] if now else [])


def _not_ours(found: Found, port: int, version: str) -> Failure:
    holder = ", ".join(dict.fromkeys(map(named_holder, found.listeners)))
    return Failure(
        "daemon_not_ours",
        f"The daemon on port {port} ({holder}) runs Ollama {version} and has to be restarted, but it belongs to a "
        "user's own systemd or to a container. Upgrade and restart it where it was started, or set restart: false. Nothing was changed.",
    )


# Its curl shows a bar that moves at every 0.1 %; a package manager that it may call for a GPU's driver is silent for long.
_SILENCE_S = 900.0
_SCRIPT_POLL_S = 0.5
_TAIL = 4000


def run(machine: Machine, script: IO[bytes], source: Source, version: str, silence: float = _SILENCE_S) -> str:
    """Run the script with C(sh) and return the command that was run.

    Args:
        machine: The host; the script gets its environment, with the system's folders alone on PATH.
        script: The script, at its start, its checksum proved where one was given.
        source: Where it came from.
        version: What C(OLLAMA_VERSION) tells it.
        silence: Seconds without a word after which it is stopped.

    Raises:
        Failure: C(script_failed).

    """
    with tempfile.TemporaryDirectory(prefix="nemoclaw-ollama-") as private, tempfile.TemporaryFile() as log:
        path = Path(private, "install.sh")
        path.write_bytes(script.read())
        # It installs to the first of /usr/local/bin, /usr/bin and /bin that is on PATH.
        environ = {**machine.environ, "OLLAMA_VERSION": version, "PATH": ":".join(SYSTEM_DIRECTORIES)}
        # Not AnsibleModule.run_command: that knows no limit on silence.
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function
            ["/bin/sh", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environ,
            cwd="/",
            start_new_session=True,
        )
        try:
            code = _wait(process, log, silence)
        except BaseException:  # Ctrl-C, which the script's own session does not get
            _kill(process)
            raise
        if code != 0:
            how = f"was silent for {silence:g} s and was stopped" if code is None else f"ended with exit code {code}"
            said = _tail(log, proxy_secrets(environ))
            raise Failure(
                "script_failed",
                f"Ran the script {source} with OLLAMA_VERSION={version}: it {how}. Its last words: {last_words(said) or 'none'}. What was "
                "there before is back in its place. Set right what it says, or use method: archive, which needs no script and no curl.",
                last_logs=said,
            )
    return f"OLLAMA_VERSION={version} sh install.sh"


def _wait(process: subprocess.Popen[bytes], log: IO[bytes], silence: float) -> int | None:
    """Return the exit code, None when it had to be stopped."""
    size, moved = 0, time.monotonic()
    while True:
        try:
            return process.wait(_SCRIPT_POLL_S)
        except subprocess.TimeoutExpired:
            now = os.fstat(log.fileno()).st_size
            if now != size:
                size, moved = now, time.monotonic()
            if time.monotonic() - moved > silence:
                _kill(process)
                return None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the script with everything that it has started."""
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


# curl's bar, which moves in one line with its error, and the arrows before the script's own words.
_BAR = re.compile(r"#*=*[#=O ]*\d{1,3}\.\d%|^>>> |#{4,}")
_TROUBLE = re.compile(
    r"error|not found|missing|requires?\b|curl: \(|cannot|can't|unable|denied|fail|refused|unsupported|no such|no space",
    re.IGNORECASE,
)


def _tail(log: IO[bytes], secrets: Sequence[str]) -> list[str]:
    """Return the end of what the script said, without what its environment has of secrets: it may print that."""
    log.seek(max(0, os.fstat(log.fileno()).st_size - _TAIL))
    text = log.read().decode("utf-8", "replace").replace("\r", "\n")
    for secret in secrets:
        text = mask(text, secret)
    return [line.strip()[:300] for line in text.splitlines() if line.strip()][-20:]


def last_words(said: Sequence[str], limit: int = 400) -> str:
    """Return what the script ended with: from the first line of its end that speaks of trouble, else the last three lines."""
    lines = [line for line in (_BAR.sub("", line).strip() for line in said) if line]
    first = next((number for number, line in enumerate(lines) if _TROUBLE.search(line)), len(lines) - 3)
    return " ".join(lines[max(0, first) :])[:limit].rstrip(" .")


class Kept:
    """What the script is about to replace: it removes the libraries first, and fetches the new ones afterwards."""

    def __init__(self, prefix: Path, unit: Path) -> None:
        self._prefix = prefix
        self._unit = unit
        self._text = unit.read_bytes() if unit.is_file() else None
        self._folder = Path(tempfile.mkdtemp(prefix=".nemoclaw-ollama-", dir=prefix))
        copy(prefix, self._folder)

    def restore(self) -> None:
        """Put back what was there before the script ran."""
        put_back(self._prefix, self._folder)
        self.restore_unit(remove=True)

    def restore_unit(self, remove: bool = False) -> bool:
        """Put the administrator's unit back where the script wrote over it, and tell whether that was needed."""
        now = self._unit.read_bytes() if self._unit.is_file() else None
        if now == self._text or (self._text is None and not remove):
            return False
        if self._text is None:
            self._unit.unlink()
        else:
            self._unit.write_bytes(self._text)
        return True

    def forget(self) -> None:
        """Let go of what was kept."""
        shutil.rmtree(self._folder, ignore_errors=True)
