# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which archive a host needs, and what its checksum is."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama import archive
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.names import is_older

SUM = f"sha256:{'A1' * 32}"
NONE = (None, None)
GITHUB = "https://github.com/ollama/ollama/releases/download"


@pytest.mark.parametrize(
    ("text", "version"), [("0.32.9", "0.32.9"), ("v0.33.0-rc2", "0.33.0-rc2"), (" 1.2.3 ", "1.2.3")]
)
def test_versions(text: str, version: str) -> None:
    assert archive.check_version(text) == version


@pytest.mark.parametrize("text", ["", "latest", "0.32", "0.32.9; rm", "../0.32.9", "vv0.1.2"])
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(Failure) as failed:
        archive.check_version(text)
    assert failed.value.code == "version_invalid"


@pytest.mark.parametrize(
    ("version", "minimum", "older"),
    [
        ("0.9.3", "0.10.0", True),
        ("0.32.9", "0.32.9", False),
        ("0.32.9-rc1", "0.32.9", False),
        ("1.0.0", "0.99.99", False),
        (None, "0.0.1", True),
    ],
)
def test_is_older(version: str | None, minimum: str, older: bool) -> None:
    assert is_older(version, minimum) is older


@pytest.mark.parametrize(
    ("architecture", "name"), [("x86_64", "ollama-linux-amd64.tar.zst"), ("aarch64", "ollama-linux-arm64.tar.zst")]
)
def test_the_pinned_version_needs_no_checksum(tmp_path: Path, architecture: str, name: str) -> None:
    machine = Machine(root=tmp_path, environ={}, architecture=architecture)
    (found,) = archive.archives(archive.DEFAULT_VERSION, machine, None, None, NONE)
    assert found.url == f"{GITHUB}/v{archive.DEFAULT_VERSION}/{name}"
    assert found.sha256 is not None
    assert found.is_zstd
    (mirrored,) = archive.archives(archive.DEFAULT_VERSION, machine, f"/srv/{name}", None, NONE)
    assert (mirrored.path, mirrored.sha256) == (f"/srv/{name}", found.sha256)


def test_older_releases_are_packed_by_gzip(tmp_path: Path) -> None:
    machine = Machine(root=tmp_path, environ={}, architecture="x86_64")
    (found,) = archive.archives("0.13.5", machine, None, SUM, NONE)
    assert (found.url, found.is_zstd) == (f"{GITHUB}/v0.13.5/ollama-linux-amd64.tgz", False)
    assert found.sha256 == "a1" * 32


def test_a_version_that_is_not_known_needs_a_checksum(tmp_path: Path) -> None:
    with pytest.raises(Failure) as failed:
        archive.archives("0.13.5", Machine(root=tmp_path, environ={}, architecture="x86_64"), None, None, NONE)
    assert failed.value.code == "checksum_missing"
    assert "Set checksum to" in failed.value.message


@pytest.mark.parametrize(
    ("tegra", "kind"),
    [
        ("# R35 (release), REVISION: 4.1, GCID: 33958178", "jetpack5"),
        ("# R36 (release), REVISION: 4.3, GCID: 38968081", "jetpack6"),
        ("# R38 (release), REVISION: 2.0", None),
    ],
)
def test_a_jetson_gets_its_libraries(tmp_path: Path, tegra: str, kind: str | None) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text(tegra, encoding="utf-8")
    machine = Machine(root=tmp_path, environ={}, architecture="aarch64")
    found = archive.archives("0.32.9", machine, None, None, (None, SUM))
    more = [f"{GITHUB}/v0.32.9/ollama-linux-arm64-{kind}.tar.zst"] if kind else []
    assert [one.url for one in found] == [f"{GITHUB}/v0.32.9/ollama-linux-arm64.tar.zst", *more]
    if kind:
        with pytest.raises(Failure, match="Set jetpack_checksum to") as failed:
            archive.archives("0.32.9", machine, None, None, NONE)
        assert failed.value.code == "checksum_missing"


def test_other_architectures(tmp_path: Path) -> None:
    with pytest.raises(Failure) as failed:
        archive.archives("0.32.9", Machine(root=tmp_path, environ={}, architecture="riscv64"), None, SUM, NONE)
    assert failed.value.code == "architecture_unsupported"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/srv/a b.tgz", "/srv/a b.tgz"),
        ("file:///srv/a%20b.tgz", "/srv/a b.tgz"),
        ("file://localhost/srv/a.tgz", "/srv/a.tgz"),
        ("https://mirror.example:8443/a.tgz?version=1", None),
    ],
)
def test_sources(url: str, path: str | None) -> None:
    assert archive.parse_source(url, SUM).path == path


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://mirror.example/a.tgz", "url_invalid"),
        ("file://other-host/a.tgz", "url_invalid"),
        ("a.tgz", "url_invalid"),
        ("https:///a.tgz", "url_invalid"),
        ("https://mirror.example/a b", "url_invalid"),
        ("http://[::1/a", "url_invalid"),
        ("https://me@mirror.example/a.tgz", "url_credentials"),
    ],
)
def test_what_is_no_source(url: str, code: str) -> None:
    with pytest.raises(Failure) as failed:
        archive.parse_source(url, SUM)
    assert failed.value.code == code


def test_a_signature_is_not_shown() -> None:
    assert str(archive.parse_source("https://mirror.example/a.tgz?sig=s3cret", SUM)) == "https://mirror.example/a.tgz"


def test_scripts() -> None:
    assert archive.script(None, None).url == "https://ollama.com/install.sh"
    assert archive.script("/srv/install.sh", None).path == "/srv/install.sh"
    assert archive.script("http://mirror.example/install.sh", SUM).sha256 == "a1" * 32
    with pytest.raises(Failure) as failed:
        archive.script("http://mirror.example/install.sh", None)
    assert failed.value.code == "checksum_missing"
