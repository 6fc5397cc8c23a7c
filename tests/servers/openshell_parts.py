# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
The real OpenShell CLI, in the releases below, and what a stand-in gateway needs. All of it comes from PyPI and Debian.

    python openshell_parts.py --install FOLDER     half a minute, 60 MB to download, 160 MB on the disk

The wheels' programs want glibc 2.39. Where the machine's own is older, three packages of Debian 13 are unpacked (nothing is
installed) and the programs are started through the loader that is in them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements-openshell.txt"
# The oldest that the collection accepts, NemoClaw's of July 2026, and the last whose wheel has a CLI.
RELEASES = ("0.0.44", "0.0.83", "0.0.111")
# The wheel of 0.0.44 has no stubs. Its messages are those of 0.0.83 but for the phase of a sandbox, which the gateway adds.
STUBS = {"0.0.44": "0.0.83", "0.0.83": "0.0.83", "0.0.111": "0.0.111"}
# The way of 0.1: its wheel has message stubs and no program, which openshell_attachment_cli.py stands for.
ATTACHMENT = "0.1.5"
_WHEEL_TAG = "manylinux_2_39_x86_64"
_WANTED_GLIBC = (2, 39)
_SUITE = "trixie"
_LIBRARIES = ("libc6", "libgcc-s1", "libstdc++6")
START_LIMIT = 30.0  # seconds; it listens after a third of one


@dataclass(frozen=True)
class Gateway:
    """A stand-in gateway that runs, and the program that talks to it. known() is what it was told, secrets included."""

    release: str
    endpoint: str
    cli: Path
    state: Path
    pid: int

    def known(self) -> dict[str, Any]:
        return json.loads(self.state.read_text(encoding="utf-8"))

    def forget(self) -> None:
        """Have the gateway begin anew: much faster than another one."""
        before = self.known()["beginnings"]
        os.kill(self.pid, signal.SIGUSR1)
        deadline = time.monotonic() + START_LIMIT
        while self.known()["beginnings"] == before:
            if time.monotonic() > deadline:
                raise RuntimeError("The stand-in gateway did not begin anew")
            time.sleep(0.005)


def cli(folder: Path, release: str) -> Path:
    """Return the program of a release inside an installed folder; its own folder can stand on PATH."""
    return folder / "releases" / release / "bin" / "openshell"


def stubs(folder: Path, release: str) -> Path:
    """Return what PYTHONPATH has to hold for the message stubs of a release."""
    return folder / "releases" / STUBS.get(release, release) / "stubs"


