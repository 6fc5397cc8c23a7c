# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What a registry answers, through the engine that will pull: is the key right, is the image there, and for which CPUs.

The engine asks, not we, because its mirrors, its web proxy and its trusted certificates decide about the pull. Nothing is
downloaded but the manifest: a wrong key or a misspelt name costs no bandwidth.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from ..containers.images import REMEDIES, meaning
from ..failure import Failure
from ..host.platform import normalise_architecture
from ..transport.credentials import quote
from ..untrusted import list_of, object_of
from .logins import NGC_USER, Credential
from .reference import Reference

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
            f"{asked}: it failed ({said}). Try again later, or look at the registry's log.",
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
