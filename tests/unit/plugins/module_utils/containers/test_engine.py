# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Docker SDK's errors mean. The SDK is a double, since it is not installed here: tests/real has the real one."""

from __future__ import annotations

import builtins
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.engine import Engine, _client
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure

ENDPOINT = "unix:///var/run/docker.sock"
FETCHING = "Error while fetching server API version: "


class DockerException(Exception):
    """The root of the SDK's own."""


class APIError(DockerException):
    explanation: str = ""
    status_code: int | None = None


class InvalidVersion(DockerException):
    pass


class InvalidConfigFile(DockerException):
    pass


class RequestException(OSError):
    pass


class Timeout(RequestException):
    pass


class HTTPError(Exception):
    pass


class ReadTimeoutError(HTTPError):
    pass


class Sdk:
    """What C(import docker) and its companions give."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.client: Any = None

    def open(self, base_url: str, version: str, timeout: float) -> Any:
        for error in self.errors:
            raise error
        return self.client


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> Sdk:
    double = Sdk()
    errors = {
        "DockerException": DockerException,
        "APIError": APIError,
        "InvalidVersion": InvalidVersion,
        "InvalidConfigFile": InvalidConfigFile,
        "NotFound": type("NotFound", (APIError,), {}),
    }
    modules = {
        "docker": {"APIClient": double.open, "errors": SimpleNamespace(**errors), "__version__": "7.0.0"},
        "docker.errors": errors,
        "requests": {"__version__": "2.34.0"},
        "requests.exceptions": {"RequestException": RequestException, "Timeout": Timeout},
        "urllib3": {},
        "urllib3.exceptions": {"HTTPError": HTTPError, "ReadTimeoutError": ReadTimeoutError},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return double


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (
            DockerException(f"{FETCHING}Not supported URL scheme http+docker"),
            "docker_library_broken",
            "docker 7.0.0.*requests 2.34.0",
        ),
        (
            DockerException(f"{FETCHING}HTTPConnection.request() got an unexpected keyword argument 'chunked'"),
            "docker_library_broken",
            "incompatible",
        ),
        (TypeError("__init__() got an unexpected keyword argument"), "docker_library_broken", "incompatible"),
        (
            InvalidVersion("API versions below 1.44 are no longer supported by this library."),
            "docker_library_broken",
            "Update the engine",
        ),
        (
            DockerException(f"{FETCHING}('Connection aborted.', FileNotFoundError(2, 'No such file or directory'))"),
            "docker_stopped",
            "systemctl status docker",
        ),
        (
            DockerException(f"{FETCHING}('Connection aborted.', ConnectionRefusedError(111, 'Connection refused'))"),
            "docker_stopped",
            "gone",
        ),
        (
            DockerException(f"{FETCHING}UnixHTTPConnectionPool(host='localhost', port=None): Read timed out."),
            "docker_timeout",
            "60 s",
        ),
        (InvalidConfigFile("Invalid configuration in auth section"), "docker_config_invalid", "config.json"),
        (DockerException("Invalid response from docker daemon"), "docker_unexpected_answer", "listens there"),
    ],
)
def test_why_there_is_no_connection(sdk: Sdk, error: Exception, code: str, says: str) -> None:
    sdk.errors = [error]
    with pytest.raises(Failure, match=says) as raised:
        _client(ENDPOINT, 60)
    assert raised.value.code == code
    assert ENDPOINT in raised.value.message


def test_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any, **options: Any) -> Any:
        if name == "docker":
            raise ImportError("No module named 'docker'")
        return real(name, *more, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Failure) as raised:
        _client(ENDPOINT, 60)
    assert raised.value.code == "docker_library_missing"
    assert "python3-docker" in raised.value.message


class Pulls:
    """A client that remembers which login a pull was given."""

    timeout = 300.0

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.logins: list[Any] = []

    def pull(self, name: str, tag: str, stream: bool, decode: bool, auth_config: Any) -> Any:
        self.logins.append(auth_config)
        if self.error:
            raise self.error
        return [{"status": "Pulling"}]


def test_the_library_looks_for_no_login_by_itself(sdk: Sdk) -> None:
    """With none it would run the credential helper of config.json, which may be missing, or wait for a person."""
    client = Pulls()
    engine = Engine(client, {"endpoint": ENDPOINT})
    for auth in (None, {"username": "u"}):
        assert list(engine.pull("lab/image:1", auth)) == [{"status": "Pulling"}]
    assert client.logins == [{}, {"username": "u"}]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (
            RuntimeError("docker-credential-desktop.exe not installed or not available in PATH"),
            "docker_unexpected_answer",
        ),
        (Timeout("Read timed out."), "docker_timeout"),
        (ReadTimeoutError("Read timed out."), "docker_timeout"),
        (ConnectionResetError("Connection reset by peer"), "docker_unexpected_answer"),
    ],
)
def test_what_breaks_a_call(sdk: Sdk, error: Exception, code: str) -> None:
    with pytest.raises(Failure, match="Tried to pull lab/image:1") as raised:
        list(Engine(Pulls(error), {"endpoint": ENDPOINT}).pull("lab/image:1"))
    assert raised.value.code == code
