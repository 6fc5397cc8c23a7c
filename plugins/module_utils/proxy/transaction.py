# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The auth proxy as one transaction: write, reload or restart, prove, and keep it; or put back what was there.

What the two files held before is kept in a file of its own until the new ones are proved (decision 0023). So a run that is killed
anywhere is finished by the next one, and that one can still go back to what was proved last.
"""

from __future__ import annotations

import contextlib
import fcntl
import grp
import json
import os
import pwd
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..clock import Deadline
from ..failure import Failure
from ..host.machine import Account, Machine
from ..host.replace import replace_file
from ..host.sockets import find_listeners, tell_openness
from ..host.tools import find_package_manager
from ..ollama.systemd import Systemd
from .configuration import (
    ACCOUNT,
    BEFORE,
    CONFIG,
    LOADED,
    RUN,
    STATE,
    TEMP,
    TOKENS,
    UNIT,
    UNIT_PATH,
    USUAL_NGINX,
    Gate,
    ProxySettings,
    find_gate,
    problems,
    render_config,
    render_unit,
)
from .gate import compare_gates, find_own_proxies, prove_gates, upstream_ports
from .keep import TokenFiles
from .kept import Kept, bring
from .ports import bring_to_loopback, free_ports
from .token import NEXT_SUFFIX, token_path

_LOCK = "/run/nemoclaw-ollama-proxy.lock"
_LOCK_LOOK_S = 0.2
_COMMAND_S = 30.0
# New worker processes are there within milliseconds; a host under load takes longer.
_RELOAD_S = 10.0
_RELOAD_LOOK_S = 0.02
_FILE_MODE = 0o644
_RUNNING = ("active", "reloading")


@dataclass(frozen=True)
class Desired:
    """What the auth proxy is to be, and whose token opens it.

    Attributes:
        settings: Of the two files.
        account: Whose token it is.
        path: The token file; None is NemoClaw's own.
        overlap: Seconds for which a previous token stays valid.
        timeout: Seconds for which it may take to serve.

    """

    settings: ProxySettings
    account: Account
    path: str | None = None
    overlap: int = 3600
    timeout: float = 15

    @property
    def token_file(self) -> str:
        """The token file, NemoClaw's own where none is named."""
        return self.path or token_path(self.account.home)


@dataclass
class Report:
    """What was done, or would be in check mode, as C(VERB WHAT), and what was seen at the end."""

    actions: list[str] = field(default_factory=list)
    gates: list[dict[str, Any]] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    summary: str = ""
    kept: Kept | None = None

    def keep(self, kept: Kept) -> Kept:
        """Take over what became of the token."""
        self.kept = kept
        self.warnings += kept.warnings
        if kept.changed or kept.gate_written:
            self.actions.append(f"write {kept.path if kept.changed else TOKENS}")
            self.diff.append(kept.as_result()["diff"])
        return kept

    def as_result(self) -> dict[str, Any]:
        """Return the module's result, without the token."""
        result = {"changed": bool(self.actions), "actions": self.actions, "gates": self.gates, "diff": self.diff}
        if self.summary:
            result["summary"] = self.summary
        if self.kept:
            kept = self.kept.as_result()
            result.update((name, kept[name]) for name in ("fingerprint", "previous_fingerprint", "path"))
        return {**result, "warnings": self.warnings}

    def write(self, path: str, before: str | None, after: str) -> None:
        """Take note of a file that is written."""
        self.actions.append(f"write {path}")
        self.diff.append({"before_header": path, "after_header": path, "before": before or "", "after": after})


def foresee(machine: Machine, desired: Desired, may_install: bool = False) -> str:
    """Return the path of nginx, after a look at everything that stands against the auth proxy; nothing is changed.

    Args:
        machine: The host.
        desired: What is wanted.
        may_install: Whether nginx is still to be installed where it is missing.

    Raises:
        Failure: C(proxy_settings_invalid), C(systemd_missing), C(package_manager_missing), C(package_not_installed),
            C(engine_exposed) and C(port_taken).

    """
    wrong = problems(desired.settings)
    if wrong:
        raise Failure("proxy_settings_invalid", " ".join(wrong))
    ports = upstream_ports(desired.settings.gates)
    if not Systemd.is_running(machine):
        raise Failure(
            "systemd_missing",
            "The proxy is a service of systemd, and this host does not run it. Boot the host with systemd (on WSL: [boot] systemd=true in "
            "/etc/wsl.conf, then wsl --shutdown), or use a provider that needs no proxy. Nothing was changed. "
            + tell_openness(find_listeners(machine, ports), ports),
        )
    nginx = find_gate(machine)["nginx"]
    if nginx is None:
        _foresee_install(machine, may_install)
    bring_to_loopback(machine, desired.account, ports, check_mode=True)
    find_own_proxies(desired.settings.gates, desired.account, ACCOUNT)
    return str(nginx or USUAL_NGINX)


