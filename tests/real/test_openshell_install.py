# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installing the real OpenShell CLI from archives over HTTP. The gateway in them is a script: nobody can get the real one."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ollama_archives
import openshell_parts
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.install import Desired, Installation

RELEASE, OLDER = "0.0.83", "0.0.44"
CLI = "openshell-x86_64-unknown-linux-musl.tar.gz"
GATEWAY = "openshell-gateway-x86_64-unknown-linux-gnu.tar.gz"


@dataclass(frozen=True)
class Release:
    """A folder with the archives of a release, and their checksums by component."""

    folder: Path
    checksums: dict[str, str]


def make(folder: Path, home: Path, release: str) -> Release:
    folder.mkdir(parents=True, exist_ok=True)
    gateway = f"#!/bin/sh\necho openshell-gateway {release}\n".encode()
    packed = {
        "cli": ollama_archives.pack(folder / CLI, {"openshell": openshell_parts.cli(home, release).read_bytes()}),
        "gateway": ollama_archives.pack(folder / GATEWAY, {"bin/openshell-gateway": gateway}),
    }
    return Release(folder, {name: archive.checksum for name, archive in packed.items()})


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, openshell_home: Path) -> Release:
    return make(tmp_path_factory.mktemp("release"), openshell_home, RELEASE)


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory, openshell_home: Path) -> Release:
    return make(tmp_path_factory.mktemp("older"), openshell_home, OLDER)


@pytest.fixture(scope="module")
def server(release: Release) -> Iterator[ollama_archives.FileServer]:
    with ollama_archives.serving(release.folder) as running:
        yield running


@pytest.fixture
def desired(tmp_path: Path, release: Release, server: ollama_archives.FileServer) -> Desired:
    return Desired(
        RELEASE, ("cli",), f"{server.url}/whole", release.checksums, prefix=str(tmp_path / "opt"), stall_timeout=5
    )


def converge(desired: Desired, check_mode: bool = False, **machine: Any) -> dict[str, Any]:
    environ = {"PATH": os.environ["PATH"], **machine.pop("environ", {})}
    return Installation(Machine(environ=environ, **machine), find_account(), desired).converge(check_mode)


def said(desired: Desired, program: str = "openshell") -> str:
    path = Path(desired.prefix or "", "bin", program)
    return subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def left(desired: Desired) -> list[str]:
    """Return all that lies below the prefix."""
    return sorted(str(path.relative_to(desired.prefix or "")) for path in Path(desired.prefix or "").rglob("*"))


def test_from_nothing_and_again(desired: Desired, server: ollama_archives.FileServer) -> None:
    foreseen = converge(desired, check_mode=True)
    assert (foreseen["changed"], left(desired)) == (True, [])
    done = converge(desired)
    assert {name: done[name] for name in ("actions", "paths", "diff", "size")} == {
        name: foreseen[name] for name in ("actions", "paths", "diff", "size")
    }
    assert (said(desired), done["previous"], left(desired)) == (
        f"openshell {RELEASE}",
        {"cli": None},
        ["bin", "bin/openshell"],
    )
    asked = len(server.asked)
    again = converge(desired)
    assert (again["changed"], again["actions"], again["previous"]) == (False, [], {"cli": RELEASE})
    assert len(server.asked) == asked


def test_command_line_and_gateway_from_a_folder(desired: Desired, release: Release) -> None:
    both = replace(desired, components=("cli", "gateway"), url=str(release.folder))
    assert converge(both)["paths"]["gateway"].endswith("/bin/openshell-gateway")
    assert (said(both), said(both, "openshell-gateway")) == (f"openshell {RELEASE}", f"openshell-gateway {RELEASE}")
    assert converge(both)["changed"] is False


def test_another_release_takes_its_place(desired: Desired, older: Release) -> None:
    converge(replace(desired, version=OLDER, url=str(older.folder / CLI), checksums=older.checksums))
    assert said(desired) == f"openshell {OLDER}"
    done = converge(desired)
    assert (done["changed"], done["previous"], said(desired)) == (True, {"cli": OLDER}, f"openshell {RELEASE}")


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        ("missing", "archive_not_found"),
        ("denied", "download_refused"),
        ("cut", "download_interrupted"),
        ("stall", "download_stalled"),
    ],
)
def test_a_download_that_fails(
    desired: Desired, older: Release, server: ollama_archives.FileServer, behaviour: str, code: str
) -> None:
    converge(replace(desired, version=OLDER, url=str(older.folder), checksums=older.checksums))
    with pytest.raises(Failure) as raised:
        converge(replace(desired, url=f"{server.url}/{behaviour}", stall_timeout=1))
    assert raised.value.code == code
    assert said(desired) == f"openshell {OLDER}"


