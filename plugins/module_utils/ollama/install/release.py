# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Releases of Ollama: which version is new enough, which archive a host needs, where it lies and what its checksum is."""

from __future__ import annotations

import re

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.fetch.source import Source, parse_source
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.platform import normalise_architecture
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.versions import version_key

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
        raise Failure("version_invalid", f"{version!r} is no version of Ollama. Write it like {DEFAULT_VERSION}.")
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
            f"The script {source} would come by plain HTTP and be run as root, and no checksum is given. Use https, or give the checksum.",
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
            f"The archive {source} needs a checksum, and none is given. Set {option} to sha256:HEX; the release {version} has it in "
            "sha256sum.txt.",
        )
    return source._replace(sha256=sha256)


def _jetpack(machine: Machine) -> str | None:
    """Return C(jetpack5) or C(jetpack6), None on other hosts and for newer ones, which need no libraries of their own."""
    release = re.match(r"# (R\d+)", machine.read("/etc/nv_tegra_release") or "")
    return _JETPACKS.get(release[1]) if release else None
