# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The auth proxy as one transaction: write, reload or restart, prove, and keep it; or restore what was there.

What the two files held before is kept in a file of its own until the new ones are proved (decision 0023). So a run that is killed
anywhere is finished by the next one, and that one can still go back to what was proved last.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..clock import Deadline
from ..failure import Failure
from ..host.machine import Account, Machine
from ..host.replace import replace_file
from ..host.sockets import find_listeners, tell_openness
from ..host.systemd import Systemd
from ..host.tools import find_package_manager
from .configuration import (
    ACCOUNT,
    BEFORE,
    CONFIG,
    LOADED,
    RUN,
    STATE,
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
from .kept import Kept, bring
from .service import (
    FILE_MODE,
    as_failure,
    bring_to_loopback,
    free_ports,
    make_account,
    make_folders,
    reload,
    remove_all,
    serve,
    test_config,
)
from .token import NEXT_SUFFIX, token_path
from .token_files import TokenFiles

_LOCK = "/run/nemoclaw-ollama-proxy.lock"
_LOCK_LOOK_S = 0.2


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
            "The proxy is a systemd service, but this host does not run systemd. Boot the host with systemd (on WSL: [boot] systemd=true "
            "in /etc/wsl.conf, then wsl --shutdown), or use a provider that needs no proxy. Nothing was changed. "
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
            "The proxy is nginx, which this host lacks, and no package manager was found to install it. Install nginx, then run this "
            "again.",
        )
    if not may_install:
        raise Failure(
            "package_not_installed",
            "The proxy is nginx, which is not in the system's program folders. Install it, for example with the module host_package, then "
            "run this again.",
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
        if not find_gate(machine)["account"]:
            report.actions.append(f"create the account {ACCOUNT}")
            if not check_mode:
                make_account(machine)
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
            make_folders()
            test_config(machine, nginx, wanted[CONFIG])
            for path in wrong:
                replace_file(path, wanted[path], FILE_MODE)
        # Only now, when nginx has found nothing wrong: until here that one still answered.
        for pid in free_ports(desired.settings.gates, desired.account, ACCOUNT, check_mode):
            report.actions.append(f"stop NemoClaw's own proxy (process {pid})")
        is_read = CONFIG not in wrong and not (report.kept and report.kept.gate_changed)
        report.actions += serve(machine, is_changed, is_read, check_mode)
        if not check_mode:
            report.gates = _prove(desired, desired.settings.gates)
    except (Failure, OSError) as error:
        failure = as_failure(error)
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


def _restore(
    machine: Machine, desired: Desired, before: dict[str, str | None], report: Report, failure: Failure
) -> Failure:
    """Put back what was there before, and return the failure with what is there now in its sentence."""
    outcome = _go_back(machine, desired, before) if before[UNIT_PATH] else f"{_leave_nothing(machine)} The token stays."
    if any("NemoClaw's own proxy" in action for action in report.actions):
        outcome += " NemoClaw's own proxy was stopped; nemoclaw connect starts it again."
    return Failure(failure.code, f"{failure.message} {outcome}", **failure.details)


def _leave_nothing(machine: Machine) -> str:
    try:
        remove_all(machine)
    except (Failure, OSError) as error:
        return f"There was no auth proxy before, and this one cannot be removed: {as_failure(error).message}"
    return "There was no auth proxy before, and none remains."


def _go_back(machine: Machine, desired: Desired, before: dict[str, str | None]) -> str:
    try:
        is_changed = False
        for path, text in before.items():
            if text is None:
                Path(path).unlink(missing_ok=True)
            elif _content(path) != text:
                replace_file(path, text, FILE_MODE)
                is_changed = is_changed or path == UNIT_PATH
        serve(machine, is_changed, False, check_mode=False)
        _prove(desired, _standing(machine) or desired.settings.gates)
    except (Failure, OSError) as error:
        return f"The previous auth proxy was restored but does not work: {as_failure(error).message}"
    Path(BEFORE).unlink(missing_ok=True)
    return "The previous auth proxy is restored and works."


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
            if not check_mode:
                reload(machine)
            report.gates = _prove(desired, gates, None if check_mode else prepared.path + NEXT_SUFFIX)
        except Failure as failure:
            if not check_mode:
                with contextlib.suppress(Failure):  # what went wrong before is what the user has to know
                    _token("present", desired, check_mode)
                    reload(machine)
            said = f"{failure.message} The token was not rotated: the previous one remains valid."
            raise Failure(failure.code, said, **failure.details) from failure
        kept = report.keep(_token("rotated", desired, check_mode))
        report.actions.append(f"reload {UNIT}")
        if kept.gate_changed and not check_mode:
            reload(machine)
            report.gates = _prove(desired, gates)
        report.summary = _summarize(kept, desired.overlap)
        return report


def _summarize(kept: Kept, overlap: int) -> str:
    shown = kept.as_result()
    before = (
        f"The previous one ({shown['previous_fingerprint']}) remains valid until the role proxy, or its tasks_from=drop_previous, runs at "
        f"least {overlap} seconds from now."
        if kept.previous
        else "The previous one is no longer valid."
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
            if not check_mode:
                reload(machine)
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
            remove_all(machine)
    return report


@contextlib.contextmanager
def _alone(limit_s: float, check_mode: bool) -> Iterator[None]:
    """Work on the auth proxy while no other run does.

    Raises:
        Failure: C(root_needed), C(rotation_running) when another run goes on for longer than C(limit_s).

    """
    if os.geteuid() != 0:
        raise Failure("root_needed", "Only root may change the auth proxy: run the task with become: true.")
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
                        "Another run is rotating the token or changing this host's auth proxy. Nothing was changed. Wait for it to finish, "
                        "then run this again.",
                    ) from None
                deadline.sleep(_LOCK_LOOK_S)
        yield
    except OSError as error:
        raise as_failure(error) from error
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
            "This host has no auth proxy, so there is no token to rotate. Run the playbook nemoclaw.local_inference.site, or the role "
            "proxy, first.",
        )
    return _standing(machine)


def _content(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
