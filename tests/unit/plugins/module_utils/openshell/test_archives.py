# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the archives of a release lie, and what is taken out of one. tests/real/test_openshell_install.py installs them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.fetch.download import Source
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.install import (
    COMPONENTS,
    sources,
    take_out,
)

SUM = f"sha256:{'a1' * 32}"
GITHUB = "https://github.com/NVIDIA/OpenShell/releases/download/v0.0.83"
SOURCE = Source("/srv/a.tar.gz", "/srv/a.tar.gz", None)


@pytest.mark.parametrize(
    ("component", "architecture", "url", "found"),
    [
        ("cli", "x86_64", None, f"{GITHUB}/openshell-x86_64-unknown-linux-musl.tar.gz"),
        ("gateway", "aarch64", None, f"{GITHUB}/openshell-gateway-aarch64-unknown-linux-gnu.tar.gz"),
        (
            "supervisor",
            "arm64",
            "http://mirror/o/",
            "http://mirror/o/openshell-sandbox-aarch64-unknown-linux-gnu.tar.gz",
        ),
        ("cli", "x86_64", "/srv/o", "/srv/o/openshell-x86_64-unknown-linux-musl.tar.gz"),
        ("cli", "x86_64", "file:///srv/mine.tar.gz", "/srv/mine.tar.gz"),
        ("cli", "x86_64", "https://mirror/mine.tgz?sig=s3cret", "https://mirror/mine.tgz"),
    ],
)
def test_where_they_lie(component: str, architecture: str, url: str | None, found: str) -> None:
    asked = sources("0.0.83", [component], Machine(architecture=architecture), url, {component: SUM})
    assert (str(asked[component]), asked[component].sha256) == (found, "a1" * 32)


def packed(members: dict[str, bytes], links: dict[str, str] | None = None) -> io.BytesIO:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    file.seek(0)
    return file


@pytest.mark.parametrize(
    "name", ["openshell", "./openshell", "openshell-0.0.83/bin/openshell", "../../openshell", "/openshell"]
)
def test_the_program_alone_is_taken_out(tmp_path: Path, name: str) -> None:
    members = {"LICENSE": b"text", "../evil": b"x", name: b"program"}
    path = take_out(packed(members), SOURCE, COMPONENTS["cli"], tmp_path)
    assert (path, path.read_bytes(), path.stat().st_mode & 0o777) == (tmp_path / "bin/openshell", b"program", 0o755)
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "bin", tmp_path / "bin/openshell"]


@pytest.mark.parametrize(
    "file",
    [
        packed({"openshell-gateway": b"another"}),
        packed({}, {"openshell": "/usr/bin/passwd"}),
        io.BytesIO(b"<html>"),
        io.BytesIO(packed({"openshell": bytes(100_000)}).getvalue()[:60]),
        io.BytesIO(b""),
    ],
    ids=["another program", "a link", "a page", "cut", "empty"],
)
def test_what_is_no_archive_of_it(tmp_path: Path, file: io.BytesIO) -> None:
    with pytest.raises(Failure) as raised:
        take_out(file, SOURCE, COMPONENTS["cli"], tmp_path)
    assert raised.value.code == "archive_invalid"
