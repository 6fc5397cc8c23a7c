# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Install OpenShell from the archives of a release: what there is, what is fetched, and the swap.

Names and kinds are those of the release page (upstream-facts O9); NemoClaw's installer takes the same three.
"""

from __future__ import annotations

import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, cast

from ..failure import Failure
from ..fetch import download
from ..fetch.download import Source, full, parse_source
from ..fetch.staging import Staging, check_writable
from ..host.machine import Account, Machine
from ..host.platform import normalise_architecture
from ..jobs.progress import silent
from .cli import Release, check_release, parse_release

RELEASES = "https://github.com/NVIDIA/OpenShell/releases/download/v{version}"
# As the archives' names have them.
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
_ENDINGS = (".tar.gz", ".tgz")
_CHUNK = 1024 * 1024


class Component(NamedTuple):
    """A part of a release: its program, and which C library it is built for."""

    program: str
    libc: str

    @property
    def place(self) -> PurePosixPath:
        """Where it belongs, below the prefix."""
        return PurePosixPath("bin", self.program)


# The gateway looks for openshell-sandbox beside itself, and pulls an image where there is none (upstream-facts O10).
COMPONENTS = {
    "cli": Component("openshell", "musl"),
    "gateway": Component("openshell-gateway", "gnu"),
    "supervisor": Component("openshell-sandbox", "gnu"),
}


def sources(
    version: str, components: Sequence[str], machine: Machine, url: str | None, checksums: Mapping[str, str]
) -> dict[str, Source]:
    """Return where the archive of each component lies.

    Args:
        version: Of the release.
        components: Names out of COMPONENTS.
        machine: Whose architecture counts.
        url: Another folder than the release's, as a URL or a path on the host; or one archive, for one component.
        checksums: C(sha256:...) by component.

    Raises:
        Failure: C(architecture_unsupported), C(openshell_component_unknown), C(checksum_missing), C(url_invalid),
            C(url_credentials), C(checksum_invalid).

    """
    architecture = _ARCHITECTURES.get(normalise_architecture(machine.architecture))
    if architecture is None:
        raise Failure(
            "architecture_unsupported",
            f"OpenShell has archives for amd64 and arm64, and this host is {machine.architecture}. Build it from source there, and "
            "set sandbox_install_openshell to false.",
        )
    unknown = [name for name in (*components, *checksums) if name not in COMPONENTS]
    if unknown or not components:
        raise Failure(
            "openshell_component_unknown",
            f"The components of OpenShell are {', '.join(COMPONENTS)}, but {', '.join(unknown) or 'none'} was requested. Correct "
            "components and checksums.",
        )
    base = url or RELEASES.format(version=version)
    whole = base.partition("?")[0].endswith(_ENDINGS)
    if whole and len(components) > 1:
        raise Failure(
            "url_invalid",
            f"The url {base.partition('?')[0]} is one archive, but {len(components)} components are to be installed. Use the folder that "
            f"has their archives, under their release names.",
        )
    found = {}
    for name in components:
        program, libc = COMPONENTS[name]
        asset = f"{program}-{architecture}-unknown-linux-{libc}.tar.gz"
        found[name] = parse_source(base if whole else f"{base.rstrip('/')}/{asset}", checksums.get(name))
        if found[name].sha256 is None:
            raise Failure(
                "checksum_missing",
                f"The archive {found[name]} needs a checksum, but none is set. Set checksums.{name} to sha256:HEX; the release "
                f"{version} has it in {program}-checksums-sha256.txt.",
            )
    return found


def take_out(file: IO[bytes], source: Source, component: Component, tree: Path) -> Path:
    """Unpack the program of a component, and nothing else, and return it.

    Raises:
        Failure: C(archive_invalid), C(disk_full).

    """
    target = tree / component.place
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(fileobj=file, mode="r|gz") as tar:
            for member in tar:
                if member.isfile() and PurePosixPath(member.name).name == component.program:
                    with cast("IO[bytes]", tar.extractfile(member)) as content, target.open("wb") as program:
                        shutil.copyfileobj(content, program, _CHUNK)
                    target.chmod(0o755)
                    return target
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        if full(error):
            raise Failure(
                "disk_full",
                f"Unpacked {source} in {tree}: the disk was full. Free space. The previous installation is untouched.",
            ) from error
        raise Failure(
            "archive_invalid",
            f"Unpacked {source}: {error}. This is not an OpenShell archive. The previous installation is untouched.",
        ) from error
    raise Failure(
        "archive_invalid",
        f"Unpacked {source}: there is no {component.program} in it, so this is not its archive. The previous installation is untouched.",
    )


SYSTEM_PREFIX = "/usr/local"
_RUN_LIMIT_S = 30.0
_VERSION = re.compile(r"v?\d+\.\d+\.\d+")


@dataclass(frozen=True)
class Desired:
    """What is wanted; see the options of the module."""

    version: str
    components: Sequence[str] = ("cli",)
    url: str | None = None
    checksums: Mapping[str, str] = field(default_factory=dict)
    mode: str = "system"
    prefix: str | None = None
    stall_timeout: float = 60.0


# Its archives were not looked at, and what it sets up is routed otherwise.
_FIRST_OTHERWISE = (0, 1, 0)


class Installation:
    """One run of the module on one host, as the user that it runs as."""

    def __init__(self, machine: Machine, account: Account, desired: Desired) -> None:
        self._machine, self._account, self._desired = machine, account, desired
        if not _VERSION.fullmatch(desired.version):
            raise Failure(
                "version_invalid",
                f"{desired.version!r} is not a release of OpenShell. Write it like 0.0.83, without wildcards (sandbox_openshell_version).",
            )
        # No other release works with the roles of this collection.
        self._release = check_release(desired.version, "What is to be installed")
        if self._release.number >= _FIRST_OTHERWISE:
            raise Failure(
                "openshell_too_new",
                f"OpenShell {self._release} was to be installed, and this module installs 0.0.44 to 0.0.116: 0.1 has no inference route, "
                "which the roles set up. Give such a release, or install 0.1 by its own installer and use openshell_attachment with it "
                "(experimental).",
                version=str(self._release),
            )
        self._prefix = desired.prefix or (SYSTEM_PREFIX if desired.mode == "system" else f"{account.home}/.local")

    def converge(self, check_mode: bool) -> dict[str, Any]:
        """Have the components in that release, unless only checking.

        Raises:
            Failure: With the codes of docs/failure-codes.md, sections OpenShell and Installation.

        """
        desired, machine = self._desired, self._machine
        found = {name: self._look(name) for name in desired.components if name in COMPONENTS}
        asked = sources(str(self._release), desired.components, machine, desired.url, desired.checksums)
        lacking = [name for name in desired.components if found[name][1] != self._release]
        before = {name: str(release) if release else None for name, (_path, release) in found.items()}
        result: dict[str, Any] = {
            "changed": bool(lacking),
            "version": str(self._release),
            "previous": before,
            "paths": {
                name: self._target(name) if name in lacking else path for name, (path, _release) in found.items()
            },
            "actions": [f"install {asked[name]} as {self._target(name)}" for name in lacking],
            "size": None,
            "diff": {
                "before": "".join(f"{name}: {before[name] or 'none'}\n" for name in lacking),
                "after": "".join(f"{name}: {self._release}\n" for name in lacking),
            },
        }
        for name in lacking:
            self._check_place(found[name][0], name)
        if lacking and check_mode:
            folder = check_writable(machine.path(self._prefix))
            sizes = [download.foresee(asked[name], desired.stall_timeout) for name in lacking]
            result["size"] = None if None in sizes else sum(filter(None, sizes))
            download.check_room(folder, result["size"])
        elif lacking:
            result["size"] = self._install({name: asked[name] for name in lacking})
        elif not check_mode:
            self._staging(desired.components).tidy()
        return result

    def _staging(self, components: Iterable[str]) -> Staging:
        return Staging(self._machine.path(self._prefix), "OpenShell", [COMPONENTS[name].place for name in components])

    def _look(self, name: str) -> tuple[str | None, Release | None]:
        """Return where the program of a component is found, and its release; None for what it does not tell."""
        program = COMPONENTS[name].program
        if self._desired.prefix:
            path = self._target(name) if self._machine.exists(self._target(name)) else None
        else:
            path = self._machine.find_command(program, [f"{self._account.home}/.local/bin"])
        return path, self._ask(path) if path else None

    def _target(self, name: str) -> str:
        return f"{self._prefix}/{COMPONENTS[name].place}"

    def _ask(self, path: str) -> Release | None:
        answer = self._machine.run([path, "--version"], _RUN_LIMIT_S)
        return parse_release(answer.output) if answer.code == 0 else None

    def _check_place(self, path: str | None, name: str) -> None:
        if self._desired.mode == "system" and not self._desired.prefix and os.geteuid() != 0:
            raise Failure(
                "root_needed",
                "The mode system installs for the whole host, which only root may do. Run the task with become: true, or set mode: "
                "user. Nothing was changed.",
            )
        if path not in (None, self._target(name)):
            raise Failure(
                "openshell_elsewhere",
                f"This host finds {path}, which is not OpenShell {self._release}, and a new one in {self._prefix}/bin would leave it "
                "there. Remove it (a package by the package manager), or give its folder by prefix. Nothing was changed.",
                path=path,
            )

    def _install(self, asked: Mapping[str, Any]) -> int:
        staging = self._staging(asked)
        staging.open()
        size = 0
        try:
            for name, source in asked.items():
                fetched = download.fetch(source, staging.folder, self._desired.stall_timeout, silent)
                size += fetched.size
                with fetched.file:
                    self._prove(take_out(fetched.file, source, COMPONENTS[name], staging.tree), source)
            try:
                staging.swap()
            except BaseException:  # Ctrl-C as well: close() removes what was there before
                staging.undo()
                raise
        except OSError as error:
            raise Failure(
                "install_failed",
                f"Installing OpenShell {self._release} to {self._prefix} failed: {error}. {staging.outcome}",
            ) from error
        finally:
            staging.close()
        return size

    def _prove(self, program: Path, source: Any) -> None:
        """Run a program where it was unpacked.

        Raises:
            Failure: C(openshell_unusable), C(version_mismatch).

        """
        answer = Machine(environ=self._machine.environ).run([str(program), "--version"], _RUN_LIMIT_S)
        found = parse_release(answer.output) if answer.code == 0 else None
        if found is None:
            said = " ".join(answer.output.split())[:300] or answer.problem or f"exit code {answer.code}"
            raise Failure(
                "openshell_unusable",
                f"Ran the program of {source} before installing it, and it does not work on this host: {said}. Check that the archive "
                "is for this architecture and that the host's C library is new enough for it. The previous installation is untouched.",
            )
        if found != self._release:
            raise Failure(
                "version_mismatch",
                f"{source} holds OpenShell {found}, but {self._release} is required. Correct version, url or checksums. The previous "
                f"installation is untouched.",
                found=str(found),
            )