def _foresee_install(machine: Machine, may_install: bool) -> None:
    if find_package_manager(machine) is None:
        raise Failure(
            "package_manager_missing",
            "The proxy is nginx, which this host does not have, and no package manager that could install it was found. Install nginx, and "
            "run this again.",
        )
    if not may_install:
        raise Failure(
            "package_not_installed",
            "The proxy is nginx, which was looked for in the system's folders and is not there. Install it, for example with the module "
            "host_package, and run this again.",
        )


def ensure(machine: Machine, desired: Desired, check_mode: bool) -> Report:
    """Have the auth proxy as it is wanted, proved, unless only checking; where it cannot be had, what was there is back.

    Raises:
        Failure: With the codes of C(foresee), of the token, of the proof, and C(proxy_config_refused), C(systemd_failed).

    """
    with _alone(desired.timeout, check_mode):
        nginx = foresee(machine, desired, may_install=check_mode)
        report = Report()
        ports = upstream_ports(desired.settings.gates)
        report.actions += bring_to_loopback(machine, desired.account, ports, check_mode, report.warnings)
        _ensure_account(machine, report, check_mode)
        kept = report.keep(_first_token(machine, desired, check_mode))
        wanted = {CONFIG: render_config(desired.settings), UNIT_PATH: render_unit(desired.settings, nginx)}
        files = [{"path": path, "content": text} for path, text in wanted.items()]
        compared = compare_gates(desired.settings.gates, desired.account, kept.path, ACCOUNT, UNIT, files)
        report.gates = compared["gates"]
        if not compared["converged"] or kept.gate_changed:
            found = {one["path"]: one["content"] for one in compared["found"]}
            _change(machine, desired, nginx, report, found, wanted, compared["wrong"], check_mode)
        return report


def _first_token(machine: Machine, desired: Desired, check_mode: bool) -> Kept:
    """Have a token; where there can be none, and no auth proxy was there, leave nothing of it."""
    try:
        return _token("present", desired, check_mode)
    except Failure as failure:
        if check_mode or os.path.lexists(UNIT_PATH):
            raise
        raise Failure(failure.code, f"{failure.message} {_leave_nothing(machine)}", **failure.details) from failure


def _change(
    machine: Machine,
    desired: Desired,
    nginx: str,
    report: Report,
    found: dict[str, str | None],
    wanted: dict[str, str],
    wrong: list[str],
    check_mode: bool,
) -> None:
    before = _remember(found, check_mode)
    for path in wrong:
        report.write(path, found[path], wanted[path])
    is_changed = (before[UNIT_PATH] or "").rstrip() != wanted[UNIT_PATH].rstrip()
    try:
        if not check_mode:
            _make_folders()
            _test(machine, nginx, wanted[CONFIG])
            for path in wrong:
                replace_file(path, wanted[path], _FILE_MODE)
        # Only now, when nginx has found nothing wrong: until here that one still answered.
        for pid in free_ports(desired.settings.gates, desired.account, ACCOUNT, check_mode):
            report.actions.append(f"stop NemoClaw's own proxy (process {pid})")
        is_read = CONFIG not in wrong and not (report.kept and report.kept.gate_changed)
        report.actions += _serve(machine, is_changed, is_read, check_mode)
        if not check_mode:
            report.gates = _prove(desired, desired.settings.gates)
    except (Failure, OSError) as error:
        failure = _as_failure(error)
        if check_mode or (not wrong and before == found):
            _forget_before(check_mode)
            raise failure from error
        raise _restore(machine, desired, before, report, failure) from error
    _forget_before(check_mode)


def _remember(found: dict[str, str | None], check_mode: bool) -> dict[str, str | None]:
    """Return what the files held when they were proved last: before this run, or before one that was interrupted."""
    try:
        before = json.loads(Path(BEFORE).read_text(encoding="utf-8"))
        return {path: before[path] for path in found}
    except (OSError, ValueError, KeyError):
        if not check_mode:
            Path(STATE).mkdir(mode=0o755, exist_ok=True)
            replace_file(BEFORE, json.dumps(found), 0o600)
        return found


