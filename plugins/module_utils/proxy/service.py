# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The parts of the auth proxy on a host, and the single steps by which its transaction changes them: account, folders, nginx, unit, ports.

The Node proxy is a detached process of the user, C(node .../ollama-auth-proxy.js), with its number in
C(~/.nemoclaw/ollama-auth-proxy.pid) (upstream-facts N21). The auth proxy takes its place with the same token file. Nothing else
is ever stopped.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import signal
from pathlib import Path

from ..clock import Deadline
from ..failure import Failure
from ..host.machine import Account, Machine, acting_as, read_file
from ..host.replace import replace_file
from ..host.sockets import exposed, require_loopback
from ..host.systemd import Systemd
from ..ollama import dropin
from ..ollama.presence import is_ollama
from ..ollama.service import converge
from ..ollama.service_plan import Desired
from ..route.record import STATE_DIRECTORY
from .configuration import ACCOUNT, CONFIG, RUN, STATE, TEMP, TOKENS, UNIT, UNIT_PATH, Gate, find_gate
from .gate import find_open, find_own_proxies
from .probe import PID_FILE, is_node_proxy

FILE_MODE = 0o644
_COMMAND_S = 30.0
# New worker processes are there within milliseconds; a host under load takes longer.
_RELOAD_S = 10.0
_RELOAD_LOOK_S = 0.02
_RUNNING = ("active", "reloading")
# NemoClaw waits a second for each (upstream-facts N21); it holds no state, so there is nothing to lose.
_TERM_S = 3.0
_KILL_S = 2.0
_BETWEEN_LOOKS_S = 0.05


