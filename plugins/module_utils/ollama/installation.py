# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Install or upgrade Ollama: what is new enough is left alone, and what was there stays until the new one is proved."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import IO

from ..failure import Failure
from ..fetch import download
from ..fetch.staging import Staging
from ..host.machine import Account, Machine, acting_as
from ..host.systemd import Systemd, UnitState
from ..jobs.progress import Position, Report
from . import archive, unit_file, upgrade
from .archive import SYSTEM_PREFIX, Desired, Result, check_place, foresee
from .client import (
    MANIFEST_COPY,
    PARTS,
    PROGRAM,
    ask_ollama_daemon,
    find_damage,
    find_leftover,
    find_ollama_client,
    find_previous,
    read_manifest,
)
from .names import is_older
from .presence import UNIT
from .upgrade import copy_manifest, write_manifest

# Longer than a fact may take: on a busy host, one that is late would pass for one without a version, which nobody keeps for a way back.
_ASK_LIMIT_S = 30.0
_UNDONE = "The previous installation is restored."


class Installation:
    """One run of the module on one host.

    Args:
        machine: The host.
        account: Whose installation it is in user mode; root in system mode.
        desired: What is wanted.
        report: Is told what is done now, and how far a download is.

    """

    def __init__(self, machine: Machine, account: Account, desired: Desired, report: Report) -> None:
        self._machine = machine
        self._account = account
        self._desired = desired
        self._report = report
        self._version = archive.check_version(desired.version)
        self._minimum = archive.check_version(desired.minimum_version or desired.version)
        if is_older(self._version, self._minimum):
            raise Failure(
                "version_invalid",
                f"The version {self._version} is below the minimum {self._minimum}. Raise ollama_version (option version), or "
                "lower ollama_minimum_version (option minimum_version).",
            )
        self._prefix = desired.prefix or (SYSTEM_PREFIX if desired.mode == "system" else f"{account.home}/.local")
        self._program = f"{self._prefix}/{PROGRAM}"
        self._place = machine.path(self._prefix)

    def converge(self, check_mode: bool) -> Result:
        """Have Ollama in a version that is new enough, unless only checking.

        Raises:
            Failure: With the codes of docs/failure-codes.md, section Ollama.

        """
        path, client, daemon = self._look()
        result = Result(path, client, daemon, client, daemon, previous=find_previous(self._place))
        stale_client = is_older(client, self._minimum)
        stale_daemon = daemon is not None and is_older(daemon, self._minimum)
        reason = None if stale_client else self._why_again(result)
        if not stale_client and not stale_daemon and not reason:
            self._tidy(result, check_mode)
            return result
        running = self._find_running(result, daemon, stale_daemon) if daemon else None
        kept = result.previous
        try:
            if stale_client or reason:
                self._install(result, running, check_mode, reason)
            elif running:
                self._plan_restart(result, running)
                if not check_mode:
                    upgrade.restart(self._machine, running, self._minimum, self._desired.timeout, "")
        except Failure as failure:
            if kept is None or check_mode:
                raise
            # An earlier run was interrupted: what lies there is not what served last.
            raise self._go_back(kept, running, failure) from failure
        if not check_mode:
            self._check_after(result, stale_client or bool(reason))
        return result

    def _why_again(self, result: Result) -> str | None:
        """Return why a version that is new enough is installed once more, None where it is left alone.

        Raises:
            Failure: C(ollama_damaged), where that would be an older one.

        """
        if result.path != self._program:  # another's, which check_place() would refuse to replace
            return None
        manifest = read_manifest(self._place)
        reason = find_damage(self._place) or ("that was asked for" if self._desired.reinstall else None)
        if reason and is_older(self._version, str(result.version)):
            raise Failure(
                "ollama_damaged",
                f"Ollama {result.version} in {self._prefix} has to be installed once more ({reason}), and it is newer than the version "
                f"{self._version} that would be installed. Set version (ollama_version) to {result.version}, with its checksum. Nothing "
                "was changed.",
                path=self._program,
            )
        if reason:
            return reason
        wanted = self._desired.checksum or ""
        if manifest and manifest.sha256 and self._version == manifest.version and self._desired.method == "archive":
            found = f"sha256:{manifest.sha256}"
            return f"it is from another archive ({found})" if wanted and wanted.lower() != found else None
        return None

    def restore(self, check_mode: bool) -> Result:
        """Put back what an upgrade replaced and kept, and have the daemon run it, unless only checking; without such a thing do nothing.

        Raises:
            Failure: C(install_failed), and what find_running() and systemd say.

        """
        path, client, daemon = self._look()
        kept = find_previous(self._place)
        result = Result(path, client, daemon, client, daemon)
        if kept is None:
            return result
        running = upgrade.find_running(self._machine, self._desired.port, daemon, self._program) if daemon else None
        # One that has ended meanwhile is started again by its unit alone.
        unit = None if daemon else upgrade.find_unit(self._machine)
        result.plan(f"put Ollama {kept} back in {self._prefix}")
        result.version = kept
        if running or unit:
            result.plan(f"restart {running or unit}")
            result.daemon_restarted, result.daemon_version = True, kept
        if check_mode:
            return result
        self._put_back(kept, running, unit)
        if running or unit:
            result.daemon_version = upgrade.await_answer(self._desired.port, self._desired.timeout)
        return result

    def _put_back(self, kept: str, running: upgrade.Running | None, unit: str | None) -> None:
        try:
            with acting_as(self._account):
                upgrade.restore(self._place)
        except OSError as error:
            raise Failure(
                "install_failed", f"Putting Ollama {kept} back in {self._prefix} failed: {error}. Install it again."
            ) from error
        if running:
            upgrade.do_restart(self._machine, running)
        elif unit:
            Systemd(self._machine).do("restart", unit)
        self._forget()  # last: a run that is killed before begins anew

    def _go_back(self, kept: str, running: upgrade.Running | None, failure: Failure) -> Failure:
        """Put back what served before an interrupted run, and return the failure with that in its sentence."""
        try:
            self._put_back(kept, running, None if running else upgrade.find_unit(self._machine))
            outcome = f"Ollama {kept}, which served before an earlier run was interrupted, is restored."
        except Failure as second:
            outcome = second.message
        return Failure(failure.code, f"{failure.message} {outcome}", **failure.details)

    def settle(self, check_mode: bool) -> Result:
        """Let go of what an upgrade replaced and kept, unless only checking."""
        path, client, daemon = self._look()
        result = Result(path, client, daemon, client, daemon)
        kept = find_previous(self._place)
        if kept is not None:
            result.plan(f"remove Ollama {kept}, which was kept")
            if not check_mode:
                self._forget()
        return result

    def _forget(self) -> None:
        """Let go of what is kept, and of the copy that a run which was killed has left in its staging folder."""
        with acting_as(self._account):
            self._staging().tidy()
            upgrade.forget(self._place)

    def _tidy(self, result: Result, check_mode: bool) -> None:
        """Remove what a run has left that was killed while it tidied up, unless only checking."""
        leftover = find_leftover(self._place)
        if leftover is None:
            return
        result.plan(f"remove {leftover}, which an interrupted run left")
        if not check_mode:
            with acting_as(self._account):
                self._staging().tidy()
                if result.previous is None:
                    upgrade.forget(self._place)

    def _staging(self) -> Staging:
        return Staging(self._place, "Ollama", (MANIFEST_COPY, *PARTS))

    def _look(self) -> tuple[str | None, str | None, str | None]:
        """Return the program's path, its version and the daemon's; None for what is not there or does not tell."""
        folder = f"{self._prefix}/bin" if self._desired.prefix else None
        client = find_ollama_client(self._machine, self._account, _ASK_LIMIT_S, folder)
        return client["path"], client["version"], ask_ollama_daemon(self._desired.port)[0]

    def _find_running(self, result: Result, daemon: str, stale: bool) -> upgrade.Running | None:
        if not self._desired.restart:
            result.daemon_restart_needed = True
            return None
        try:
            running = upgrade.find_running(self._machine, self._desired.port, daemon, self._program)
        except Failure as failure:
            if stale or failure.code != "daemon_not_ours":
                raise
            return None  # new enough, and none of our business: only the program is missing or too old
        if running is None and stale:
            raise Failure(
                "ollama_elsewhere",
                f"The daemon on port {self._desired.port} is Ollama {daemon} and runs a program other than {self._program}, so installing "
                f"there would not change it. Stop it, or set prefix to the folder that has its bin/ollama. Nothing was changed.",
            )
        return running

    def _plan_restart(self, result: Result, running: upgrade.Running) -> None:
        result.plan(f"restart {running}")
        result.daemon_restarted = True
        result.daemon_version = self._version

    def _install(self, result: Result, running: upgrade.Running | None, check_mode: bool, reason: str | None) -> None:
        check_place(self._desired, self._prefix, self._program, result.path)
        by_script = self._desired.method == "script"
        sources = self._sources()
        result.source, result.path, result.version = str(sources[0]), self._program, self._version
        what = f"run {sources[0]}" if by_script else f"install {' and '.join(map(str, sources))}"
        again = f" once more, since {reason}" if reason else ""
        result.plan(f"{what} as Ollama {self._version} in {self._prefix}{again}")
        needs_unit = self._desired.mode == "system" and not by_script and unit_file.is_missing(self._machine)
        if needs_unit:
            result.unit = unit_file.render(self._prefix)
            result.plan(f"write {unit_file.PATH}")
        if running:
            self._plan_restart(result, running)
        if check_mode:
            with acting_as(self._account):
                foresee(self._machine, self._desired, self._place, sources, result)
            return
        # One that does not tell its version is nothing to go back to, and one that is kept already was the last to be proved.
        # What is installed once more, because it is broken, is none either.
        keeps = (
            self._desired.keep_previous
            and result.previous_version is not None
            and result.previous is None
            and reason is None
        )
        if keeps:
            self._keep(result, str(result.previous_version))
        try:
            if by_script:
                self._run_script(result, sources[0], running)
            else:
                self._unpack(result, sources, running, needs_unit)
        except Failure:
            if keeps:  # it is in its place again
                with acting_as(self._account):
                    upgrade.forget(self._place)
            raise

    def _keep(self, result: Result, version: str) -> None:
        with acting_as(self._account):
            try:
                upgrade.keep(self._place, version)
            except OSError as error:
                upgrade.forget(self._place)
                raise self._failed(error) from error
        result.previous = version

    def _sources(self) -> list[download.Source]:
        desired = self._desired
        if desired.method == "script":
            return [archive.script(desired.url, desired.checksum)]
        jetpack = (desired.jetpack_url, desired.jetpack_checksum)
        return archive.archives(self._version, self._machine, desired.url, desired.checksum, jetpack)

    def _unpack(
        self, result: Result, sources: list[download.Source], running: upgrade.Running | None, needs_unit: bool
    ) -> None:
        """Unpack beside the place, try the program, put it there by renaming, and go back where it does not prove itself."""
        machine, account, staging = self._machine, self._account, self._staging()
        zstd = archive.check_zstd(sources[0], machine)
        with acting_as(account):
            staging.open()
        restarted = False
        try:
            with acting_as(account):
                files = [self._fetch(source, staging.folder, result) for source in sources]
                for source, file in zip(sources, files):
                    self._report(Position("unpack", message=f"Unpacking {source.name}"))
                    with file:
                        archive.unpack(file, source, staging.tree, zstd)
            self._report(Position("prove", message=f"Trying Ollama {self._version}"))
            archive.prove_program(machine, account, staging.tree, sources, self._version)
            try:
                with acting_as(account):
                    write_manifest(staging.tree, self._version, sources[0].sha256)
                    copy_manifest(staging.tree)
                    staging.swap()
                if needs_unit:
                    unit_file.make(machine, self._prefix)
                if running:
                    restarted = True
                    self._report(Position("restart", message="Restarting the daemon"))
                    upgrade.restart(machine, running, self._minimum, self._desired.timeout, _UNDONE)
            except BaseException:  # Ctrl-C as well: close() removes what was there before
                with acting_as(account):
                    staging.undo()
                if needs_unit:
                    unit_file.remove(machine)
                if running and restarted:
                    with contextlib.suppress(Failure):
                        upgrade.do_restart(machine, running)
                raise
        except OSError as error:
            raise self._failed(error, staging.outcome) from error
        finally:
            with acting_as(account):
                staging.close()

    def _fetch(self, source: download.Source, folder: Path, result: Result) -> IO[bytes]:
        fetched = download.fetch(source, folder, self._desired.stall_timeout, self._report)
        result.size = (result.size or 0) + fetched.size
        return fetched.file

    def _run_script(self, result: Result, source: download.Source, running: upgrade.Running | None) -> None:
        machine, staging = self._machine, self._staging()
        staging.open()
        try:
            file = self._fetch(source, staging.folder, result)
            self._report(Position("script", message=f"Running {source.name}"))
            kept = upgrade.Kept(self._place, machine.path(unit_file.PATH))
            before = Systemd(machine).show(UNIT) if Systemd.is_running(machine) else None
            try:
                with file:
                    result.actions.append(upgrade.run(machine, file, source, self._version))
                if kept.restore_unit():
                    result.warnings.append(f"The script wrote over {unit_file.PATH}, which was put back as it was.")
                    self._reload()
                self._prove_script(source, running)
                write_manifest(self._place, self._version, None)
                copy_manifest(self._place)
            except BaseException:  # Ctrl-C as well: what was kept is removed below
                self._undo_script(kept, before, running)
                raise
            finally:
                kept.forget()
        except OSError as error:
            raise self._failed(error) from error
        finally:
            staging.close()

    def _undo_script(self, kept: upgrade.Kept, before: UnitState | None, running: upgrade.Running | None) -> None:
        """Put back what the script replaced, and its service into the state in which it was: the script starts and enables it."""
        with contextlib.suppress(Failure):
            if before and before.active not in ("active", "activating", "reloading"):
                Systemd(self._machine).do("stop", UNIT)
            if before and not before.enabled:
                Systemd(self._machine).do("disable", UNIT)
        kept.restore()
        self._reload()
        if running:
            with contextlib.suppress(Failure):
                upgrade.do_restart(self._machine, running)

    def _failed(self, error: OSError, outcome: str = _UNDONE) -> Failure:
        return Failure(
            "install_failed", f"Installing Ollama {self._version} to {self._prefix} failed: {error}. {outcome}"
        )

    def _prove_script(self, source: download.Source, running: upgrade.Running | None) -> None:
        path, client, daemon = self._look()
        if client != self._version:
            raise Failure(
                "version_mismatch",
                f"Ran the script {source} with OLLAMA_VERSION={self._version}, and what it left is Ollama {client or 'without a version'} "
                f"({path or 'no program'}). Use method: archive. The previous installation is restored.",
                found=client,
            )
        if running and is_older(daemon, self._minimum):  # it restarts a service itself, and nothing else
            upgrade.restart(self._machine, running, self._minimum, self._desired.timeout, _UNDONE)

    def _reload(self) -> None:
        if Systemd.is_running(self._machine):
            Systemd(self._machine).do("daemon-reload")

    def _check_after(self, result: Result, installed: bool) -> None:
        """Ask both sides again: another copy earlier on PATH would keep the old one."""
        result.path, result.version, result.daemon_version = self._look()
        if installed and result.path == self._program and result.version is None:
            result.version = self._version  # it has proved itself a moment ago; a busy host gives no answer in time
        if installed and (result.path != self._program or result.version != self._version):
            raise Failure(
                "ollama_elsewhere",
                f"Installed Ollama {self._version} in {self._prefix}, and the program that this host finds is {result.path} with version "
                f"{result.version}. Put {self._prefix}/bin before it on PATH, or remove it.",
                path=result.path,
            )
        if result.daemon_restart_needed:
            result.daemon_restart_needed = result.daemon_version is not None
