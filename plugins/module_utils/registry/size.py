# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""How much a pull would download, from the registry's manifest. Where we cannot ask it ourselves, nobody knows."""

from __future__ import annotations

import base64
import re
import urllib.parse
from typing import Any

from ..clock import Deadline
from ..failure import Failure
from ..transport.client import Client
from ..transport.url import parse_base_url
from ..untrusted import list_of, object_of, parse_json
from .logins import Credential
from .reference import DOCKER_HUB, Reference

# For all questions together: a size is good to know and not worth waiting for.
LIMIT_S = 10.0
_ACCEPT = (
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
# The engine speaks plain HTTP to registries on loopback only, unless it is told otherwise (its --insecure-registry).
_LOOPBACK = re.compile(r"(localhost|127(\.\d+){3}|\[::1\])(:\d+)?")


def download_bytes(
    reference: Reference, architecture: str, credential: Credential | None = None, limit_s: float = LIMIT_S
) -> int | None:
    """Return the compressed size of an image for a CPU, or None: a registry that does not answer us may answer the engine."""
    try:
        return _Asker(reference, credential, Deadline(limit_s)).size(architecture)
    except (Failure, ValueError):
        return None


class _Asker:
    """Asks one repository for manifests, and keeps the header that it was let in with."""

    def __init__(self, reference: Reference, credential: Credential | None, deadline: Deadline) -> None:
        self._reference = reference
        self._credential = credential
        self._deadline = deadline
        self._authorization = ""
        host = "registry-1.docker.io" if reference.registry == DOCKER_HUB else reference.registry
        scheme = "http" if _LOOPBACK.fullmatch(host) else "https"
        self._root = f"{scheme}://{host}"

    def size(self, architecture: str) -> int | None:
        """Return the sum of the layers and the configuration."""
        manifest = self._manifest(self._reference.version)
        if "manifests" in manifest:
            platforms = [object_of(one) for one in list_of(manifest["manifests"])]
            wanted = {"architecture": architecture, "os": "linux"}
            digest = next((str(one.get("digest")) for one in platforms if _is(one.get("platform"), wanted)), None)
            if digest is None:
                return None
            manifest = self._manifest(digest)
        parts = [object_of(one).get("size") for one in [manifest.get("config"), *list_of(manifest.get("layers"))]]
        sizes = [size for size in parts if isinstance(size, int) and size >= 0]
        return sum(sizes) if len(sizes) == len(parts) > 1 else None

    def _manifest(self, version: str) -> dict[str, Any]:
        url = f"{self._root}/v2/{self._reference.repository}/manifests/{version}"
        status, content, challenge = self._get(url, self._authorization)
        if status == 401 and not self._authorization:
            self._authorization = self._answer(challenge)
            status, content, challenge = self._get(url, self._authorization)
        return content if status == 200 else {}

    def _answer(self, challenge: str) -> str:
        """Return the Authorization header that a registry asks for: the login itself, or a token bought with it."""
        if challenge.lower().startswith("basic"):
            return self._basic()
        asked = dict(_CHALLENGE.findall(challenge))
        realm = asked.get("realm", "")
        # The login goes along: to nobody without TLS, but for a registry of this host.
        if not realm.startswith("https://") and not self._root.startswith("http://"):
            return ""
        scope = asked.get("scope", f"repository:{self._reference.repository}:pull")
        query = urllib.parse.urlencode({"service": asked.get("service", ""), "scope": scope})
        _status, content, _challenge = self._get(f"{realm}?{query}", self._basic())
        token = content.get("token") or content.get("access_token")
        return f"Bearer {token}" if token else ""

    def _basic(self) -> str:
        if self._credential is None or self._credential.is_token:
            return ""
        pair = f"{self._credential.username}:{self._credential.secret}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    def _get(self, url: str, authorization: str) -> tuple[int, dict[str, Any], str]:
        """Return the status, the JSON object and the challenge of an answer."""
        parts = urllib.parse.urlsplit(url)
        base = parse_base_url(f"{parts.scheme}://{parts.netloc}", "openai-completions")
        headers = {"Accept": _ACCEPT, **({"Authorization": authorization} if authorization else {})}
        secret = self._credential.secret if self._credential else ""
        with Client(base, headers, secret, self._deadline).open("GET", url) as reply:
            body = reply.body()
            content = object_of(parse_json(body)) if reply.status == 200 else {}
            return reply.status, content, reply.headers.get("WWW-Authenticate", "")


def _is(platform: Any, wanted: dict[str, str]) -> bool:
    return {key: object_of(platform).get(key) for key in wanted} == wanted
