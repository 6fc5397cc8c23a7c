# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks that others hold, with the kernel's own locks; real apt is in tests/real/test_playbooks_hosts.py."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.clock import Deadline
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host import packages, tools
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine

LOCK, ARCHIVES = "var/lib/dpkg/lock-frontend", "var/cache/apt/archives/lock"
# As apt locks it; it ends with its standard input.
HOLD = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    for lock in (LOCK, ARCHIVES):
        (tmp_path / lock).parent.mkdir(parents=True)
        (tmp_path / lock).touch()
    (tmp_path / "proc").symlink_to("/proc")
    return Machine(root=tmp_path, environ={"PATH": "/usr/bin"})


@pytest.fixture(params=[LOCK])
def holder(tmp_path: Path, machine: Machine, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, str(tmp_path / request.param)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


@pytest.mark.parametrize(("holder", "lock"), [(LOCK, LOCK), (ARCHIVES, ARCHIVES)], indirect=["holder"])
def test_who_holds_the_lock_is_named(machine: Machine, holder: subprocess.Popen[str], lock: str) -> None:
    found = packages.find_lock_holder(machine)
    assert found is not None
    assert (found.pid, found.program.startswith("python"), found.lock) == (holder.pid, True, f"/{lock}")
    holder.communicate("")
    assert packages.find_lock_holder(machine) is None


def test_a_lock_that_is_held_too_long(
    machine: Machine, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Failure) as failed:
        packages._wait_for_locks(machine, ["nginx"], Deadline(0.1))
    assert failed.value.code == "package_lock_held"
    assert failed.value.details["pid"] == holder.pid
    assert f"(process {holder.pid}) holds /{LOCK}" in failed.value.message


def test_a_lock_is_waited_for(
    machine: Machine, holder: subprocess.Popen[str], write_command: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    write_command(tmp_path / "usr/bin/apt-get", "exit 0")
    threading.Timer(0.3, holder.terminate).start()
    done = packages.install(machine, "apt", ["nginx"], "which a test needs")
    assert (done.names, f"(process {holder.pid})" in str(done.waited_for)) == (["nginx"], True)
    assert done.waited_s > 0.1


def test_packages_that_a_killed_run_left_unconfigured_are_configured(
    machine: Machine, write_command: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    """0.1.0 failed on every run after that, with apt's own words."""
    said = "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem."
    write_command(tmp_path / "usr/bin/apt-get", f'[ -e {tmp_path}/configured ] || {{ echo "{said}"; exit 100; }}')
    write_command(tmp_path / "usr/bin/dpkg", f'case "$*" in *"--configure -a") touch {tmp_path}/configured;; esac')
    assert packages.install(machine, "apt", ["nginx"], "which a test needs").names == ["nginx"]


def test_somebody_who_is_faster_than_apt_is_waited_for(
    machine: Machine, write_command: Callable[[Path, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt)"
    write_command(
        tmp_path / "usr/bin/apt-get",
        f'[ -e {tmp_path}/again ] || {{ touch {tmp_path}/again; echo "{said}"; exit 100; }}',
    )
    monkeypatch.setattr(packages, "_LOOK_S", 0.01)
    assert packages.install(machine, "apt", ["nginx"], "which a test needs").names == ["nginx"]


def test_another_package_that_cannot_be_configured(
    machine: Machine, write_command: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    """apt ends with an error then, whatever became of what it was asked for."""
    error = "dpkg: error processing package other (--configure):\r\n end of file on stdin at conffile prompt\nE: Sub-process dpkg failed"
    write_command(tmp_path / "usr/bin/apt-get", f'printf "{error}\n"; exit 100')
    query = write_command(tmp_path / "usr/bin/dpkg-query", 'echo "install ok installed"')
    assert packages.install(machine, "apt", ["nginx"], "which a test needs").names == ["nginx"]
    query.write_text("#!/bin/sh\necho install ok half-configured\n")
    with pytest.raises(Failure, match=r"package other \(--configure\): end of file on stdin at conffile prompt"):
        packages.install(machine, "apt", ["nginx"], "which a test needs")


def test_a_file_of_the_administrators_is_no_question(
    machine: Machine, write_command: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    """A /etc/nginx/nginx.conf that no package has brought left the package half configured, and apt broken for all others."""
    write_command(tmp_path / "usr/bin/apt-get", 'case "$*" in *--force-confold*) exit 0;; *) exit 100;; esac')
    assert packages.install(machine, "apt", ["nginx"], "which a test needs").names == ["nginx"]


def test_what_is_installed_is_left_out(
    machine: Machine, write_command: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    body = 'case "$4" in a) echo "install ok installed";; b) echo "deinstall ok config-files";; *) exit 1;; esac'
    write_command(tmp_path / "usr/bin/dpkg-query", body)
    assert packages.missing_packages(machine, "apt", ["a", "b", "c"]) == ["b", "c"]
    assert packages.missing_packages(machine, "dnf", ["a"]) == ["a"]


@pytest.mark.parametrize("name", ["--help", "-o=x", "a b", "", "a;b"])
def test_what_is_no_name(machine: Machine, name: str) -> None:
    with pytest.raises(Failure) as failed:
        packages.missing_packages(machine, "apt", [name])
    assert failed.value.code == "package_name_invalid"


def test_another_manager_and_none(machine: Machine, write_command: Callable[[Path, str], Path], tmp_path: Path) -> None:
    write_command(tmp_path / "usr/bin/dnf", '[ "$*" = "-y install nginx" ] || { echo "Error: no"; exit 1; }')
    assert packages.install(machine, "dnf", ["nginx"], "which a test needs").names == ["nginx"]
    with pytest.raises(Failure, match="Error: no") as failed:
        packages.install(machine, "dnf", ["other"], "which a test needs")
    assert failed.value.code == "package_not_installed"
    with pytest.raises(Failure) as failed:
        packages.install(machine, None, ["nginx"], "which a test needs")
    assert failed.value.code == "package_manager_missing"


# Masks as systemd does, and keeps what it was told.
SYSTEMCTL = """#!/bin/sh
root=${0%/usr/bin/systemctl}
echo "$@" >>"$root/told"
case $1 in
    mask) ln -s /dev/null "$root/etc/systemd/system/$2" ;;
    unmask) rm "$root/etc/systemd/system/$2" ;;
esac
"""


@pytest.mark.parametrize(
    ("comes", "fails", "was_masked", "told", "is_masked"),
    [
        ("unit and program", False, False, ["mask nginx.service"], True),
        ("unit and program", True, False, ["mask nginx.service"], True),  # it would start at the next boot
        ("unit", True, False, ["mask nginx.service", "unmask nginx.service"], False),  # an earlier removal has left it
        ("", True, False, ["mask nginx.service", "unmask nginx.service"], False),
        ("", True, True, [], True),
    ],
)
def test_a_service_of_a_package_is_kept_from_starting(
    tmp_path: Path, comes: str, fails: bool, was_masked: bool, told: list[str], is_masked: bool
) -> None:
    for folder in ("usr/bin", "usr/lib/systemd/system", "etc/systemd/system"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "usr/bin/systemctl").write_text(SYSTEMCTL)
    (tmp_path / "usr/bin/systemctl").chmod(0o755)
    (tmp_path / "told").touch()
    mask = tmp_path / "etc/systemd/system/nginx.service"
    if was_masked:
        mask.symlink_to("/dev/null")
    machine = Machine(root=tmp_path, environ={"PATH": "/usr/bin:/bin"})
    try:
        with packages.kept_from_starting(machine, ["nginx.service"]):
            assert mask.is_symlink()
            if "unit" in comes:
                unit = tmp_path / "usr/lib/systemd/system/nginx.service"
                unit.write_text("[Service]\nExecStartPre=/usr/bin/true\nExecStart=/usr/sbin/nginx -g 'daemon on;'\n")
            if "program" in comes:
                (tmp_path / "usr/sbin").mkdir()
                (tmp_path / "usr/sbin/nginx").touch()
            if fails:
                raise Failure("package_not_installed", "m")
    except Failure:
        assert fails
    assert ((tmp_path / "told").read_text().splitlines(), mask.is_symlink()) == (told, is_masked)


@pytest.mark.parametrize(("manager", "program"), [("dnf", "dnf"), ("zypper", "zypper"), ("pacman", "pacman")])
def test_other_package_managers_are_called_by_their_own_words(tmp_path: Path, manager: str, program: str) -> None:
    path = tmp_path / "usr/bin" / program
    path.parent.mkdir(parents=True)
    path.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/told\n')
    path.chmod(0o755)
    machine = Machine(root=tmp_path, environ={"PATH": ""})
    assert tools.find_package_manager(machine) == manager
    assert packages.install(machine, manager, ["nginx"], "which the proxy needs").names == ["nginx"]
    assert (tmp_path / "told").read_text().split()[-1] == "nginx"