def _forget_before(check_mode: bool) -> None:
    if not check_mode:
        Path(BEFORE).unlink(missing_ok=True)


def _serve(machine: Machine, is_changed: bool, is_read: bool, check_mode: bool) -> list[str]:
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


def _restore(
    machine: Machine, desired: Desired, before: dict[str, str | None], report: Report, failure: Failure
) -> Failure:
    """Put back what was there before, and return the failure with what is there now in its sentence."""
    outcome = _go_back(machine, desired, before) if before[UNIT_PATH] else f"{_leave_nothing(machine)} The token stays."
    if any("NemoClaw's own proxy" in action for action in report.actions):
        outcome += " The proxy of NemoClaw itself was stopped; nemoclaw connect starts it again."
    return Failure(failure.code, f"{failure.message} {outcome}", **failure.details)


def _leave_nothing(machine: Machine) -> str:
    try:
        _remove(machine)
    except (Failure, OSError) as error:
        return f"There was no auth proxy before, and this one cannot be removed: {_as_failure(error).message}"
    return "There was no auth proxy before, and none is left."


def _go_back(machine: Machine, desired: Desired, before: dict[str, str | None]) -> str:
    try:
        is_changed = False
        for path, text in before.items():
            if text is None:
                Path(path).unlink(missing_ok=True)
            elif _content(path) != text:
                replace_file(path, text, _FILE_MODE)
                is_changed = is_changed or path == UNIT_PATH
        _serve(machine, is_changed, False, check_mode=False)
        _prove(desired, _standing(machine) or desired.settings.gates)
    except (Failure, OSError) as error:
        return f"The previous auth proxy was put back and does not work: {_as_failure(error).message}"
    Path(BEFORE).unlink(missing_ok=True)
    return "The previous auth proxy is back and works."


def rotate(machine: Machine, desired: Desired, check_mode: bool) -> Report:
    """Make a new token; the previous one stays valid for the overlap.

    The auth proxy takes the new one, proved, before the token file gets it: wherever this is interrupted, whoever reads the file is let in.

    Raises:
        Failure: C(proxy_missing), C(rotation_running), those of the token and of the proof.

    """
    gates = _require(machine)
    with _alone(0, check_mode):
        report = Report()
        prepared = _token("prepared", desired, check_mode)
        try:
            _reload(machine, check_mode)
            report.gates = _prove(desired, gates, None if check_mode else prepared.path + NEXT_SUFFIX)
        except Failure as failure:
            if not check_mode:
                with contextlib.suppress(Failure):  # what went wrong before is what the user has to know
                    _token("present", desired, check_mode)
                    _reload(machine, check_mode)
            said = f"{failure.message} The token was not rotated: the previous one is valid."
            raise Failure(failure.code, said, **failure.details) from failure
        kept = report.keep(_token("rotated", desired, check_mode))
        report.actions.append(f"reload {UNIT}")
        if kept.gate_changed and not check_mode:
            _reload(machine, check_mode)
            report.gates = _prove(desired, gates)
        report.summary = _summarize(kept, desired.overlap)
        return report


def _summarize(kept: Kept, overlap: int) -> str:
    shown = kept.as_result()
    before = (
        f"The previous one ({shown['previous_fingerprint']}) opens the proxy as well, until a run of the role proxy at least {overlap} "
        "seconds from now, or of its tasks_from=drop_previous."
        if kept.previous
        else "The previous one opens nothing any more."
    )
    return f"The token is now {shown['fingerprint'] or 'a new one'} in {kept.path}. {before}"


def commit(machine: Machine, desired: Desired, check_mode: bool) -> Report:
    """End a rotation: only the newest token is valid from then on.

    Raises:
        Failure: C(proxy_missing), those of the token and of the proof.

    """
    gates = _require(machine)
    with _alone(desired.timeout, check_mode):
        report = Report()
        kept = report.keep(_token("present", desired, check_mode, overlap=0))
        if kept.gate_changed:
            report.actions.append(f"reload {UNIT}")
            _reload(machine, check_mode)
        report.gates = _prove(desired, gates)
        report.summary = _summarize(kept, 0)
        return report


