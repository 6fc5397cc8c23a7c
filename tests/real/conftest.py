# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers, and what came of asking one.

SCRIPTED_SERVERS_PYTHON names the Python that has tests/servers/requirements.txt (by default the one that runs pytest);
ansible-playbook is the one beside the Python that runs pytest.
"""

from __future__ import annotations

import datetime
import http.client
import ipaddress
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.report import Report
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.validate import (
    Demands,
    Endpoint,
    validate,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.jobs.progress import silent
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.cli import OpenShell, find_openshell
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.lifecycle import Making, SandboxOutcome
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.look import DesiredSandbox
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "servers"))

import model_registry
import ollama_server
import openshell_parts
from broken_server import running
from llama_server import Server, serving

# It looks like nothing else, so that wherever it turns up it leaked.
# Of the ladder, in their order (docs/validation.md).
PROBES = (
    "models",
    "warm_up",
    "completion",
    "streaming",
    "tool_call",
    "tool_call_streamed",
    "second_turn",
    "context",
    "agent_tool_call",
    "agent_tool_call_streamed",
)
KEY = "canary-7f3d9b1e5a"
CHAT, RESPONSES, MESSAGES = APIS = ("openai-completions", "openai-responses", "anthropic-messages")

# Seconds that a run may take beyond its limit: threads to end, a loaded machine.
GRACE = 1.0


@dataclass
class Outcome:
    """What a validation said: the module's result, and the failure if there was one."""

    result: dict[str, Any]
    failure: Failure | None
    elapsed: float
    warnings: list[str]

    @property
    def code(self) -> str | None:
        return self.failure.code if self.failure else None

    @property
    def message(self) -> str:
        return self.failure.message if self.failure else ""

    def probe(self, name: str) -> dict[str, Any]:
        """Return the last probe of that name: after a fallback the one that counts."""
        found: dict[str, Any] = next(probe for probe in reversed(self.result["probes"]) if probe["name"] == name)
        return found

    @property
    def outcomes(self) -> dict[str, str]:
        return {probe["name"]: probe["outcome"] for probe in self.result["probes"]}


def prove(base_url: str, api: str = CHAT, model: str | None = "scripted", **options: Any) -> Outcome:
    """Validate an endpoint and return what came of it.

    Whatever the server does: nothing but a Failure is raised, the time limit holds, the sentence is fit to be shown, and
    the key is nowhere in what is returned.
    """
    demands = {name: options.pop(name) for name in list(options) if name in Demands.__dataclass_fields__}
    key = options.setdefault("api_key", KEY)
    timeout = options.setdefault("timeout", 60)
    report, failure = Report(api=api, model=model), None
    started = time.monotonic()
    try:
        validate(Endpoint(base_url, api, **options), Demands(**demands), report)
    except Failure as raised:
        failure = raised
    outcome = Outcome(report.as_result(), failure, time.monotonic() - started, report.warnings)
    assert outcome.elapsed <= timeout + GRACE
    said = json.dumps([outcome.result, report.warnings, failure.as_result() if failure else None])
    if key:
        assert key not in said
    if failure:
        assert failure.message.isprintable()
        assert len(failure.message) < 1500
        assert failure.message.count(". ") >= 1 or failure.message.count(": ") >= 1, "no remedy"
    return outcome


def url(server: Server, api: str) -> str:
    """Return the base URL of a server as the API wants it."""
    return server.root_url if api == MESSAGES else server.base_url


class Llama(Protocol):
    """Give a running llama.cpp server that serves a behaviour of tests/servers/scripted_model.py."""

    def __call__(self, behaviour: str, api_key: str | None = KEY, **options: Any) -> Server: ...


@pytest.fixture(scope="session")
def llama() -> Iterator[Llama]:
    """Return a function that gives a running llama.cpp server; the same one for the same arguments."""
    servers: dict[Any, Server] = {}
    with ExitStack() as stack:

        def get(behaviour: str, api_key: str | None = KEY, **options: Any) -> Server:
            wanted = (behaviour, api_key, *sorted(options.items()))
            if wanted not in servers:
                servers[wanted] = stack.enter_context(serving(behaviour, api_key=api_key, **options))
            return servers[wanted]

        yield get


@pytest.fixture(scope="session")
def broken() -> Iterator[str]:
    """Return the root URL of the server that misbehaves on request."""
    with running() as root_url:
        yield root_url


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the proxies and the wizard's settings of whoever runs the tests away."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@dataclass(frozen=True)
class Certificate:
    """Two PEM files; the certificate signs itself and is for 127.0.0.1 alone."""

    certificate: Path
    key: Path


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lab")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    files = Certificate(folder / "cert.pem", folder / "key.pem")
    files.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


# The real Ollama 0.9.3 and a real registry, with an empty store for each test that asks for one.


@pytest.fixture(scope="session")
def ollama_home() -> Path:
    """Return the environment that `ollama_server.py --install` made."""
    if "OLLAMA_TEST_HOME" not in os.environ:
        pytest.skip("OLLAMA_TEST_HOME names no environment made by ollama_server.py --install")
    return Path(os.environ["OLLAMA_TEST_HOME"])


