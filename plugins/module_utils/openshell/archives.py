# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The archives of an OpenShell release: their names, where they lie, and the one program that is taken out of each.

Names and kinds are those of the release page (upstream-facts O9); NemoClaw's installer takes the same three.
"""

from __future__ import annotations

import shutil
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, cast

from ..failure import Failure
from ..fetch.source import Source, parse_source
from ..fetch.trouble import full
from ..host.machine import Machine
from ..host.platform import normalise_architecture

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
            f"The components of OpenShell are {', '.join(COMPONENTS)}, and asked was for {', '.join(unknown) or 'none'}. Correct "
            "components and checksums.",
        )
    base = url or RELEASES.format(version=version)
    whole = base.partition("?")[0].endswith(_ENDINGS)
    if whole and len(components) > 1:
        raise Failure(
            "url_invalid",
            f"The url {base.partition('?')[0]} is one archive, and {len(components)} components are to be installed. Give the folder that "
            "has their archives, with the names that the release gives them.",
        )
    found = {}
    for name in components:
        program, libc = COMPONENTS[name]
        asset = f"{program}-{architecture}-unknown-linux-{libc}.tar.gz"
        found[name] = parse_source(base if whole else f"{base.rstrip('/')}/{asset}", checksums.get(name))
        if found[name].sha256 is None:
            raise Failure(
                "checksum_missing",
                f"The archive {found[name]} needs a checksum, and none is given. Set checksums.{name} to sha256:HEX; the release "
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
                f"Unpacked {source} in {tree}: the disk was full. Free space. What was there before is untouched.",
            ) from error
        raise Failure(
            "archive_invalid",
            f"Unpacked {source}: {error}. This is no archive of OpenShell. What was there before is untouched.",
        ) from error
    raise Failure(
        "archive_invalid",
        f"Unpacked {source}: there is no {component.program} in it, so this is no archive of it. What was there before is untouched.",
    )
