# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What ollama_install is asked for, and the archives of releases: where they lie, what they are packed with, what is unpacked."""

from __future__ import annotations

import errno
import os
import posixpath
import re
import shutil
import subprocess
import tarfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from ..failure import Failure
from ..fetch import download
from ..fetch.download import Source, full, parse_source
from ..fetch.staging import check_writable
from ..host.machine import Account, Machine
from ..host.packages import install
from ..host.platform import normalise_architecture
from ..host.tools import find_package_manager
from .client import LIBRARY, NO_DAEMON, PROGRAM, parse_ollama_client_version
from .names import version_key

# Older daemons return tool calls as text (upstream-facts N6, NemoClaw's own minimum of August 2026).
DEFAULT_VERSION = "0.32.9"
SCRIPT_URL = "https://ollama.com/install.sh"

_RELEASES = "https://github.com/ollama/ollama/releases/download/v{version}/ollama-linux-{kind}{suffix}"
# As the release's own sha256sum.txt has them.
_CHECKSUMS = {
    ("0.32.9", "amd64"): "5d747a43369f61e38f20b5a39fcc5c90647e562cdc61e2e56034f1c5b113d540",
    ("0.32.9", "arm64"): "79617139521db251c716d6229505d7530171ff4d68e476d0c22dabc15726a237",
}
# Since this release the archives are .tar.zst and no longer .tgz (ollama pull request 13651).
_FIRST_ZSTD = (0, 14, 0)
_VERSION = re.compile(r"v?(\d+\.\d+\.\d+(?:-[0-9A-Za-z.]+)?)")
# L4T release -> JetPack (ollama scripts/install.sh; upstream-facts N10).
_JETPACKS = {"R35": "jetpack5", "R36": "jetpack6"}


def check_version(version: str) -> str:
    """Return the version without a leading C(v).

    Raises:
        Failure: C(version_invalid).

    """
    found = _VERSION.fullmatch(version.strip())
    if not found:
        raise Failure("version_invalid", f"{version!r} is not a version of Ollama. Write it like {DEFAULT_VERSION}.")
    return found[1]


def archives(
    version: str, machine: Machine, url: str | None, checksum: str | None, more: tuple[str | None, str | None]
) -> list[Source]:
    """Return the archives that a host needs: Ollama's, and on a Jetson the libraries of its JetPack.

    Args:
        version: Which release.
        machine: Whose architecture and JetPack count.
        url: Another place than the release's.
        checksum: C(sha256:...), which may be left out where the release is known to us.
        more: The same two of the JetPack's archive.

    Raises:
        Failure: C(architecture_unsupported), C(url_invalid), C(url_credentials), C(checksum_invalid), C(checksum_missing).

    """
    architecture = normalise_architecture(machine.architecture)
    if architecture not in ("amd64", "arm64"):
        raise Failure(
            "architecture_unsupported",
            f"Ollama has archives for amd64 and arm64, and this host is {machine.architecture}. Build it from source there.",
        )
    found = [_archive(version, architecture, url, checksum)]
    jetpack = _jetpack(machine)
    if jetpack:
        found.append(_archive(version, f"{architecture}-{jetpack}", *more))
    return found


def script(url: str | None, checksum: str | None) -> Source:
    """Return where the official script comes from.

    Raises:
        Failure: C(url_invalid), C(url_credentials), C(checksum_invalid), C(checksum_missing) for what comes by plain HTTP.

    """
    source = parse_source(url or SCRIPT_URL, checksum)
    if source.url.startswith("http:") and source.sha256 is None:
        raise Failure(
            "checksum_missing",
            f"The script {source} would come over plain HTTP and run as root, but no checksum is set. Use https, or set the checksum.",
        )
    return source


def _archive(version: str, kind: str, url: str | None, checksum: str | None) -> Source:
    suffix = ".tar.zst" if version_key(version) >= _FIRST_ZSTD else ".tgz"
    source = parse_source(url or _RELEASES.format(version=version, kind=kind, suffix=suffix), checksum)
    sha256 = source.sha256 or _CHECKSUMS.get((version, kind))
    if sha256 is None:
        option = "jetpack_checksum" if "jetpack" in kind else "checksum"
        raise Failure(
            "checksum_missing",
            f"The archive {source} needs a checksum, but none is set. Set {option} to sha256:HEX; the release {version} has it in "
            "sha256sum.txt.",
        )
    return source._replace(sha256=sha256)


