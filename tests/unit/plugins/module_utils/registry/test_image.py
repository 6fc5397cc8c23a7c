# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a registry's answers mean, in the words in which a real engine passed them on (20.10, docker-registry 2.8; recorded)."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.registry.image import (
    RemoteImage,
    check_architecture,
    explain,
    inspect_image,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.registry.reference import (
    Credential,
    ngc_login,
    parse_reference,
)

CANARY = "canary-7f3d9b1e5a"
IMAGE = parse_reference("localhost:5711/nim/tiny:1")
HEAD = "http://localhost:5711/v2/nim/tiny/manifests/1"


class Refused(Exception):
    """As docker.errors.APIError: the engine's words and its status."""

    def __init__(self, explanation: str | None, status: int = 500) -> None:
        super().__init__(explanation or "500 Server Error")
        self.explanation = explanation
        self.response = type("Response", (), {"status_code": status})


class Api:
    """Answers one question as a real engine did. The real one is asked in tests/real."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def login(self, username: str, password: str, registry: str, reauth: bool, dockercfg_path: str) -> Any:
        raise AssertionError("nobody logs in here")

    def inspect_distribution(self, image: str, auth_config: Any) -> Any:
        assert (image, auth_config) == (str(IMAGE), {})
        return self.answer


@pytest.mark.parametrize(
    ("words", "status", "code", "hint"),
    [
        ("unauthorized: authentication required", 401, "registry_unauthorized", "docker login"),
        (f'Head "{HEAD}": no basic auth credentials', 500, "registry_unauthorized", "docker login"),
        (
            "login attempt to http://localhost:5711/v2/ failed with status: 401 Unauthorized",
            500,
            "registry_unauthorized",
            "",
        ),
        (
            "login attempt to http://localhost:5711/v2/ failed with status: 403 Forbidden",
            500,
            "registry_unauthorized",
            "",
        ),
        (
            "pull access denied for nim/tiny, repository does not exist or may require 'docker login'",
            404,
            "registry_unauthorized",
            "",
        ),
        ("manifest unknown: manifest unknown", 404, "image_not_found", "Check the name"),
        ("toomanyrequests: slow down", 429, "registry_rate_limited", "wait"),
        (
            "login attempt to http://x/v2/ failed with status: 429 Too Many Requests",
            500,
            "registry_rate_limited",
            "wait",
        ),
        (
            'Get "http://localhost:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused',
            500,
            "registry_unreachable",
            "DNS",
        ),
        (
            'Get "https://nvcr.io/v2/": dial tcp: lookup nvcr.io on 10.0.0.1:53: no such host',
            500,
            "registry_unreachable",
            "DNS",
        ),
        (
            'Get "https://r/v2/": x509: certificate signed by unknown authority',
            500,
            "registry_tls_failed",
            "certificate",
        ),
        ('Get "https://r/v2/": net/http: TLS handshake timeout', 500, "registry_unreachable", "proxy"),
        ('Get "https://r/v2/": dial tcp 10.0.0.1:443: i/o timeout', 500, "registry_unreachable", "proxy"),
        (
            "UnixHTTPConnectionPool(host='localhost', port=None): Read timed out. (read timeout=3)",
            0,
            "registry_unreachable",
            "",
        ),
        ("received unexpected HTTP status: 503 Service Unavailable", 500, "registry_failed", "later"),
        (None, 403, "registry_unauthorized", ""),
        (None, 500, "registry_failed", "later"),
    ],
)
def test_words(words: str | None, status: int, code: str, hint: str) -> None:
    failure = explain(Refused(words, status), "localhost:5711", f"for {IMAGE}")
    assert failure.code == code
    assert hint in failure.message
    assert "Asked the registry localhost:5711 for localhost:5711/nim/tiny:1" in failure.message
    assert failure.message.endswith(".")


@pytest.mark.parametrize("problem", [None, "docker-credential-lab did not end within 10 s"])
@pytest.mark.parametrize(
    ("credential", "remedy"),
    [
        (None, "run 'docker login nvcr.io'"),
        (ngc_login(CANARY), "NGC_API_KEY"),
        (Credential("alice", CANARY), "the login of alice"),
    ],
)
def test_the_remedy_is_for_who_was_refused(credential: Credential | None, remedy: str, problem: str | None) -> None:
    refused = Refused(f"unauthorized: {CANARY} is wrong", 401)
    failure = explain(refused, "nvcr.io", "to accept a login", credential, problem)
    assert remedy in failure.message
    assert ("Nobody is logged in there" in failure.message) == (credential is None and problem is None)
    assert problem is None or f"could not be read: {problem}. " in failure.message
    if credential:
        assert CANARY not in failure.message + str(failure.details)


@pytest.mark.parametrize(
    ("answer", "image"),
    [
        (
            {
                "Descriptor": {"digest": "sha256:12"},
                "Platforms": [
                    {"architecture": "arm64", "os": "linux", "variant": "v8"},
                    {"architecture": "amd64", "os": "linux"},
                    {"architecture": "unknown", "os": "unknown"},
                    {"architecture": "amd64", "os": "windows"},
                ],
            },
            RemoteImage("sha256:12", ("amd64", "arm64")),
        ),
        ({"Descriptor": {}, "Platforms": None}, RemoteImage(None, ())),
        ([], RemoteImage(None, ())),
    ],
)
def test_architectures(answer: Any, image: RemoteImage) -> None:
    assert inspect_image(Api(answer), IMAGE, None) == image


def test_an_image_for_another_cpu() -> None:
    check_architecture(IMAGE, RemoteImage(None, ("amd64", "arm64")), "arm64")
    check_architecture(IMAGE, RemoteImage(None, ()), "arm64")
    with pytest.raises(Failure, match="made for amd64, and this host's CPU is arm64") as failed:
        check_architecture(IMAGE, RemoteImage(None, ("amd64",)), "arm64")
    assert failed.value.code == "image_architecture"
