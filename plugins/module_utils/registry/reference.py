# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What an image's name says, registry, repository and version, and with which login a user is known to that registry.

Upstream looks at ~/.docker/config.json alone and never asks a helper (upstream-facts N32). Here a helper is run, with a limit
on its time, because an entry for one says nothing about what it holds.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..failure import Failure, quote
from ..host.machine import Account, Machine
from ..untrusted import object_of, parse_json

DOCKER_HUB = "docker.io"
# The grammar of the distribution project (reference/regexp.go), as far as we need it.
_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
_REFERENCE = re.compile(
    rf"(?:(?P<host>{_HOST})/)?(?P<path>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
# NVIDIA's registry wants this word as the user name, literally (upstream-facts N32).
NGC_USER = "$oauthtoken"
# A helper that asks a person waits for ever; a keyring that is asked over D-Bus takes a second.
HELPER_LIMIT_S = 10.0
# docker-credential-helpers prints this and ends with 1 (credentials/error.go).
_NOT_FOUND = "credentials not found"
# How Docker Hub is called in the configuration.
_HUB_KEY = "https://index.docker.io/v1/"


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


@dataclass(frozen=True)
class Credential:
    """What opens a registry. Its text form shows no secret, so that it cannot slip into a message.

    Attributes:
        username: Who logs in.
        secret: The password, or a refresh token.
        is_token: Whether it is a refresh token, as C(docker login) keeps it for some registries.

    """

    username: str
    secret: str = field(repr=False)
    is_token: bool = False

    def as_auth_config(self, registry: str) -> dict[str, str]:
        """Return the C(auth_config) of the Docker SDK."""
        if self.is_token:
            return {"identitytoken": self.secret, "serveraddress": registry}
        return {"username": self.username, "password": self.secret, "serveraddress": registry}


class Login(NamedTuple):
    """What Docker's configuration knows about a registry.

    Attributes:
        credential: What to show the registry, None when there is nothing.
        source: C(auths), C(credHelpers), C(credsStore), or None.
        path: The configuration that was read.
        problem: Why there is no credential although an entry promises one; a sentence without its full stop.

    """

    credential: Credential | None
    source: str | None
    path: str
    problem: str | None = None

    def as_facts(self) -> dict[str, Any]:
        """Return what may be shown: whether there is a login, from where, for whom."""
        return {
            "logged_in": self.credential is not None,
            "source": self.source,
            "path": self.path,
            "username": self.credential.username if self.credential else None,
            "problem": self.problem,
        }


def config_path(machine: Machine, account: Account) -> str:
    """Return where Docker's configuration of the account is; C(DOCKER_CONFIG) names the folder where it is set."""
    return f"{machine.environ.get('DOCKER_CONFIG') or account.home + '/.docker'}/config.json"


def find_login(machine: Machine, account: Account, registry: str, limit_s: float = HELPER_LIMIT_S) -> Login:
    """Return the login of C(account) at C(registry), in Docker's own order: its helper, the store, the file.

    Args:
        machine: The host; a helper is looked up on its PATH and run as C(account).
        account: Whose configuration.
        registry: As parse_reference gives it, for example C(nvcr.io).
        limit_s: Seconds for a helper.

    Raises:
        Failure: C(docker_config_invalid), when the configuration is no JSON object.

    """
    path = config_path(machine, account)
    config = _read(machine, path)
    keys = [_HUB_KEY] if registry == DOCKER_HUB else [registry, f"https://{registry}", f"https://{registry}/"]
    helpers, auths = object_of(config.get("credHelpers")), object_of(config.get("auths"))
    helper = next((helpers[key] for key in keys if isinstance(helpers.get(key), str)), None)
    store = config.get("credsStore") if isinstance(config.get("credsStore"), str) else None
    for source, name in (("credHelpers", helper), ("credsStore", store)):
        if not name:
            continue
        # Docker keeps an empty entry in C(auths) for each login that its store holds, under the name it has there.
        asked = next((key for key in keys if key in auths), keys[0])
        credential, problem = _ask_helper(machine, account, str(name), asked, limit_s)
        if credential or problem:
            return Login(credential, source, path, problem)
    for key in keys:
        if key in auths:
            credential, problem = _decode(object_of(auths[key]))
            if credential or problem:
                return Login(credential, "auths", path, problem and f"The entry {key} of {path} {problem}")
    return Login(None, None, path)


def ngc_login(key: str) -> Credential:
    """Return what a key of NVIDIA's NGC opens C(nvcr.io) with."""
    return Credential(NGC_USER, key)


def _read(machine: Machine, path: str) -> dict[str, Any]:
    text = machine.read(path, 1_048_576)
    if text is None or not text.strip():
        return {}
    try:
        config = parse_json(text)
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise Failure(
            "docker_config_invalid",
            f"Read Docker's configuration {path}: it is not a JSON object, so Docker itself cannot use it either. Repair it, or "
            "move it away and log in again.",
            path=path,
        )
    return config


def _ask_helper(
    machine: Machine, account: Account, name: str, registry: str, limit_s: float
) -> tuple[Credential | None, str | None]:
    """Return what C(docker-credential-NAME get) knows, or why it gives nothing; neither where it holds no entry."""
    program = f"docker-credential-{name}"
    # A name with a slash would leave the folders of programs.
    path = None if "/" in name else machine.find_command(program)
    if path is None:
        return None, f"Docker's configuration names the credential helper {program}, which is not on the PATH"
    answer = machine.run([path, "get"], limit_s, account, stdin=registry)
    if answer.code is None:
        return None, answer.problem
    if answer.code != 0:
        if _NOT_FOUND in answer.output:
            return None, None
        return None, f"{program} ended with exit code {answer.code} and said: {quote(answer.output, '')}"
    try:
        # It may have written a warning as well: the object is what counts.
        found = object_of(parse_json(answer.output[answer.output.find("{") : answer.output.rfind("}") + 1]))
    except ValueError:
        return None, f"{program} answered with something that is no JSON object"
    username, secret = str(found.get("Username") or ""), str(found.get("Secret") or "")
    if not secret:
        return None, None
    return Credential(username, secret, is_token=username == "<token>"), None


def _decode(entry: dict[str, Any]) -> tuple[Credential | None, str | None]:
    """Return the credential of an entry of C(auths): base64 of C(user:password), or a refresh token."""
    token = entry.get("identitytoken")
    if isinstance(token, str) and token:
        return Credential("<token>", token, is_token=True), None
    if not entry.get("auth"):
        return None, None
    try:
        username, colon, secret = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None, "has an 'auth' that is not base64 of user:password"
    secret = secret.rstrip("\0")
    if not colon or not secret:
        return None, "has an 'auth' without a password in it"
    return Credential(username, secret), None
