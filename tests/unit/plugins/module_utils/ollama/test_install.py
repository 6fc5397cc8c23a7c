# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The swap of the new for the old, the unit, and Ollama's own script, with scripts and files of a folder in the place of a host's.

On a whole host they run in molecule's scenario ollama_install.
"""

from __future__ import annotations

import errno
import io
import os
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.fetch.download import Source
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.fetch.staging import Staging
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama import (
    client,
    installation,
    unit_file,
    upgrade,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.archive import Desired

SOURCE = Source("https://mirror.example/install.sh", None, None)


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")


FOLDER = ".nemoclaw-ollama"
OLD = {"bin/ollama": "old", "lib/ollama/a.so": "old", "lib/other.so": "mine"}
NEW = {"bin/ollama": "new", "lib/ollama/b.so": "new"}


@pytest.mark.parametrize("before", [OLD, {}, {"bin/ollama": "old"}])
def test_swap_and_undo(tmp_path: Path, before: dict[str, str]) -> None:
    write(tmp_path, before)
    staging = Staging(tmp_path, "Ollama", client.PARTS)
    staging.open()
    write(staging.tree, NEW)
    staging.swap()
    others = {name: content for name, content in before.items() if name == "lib/other.so"}
    assert {name: content for name, content in tree(tmp_path).items() if FOLDER not in name} == {**NEW, **others}
    staging.undo()
    staging.close()
    assert tree(tmp_path) == before
    assert not (tmp_path / FOLDER).exists()


def test_a_swap_that_fails_in_its_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, OLD)
    staging = Staging(tmp_path, "Ollama", client.PARTS)
    staging.open()
    write(staging.tree, NEW)
    rename = Path.rename

    def broken(self: Path, target: Path) -> Path:
        if self.name == "ollama" and self.parent == tmp_path / "bin":
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", broken)
    with pytest.raises(OSError, match="no"):
        staging.swap()
    staging.undo()
    staging.close()
    assert tree(tmp_path) == OLD


def test_a_link_in_the_place_of_the_program_is_put_back(tmp_path: Path) -> None:
    write(tmp_path, {"elsewhere/ollama": "old", "bin/other": "mine"})
    (tmp_path / "bin/ollama").symlink_to(tmp_path / "elsewhere/ollama")
    staging = Staging(tmp_path, "Ollama", client.PARTS)
    staging.open()
    write(staging.tree, NEW)
    staging.swap()
    assert not (tmp_path / "bin/ollama").is_symlink()
    staging.undo()
    staging.close()
    assert (tmp_path / "bin/ollama").readlink() == tmp_path / "elsewhere/ollama"
    assert (tmp_path / "elsewhere/ollama").read_text(encoding="utf-8") == "old"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Failure) as failed:
        Staging(tmp_path / "file", "Ollama", client.PARTS).open()
    assert failed.value.code == "install_unwritable"


# The unit and its user.


class Host:
    """A machine in a folder whose useradd, usermod and systemctl write down what they are asked."""

    def __init__(self, root: Path, passwd: str = "", group: str = "render:x:105:\nvideo:x:44:me\n") -> None:
        self.root = root
        write(root, {"etc/passwd": passwd, "etc/group": group, "etc/systemd/system/keep": ""})
        (root / "run/systemd/system").mkdir(parents=True)
        for name in ("useradd", "usermod", "systemctl"):
            self.program(name, f'echo {name} "$*" >>{root}/orders')

    def program(self, name: str, line: str) -> None:
        write(self.root, {f"usr/sbin/{name}": f"#!/bin/sh\n{line}\n"})
        (self.root / "usr/sbin" / name).chmod(0o755)

    @property
    def machine(self) -> Machine:
        return Machine(root=self.root, environ={"PATH": "/usr/sbin"})

    @property
    def orders(self) -> list[str]:
        path = self.root / "orders"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@pytest.mark.parametrize(
    ("passwd", "group", "orders"),
    [
        (
            "",
            "video:x:44:\n",
            ["useradd --system --shell /bin/false --user-group --create-home --home-dir /usr/share/ollama ollama"],
        ),
        (
            "ollama:x:998:998::/:/bin/false\n",
            "render:x:1:\nvideo:x:44:ollama\n",
            ["usermod --append --groups render ollama"],
        ),
        ("ollama:x:998:998::/:/bin/false\n", "render:x:1:a,ollama\nvideo:x:44:ollama\n", []),
        ("ollama:x:998:998::/:/bin/false\n", "audio:x:1:\n", []),
    ],
)
def test_the_unit_and_its_user(tmp_path: Path, passwd: str, group: str, orders: list[str]) -> None:
    host = Host(tmp_path, passwd, group)
    unit_file.make(host.machine, "/opt/ollama")
    assert host.orders == [*orders, "systemctl --no-pager --no-ask-password daemon-reload"]
    unit = (tmp_path / unit_file.PATH.lstrip("/")).read_text(encoding="utf-8")
    assert "ExecStart=/opt/ollama/bin/ollama serve\nUser=ollama\n" in unit
    unit_file.remove(host.machine)
    assert [path.name for path in (tmp_path / "etc/systemd/system").iterdir()] == ["keep"]


def test_a_user_that_cannot_be_made(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.program("useradd", "echo cannot lock /etc/passwd >&2; exit 1")
    with pytest.raises(Failure, match="cannot lock") as failed:
        unit_file.make(host.machine, "/usr/local")
    assert failed.value.code == "user_not_made"
    assert not (tmp_path / unit_file.PATH.lstrip("/")).exists()


DESIRED = Desired(
    version="0.1.2",
    minimum_version=None,
    method="archive",
    mode="system",
    url=None,
    checksum=None,
    jetpack_url=None,
    jetpack_checksum=None,
    prefix="/opt/ollama",
    port=11434,
    restart=True,
    timeout=60,
    stall_timeout=60,
)


@pytest.mark.parametrize(("text", "stays"), [(unit_file.render("/opt/ollama"), False), ("[Service]\n# mine\n", True)])
def test_the_unit_goes_with_the_program_unless_it_is_somebody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, stays: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    host = Host(tmp_path)
    unit = unit_file.PATH.lstrip("/")
    write(tmp_path, {"opt/ollama/bin/ollama": "new", "opt/ollama/lib/ollama/a.so": "new", unit: text})
    foreseen = unit_file.remove_installation(host.machine, find_account(), DESIRED, True)
    assert host.orders == []
    assert (tmp_path / "opt/ollama/bin/ollama").exists()
    result = unit_file.remove_installation(host.machine, find_account(), DESIRED, False)
    assert result == foreseen
    assert not list((tmp_path / "opt/ollama").rglob("ollama"))
    assert (tmp_path / unit).exists() is stays
    asked = [order.split(" --no-ask-password ")[1] for order in host.orders]
    assert asked == ([] if stays else ["disable ollama.service", "stop ollama.service", "daemon-reload"])
    assert not unit_file.remove_installation(host.machine, find_account(), DESIRED, False).changed


# Ollama's own script.


def run(text: str, silence: float = 20.0, machine: Machine | None = None) -> str:
    return upgrade.run(machine or Machine(environ={"HOME": "/"}), io.BytesIO(text.encode()), SOURCE, "0.1.2", silence)


def test_the_script_gets_the_version_and_a_private_file(tmp_path: Path) -> None:
    said = run(f'echo "$OLLAMA_VERSION" "$PATH" "$(stat -c %a "$(dirname "$0")")" >{tmp_path}/said')
    assert said == "OLLAMA_VERSION=0.1.2 sh install.sh"
    version, path, mode = (tmp_path / "said").read_text(encoding="utf-8").split()
    assert (version, path.split(":")[1], mode) == ("0.1.2", "/usr/local/bin", "700")


def test_a_script_that_fails_has_its_last_words() -> None:
    with pytest.raises(Failure) as failed:
        run("echo first; printf '10 %%\\r20 %%\\r'; echo 'ERROR: no curl' >&2; exit 7")
    assert failed.value.code == "script_failed"
    assert "exit code 7" in failed.value.message
    assert failed.value.details["last_logs"] == ["first", "10 %", "20 %", "ERROR: no curl"]
    assert "Its last words: ERROR: no curl. " in failed.value.message
    assert "use method: archive" in failed.value.message


@pytest.mark.parametrize(
    ("said", "words"),
    [
        # As Ollama's own script of August 2026 and its programs said it on a Debian 12 that lacks one thing.
        (
            [">>> ERROR: The following tools are required but missing:", "- curl"],
            "ERROR: The following tools are required but missing: - curl",
        ),
        (
            [
                ">>> Installing ollama to /usr/local",
                "ERROR: This version requires zstd for extraction. Please install zstd and try again:",
                "- Debian/Ubuntu: sudo apt-get install zstd",
                "- RHEL/CentOS/Fedora: sudo dnf install zstd",
                "- Arch: sudo pacman -S zstd",
            ],
            "ERROR: This version requires zstd for extraction. Please install zstd and try again: - Debian/Ubuntu: sudo apt-get install "
            "zstd - RHEL/CentOS/Fedora: sudo dnf install zstd - Arch: sudo pacman -S zstd",
        ),
        (
            [
                ">>> Downloading ollama-linux-amd64.tgz",
                "/tmp/a/install.sh: 156: tar: not found",
                "######################################################################## 100.0%curl: (23) Failed writing body",
            ],
            "/tmp/a/install.sh: 156: tar: not found curl: (23) Failed writing body",
        ),
        (
            [
                ">>> Downloading ollama-linux-amd64.tgz",
                "curl: (22) The requested URL returned error: 404",
                "gzip: stdin: unexpected end of file",
                "tar: Child returned status 1",
                "tar: Error is not recoverable: exiting now",
            ],
            "curl: (22) The requested URL returned error: 404 gzip: stdin: unexpected end of file tar: Child returned status 1 tar: Error "
            "is not recoverable: exiting now",
        ),
        (["a", "b", "##O=#  #  12.4%", "c", "d."], "b c d"),
        ([], ""),
    ],
)
def test_the_cause_is_among_the_last_words(said: list[str], words: str) -> None:
    assert upgrade.last_words(said) == words


def test_a_script_may_print_its_environment() -> None:
    proxy = "http://svc:can%40ary@proxy.example:3128"
    with pytest.raises(Failure) as failed:
        run(
            "env; echo asked can@ary; exit 4",
            machine=Machine(environ={"https_proxy": proxy, "ALL_PROXY": proxy, "HOME": "/"}),
        )
    said = " ".join([failed.value.message, *failed.value.details["last_logs"]])
    assert "HOME=/" in said
    assert not any(secret in said for secret in (proxy, "can%40ary", "can@ary"))


def test_a_script_that_is_silent_is_stopped_with_what_it_started(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="was silent for 1 s") as failed:
        run(f"echo word; sleep 60 & echo $! >{tmp_path}/pid; wait", silence=1)
    assert failed.value.code == "script_failed"
    pid = (tmp_path / "pid").read_text(encoding="utf-8").strip()
    deadline = time.monotonic() + 10  # the kernel ends it in its own time
    while is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(pid: str) -> bool:
    try:
        return Path("/proc", pid, "stat").read_text(encoding="utf-8").split()[2] != "Z"
    except OSError:
        return False


UNIT = "etc/ollama.service"


@pytest.mark.parametrize("before", [{**OLD, UNIT: "mine"}, OLD, {"lib/other.so": "mine"}])
def test_what_the_script_replaced_comes_back(tmp_path: Path, before: dict[str, str]) -> None:
    write(tmp_path, before)
    kept = upgrade.Kept(tmp_path, tmp_path / UNIT)
    run(
        f"cd {tmp_path}; rm -rf lib/ollama; mkdir -p lib/ollama bin etc; echo -n new >lib/ollama/b.so; "
        f"echo -n new >bin/ollama; echo -n theirs >{UNIT}"
    )
    kept.restore()
    kept.forget()
    assert tree(tmp_path) == before


@pytest.mark.parametrize(("before", "after", "put_back"), [("mine", "mine", True), (None, "theirs", False)])
def test_the_administrators_unit_stays(tmp_path: Path, before: str | None, after: str, put_back: bool) -> None:
    write(tmp_path, {"etc/other": "", **({UNIT: before} if before else {})})
    kept = upgrade.Kept(tmp_path, tmp_path / UNIT)
    write(tmp_path, {UNIT: "theirs"})
    assert kept.restore_unit() is put_back
    kept.forget()
    assert (tmp_path / UNIT).read_text(encoding="utf-8") == after


# Ollama's script as a whole: it installs, writes the unit, enables and starts it. What it leaves is not the version that was wanted,
# or the disk is full, so that all of it has to go again.
@pytest.mark.parametrize("trouble", ["version", "disk", "ended"])
@pytest.mark.parametrize("before", [{}, OLD])
def test_a_script_that_fails_leaves_no_service_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str, before: dict[str, str]
) -> None:
    host = Host(tmp_path)
    host.program(
        "systemctl",
        f'echo "$3 $4" >>{tmp_path}/orders; case "$*" in *" show "*) echo LoadState=not-found; echo ActiveState=inactive ;; esac',
    )
    write(tmp_path / "usr/local", {"bin/other": "", **before})
    usual = tree(tmp_path / "usr/local")
    install = tmp_path / "install.sh"
    install.write_text(
        f"mkdir -p {tmp_path}/usr/local/lib/ollama {tmp_path}/usr/local/bin\n"
        f"printf '#!/bin/sh\\necho ollama version is 0.1.1\\n' >{tmp_path}/usr/local/bin/ollama\n"
        f"chmod 755 {tmp_path}/usr/local/bin/ollama; echo theirs >{tmp_path}{unit_file.PATH}\n",
        encoding="utf-8",
    )

    def full(*words: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    def ended(process: subprocess.Popen[bytes], *words: object) -> None:
        process.wait()
        raise KeyboardInterrupt

    if trouble == "disk":
        monkeypatch.setattr(upgrade, "run", full)
    if trouble == "ended":  # while the script runs, which has done all that it does by then
        monkeypatch.setattr(upgrade, "_wait", ended)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(installation, "ask_ollama_daemon", lambda port: (None, None))
    desired = Desired("0.1.2", None, "script", "system", str(install), None, None, None, None, 1, True, 1, 1)
    machine = Machine(root=tmp_path, environ={"PATH": "/usr/local/bin:/usr/sbin:/bin"})
    with pytest.raises((Failure, KeyboardInterrupt)) as failed:
        installation.Installation(machine, find_account(), desired, lambda position: None).converge(False)
    codes = {"version": "version_mismatch", "disk": "install_failed", "ended": None}
    assert getattr(failed.value, "code", None) == codes[trouble]
    assert tree(tmp_path / "usr/local") == usual
    assert not (tmp_path / unit_file.PATH.lstrip("/")).exists()
    assert host.orders[-3:] == ["stop ollama.service", "disable ollama.service", "daemon-reload "]
