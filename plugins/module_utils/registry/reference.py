# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What an image's name says: which registry, which repository, which version."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..failure import Failure

DOCKER_HUB = "docker.io"
# The grammar of the distribution project (reference/regexp.go), as far as we need it.
_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
_REFERENCE = re.compile(
    rf"(?:(?P<host>{_HOST})/)?(?P<path>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


class Reference(NamedTuple):
    """An image's name, taken apart.

    Attributes:
        registry: Host and port of its registry, C(docker.io) where the name has none.
        repository: Its path there.
        tag: Its tag; C(latest) where the name has neither tag nor digest, else None.
        digest: Its digest, as C(sha256:...).

    """

    registry: str
    repository: str
    tag: str | None
    digest: str | None

    @property
    def version(self) -> str:
        """What is asked for: the digest where there is one, else the tag."""
        return self.digest or self.tag or "latest"

    @property
    def name(self) -> str:
        """Registry and repository, as C(docker pull) takes them before the version."""
        return self.repository if self.registry == DOCKER_HUB else f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.version}"


def parse_reference(text: str) -> Reference:
    """Return the parts of an image's name, with Docker's defaults.

    Raises:
        Failure: C(image_name_invalid).

    """
    found = _REFERENCE.fullmatch(text.strip())
    host, path = (found["host"], found["path"]) if found else (None, "")
    # The first part is a registry only when it cannot be a folder of Docker Hub.
    if host and not ("." in host or ":" in host or host == "localhost"):
        host, path = None, f"{host}/{path}"
    if found is None or path != path.lower():
        raise Failure(
            "image_name_invalid",
            f"Read the image name {text!r}: it is not written like registry/path:tag or registry/path@sha256:..., in lower "
            "case. Correct it.",
            image=text,
        )
    if host in (None, "index.docker.io", "registry-1.docker.io"):
        host = DOCKER_HUB
    if host == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    tag = found["tag"] or (None if found["digest"] else "latest")
    return Reference(host or DOCKER_HUB, path, tag, found["digest"])
