# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zstd on hosts with every package manager, as stand-ins that know one command each; apt itself is molecule's scenario zstd."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host import packages
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.archive import converge

# Installs once its lists are there, as apt-get does on a fresh image, and on one that was not updated for weeks.
FRESH_APT = """#!/bin/sh
cd "$(dirname "$0")" || exit 9
echo "$*" >>log
case "$*" in
  "-q update") touch lists ;;
  *" install zstd") [ -e lists ] || { echo "E: COMPLAINT"; exit 100; }; printf '#!/bin/sh' >zstd; chmod +x zstd ;;
  *) echo "this stand-in knows no $*"; exit 9 ;;
esac
"""


def host(root: Path, **programs: str) -> Machine:
    folder = root / "usr" / "bin"
    folder.mkdir(parents=True)
    for name, text in programs.items():
        (folder / name.replace("_", "-")).write_text(text, encoding="utf-8")
        (folder / name.replace("_", "-")).chmod(0o755)
    return Machine(root=root, environ={"PATH": "/usr/bin"})


def failing(machine: Machine, check_mode: bool = False) -> Failure:
    with pytest.raises(Failure) as failed:
        converge(machine, check_mode)
    return failed.value


@pytest.mark.parametrize("manager", ["apt_get", "dnf", "nothing_known"])
def test_it_is_there(tmp_path: Path, manager: str) -> None:
    machine = host(tmp_path, zstd="#!/bin/sh", **{manager: "#!/bin/sh\nexit 1\n"})
    result = converge(machine, False)
    assert (result["changed"], result["installed"]) == (False, True)


@pytest.mark.parametrize(
    "complaint",
    [
        "Unable to locate package zstd",
        "Failed to fetch http://mirror.example/zstd_1.5.4+dfsg2-5_amd64.deb  404  Not Found [IP: 192.0.2.1 80]",
        "Package zstd has no installation candidate",
    ],
)
def test_apt_installs_it_once(tmp_path: Path, complaint: str) -> None:
    machine = host(tmp_path, apt_get=FRESH_APT.replace("COMPLAINT", complaint))
    would, did = converge(machine, True), None
    assert (would["changed"], would["installed"], would["package_manager"]) == (True, False, "apt")
    assert not machine.exists("/usr/bin/log")
    did = converge(machine, False)
    assert (did["changed"], did["installed"], did["package_manager"]) == (True, True, "apt")
    for said, verb in ((would["msg"], "would be installed"), (did["msg"], "was installed")):
        assert f"The package zstd {verb} with apt-get, which needs root: Ollama's archives" in said
    assert converge(machine, False)["changed"] is False
    orders = (machine.read("/usr/bin/log") or "").splitlines()
    assert [order.split()[-1] for order in orders] == ["zstd", "update", "zstd"]
    assert "--no-install-recommends" in orders[0]


def test_who_is_not_root_waits_for_no_lock(tmp_path: Path) -> None:
    """In apt's own words, which name the lock as well."""
    said = (
        "E: Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)\n"
        "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), are you root?"
    )
    machine = host(tmp_path, apt_get=f'#!/bin/sh\necho >>"$(dirname "$0")/log"\necho \'{said}\'\nexit 100\n')
    assert failing(machine).code == "root_needed"
    assert len((machine.read("/usr/bin/log") or "").splitlines()) == 1


@pytest.mark.parametrize(
    ("said", "code", "orders"),
    [
        ("E: Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)", "root_needed", 1),
        ("E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7", "zstd_not_installed", 1),
        # And the lists cannot be had either.
        ("E: Failed to fetch zstd.deb  404  Not Found", "zstd_not_installed", 3),
        ("E: Unable to locate package zstd", "zstd_not_installed", 3),
        ("", "zstd_not_installed", 3),
    ],
)
def test_apt_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, code: str, orders: int) -> None:
    # Ten minutes: how a lock is waited for is in host/test_packages.py.
    monkeypatch.setattr(packages, "LOCK_LIMIT_S", 0)
    machine = host(tmp_path, apt_get=f'#!/bin/sh\necho >>"$(dirname "$0")/log"\necho \'{said}\'\nexit 100\n')
    failure = failing(machine)
    assert failure.code == code
    assert " ".join(said.split())[:36] in failure.message
    assert len((machine.read("/usr/bin/log") or "").splitlines()) == orders, (
        "it is tried once more, where that may help"
    )


def test_one_source_of_several_that_cannot_be_asked(tmp_path: Path) -> None:
    """apt-get update fails for it, with what the others gave in place."""
    apt = FRESH_APT.replace("COMPLAINT", "Unable to locate package zstd").replace(
        "touch lists", "touch lists; exit 100"
    )
    assert converge(host(tmp_path, apt_get=apt), False)["installed"]


def test_apt_that_says_yes_and_does_nothing(tmp_path: Path) -> None:
    assert failing(host(tmp_path, apt_get="#!/bin/sh\n")).code == "zstd_not_installed"


@pytest.mark.parametrize(
    ("program", "command"),
    [
        ("dnf", "dnf install zstd"),
        ("yum", "yum install zstd"),
        ("zypper", "zypper install zstd"),
        ("pacman", "pacman -S zstd"),
        ("apk", "apk add zstd"),
        ("emerge", "emerge app-arch/zstd"),
        ("xbps_install", "xbps-install zstd"),
        ("other", None),
    ],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_other_distributions_get_the_command(
    tmp_path: Path, program: str, command: str | None, check_mode: bool
) -> None:
    failure = failing(host(tmp_path, **{program: "#!/bin/sh\nexit 1\n"}), check_mode)
    assert (failure.code, failure.details["command"]) == ("zstd_missing", command)
    assert (command or "distribution") in failure.message
