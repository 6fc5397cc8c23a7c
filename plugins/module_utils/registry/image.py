# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What a registry answers: is the key or the login right, is the image there, for which CPUs, and how large?

The engine asks, not we, because its mirrors, its web proxy and its trusted certificates decide about the pull. Nothing is
downloaded but the manifest: a wrong key or a misspelt name costs no bandwidth. What it says of a refusal becomes a code and advice.
"""

from __future__ import annotations

import base64
import os
import re
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from ..clock import Deadline
from ..failure import Failure, quote
from ..host.machine import Account, Machine
from ..host.platform import normalise_architecture
from ..transport.client import Client
from ..transport.url import parse_base_url
from ..untrusted import list_of, object_of, parse_json
from .reference import DOCKER_HUB, NGC_USER, Credential, Login, Reference, find_login, ngc_login

# What stands in the error, in lower case -> code. The first match counts. Seen with dockerd 20.10 before docker-registry, or in
# moby's distribution/errors.go.
FAILURE_CODES = {
    "no space left on device": "disk_full",
    "toomanyrequests": "registry_rate_limited",
    "429 too many requests": "registry_rate_limited",
    "no matching manifest": "image_architecture",
    "does not match the specified platform": "image_architecture",
    "manifest unknown": "image_not_found",
    "not found": "image_not_found",
    "unauthorized": "registry_unauthorized",
    "no basic auth credentials": "registry_unauthorized",
    "authentication required": "registry_unauthorized",
    "access denied": "registry_unauthorized",
    "denied": "registry_unauthorized",
    "403 forbidden": "registry_unauthorized",
    "invalid reference format": "image_name_invalid",
    "server gave http response to https": "registry_insecure",
    "x509": "registry_tls_failed",
    "tls:": "registry_tls_failed",
    "filesystem layer verification failed": "pull_damaged",
    "unexpected eof": "pull_interrupted",
    "connection reset": "pull_interrupted",
    "no such host": "registry_unreachable",
    "dial tcp": "registry_unreachable",
    "connection refused": "registry_unreachable",
    "i/o timeout": "registry_unreachable",
    "deadline exceeded": "registry_unreachable",
    "request canceled": "registry_unreachable",
    "handshake timeout": "registry_unreachable",
    "timed out": "registry_unreachable",
}
REMEDIES = {
    "disk_full": "Free space where Docker keeps its data (docker info names its root directory), or move it",
    "registry_rate_limited": "The registry limits how much is pulled: log in, or wait, then run it again",
    "image_architecture": "The image has no build for this machine's processor: choose one that has",
    "image_not_found": "Check the name, the tag or the digest of the image",
    "registry_unauthorized": "Log in to the registry as the user who runs this (docker login); the account has to be allowed to pull it",
    "image_name_invalid": "Write it as REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST",
    "registry_insecure": "The registry speaks plain HTTP: put it among Docker's insecure-registries if it is yours",
    "registry_tls_failed": "Have Docker trust the registry's certificate, also where a network inspects TLS",
    "pull_damaged": "What came is not what the registry announced: run it again, and look for a proxy that changes downloads",
    "pull_interrupted": "The layers that came are kept: run it again to go on from there",
    "registry_unreachable": "Check the engine's connection to the registry: DNS, firewall, and the proxy of its service",
}
# Docker does not say which: a name that is not there and one that we may not see look the same from outside.
_MAY_BE_PRIVATE = "repository does not exist or may require"
# For all questions together: a size is good to know and not worth waiting for.
LIMIT_S = 10.0
_ACCEPT = (
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
# The engine speaks plain HTTP to registries on loopback only, unless it is told otherwise (its --insecure-registry).
_LOOPBACK = re.compile(r"(localhost|127(\.\d+){3}|\[::1\])(:\d+)?")


def meaning(words: str) -> str | None:
    """Return the code for what an engine said of a registry, None for words that nobody knows."""
    lower = words.lower()
    if _MAY_BE_PRIVATE in lower:
        return "registry_unauthorized"
    return next((code for sign, code in FAILURE_CODES.items() if sign in lower), None)


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


# For an engine that says nothing of its own.
_STATUS = {
    401: "registry_unauthorized",
    403: "registry_unauthorized",
    404: "image_not_found",
    429: "registry_rate_limited",
}


class EngineApi(Protocol):
    """The two calls of docker.APIClient that are needed here."""

    def login(self, username: str, password: str, registry: str, reauth: bool, dockercfg_path: str) -> Any:
        """POST /auth."""

    def inspect_distribution(self, image: str, auth_config: Any) -> Any:
        """GET /distribution/IMAGE/json."""


class RemoteImage(NamedTuple):
    """An image in a registry.

    Attributes:
        digest: Of what the name stands for now: a list of platforms or one manifest.
        architectures: CPUs that it has a Linux image for, sorted; empty where the registry does not say.

    """

    digest: str | None
    architectures: tuple[str, ...]


def log_in(api: EngineApi, registry: str, credential: Credential, problem: str | None = None) -> None:
    """Have a registry check a credential. Nothing is written to disk: the engine is given it again with each pull.

    C(problem): why the user's own login could not be read, as for explain().

    Raises:
        Failure: With a code of explain; C(registry_unauthorized) for a wrong key.

    """
    try:
        # An empty configuration: the SDK would ask the user's credential helpers first, which may be missing, or wait for a person.
        api.login(credential.username, credential.secret, registry=registry, reauth=True, dockercfg_path=os.devnull)
    except Exception as error:
        raise explain(error, registry, "to accept a login", credential, problem) from None


def inspect_image(
    api: EngineApi, reference: Reference, credential: Credential | None, problem: str | None = None
) -> RemoteImage:
    """Return what the registry knows about an image, without pulling it.

    C(problem): why the user's login could not be read, as for explain().

    Raises:
        Failure: With a code of explain.

    """
    # Never None: the SDK would look for a login by itself.
    auth = credential.as_auth_config(reference.registry) if credential else {}
    try:
        answer = object_of(api.inspect_distribution(str(reference), auth_config=auth))
    except Exception as error:
        raise explain(error, reference.registry, f"for {reference}", credential, problem) from None
    platforms = [object_of(one) for one in list_of(answer.get("Platforms"))]
    # Build attestations stand in the list as os "unknown".
    architectures = {str(one.get("architecture")) for one in platforms if one.get("os") == "linux"}
    digest = object_of(answer.get("Descriptor")).get("digest")
    return RemoteImage(str(digest) if digest else None, tuple(sorted(architectures - {"", "None", "unknown"})))


def check_architecture(reference: Reference, image: RemoteImage, architecture: str) -> None:
    """Refuse an image that the host's CPU cannot run (upstream-facts N31: some NIM images have no arm64).

    Raises:
        Failure: C(image_architecture).

    """
    if image.architectures and architecture not in image.architectures:
        raise Failure(
            "image_architecture",
            f"Asked the registry {reference.registry} for {reference}: it is made for {_and(image.architectures)}, and this "
            f"host's CPU is {architecture}. Choose an image or a model that is made for {architecture}; nothing was downloaded.",
            architectures=list(image.architectures),
            architecture=architecture,
        )


def check_local_architecture(reference: Reference, found: Mapping[str, Any], architecture: str) -> None:
    """Refuse an image of this host that its CPU cannot run, as one that was brought by C(docker load) may be.

    C(found): what the engine says of it.

    Raises:
        Failure: C(image_architecture).

    """
    made_for = normalise_architecture(str(found.get("Architecture") or ""))
    if made_for and made_for != architecture:
        raise Failure(
            "image_architecture",
            f"Looked at the image {reference} on this host: it is made for {made_for}, and this host's CPU is {architecture}. Remove "
            f"it (docker rmi {reference}), and have one pulled or load one that is made for {architecture}.",
            architectures=[made_for],
            architecture=architecture,
        )


def explain(
    error: Exception, registry: str, what: str, credential: Credential | None = None, problem: str | None = None
) -> Failure:
    """Return what an error of the Docker SDK, for a login, a question or a pull, means for the user.

    Args:
        error: C(docker.errors.APIError), or a C(requests) exception for an engine that does not answer.
        registry: Whom the engine asked.
        what: For what, as part of a sentence: C(for IMAGE), C(to accept a login).
        credential: What it showed; its secret is taken out of the words that came back.
        problem: Why the login that Docker's configuration promises could not be read, C(Login.problem).

    """
    words = str(getattr(error, "explanation", None) or error)
    status = getattr(getattr(error, "response", None), "status_code", None)
    said = quote(words, credential.secret if credential else "").rstrip(".")
    asked = f"Asked the registry {registry} {what}"
    details = {"registry": registry, "server_message": said}
    # The engine answers most failures of a registry with a 500 of its own, so its words decide.
    code = meaning(words) or _STATUS.get(status or 0)
    if code is None:
        return Failure(
            "registry_failed",
            f"{asked}: it failed ({said}). Try again later, or check the registry's log.",
            **details,
        )
    remedy = _remedy(registry, credential, problem) if code == "registry_unauthorized" else f"{REMEDIES[code]}."
    return Failure(code, f"{asked}, and it did not work: {said}. {remedy}", **details)


def _remedy(registry: str, credential: Credential | None, problem: str | None) -> str:
    unread = f"The login of the user of the set-up could not be read: {problem}. " if problem else ""
    if credential is None:
        if problem:
            return f"{unread}Repair that, run 'docker login {registry}' again as that user, or give the key."
        return f"Nobody is logged in there: run 'docker login {registry}' as the user of the set-up, or give the key."
    if credential.username == NGC_USER:
        return (
            f"{unread}The NGC key is wrong, expired, or not allowed to see this: make one at "
            "https://org.ngc.nvidia.com/setup/api-key and set NGC_API_KEY (ngc_api_key in the inventory, vault-encrypted)."
        )
    return f"{unread}Correct the login of {credential.username}: run 'docker login {registry}' again."


def _and(words: Iterable[str]) -> str:
    return " and ".join(words)


# NVIDIA's own. A mirror of it has accounts of its own, so there the user's login comes first.
NGC_REGISTRY = "nvcr.io"


class Access:
    """The way of one run to registries.

    Args:
        api: The Docker SDK's client.
        machine: This host.
        account: Whose logins count.
        key: An NGC key, None where none was given.
        key_registry: The registry that the key is for: NVIDIA's or a mirror of it.

    """

    def __init__(
        self,
        api: EngineApi,
        machine: Machine,
        account: Account,
        key: str | None = None,
        key_registry: str = NGC_REGISTRY,
    ) -> None:
        self._api = api
        self._machine = machine
        self._account = account
        self._key = key
        self._key_registry = key_registry
        self._logins: dict[str, Login] = {}

    def login(self, registry: str) -> Login:
        """Return what this run shows to a registry; a key is checked there first.

        At NVIDIA's own registry a key that was given wins over a login from an earlier day; elsewhere Docker's own login wins,
        and the key is tried where there is none.

        Raises:
            Failure: C(registry_unauthorized) and the others of registry/image.py for the key, C(docker_config_invalid).

        """
        if registry not in self._logins:
            self._logins[registry] = self._find(registry)
        return self._logins[registry]

    def credential(self, registry: str) -> Credential | None:
        """Return the credential of login()."""
        return self.login(registry).credential

    def inspect(self, reference: Reference) -> RemoteImage:
        """Return what the registry says of an image.

        Raises:
            Failure: As for login() and inspect_image().

        """
        login = self.login(reference.registry)
        return inspect_image(self._api, reference, login.credential, login.problem)

    def secrets(self) -> list[str]:
        """Return the secrets that were found, to mask them."""
        return [login.credential.secret for login in self._logins.values() if login.credential]

    def as_facts(self, registry: str) -> dict[str, Any]:
        """Return what may be shown of login()."""
        return {"registry": registry, **self.login(registry).as_facts()}

    def _find(self, registry: str) -> Login:
        usable = self._key if registry == self._key_registry else None
        found = Login(None, None, "")
        if usable is None or registry != NGC_REGISTRY:
            found = find_login(self._machine, self._account, registry)
        if usable is None or found.credential is not None:
            return found
        credential = ngc_login(usable)
        log_in(self._api, registry, credential, found.problem)
        return Login(credential, "key", "", found.problem)