def _jetpack(machine: Machine) -> str | None:
    """Return C(jetpack5) or C(jetpack6), None on other hosts and for newer ones, which need no libraries of their own."""
    release = re.match(r"# (R\d+)", machine.read("/etc/nv_tegra_release") or "")
    return _JETPACKS.get(release[1]) if release else None


_ZSTD = "zstd"
# By the names that find_package_manager gives.
_COMMANDS = {
    "apt": "apt-get install zstd",
    "dnf": "dnf install zstd",
    "yum": "yum install zstd",
    "zypper": "zypper install zstd",
    "pacman": "pacman -S zstd",
    "apk": "apk add zstd",
    "portage": "emerge app-arch/zstd",
    "xbps": "xbps-install zstd",
}
_WHY_ROOT = "which needs root: Ollama's archives are packed with zstd, and packages of the system are root's to install"


def converge(machine: Machine, check_mode: bool) -> dict[str, Any]:
    """Have zstd installed, unless only checking, and return C({changed, installed, package_manager, msg}).

    Raises:
        Failure: C(zstd_missing) where it is not apt's to install, C(zstd_not_installed) where apt could not, C(root_needed).

    """
    manager = find_package_manager(machine)
    if machine.find_command(_ZSTD):
        said = f"The program {_ZSTD} is there."
        return {"changed": False, "installed": True, "package_manager": manager, "msg": said}
    if manager != "apt":
        raise _missing(manager)
    if not check_mode:
        _install(machine)
    said = f"The package {_ZSTD} {'would be' if check_mode else 'was'} installed with apt-get, {_WHY_ROOT}."
    return {"changed": True, "installed": not check_mode, "package_manager": manager, "msg": said}


def _install(machine: Machine) -> None:
    try:
        install(machine, "apt", [_ZSTD], _WHY_ROOT)
    except Failure as failure:
        # The code that this module has had from its first release.
        code = "zstd_not_installed" if failure.code == "package_not_installed" else failure.code
        raise Failure(code, failure.message, **failure.details) from None
    if not machine.find_command(_ZSTD):
        raise Failure(
            "zstd_not_installed",
            f"apt-get reports that {_ZSTD} is installed, but no such program is found. Check the package, or install zstd by hand.",
        )


def _missing(manager: str | None) -> Failure:
    command = _COMMANDS.get(manager or "")
    remedy = f"Run '{command}' as root" if command else "Install zstd with the distribution's own tools"
    return Failure(
        "zstd_missing",
        f"Looked for the program zstd, which Ollama's archives need, and it is not installed. {remedy}, then run the play again.",
        package_manager=manager,
        command=command,
    )


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
            f"Unpacking the archive {source} requires the program zstd, which is not installed. Install it first (module zstd), or use an "
            f"archive that ends in .tgz.",
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
                f"Unpacked {source} in {folder}: the disk was full. Free space. The previous installation is untouched.",
            ) from error
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise Failure(
            "archive_invalid",
            f"Unpacked {source}: {error}. This is not an Ollama archive. The previous installation is untouched.",
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
    """Tell whether a symbolic link points to somewhere in the library folder, as those of doubled CUDA libraries do."""
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
            f"Unpacked {named}: there is no bin/ollama in it, so this is not an Ollama archive. The previous installation is untouched.",
        )
    alone = Machine(environ={**machine.environ, **NO_DAEMON})
    answer = alone.run([str(program), "--version"], _RUN_LIMIT_S, account)
    said = " ".join(answer.output.split())[:300] or answer.problem or f"exit code {answer.code}"
    found = parse_ollama_client_version(answer.output) if answer.code == 0 else None
    if found is None:
        raise Failure(
            "ollama_unusable",
            f"Ran the program of {named} before installing it, and it does not work on this host: {said}. Check that the archive is "
            "for this architecture and that programs may run in this folder. The previous installation is untouched.",
        )
    if found != version:
        raise Failure(
            "version_mismatch",
            f"{named} holds Ollama {found}, but {version} is required. Correct version, url or checksum. The previous installation is "
            f"untouched.",
            found=found,
        )