def make_account(machine: Machine) -> None:
    """Create the account that nginx runs as.

    Raises:
        Failure: C(account_failed).

    """
    try:
        grp.getgrnam(ACCOUNT)
        group = ["--gid", ACCOUNT]
    except KeyError:
        group = ["--user-group"]
    words = ["--system", *group, "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
    _change_account(machine, "useradd", *words, "--comment", "Auth proxy before the model servers")


def make_folders() -> None:
    """As the unit makes them at each start; nginx looks at them before the first one, when it tests its configuration."""
    owner = pwd.getpwnam(ACCOUNT)
    for path, uid, gid, mode in (
        (STATE, 0, 0, 0o755),
        (TEMP, owner.pw_uid, owner.pw_gid, 0o700),
        (RUN, owner.pw_uid, owner.pw_gid, 0o700),
    ):
        Path(path).mkdir(mode=mode, exist_ok=True)
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchown(handle, uid, gid)
            os.fchmod(handle, mode)
        finally:
            os.close(handle)


def test_config(machine: Machine, nginx: str, config: str) -> None:
    """Have nginx read the configuration before anything is replaced by it."""
    candidate = f"{STATE}/candidate.conf"
    replace_file(candidate, config, FILE_MODE)
    try:
        said = _run(machine, nginx, "-t", "-q", "-c", candidate)
    finally:
        Path(candidate).unlink()
    if said:
        raise Failure(
            "proxy_config_refused",
            f"nginx refuses the auth proxy's new configuration: {said}. Correct what it names, most often an address in proxy_listen that "
            f"this host does not have.",
        )


def serve(machine: Machine, is_changed: bool, is_read: bool, check_mode: bool) -> list[str]:
    """Have systemd run the unit, now and after each boot, and return what that took.

    A reload keeps the streams that are live. Only another unit, or one that does not run, needs a start.
    """
    systemd = Systemd(machine)
    state = systemd.show(UNIT)
    is_running = state.active in _RUNNING
    needs = "start" if not is_running else "restart" if is_changed or state.stale else "" if is_read else "reload"
    actions = [f"enable {UNIT}"] if not state.enabled else []
    actions += [f"{needs} {UNIT}"] if needs else []
    if check_mode:
        return actions
    if is_changed or state.stale:
        systemd.do("daemon-reload")
    if not state.enabled:
        systemd.do("enable", UNIT)
    if needs:
        # One that systemd starts over and over again is activating, which a start would leave alone.
        _do(machine, systemd, "reload" if needs == "reload" else "restart")
    return actions


def reload(machine: Machine) -> None:
    """Have nginx reload its files, or start with them."""
    systemd = Systemd(machine)
    _do(machine, systemd, "reload" if systemd.show(UNIT).active in _RUNNING else "restart")


def _do(machine: Machine, systemd: Systemd, verb: str) -> None:
    """Reload or restart; return once nobody takes a connection who has not read the newest files.

    The old worker processes of nginx go on accepting until the new ones are there. One of them would refuse a token that another has just
    been proved with.
    """
    old = _accepting(machine, systemd.show(UNIT).pid) if verb == "reload" else set()
    systemd.do(verb, UNIT)
    deadline = Deadline(_RELOAD_S)
    while deadline.remaining and old & _accepting(machine, systemd.show(UNIT).pid):
        deadline.sleep(_RELOAD_LOOK_S)


def _accepting(machine: Machine, master: int) -> set[int]:
    """Return the worker processes of nginx that take connections; one that does not says so in its title."""
    children = (machine.read(f"/proc/{master}/task/{master}/children") or "").split()
    titles = {int(one): machine.read(f"/proc/{one}/cmdline") or "" for one in children}
    return {one for one, title in titles.items() if "worker process" in title and "shutting down" not in title}


def remove_all(machine: Machine) -> None:
    """Remove it all; the account goes last, by which another run sees that something is left."""
    systemd = Systemd(machine) if Systemd.is_running(machine) else None
    if systemd and os.path.lexists(UNIT_PATH):
        systemd.do("disable", "--now", UNIT)
    for path in (CONFIG, TOKENS, UNIT_PATH):
        Path(path).unlink(missing_ok=True)
    for folder in (RUN, STATE):
        shutil.rmtree(folder, ignore_errors=True)
    if systemd:
        systemd.do("daemon-reload")
        with contextlib.suppress(Failure):  # only one that has failed is remembered
            systemd.do("reset-failed", UNIT)
    if find_gate(machine)["account"]:
        _change_account(machine, "userdel")


def _run(machine: Machine, program: str, *words: str) -> str:
    """Run a program, and return its complaint; empty if it succeeded."""
    answer = machine.run([program, *words], _COMMAND_S)
    return (
        ""
        if answer.code == 0
        else " ".join(answer.output.split())[:400] or answer.problem or f"exit code {answer.code}"
    )


def _change_account(machine: Machine, program: str, *words: str) -> None:
    said = _run(machine, machine.find_system_command(program) or f"/usr/sbin/{program}", *words, ACCOUNT)
    if said:
        raise Failure(
            "account_failed",
            f"Ran {program} for the account {ACCOUNT} that the auth proxy runs as: {said}. Check the host's user database, or do it by "
            f"hand, then run this again.",
        )


def as_failure(error: Failure | OSError) -> Failure:
    """Return a failure as it is, and what the file system refuses as one."""
    if isinstance(error, Failure):
        return error
    return Failure(
        "gate_unwritable",
        f"The files of the auth proxy cannot be written: {error}. Run the task as root (become), and check that the file system is "
        f"writable and has space.",
    )


def _stop_node_proxy(pid: int, account: Account) -> None:
    """End NemoClaw's proxy, after looking once more that it is that, and forget its process id.

    Raises:
        Failure: C(process_not_stopped) when it is still there after SIGKILL.

    """
    for number, seconds in ((signal.SIGTERM, _TERM_S), (signal.SIGKILL, _KILL_S)):
        if not is_node_proxy(pid, account):
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = Deadline(seconds)
        while deadline.remaining and is_node_proxy(pid, account):
            deadline.sleep(_BETWEEN_LOOKS_S)
    else:
        if is_node_proxy(pid, account):
            raise Failure(
                "process_not_stopped",
                f"NemoClaw's proxy, process {pid}, holds the auth proxy's port and did not exit after SIGTERM and SIGKILL. Find out why it "
                f"hangs (an unresponsive file system, for example), then run this again.",
                pid=pid,
            )
    _forget(pid, account)


def _forget(pid: int, account: Account) -> None:
    """Remove NemoClaw's PID file where it names this process."""
    path = Path(account.home) / STATE_DIRECTORY / PID_FILE
    with acting_as(account), contextlib.suppress(OSError, ValueError):
        if int(read_file(path)) == pid:
            path.unlink()


# As the module ollama_service waits by default.
_START_S = 60


def free_ports(gates: list[Gate], account: Account, gate_user: str, check_mode: bool) -> list[int]:
    """Stop NemoClaw's own proxies on the auth proxy's ports and return their process ids.

    Raises:
        Failure: C(port_taken) before anything was stopped, C(process_not_stopped).

    """
    pids = find_own_proxies(gates, account, gate_user)
    if not check_mode:
        for pid in pids:
            _stop_node_proxy(pid, account)
    return pids


def bring_to_loopback(
    machine: Machine, account: Account, ports: set[int], check_mode: bool, warnings: list[str] | None = None
) -> list[str]:
    """Bring each Ollama on the ports that is open to the network back to loopback, and return what was done.

    Args:
        machine: The host.
        account: Whose Ollama it is, where it is a process.
        ports: Of the servers.
        check_mode: Only say what would be done.
        warnings: Gets what was open, to whom, and who was connected.

    Raises:
        Failure: C(engine_exposed) for a server that is not ours to move; the codes of C(ollama_service).

    """
    actions: list[str] = []
    for port in sorted(ports):
        found = find_open(machine, {port})
        if not found:
            continue
        # Root in a container may not see who listens; what does is asked then, and answers as Ollama or does not.
        if not all(is_ollama(one) for one in found if one["process"]):
            raise exposed(machine, port, found)
        desired = Desired("started", port, kept_environment(machine), True, _START_S)
        try:
            report, _after = converge(machine, account, desired, check_mode)
        except Failure as failure:
            raise exposed(machine, port, found) if failure.code == "not_ollama" else failure from None
        actions += report.actions
        if warnings is not None:
            warnings += report.warnings
        if not check_mode:
            require_loopback(machine, port)
    return actions


def kept_environment(machine: Machine) -> dict[str, str]:
    """Return the variables that our drop-in has besides the address: whoever set them wants them still.

    Those that were taken over from a daemon that somebody started by hand are left out: they stay by that mark, without which the next
    run of the role ollama would take them away.
    """
    found: dict[str, str] = {}
    for text in dropin.find(machine).values():
        adopted = dropin.adopted(text)
        found.update((name, value) for name, value in dropin.variables(text).items() if name not in adopted)
    found.pop("OLLAMA_HOST", None)
    return found
