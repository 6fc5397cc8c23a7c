# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""An archive of Ollama: unpacked with nothing outside of Ollama's own folders, and tried before anybody relies on it."""

from __future__ import annotations

import errno
import os
import posixpath
import shutil
import subprocess
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.fetch.source import Source
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.fetch.trouble import full
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.accounts import Account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.tools import (
    NO_DAEMON,
    parse_ollama_client_version,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.install.layout import LIBRARY, PROGRAM

_CHUNK = 1024 * 1024
_RUN_LIMIT_S = 30.0
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def check_zstd(source: Source, machine: Machine) -> str | None:
    """Return the program zstd where the archive needs it.

    Raises:
        Failure: C(zstd_missing).

    """
    found = machine.find_command("zstd")
    if source.is_zstd and found is None:
        raise Failure(
            "zstd_missing",
            f"The archive {source} is unpacked by the program zstd, which is not installed. Install it first (module zstd), or give an "
            "archive that ends in .tgz.",
        )
    return found


def unpack(file: IO[bytes], source: Source, folder: Path, zstd: str | None) -> None:
    """Unpack an archive into a folder.

    Args:
        file: The archive, at its start, its checksum proved.
        source: Where it came from, for messages.
        folder: Is there; what is in it stays.
        zstd: The program, None where it is not installed.

    Raises:
        Failure: C(zstd_missing), C(disk_full), C(archive_invalid) also for members that do not belong to Ollama.

    """
    magic = file.read(4)
    file.seek(0)
    try:
        if magic.startswith(_GZIP_MAGIC):
            with tarfile.open(fileobj=file, mode="r|gz") as tar:
                _extract(tar, folder)
        elif magic != _ZSTD_MAGIC:
            raise tarfile.ReadError("it is packed neither by gzip nor by zstd")
        elif zstd is None:
            raise Failure(
                "zstd_missing",
                f"The archive {source} is packed by zstd, which is not installed. Install it (module zstd).",
            )
        else:
            _unpack_zstd(zstd, file, folder)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        if full(error):
            raise Failure(
                "disk_full",
                f"Unpacked {source} in {folder}: the disk was full. Free space. What was there before is untouched.",
            ) from error
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise Failure(
            "archive_invalid",
            f"Unpacked {source}: {error}. This is no archive of Ollama. What was there before is untouched.",
        ) from error


def _unpack_zstd(zstd: str, file: IO[bytes], folder: Path) -> None:
    # Within acting_as() the real user is still root, which must not read what another user packed.
    identity: dict[str, Any] = {"user": os.geteuid()} if os.geteuid() != os.getuid() else {}
    os.lseek(file.fileno(), 0, os.SEEK_SET)  # seek() of a buffered file may move within its buffer alone
    # Not AnsibleModule.run_command: that would hold 2 GB in memory.
    with subprocess.Popen(  # pylint: disable=ansible-bad-function
        [zstd, "-dcq"], stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/", **identity
    ) as process:
        output = cast("IO[bytes]", process.stdout)
        with tarfile.open(fileobj=output, mode="r|") as tar:
            _extract(tar, folder)
        while output.read(_CHUNK):  # the padding after the archive's end
            pass
    if process.returncode:
        raise tarfile.ReadError("zstd could not read it to its end")


def _extract(tar: tarfile.TarFile, folder: Path) -> None:
    links: list[tuple[Path, str]] = []
    for member in tar:
        path = PurePosixPath(posixpath.normpath(member.name))
        if ".." in path.parts or path.is_absolute():
            raise tarfile.ExtractError(f"its member {member.name!r} would lie outside of its folder")
        inside = path == PROGRAM or LIBRARY in path.parents
        target = folder / path
        if member.isdir() and (inside or path in (PROGRAM.parent, LIBRARY, LIBRARY.parent, PurePosixPath("."))):
            target.mkdir(parents=True, exist_ok=True)
        elif member.isfile() and len(path.parts) == 1:
            continue  # a licence or a note beside the folders
        elif not inside:
            raise tarfile.ExtractError(f"its member {member.name!r} does not belong to Ollama")
        elif member.isfile():
            _write(tar, member, target)
        elif member.issym() and _stays(path, member.linkname):
            links.append((target, member.linkname))
        else:
            raise tarfile.ExtractError(
                f"its member {member.name!r} is neither a file, a folder nor a link within Ollama's folders"
            )
    # At the end, so that no file is written through one.
    for target, link in links:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.symlink_to(link)


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with cast("IO[bytes]", tar.extractfile(member)) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file, _CHUNK)
    target.chmod(0o755 if member.mode & 0o100 else 0o644)


def _stays(path: PurePosixPath, link: str) -> bool:
    """Tell whether a symbolic link leads to somewhere in the library folder, as those of doubled CUDA libraries do."""
    leads_to = PurePosixPath(posixpath.normpath(str(path.parent / link)))
    return LIBRARY in path.parents and LIBRARY in leads_to.parents


def prove_program(machine: Machine, account: Account, tree: Path, sources: list[Source], version: str) -> None:
    """Run the program where it was unpacked, as the account that will own it.

    Raises:
        Failure: C(archive_invalid) where there is no program, C(ollama_unusable) where it does not run, C(version_mismatch).

    """
    program = tree / PROGRAM
    named = " and ".join(map(str, sources))
    if program.is_symlink() or not program.is_file():
        raise Failure(
            "archive_invalid",
            f"Unpacked {named}: there is no bin/ollama in it, so this is no archive of Ollama. What was there before is untouched.",
        )
    alone = Machine(environ={**machine.environ, **NO_DAEMON})
    answer = alone.run([str(program), "--version"], _RUN_LIMIT_S, account)
    said = " ".join(answer.output.split())[:300] or answer.problem or f"exit code {answer.code}"
    found = parse_ollama_client_version(answer.output) if answer.code == 0 else None
    if found is None:
        raise Failure(
            "ollama_unusable",
            f"Ran the program of {named} before installing it, and it does not work on this host: {said}. Check that the archive is "
            "for this architecture and that programs may run in this folder. What was there before is untouched.",
        )
    if found != version:
        raise Failure(
            "version_mismatch",
            f"{named} holds Ollama {found}, and {version} is wanted. Correct version, url or checksum. What was there before is "
            "untouched.",
            found=found,
        )