@pytest.fixture
def ollama(ollama_home: Path) -> Iterator[ollama_server.Ollama]:
    with ollama_server.serving(ollama_home) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def registry(ollama_home: Path) -> Iterator[model_registry.Registry]:
    with model_registry.serving() as running_registry:
        yield running_registry


@pytest.fixture
def pull(ollama: ollama_server.Ollama) -> Any:
    """Return a function that has the daemon pull a model, without any of the collection's code."""

    def get(name: str) -> None:
        connection = http.client.HTTPConnection(*ollama.host.split(":"), timeout=60)
        connection.request("POST", "/api/pull", json.dumps({"model": name, "insecure": True, "stream": False}))
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()

    return get


# The real OpenShell CLI in three releases, each with a stand-in gateway.

# Each thing with the oldest and the newest; what a user does with each of the tools, and what the releases tell otherwise, with all three.
OPENSHELL_ENDS = (openshell_parts.RELEASES[0], openshell_parts.RELEASES[-1])
in_every_release = pytest.mark.parametrize("gateway", openshell_parts.RELEASES, indirect=True)


@pytest.fixture(scope="session")
def openshell_home() -> Path:
    """Return the folder that `openshell_parts.py --install` made."""
    if "OPENSHELL_TEST_HOME" not in os.environ:
        pytest.skip("OPENSHELL_TEST_HOME names no folder made by openshell_parts.py --install")
    return Path(os.environ["OPENSHELL_TEST_HOME"])


class Gateways(dict[str, openshell_parts.Gateway]):
    """A gateway of each release that somebody asks for."""

    def __init__(self, stack: ExitStack, home: Path) -> None:
        super().__init__()
        self._stack, self._home = stack, home

    def __missing__(self, release: str) -> openshell_parts.Gateway:
        self[release] = self._stack.enter_context(openshell_parts.serving(release, self._home))
        return self[release]


@pytest.fixture(scope="session")
def gateways(openshell_home: Path) -> Iterator[dict[str, openshell_parts.Gateway]]:
    """Return a gateway of each release."""
    with ExitStack() as stack:
        yield Gateways(stack, openshell_home)


@pytest.fixture(params=OPENSHELL_ENDS)
def gateway(request: pytest.FixtureRequest, gateways: dict[str, openshell_parts.Gateway]) -> openshell_parts.Gateway:
    """Return the gateway of each release in turn, with nothing in it."""
    found = gateways[request.param]
    found.forget()
    return found


class OpenCli(Protocol):
    """Give the collection's own handle on the CLI of a gateway, for a user with an empty home."""

    def __call__(self, server: openshell_parts.Gateway, /, **options: Any) -> OpenShell: ...


@pytest.fixture
def open_cli(tmp_path: Path) -> OpenCli:
    home = tmp_path / "home"
    home.mkdir()

    def get(server: openshell_parts.Gateway, /, **options: Any) -> OpenShell:
        machine = Machine(environ={"PATH": os.environ["PATH"], "HOME": str(home)})
        account = find_account()._replace(home=str(home))
        return find_openshell(
            machine, account, **{"endpoint": server.endpoint, "executable": str(server.cli), **options}
        )

    return get


@pytest.fixture
def openshell(gateway: openshell_parts.Gateway, open_cli: OpenCli) -> OpenShell:
    return open_cli(gateway)


def make_sandbox(cli: OpenShell, desired: DesiredSandbox, check_mode: bool = False) -> SandboxOutcome:
    """Have a sandbox of that name that is ready, within this call."""
    making = Making(cli, desired)
    return making.plan(check_mode) or making.work(silent)


@dataclass(frozen=True)
class Certificates:
    """Three folders: what a gateway needs for mutual TLS, a client's files under the names of the CLI, and a stranger's."""

    server: Path
    client: Path
    stranger: Path


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folders = [tmp_path_factory.mktemp(name) for name in ("server", "client", "stranger")]
    own, foreign = _Authority(), _Authority()
    for folder, name, authority in zip(folders, ("server", "tls", "tls"), (own, own, foreign)):
        (folder / "ca.crt").write_bytes(own.certificate)
        certificate_pem, key_pem = authority.issue()
        (folder / f"{name}.crt").write_bytes(certificate_pem)
        (folder / f"{name}.key").write_bytes(key_pem)
    (folders[-1] / "ca-of-its-own.crt").write_bytes(foreign.certificate)
    return Certificates(*folders)


class _Authority:
    """A certificate authority that lives for a test run."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lab authority")])
        self.certificate = self._signed(self.name, self.key.public_key(), ca=True)

    def issue(self) -> tuple[bytes, bytes]:
        """Return a certificate for 127.0.0.1, for servers and clients, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lab")])
        encoded = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return self._signed(name, key.public_key(), ca=False), encoded

    def _signed(self, name: x509.Name, key: ec.EllipticCurvePublicKey, ca: bool) -> bytes:
        now = datetime.datetime.now(datetime.timezone.utc)
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(address, False)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), True)
            .sign(self.key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM)