_SOURCE = ("ollama_install_url", "ollama_install_checksum")
# By the codes whose remedy is one of the options.
VARIABLES: dict[str, tuple[str, ...]] = {
    "archive_not_found": ("ollama_version", "ollama_install_url"),
    "archive_unreadable": ("ollama_install_url",),
    "archive_invalid": _SOURCE,
    "checksum_invalid": ("ollama_install_checksum",),
    "checksum_mismatch": ("ollama_install_checksum",),
    "checksum_missing": ("ollama_install_checksum", "ollama_install_jetpack_checksum"),
    "download_interrupted": ("ollama_install_url",),
    "download_refused": ("ollama_install_url",),
    "download_stalled": ("ollama_install_url",),
    "download_unreachable": ("ollama_install_url",),
    "install_unwritable": ("ollama_install_mode",),
    "method_invalid": ("ollama_install_method", "ollama_install_mode"),
    "ollama_unusable": _SOURCE,
    "redirect_refused": ("ollama_install_url",),
    "script_failed": ("ollama_install_method",),
    "url_credentials": ("ollama_install_url",),
    "url_invalid": ("ollama_install_url",),
    "version_invalid": ("ollama_version", "ollama_minimum_version"),
    "version_mismatch": ("ollama_version", *_SOURCE),
}


def name_variables(failure: Failure) -> Failure:
    """Return the failure with the role's variables in its sentence, where its remedy is an option that they set."""
    names = VARIABLES.get(failure.code)
    if not names:
        return failure
    return Failure(failure.code, f"{failure.message} Variables of the role: {', '.join(names)}.", **failure.details)


SYSTEM_PREFIX = "/usr/local"


@dataclass(frozen=True)
class Desired:
    """What is wanted; see the options of the module."""

    version: str
    minimum_version: str | None
    method: str
    mode: str
    url: str | None
    checksum: str | None
    jetpack_url: str | None
    jetpack_checksum: str | None
    prefix: str | None
    port: int
    restart: bool
    timeout: float
    stall_timeout: float
    keep_previous: bool = False
    reinstall: bool = False


@dataclass
class Result:
    """What was found, and what is there now, or would be in check mode."""

    path: str | None
    previous_version: str | None
    previous_daemon: str | None
    version: str | None
    daemon_version: str | None
    unit: str | None = None  # text of a unit that was written
    previous: str | None = None  # the version that is kept
    source: str | None = None
    size: int | None = None
    changed: bool = False
    daemon_restarted: bool = False
    daemon_restart_needed: bool = False
    actions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def plan(self, action: str) -> None:
        """Note something that is done, or would be in check mode."""
        self.changed = True
        self.actions.append(action)


def check_place(desired: Desired, prefix: str, program: str, path: str | None) -> None:
    """Stop where an installation could not do what is wanted.

    Args:
        desired: What is wanted.
        prefix: Where it would go.
        program: The file that it would be.
        path: The program that this host has now, too old or unreadable; None without one.

    Raises:
        Failure: C(root_needed), C(ollama_elsewhere), C(method_invalid).

    """
    if desired.method == "script" and (desired.mode == "user" or prefix != SYSTEM_PREFIX):
        raise Failure(
            "method_invalid",
            f"The script installs for the whole host, in {SYSTEM_PREFIX}. Use method: archive for mode: user or another prefix.",
        )
    if desired.mode == "system" and os.geteuid() != 0:
        raise Failure(
            "root_needed",
            "The mode system installs for the whole host, which only root may do. Run the task with become: true, or set mode: user. "
            "Nothing was changed.",
        )
    if path not in (None, program):
        raise Failure(
            "ollama_elsewhere",
            f"The Ollama at {path} is too old or does not report its version, and a new one in {prefix} would leave it there. Remove it, "
            f"or set prefix to its folder (the one that has bin/ollama). Nothing was changed.",
            path=path,
        )


def foresee(machine: Machine, desired: Desired, place: Path, sources: list[Source], result: Result) -> None:
    """Say in check mode whether the files are there and how large they are, whether they fit, and what is missing.

    Raises:
        Failure: What the installation itself would stop at.

    """
    folder = check_writable(place)
    sizes = [download.foresee(source, desired.stall_timeout) for source in sources]
    result.size = None if None in sizes else sum(filter(None, sizes))
    if desired.method == "archive":
        download.check_room(folder, result.size)
        try:
            check_zstd(sources[0], machine)
        except Failure as failure:
            result.warnings.append(failure.message)  # a task before this one may install it, which check mode does not
