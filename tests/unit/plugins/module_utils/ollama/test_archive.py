# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives that were made to do harm, and disks without room. Good ones are in tests/real/test_ollama_install.py."""

from __future__ import annotations

import errno
import io
import os
import shutil
import subprocess
import tarfile
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.fetch import download
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.fetch.download import Source
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama import archive

SOURCE = Source("/srv/ollama.tgz", "/srv/ollama.tgz", "0" * 64)


def pack(*members: dict[str, Any]) -> io.BytesIO:
    """Pack members, each with the attributes of a TarInfo and perhaps C(content)."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w:gz") as tar:
        for member in members:
            content = member.pop("content", b"")
            info = tarfile.TarInfo(member.pop("name"))
            info.size = len(content)
            for name, value in member.items():
                setattr(info, name, value)
            tar.addfile(info, io.BytesIO(content))
    output.seek(0)
    return output


def unpacked(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def test_a_release(tmp_path: Path) -> None:
    members = [
        {"name": ".", "type": tarfile.DIRTYPE},
        {"name": "./bin", "type": tarfile.DIRTYPE, "mode": 0o700},
        {"name": "./bin/ollama", "content": b"program", "mode": 0o700},
        {"name": "./LICENSE", "content": b"MIT"},
        {"name": "./lib/ollama/cuda_v13/libcublas.so.13", "content": b"cuda", "mode": 0o600},
        {"name": "./lib/ollama/cuda_v13/libcublas.so", "type": tarfile.SYMTYPE, "linkname": "libcublas.so.13"},
        {
            "name": "./lib/ollama/mlx_cuda_v13/libcublas.so",
            "type": tarfile.SYMTYPE,
            "linkname": "../cuda_v13/libcublas.so.13",
        },
    ]
    archive.unpack(pack(*members), SOURCE, tmp_path, None)
    assert unpacked(tmp_path) == {
        "bin/ollama": "program",
        "lib/ollama/cuda_v13/libcublas.so.13": "cuda",
        "lib/ollama/cuda_v13/libcublas.so": "libcublas.so.13",
        "lib/ollama/mlx_cuda_v13/libcublas.so": "../cuda_v13/libcublas.so.13",
    }
    assert (tmp_path / "bin/ollama").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "lib/ollama/cuda_v13/libcublas.so.13").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "member",
    [
        {"name": "../escape", "content": b"x"},
        {"name": "/etc/cron.d/escape", "content": b"x"},
        {"name": "lib/ollama/../../../escape", "content": b"x"},
        {"name": "bin/sh", "content": b"x"},
        {"name": "lib/systemd/x", "content": b"x"},
        {"name": "lib/ollama/link", "type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"name": "lib/ollama/link", "type": tarfile.SYMTYPE, "linkname": "../../../../etc/passwd"},
        {"name": "lib/ollama/hard", "type": tarfile.LNKTYPE, "linkname": "/etc/passwd"},
        {"name": "bin/ollama", "type": tarfile.SYMTYPE, "linkname": "/bin/sh"},
        {"name": "lib/ollama", "type": tarfile.SYMTYPE, "linkname": "/tmp"},
        {"name": "lib/ollama/device", "type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3},
        {"name": "lib/ollama/pipe", "type": tarfile.FIFOTYPE},
        {"name": "etc", "type": tarfile.DIRTYPE},
    ],
    ids=lambda member: f"{member['name']}-{member.get('linkname', '')}",
)
def test_members_that_do_not_belong(tmp_path: Path, member: dict[str, Any]) -> None:
    (tmp_path / "tree").mkdir()
    with pytest.raises(Failure) as failed:
        archive.unpack(pack(member), SOURCE, tmp_path / "tree", None)
    assert failed.value.code == "archive_invalid"
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]
    assert unpacked(tmp_path / "tree") == {}


def test_no_file_is_written_through_a_link(tmp_path: Path) -> None:
    members = [
        {"name": "lib/ollama/a", "content": b"mine"},
        {"name": "lib/ollama/b", "type": tarfile.SYMTYPE, "linkname": "a"},
        {"name": "lib/ollama/b", "content": b"other"},
    ]
    archive.unpack(pack(*members), SOURCE, tmp_path, None)
    assert unpacked(tmp_path) == {"lib/ollama/a": "mine", "lib/ollama/b": "a"}


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x1f\x8b\x08\x00nonsense", b"\x1f\x8b"])
def test_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(Failure) as failed:
        archive.unpack(io.BytesIO(content), SOURCE, tmp_path, None)
    assert failed.value.code == "archive_invalid"


def test_an_archive_that_ends_early(tmp_path: Path) -> None:
    whole = pack({"name": "bin/ollama", "content": os.urandom(100_000)}).getvalue()
    with pytest.raises(Failure) as failed:
        archive.unpack(io.BytesIO(whole[: len(whole) // 2]), SOURCE, tmp_path, None)
    assert failed.value.code == "archive_invalid"


def test_zstd_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Failure) as failed:
        archive.unpack(io.BytesIO(b"\x28\xb5\x2f\xfd rest"), SOURCE, tmp_path, None)
    assert failed.value.code == "zstd_missing"


def test_zstd_that_says_no(tmp_path: Path) -> None:
    # A stand-in: not every machine that runs the unit tests has zstd. The real one is in tests/real.
    program = tmp_path / "zstd"
    program.write_text("#!/bin/sh\ngzip -dc\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)
    file = tmp_path / "file"
    file.write_bytes(b"\x28\xb5\x2f\xfd rest")
    with file.open("rb") as opened, pytest.raises(Failure) as failed:
        archive.unpack(opened, SOURCE, tmp_path / "tree", str(program))
    assert failed.value.code == "archive_invalid"


def test_a_disk_that_is_full_while_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # In the place of a file system with a few MB, which only root may mount; that is in molecule's scenario ollama_install.
    def full(*_args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(Failure) as failed:
        archive.unpack(pack({"name": "bin/ollama", "content": b"x"}), SOURCE, tmp_path, None)
    assert failed.value.code == "disk_full"


@pytest.mark.parametrize(("size", "have", "fits"), [(100, 0, True), (None, 0, True), (400, 0, False), (400, 300, True)])
def test_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int | None, have: int, fits: bool) -> None:
    blocks = namedtuple("blocks", "f_bavail f_frsize")
    monkeypatch.setattr(os, "statvfs", lambda _path: blocks(100, 10))
    if fits:
        download.check_room(tmp_path, size, have)
        return
    with pytest.raises(Failure) as failed:
        download.check_room(tmp_path, size, have)
    assert (failed.value.code, failed.value.details) == ("disk_full", {"free": 1000, "needed": 1200})


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (None, "archive_invalid"),
        ("exit 3", "ollama_unusable"),
        ("echo hello", "ollama_unusable"),
        ("echo ollama version is 0.1.2", "version_mismatch"),
        ('test "$OLLAMA_HOST" = 127.0.0.1:9 && echo ollama version is 0.1.3', None),
    ],
)
def test_the_program_is_tried(tmp_path: Path, script: str | None, code: str | None) -> None:
    # Scripts, because PyPI has one version of the real program; that one is tried in tests/real.
    (tmp_path / "bin").mkdir()
    if script:
        (tmp_path / "bin/ollama").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (tmp_path / "bin/ollama").chmod(0o755)
    machine = Machine(environ={"PATH": "/usr/bin:/bin"})
    if code is None:
        archive.prove_program(machine, find_account(), tmp_path, [SOURCE], "0.1.3")
        return
    with pytest.raises(Failure) as failed:
        archive.prove_program(machine, find_account(), tmp_path, [SOURCE], "0.1.3")
    assert failed.value.code == code


def test_a_program_for_another_processor(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ollama").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(100))
    (tmp_path / "bin/ollama").chmod(0o755)
    with pytest.raises(Failure) as failed:
        archive.prove_program(Machine(environ={}), find_account(), tmp_path, [SOURCE], "0.1.3")
    assert failed.value.code == "ollama_unusable"
    assert "Exec format error" in failed.value.message


def test_zstd_takes_the_file_from_its_start(tmp_path: Path) -> None:
    if not shutil.which("gzip"):
        pytest.fail("gzip is not installed")
    # A stand-in that unpacks gzip, as above: what counts is that it gets the file whole.
    program = tmp_path / "zstd"
    program.write_text("#!/bin/sh\nhead -c 4 >/dev/null\nexec gzip -dc\n", encoding="utf-8")
    program.chmod(0o755)
    packed = pack({"name": "bin/ollama", "content": b"x" * 50_000}).getvalue()
    file = tmp_path / "file"
    file.write_bytes(b"\x28\xb5\x2f\xfd" + packed)
    (tmp_path / "tree").mkdir()
    probe = subprocess.run([program], stdin=file.open("rb"), capture_output=True, check=False)
    with file.open("rb") as opened:
        opened.read(1)
        opened.seek(0)
        archive.unpack(opened, SOURCE, tmp_path / "tree", str(program))
    assert probe.returncode == 0
    assert (tmp_path / "tree/bin/ollama").stat().st_size == 50_000
