# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Where a file comes from that is installed, and what its checksum has to be."""

from __future__ import annotations

import re
import urllib.parse
from typing import NamedTuple

from ..failure import Failure

_CHECKSUM = re.compile(r"sha256:([0-9a-fA-F]{64})")


class Source(NamedTuple):
    """Where something comes from, and the SHA-256 that it has to have (None where none is asked for).

    Attributes:
        url: As the user gave it.
        path: The file on this host, None for what is fetched.
        sha256: 64 lower-case hexadecimal digits.

    """

    url: str
    path: str | None
    sha256: str | None

    def __str__(self) -> str:
        # The query may be the signature of a presigned URL.
        return self.path or self.url.partition("?")[0]

    @property
    def name(self) -> str:
        """The file's name, for people."""
        return str(self).rstrip("/").rpartition("/")[2]

    @property
    def is_zstd(self) -> bool:
        """Whether its name says that zstd unpacks it."""
        return str(self).endswith((".zst", ".zstd"))


def parse_source(url: str, checksum: str | None) -> Source:
    """Return a URL or a path on the host with its checksum.

    Raises:
        Failure: C(url_invalid), C(url_credentials), C(checksum_invalid).

    """
    sha256 = _CHECKSUM.fullmatch((checksum or "").strip())
    if checksum and not sha256:
        raise Failure("checksum_invalid", f"{checksum!r} is no checksum. Write it like sha256:HEX with 64 digits.")
    digits = sha256[1].lower() if sha256 else None
    if url.startswith("/"):
        return Source(url, url, digits)
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise Failure(
            "url_invalid", "The url cannot be read. Write it like https://mirror.example/archive.tgz."
        ) from None
    if parts.username or parts.password:
        raise Failure(
            "url_credentials",
            "The url holds a user name or password. Take it out and rotate it; fetch the archive by other means and give its path.",
        )
    if parts.scheme == "file" and host in (None, "localhost") and parts.path.startswith("/"):
        return Source(url, urllib.parse.unquote(parts.path), digits)
    if parts.scheme not in ("http", "https") or not host or not url.isascii() or not url.isprintable() or " " in url:
        raise Failure(
            "url_invalid",
            f"The url {url!r} is neither http(s):// nor file:// nor an absolute path on the host. Correct it.",
        )
    return Source(url, None, digits)