def install(folder: Path) -> None:
    """Make the folder where it is not yet complete. RuntimeError on a machine that cannot have it."""
    if (folder / "complete").exists():
        return
    if platform.machine() != "x86_64":
        raise RuntimeError(f"These tests take OpenShell's wheels for x86_64, and this is {platform.machine()}")
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip"]
    subprocess.run([*pip, "install", "--quiet", "--no-compile", "-r", REQUIREMENTS], check=True)
    loader = _unpack_loader(folder / "debian") if _own_glibc() < _WANTED_GLIBC else []
    with tempfile.TemporaryDirectory(prefix="openshell-wheels-") as wheels:
        for release in (*RELEASES, ATTACHMENT):
            download: list[str | Path] = [*pip, "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
            download += ["--python-version", "3.12", "--platform", _WHEEL_TAG, "--dest", wheels]
            subprocess.run([*download, f"openshell=={release}"], check=True)
            wheel = next(Path(wheels).glob(f"openshell-{release}-*.whl"))
            if release == ATTACHMENT:
                _unpack_stubs(wheel, folder)
            else:
                _unpack_wheel(wheel, folder, release, loader)
    for release in RELEASES:
        said = subprocess.run([cli(folder, release), "--version"], capture_output=True, text=True, check=True).stdout
        if said.strip() != f"openshell {release}":
            raise RuntimeError(f"The CLI of OpenShell {release} says {said!r} when asked for its version")
    (folder / "complete").touch()


def _unpack_wheel(wheel: Path, folder: Path, release: str, loader: list[str]) -> None:
    """Put the program and the stubs of a wheel in their places, with a script before the program that knows the loader."""
    home = folder / "releases" / release
    launcher, program = cli(folder, release), home / "program" / "openshell"
    for path in (launcher, program):
        path.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        with archive.open(f"openshell-{release}.data/scripts/openshell") as source, program.open("wb") as target:
            shutil.copyfileobj(source, target)
        for name in archive.namelist():
            if name.startswith("openshell/_proto/") and name.endswith("_pb2.py"):
                # Without the packages' own __init__ files, which would load the whole SDK.
                archive.extract(name, home / "stubs")
    words = " ".join(f'"{word}"' for word in [*loader, str(program)])
    launcher.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
    for path in (program, launcher):
        path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def _unpack_stubs(wheel: Path, folder: Path) -> None:
    """Put the stubs of 0.1 in their place."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith("openshell/_proto/") and name.endswith("_pb2.py"):
                archive.extract(name, stubs(folder, ATTACHMENT))


def _double(folder: Path, state: Path) -> Path:
    """Write the program that stands for the command line of 0.1, and return its path."""
    from openshell_attachment_cli import CLIENT

    launcher = state.parent / "bin" / "openshell"
    launcher.parent.mkdir()
    (state.parent / "client.py").write_text(CLIENT, encoding="utf-8")
    words = f'"{folder}/bin/python" -I -S -B "{state.parent}/client.py" "{state.with_suffix(".sock")}"'
    launcher.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
    launcher.chmod(0o755)
    return launcher


def _own_glibc() -> tuple[int, ...]:
    name, _space, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    return tuple(int(part) for part in version.split(".")) if name == "glibc" else (0,)


def _unpack_loader(target: Path) -> list[str]:
    """Unpack Debian 13's C library without installing it, and return how a program is started with it.

    apt gets folders of its own, so that the machine's sources and lists stay as they are, and its signature checks hold.
    """
    with tempfile.TemporaryDirectory(prefix="openshell-apt-") as scratch:
        root = Path(scratch)
        for name in ("parts", "state/lists/partial", "cache/archives/partial", "packages"):
            (root / name).mkdir(parents=True)
        mirror, keys = _mirror()
        source = f"Types: deb\nURIs: {mirror}\nSuites: {_SUITE}\nComponents: main\nSigned-By: {keys}\n"
        (root / "parts" / "debian.sources").write_text(source, encoding="utf-8")
        settings = {
            "Dir::Etc::SourceList": "/dev/null",
            "Dir::Etc::SourceParts": root / "parts",
            "Dir::State": root / "state",
            "Dir::Cache": root / "cache",
            "Acquire::Languages": "none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
            # apt would give its downloads to a user of its own, who cannot enter the temporary folder.
            "APT::Sandbox::User": "root",
        }
        apt = ["apt-get", "--quiet", *(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))]
        subprocess.run([*apt, "update"], check=True)
        subprocess.run([*apt, "download", *_LIBRARIES], cwd=root / "packages", check=True)
        for package in sorted((root / "packages").glob("*.deb")):
            subprocess.run(["dpkg", "--extract", package, target], check=True)
    usr = target / "usr"
    return [str(usr / "lib64/ld-linux-x86-64.so.2"), "--library-path", str(usr / "lib/x86_64-linux-gnu")]


def _mirror() -> tuple[str, str]:
    """Return where this machine gets Debian from, and the keys that Debian signs with."""
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    listing = ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages"]
    found = subprocess.run(listing, capture_output=True, text=True, check=False).stdout
    for line in found.splitlines() if Path(keys).exists() else ():
        origin, label, address = line.split("|", 2)
        if (origin, label) == ("Debian", "Debian"):
            return address, keys
    raise RuntimeError(
        "OpenShell's CLI wants glibc 2.39. This machine's is older, and its apt has no Debian sources to take a newer one from"
    )


@contextlib.contextmanager
def serving(
    release: str,
    folder: Path | None = None,
    *,
    reports: str | None = None,
    tls: Path | None = None,
    port: int = 0,
    route_refresh: float = 0.1,
) -> Iterator[Gateway]:
    """
    Run a stand-in gateway of a release on 127.0.0.1 until the block ends.

    folder: by default OPENSHELL_TEST_HOME of the environment. reports: another release that it says it is. tls: folder with
    ca.crt, server.crt, server.key. route_refresh: seconds between a sandbox's looks at the route; the real ones take 5.
    RuntimeError with its log where it does not start.
    """
    folder = folder or Path(os.environ["OPENSHELL_TEST_HOME"])
    with tempfile.TemporaryDirectory(prefix="openshell-gateway-") as scratch:
        state, log = Path(scratch, "state.json"), Path(scratch, "log")
        command: list[str | Path] = [folder / "bin" / "python", "-B"]
        if release == ATTACHMENT:
            command += [HERE / "openshell_attachment.py"]
        else:
            command += [HERE / "openshell_gateway.py", "--release", release, "--route-refresh", str(route_refresh)]
            command += ["--report-version", reports] if reports else []
            command += ["--tls", tls] if tls else []
        command += ["--stubs", stubs(folder, release), "--state", state, "--port", str(port)]
        with log.open("wb") as sink:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sink, text=True)
        try:
            assert process.stdout is not None
            ready = select.select([process.stdout], [], [], START_LIMIT)[0]
            endpoint = process.stdout.readline().strip() if ready else ""
            if not endpoint:
                said = log.read_text(encoding="utf-8", errors="replace")[-3000:]
                raise RuntimeError(f"The stand-in gateway did not start:\n{said}")
            program = _double(folder, state) if release == ATTACHMENT else cli(folder, release)
            yield Gateway(release, endpoint, program, state, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()  # type: ignore[union-attr]


def main() -> int:
    parser = argparse.ArgumentParser(description="The real OpenShell CLI for tests.")
    parser.add_argument("--install", type=Path, metavar="FOLDER", required=True)
    install(parser.parse_args().install.resolve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
