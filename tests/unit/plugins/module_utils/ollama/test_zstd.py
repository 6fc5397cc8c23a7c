# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zstd on hosts with every package manager, as stand-ins that know one command each; apt itself is molecule's scenario zstd."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.install.zstd import converge

# Installs once its lists are there, as apt-get does on a fresh image.
FRESH_APT = """#!/bin/sh
cd "$(dirname "$0")" || exit 9
echo "$*" >>log
case "$*" in
  "-q update") touch lists ;;
  *" install zstd") [ -e lists ] || { echo "E: Unable to locate package zstd"; exit 100; }; printf '#!/bin/sh' >zstd; chmod +x zstd ;;
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


def test_apt_installs_it_once(tmp_path: Path) -> None:
    machine = host(tmp_path, apt_get=FRESH_APT)
    assert converge(machine, True) == {"changed": True, "installed": False, "package_manager": "apt"}
    assert not machine.exists("/usr/bin/log")
    assert converge(machine, False) == {"changed": True, "installed": True, "package_manager": "apt"}
    assert converge(machine, False)["changed"] is False
    orders = (machine.read("/usr/bin/log") or "").splitlines()
    assert [order.split()[-1] for order in orders] == ["zstd", "update", "zstd"]
    assert "--no-install-recommends" in orders[0]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("E: Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)", "root_needed"),
        ("E: Failed to fetch zstd.deb  404  Not Found", "zstd_not_installed"),
        ("E: Unable to locate package zstd", "zstd_not_installed"),  # and the update fails too
        ("", "zstd_not_installed"),
    ],
)
def test_apt_that_fails(tmp_path: Path, said: str, code: str) -> None:
    failure = failing(host(tmp_path, apt_get=f"#!/bin/sh\necho '{said}'\nexit 100\n"))
    assert failure.code == code
    assert said[:40] in failure.message


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