def test_a_download_goes_on_where_it_broke(desired: Desired, server: ollama_archives.FileServer) -> None:
    assert converge(replace(desired, url=f"{server.url}/resumable"))["changed"]
    assert said(desired) == f"openshell {RELEASE}"


def _with(desired: Desired, tmp_path: Path, content: dict[str, bytes], **changes: Any) -> Desired:
    archive = ollama_archives.pack(tmp_path / "other.tar.gz", content)
    return replace(desired, url=archive.path, checksums={"cli": archive.checksum}, **changes)


def test_what_is_no_release(desired: Desired, tmp_path: Path, older: Release) -> None:
    page = tmp_path / "page.tar.gz"
    page.write_text("<html>", encoding="utf-8")
    checksum = f"sha256:{hashlib.sha256(page.read_bytes()).hexdigest()}"
    cases = {
        "checksum_mismatch": replace(desired, checksums={"cli": f"sha256:{'0' * 64}"}),
        "version_mismatch": replace(desired, url=str(older.folder), checksums=older.checksums),
        "openshell_unusable": _with(
            desired, tmp_path, {"openshell": b"#!/bin/sh\necho GLIBC_2.39 not found; exit 1\n"}
        ),
    }
    cases["archive_invalid"] = replace(desired, url=str(page), checksums={"cli": checksum})
    for code, wanted in cases.items():
        with pytest.raises(Failure) as raised:
            converge(wanted)
        assert raised.value.code == code
        assert not any(name.startswith("bin/") for name in left(desired)), code
    with pytest.raises(Failure, match=r"there is no openshell in it"):
        converge(_with(desired, tmp_path, {"readme": b"no program"}))


def test_nothing_lands_outside(desired: Desired, tmp_path: Path) -> None:
    program = b"#!/bin/sh\necho openshell 0.0.83\n"
    assert converge(_with(desired, tmp_path, {"../../openshell": program}))["changed"]
    assert left(desired) == ["bin", "bin/openshell"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"version": "0.1.0"}, "openshell_too_new"),
        ({"version": "0.0.43"}, "openshell_too_old"),
        ({"version": "latest"}, "version_invalid"),
        ({"version": ""}, "version_invalid"),
        ({"checksums": {}}, "checksum_missing"),
        ({"checksums": {"cli": "0" * 64}}, "checksum_invalid"),
        ({"components": ("cli", "tui")}, "openshell_component_unknown"),
        ({"components": ()}, "openshell_component_unknown"),
        ({"components": ("cli", "gateway"), "url": "/srv/openshell.tar.gz"}, "url_invalid"),
        ({"url": "/nowhere"}, "archive_not_found"),
        ({"url": "https://me:s3cret@mirror.example"}, "url_credentials"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
@pytest.mark.parametrize("check_mode", [True, False])
def test_what_is_refused(desired: Desired, changes: dict[str, Any], code: str, check_mode: bool) -> None:
    with pytest.raises(Failure) as raised:
        converge(replace(desired, **changes), check_mode)
    assert raised.value.code == code
    assert "s3cret" not in raised.value.message
    assert left(desired) == []


def test_an_architecture_without_a_release(desired: Desired) -> None:
    with pytest.raises(Failure) as raised:
        converge(desired, architecture="riscv64")
    assert raised.value.code == "architecture_unsupported"


def test_the_names_for_another_architecture(desired: Desired, server: ollama_archives.FileServer) -> None:
    with pytest.raises(Failure, match=r"openshell-aarch64-unknown-linux-musl\.tar\.gz: HTTP 404"):
        converge(desired, architecture="aarch64")


def test_a_place_that_cannot_be_written(desired: Desired, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Failure) as raised:
        converge(replace(desired, prefix=str(tmp_path / "file" / "opt")))
    assert raised.value.code == "install_unwritable"


def test_another_openshell_in_the_way(desired: Desired, openshell_home: Path) -> None:
    elsewhere = openshell_parts.cli(openshell_home, OLDER)
    with pytest.raises(Failure) as raised:
        converge(
            replace(desired, prefix=None, mode="user"), environ={"PATH": f"{elsewhere.parent}:{os.environ['PATH']}"}
        )
    assert (raised.value.code, raised.value.details["path"]) == ("openshell_elsewhere", str(elsewhere))
    right = openshell_parts.cli(openshell_home, RELEASE)
    done = converge(replace(desired, prefix=None), environ={"PATH": f"{right.parent}:{os.environ['PATH']}"})
    assert (done["changed"], done["paths"]) == (False, {"cli": str(right)}), "wherever it came from"