def remove(machine: Machine, timeout: float, check_mode: bool) -> Report:
    """Remove unit, files and account; the token stays."""
    report = Report()
    with _alone(timeout, check_mode):
        found = find_gate(machine)
        report.actions += [f"stop {UNIT}"] if found["unit"] else []
        report.actions += [
            f"remove {path}" for path in (UNIT_PATH, CONFIG, TOKENS, STATE, RUN) if os.path.lexists(path)
        ]
        report.actions += [f"remove the account {ACCOUNT}"] if found["account"] else []
        if report.actions and not check_mode:
            _remove(machine)
    return report


def _remove(machine: Machine) -> None:
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


@contextlib.contextmanager
def _alone(limit_s: float, check_mode: bool) -> Iterator[None]:
    """Work on the auth proxy while no other run does.

    Raises:
        Failure: C(root_needed), C(rotation_running) when another run goes on for longer than C(limit_s).

    """
    if os.geteuid() != 0:
        raise Failure(
            "root_needed", "The auth proxy is a service that only root may change: run the task with become: true."
        )
    if check_mode:
        yield
        return
    handle = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    deadline = Deadline(limit_s)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not deadline.remaining:
                    raise Failure(
                        "rotation_running",
                        "Another run rotates the token or changes the auth proxy of this host at this moment. Nothing was changed. Wait "
                        "for its end, then run this again.",
                    ) from None
                deadline.sleep(_LOCK_LOOK_S)
        yield
    except OSError as error:
        raise _as_failure(error) from error
    finally:
        os.close(handle)


def _token(state: str, desired: Desired, check_mode: bool, overlap: int | None = None) -> Kept:
    return bring(
        desired.account,
        state,
        desired.path,
        desired.overlap if overlap is None else overlap,
        gate_path=TOKENS,
        gate_group=ACCOUNT,
        gate_config=CONFIG,
        gate_loaded=LOADED,
        is_alone=True,
        hand=None if check_mode else TokenFiles(),
    )


def _prove(desired: Desired, gates: list[Gate], token_file: str | None = None) -> list[dict[str, Any]]:
    return prove_gates(gates, desired.account, token_file or desired.token_file, ACCOUNT, UNIT, desired.timeout)


def _standing(machine: Machine) -> list[Gate]:
    return [Gate(**one) for one in find_gate(machine)["gates"]]


def _require(machine: Machine) -> list[Gate]:
    """Return the servers behind the auth proxy that stands, by its configuration: no settings are needed for them."""
    if not find_gate(machine)["unit"]:
        raise Failure(
            "proxy_missing",
            "This host has no proxy whose token could be rotated. Run the playbook nemoclaw.local_inference.site, or the role proxy, "
            "first.",
        )
    return _standing(machine)


def _reload(machine: Machine, check_mode: bool) -> None:
    """Have nginx read its files anew, or start with them."""
    if not check_mode:
        systemd = Systemd(machine)
        _do(machine, systemd, "reload" if systemd.show(UNIT).active in _RUNNING else "restart")


def _ensure_account(machine: Machine, report: Report, check_mode: bool) -> None:
    if find_gate(machine)["account"]:
        return
    report.actions.append(f"create the account {ACCOUNT}")
    if check_mode:
        return
    try:
        grp.getgrnam(ACCOUNT)
        group = ["--gid", ACCOUNT]
    except KeyError:
        group = ["--user-group"]
    words = ["--system", *group, "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
    _change_account(machine, "useradd", *words, "--comment", "Token gate before the model servers")


def _make_folders() -> None:
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


def _test(machine: Machine, nginx: str, config: str) -> None:
    """Have nginx read the configuration before anything is replaced by it."""
    candidate = f"{STATE}/candidate.conf"
    replace_file(candidate, config, _FILE_MODE)
    try:
        said = _run(machine, nginx, "-t", "-q", "-c", candidate)
    finally:
        Path(candidate).unlink()
    if said:
        raise Failure(
            "proxy_config_refused",
            f"nginx refuses the configuration that the auth proxy would get: {said}. Correct what it names, most often an address of "
            "proxy_listen that this host does not have.",
        )


def _run(machine: Machine, program: str, *words: str) -> str:
    """Run a program, and return what it complains of; empty where it has done its work."""
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
            f"Ran {program} for the account {ACCOUNT} that the auth proxy runs as: {said}. Look at the host's user database, or do it by "
            "hand, then run this again.",
        )


def _content(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _as_failure(error: Failure | OSError) -> Failure:
    if isinstance(error, Failure):
        return error
    return Failure(
        "gate_unwritable",
        f"The files of the auth proxy cannot be written: {error}. Run the task as root (become), and check that the file system has room "
        "and can be written.",
    )
