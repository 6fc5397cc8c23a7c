# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
A stand-in for the gateway of OpenShell 0.1, where a provider of a profile is attached to a sandbox.

    FOLDER/bin/python openshell_attachment.py --stubs FOLDER/releases/0.1.5/stubs --state FILE

Messages are those of OpenShell's own wheel of 0.1.5; what it answers follows OpenShell's documentation and the source of its command line.
No real gateway of 0.1 was seen. It refuses what it does not know. Commands in a sandbox run on this machine, not confined, behind a web
proxy that allows what the profiles of attached providers allow, and puts a provider's key in where its placeholder stands. A placeholder
belongs to one version of its provider, so a process that runs when the key changes keeps the old one.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import fnmatch
import http.client
import http.server
import json
import marshal
import os
import re
import signal
import socket
import sys
import threading
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from openshell_attachment_cli import run_one
from openshell_supervisor import Machinery

RELEASE = "0.1.5"
Status = grpc.StatusCode
_PAGE = 2  # small, so that lists have several
_PLACEHOLDER = re.compile(r"openshell:resolve:env:v(\d+)_(\w+)")
_CURL = "/usr/bin/curl"
# Seconds that a running sandbox takes to apply a change: longer than a call, so that who does not wait is found out.
_APPLIES_S = 0.1
_READY, _ERROR, _STOPPED = "READY", "ERROR", "STOPPED"
_PHASES = {_READY: 2, _ERROR: 3, _STOPPED: 7}
_NEVER = "lab/old-supervisor:1"  # a sandbox of this image never applies anything


class RefusalError(Exception):
    """What the gateway says no with."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class Gateway:
    """The state, and one method for each call that it knows."""

    known = (
        *("Health", "ListProviderProfiles", "GetProviderProfile", "ImportProviderProfiles", "UpdateProviderProfiles"),
        *(
            "LintProviderProfiles",
            "DeleteProviderProfile",
            "CreateProvider",
            "GetProvider",
            "ListProviders",
            "UpdateProvider",
        ),
        *(
            "DeleteProvider",
            "CreateSandbox",
            "GetSandbox",
            "ListSandboxes",
            "DeleteSandbox",
            "StopSandbox",
            "StartSandbox",
        ),
        *("ListSandboxProviders", "AttachSandboxProvider", "DetachSandboxProvider", "GetSandboxProviderStatus"),
    )

    def __init__(self, state_file: Path | None) -> None:
        from openshell._proto import datamodel_pb2, openshell_pb2

        self.messages, self.model = openshell_pb2, datamodel_pb2
        self.state_file = state_file
        self.guard = threading.RLock()
        self.machinery = Machinery()
        self.beginnings = 0
        self.forget()

    def forget(self) -> None:
        with self.guard:
            self.profiles: dict[str, Any] = {}
            self.providers: dict[str, Any] = {}
            self.keys: dict[tuple[str, int], dict[str, str]] = {}
            self.sandboxes: dict[str, Any] = {}
            self.proxies: dict[str, _Proxy] = {}
            self.applied: dict[tuple[str, str], float] = {}
            self.calls: list[str] = []
            self.beginnings += 1
            self.write_state()

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        service = self.messages.DESCRIPTOR.services_by_name["OpenShell"]
        table = {name: self._unary(service.methods_by_name[name]) for name in self.known}
        table["ExecSandbox"] = grpc.unary_stream_rpc_method_handler(
            self.exec_sandbox, self.messages.ExecSandboxRequest.FromString, lambda message: message.SerializeToString()
        )
        return [grpc.method_handlers_generic_handler(service.full_name, table)]

    def _unary(self, method: Any) -> grpc.RpcMethodHandler:
        from google.protobuf import message_factory

        answer = getattr(self, method.name)
        request_class: Any = message_factory.GetMessageClass(method.input_type)

        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            with self.guard:
                self.calls.append(method.name)
                try:
                    reply = answer(request)
                except RefusalError as refusal:
                    self.write_state()
                    context.abort(refusal.code, str(refusal))
                self.write_state()
                return reply

        return grpc.unary_unary_rpc_method_handler(
            handle, request_class.FromString, lambda message: message.SerializeToString()
        )

    def Health(self, _request: Any) -> Any:
        return self.messages.HealthResponse(status=1, version=RELEASE)

    def _page(self, found: list[Any], request: Any) -> tuple[list[Any], str]:
        start = int(request.page_token or 0)
        size = request.page_size or _PAGE
        return found[start : start + size], str(start + size) if start + size < len(found) else ""

    # -- profiles -----------------------------------------------------------------------------------------------------------------------

    def _diagnose(self, item: Any) -> Iterator[Any]:
        profile = item.profile
        faults = []
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", profile.id):
            faults.append(("id", "profile id must be lowercase kebab-case"))
        if not profile.display_name:
            faults.append(("display_name", "display_name is required"))
        for endpoint in profile.endpoints:
            if not endpoint.host or not (endpoint.port or endpoint.ports):
                faults.append(("endpoints", "endpoint needs a host and a port"))
        for binary in profile.binaries:
            if not binary.path.startswith("/"):
                faults.append(("binaries", f"binary path must be absolute: {binary.path}"))
        for field, message in faults:
            yield self.messages.ProviderProfileDiagnostic(
                source=item.source, profile_id=profile.id, field=field, message=message, severity="error"
            )

    def LintProviderProfiles(self, request: Any) -> Any:
        found = [one for item in request.profiles for one in self._diagnose(item)]
        return self.messages.LintProviderProfilesResponse(diagnostics=found, valid=not found)

    def ImportProviderProfiles(self, request: Any) -> Any:
        found = [one for item in request.profiles for one in self._diagnose(item)]
        for item in request.profiles:
            if item.profile.id in self.profiles:
                found.append(
                    self.messages.ProviderProfileDiagnostic(
                        source=item.source,
                        profile_id=item.profile.id,
                        field="id",
                        message=f"provider profile '{item.profile.id}' already exists",
                        severity="error",
                    )
                )
        if found:
            return self.messages.ImportProviderProfilesResponse(diagnostics=found)
        for item in request.profiles:
            item.profile.resource_version = 1
            self.profiles[item.profile.id] = copy.deepcopy(item.profile)
        stored = [item.profile for item in request.profiles]
        return self.messages.ImportProviderProfilesResponse(profiles=stored, imported=True)

    def UpdateProviderProfiles(self, request: Any) -> Any:
        stored, item = self._profile(request.id), request.profile
        if request.expected_resource_version != stored.resource_version:
            text = f"resource_version mismatch: expected {request.expected_resource_version}, current {stored.resource_version}"
            raise RefusalError(Status.ABORTED, text)
        found = list(self._diagnose(item))
        if found:
            return self.messages.UpdateProviderProfilesResponse(diagnostics=found)
        item.profile.resource_version = stored.resource_version + 1
        self.profiles[request.id] = copy.deepcopy(item.profile)
        self._change(lambda _sandbox, provider: self.providers[provider].type == request.id)
        return self.messages.UpdateProviderProfilesResponse(profile=item.profile, updated=True)

    def GetProviderProfile(self, request: Any) -> Any:
        return self.messages.ProviderProfileResponse(profile=self._profile(request.id))

    def ListProviderProfiles(self, request: Any) -> Any:
        found, token = self._page(list(self.profiles.values()), request)
        return self.messages.ListProviderProfilesResponse(profiles=found, next_page_token=token)

    def DeleteProviderProfile(self, request: Any) -> Any:
        users = [name for name, provider in self.providers.items() if provider.type == request.id]
        if users:
            text = f"provider profile '{request.id}' is used by provider(s): {', '.join(users)}"
            raise RefusalError(Status.FAILED_PRECONDITION, text)
        self._profile(request.id)
        del self.profiles[request.id]
        return self.messages.DeleteProviderProfileResponse()

    def _profile(self, name: str) -> Any:
        if name not in self.profiles:
            raise RefusalError(Status.NOT_FOUND, f"provider profile '{name}' not found")
        return self.profiles[name]

    # -- providers ----------------------------------------------------------------------------------------------------------------------

    def CreateProvider(self, request: Any) -> Any:
        provider = copy.deepcopy(request.provider)
        name = provider.metadata.name
        if provider.type not in self.profiles:
            text = (
                f"provider profile '{provider.type}' is not imported; run: openshell provider profile import -f <file>"
            )
            raise RefusalError(Status.FAILED_PRECONDITION, text)
        declared = {key for one in self.profiles[provider.type].credentials for key in one.env_vars}
        if declared and not provider.credentials:
            raise RefusalError(Status.INVALID_ARGUMENT, "provider.credentials must not be empty")
        if name in self.providers:
            raise RefusalError(Status.ALREADY_EXISTS, "provider already exists")
        provider.metadata.id = str(uuid.uuid4())
        provider.metadata.resource_version = 1
        self.providers[name] = provider
        self._keep(provider)
        return self.messages.ProviderResponse(provider=self._redacted(provider))

    def _keep(self, provider: Any) -> None:
        self.keys[provider.metadata.name, provider.metadata.resource_version] = dict(provider.credentials)

    def GetProvider(self, request: Any) -> Any:
        return self.messages.ProviderResponse(provider=self._redacted(self._provider(request.name)))

    def ListProviders(self, request: Any) -> Any:
        found, token = self._page([self._redacted(provider) for provider in self.providers.values()], request)
        return self.messages.ListProvidersResponse(providers=found, next_page_token=token)

    def UpdateProvider(self, request: Any) -> Any:
        provider = self._provider(request.provider.metadata.name)
        for ours, theirs in (
            (provider.credentials, request.provider.credentials),
            (provider.config, request.provider.config),
        ):
            for key, value in theirs.items():
                if value:
                    ours[key] = value
                else:
                    ours.pop(key, None)
        provider.metadata.resource_version += 1
        self._keep(provider)
        self._change(lambda _sandbox, name: name == provider.metadata.name)
        return self.messages.ProviderResponse(provider=self._redacted(provider), mutation_id=str(uuid.uuid4()))

    def DeleteProvider(self, request: Any) -> Any:
        users = [name for name, sandbox in self.sandboxes.items() if request.name in sandbox.spec.providers]
        if users:
            text = f"provider '{request.name}' is attached to sandbox(es): {', '.join(users)}"
            raise RefusalError(Status.FAILED_PRECONDITION, text)
        self._provider(request.name)
        del self.providers[request.name]
        return self.messages.DeleteProviderResponse()

    def _provider(self, name: str) -> Any:
        if name not in self.providers:
            raise RefusalError(Status.NOT_FOUND, "provider not found")
        return self.providers[name]

    def _redacted(self, provider: Any) -> Any:
        shown = copy.deepcopy(provider)
        for key in shown.credentials:
            shown.credentials[key] = "REDACTED"
        return shown

    # -- sandboxes and attachments --------------------------------------------------------------------------------------------------------

    def _change(self, concerns: Any) -> None:
        for name, sandbox in self.sandboxes.items():
            for provider in sandbox.spec.providers:
                if concerns(name, provider):
                    self.applied[name, provider] = time.monotonic() + _APPLIES_S

    def _has_applied(self, sandbox: Any, provider: str) -> bool:
        name = sandbox.metadata.name
        return sandbox.spec.template.image != _NEVER and time.monotonic() >= self.applied.get((name, provider), 0.0)

    def CreateSandbox(self, request: Any) -> Any:
        if request.name in self.sandboxes:
            raise RefusalError(Status.ALREADY_EXISTS, f"sandbox '{request.name}' already exists")
        self._refuse_two_of_a_variable(list(request.spec.providers))
        sandbox = self.messages.Sandbox(spec=request.spec)
        sandbox.metadata.name, sandbox.metadata.id = request.name, str(uuid.uuid4())
        sandbox.metadata.resource_version = 6
        sandbox.status.phase = _PHASES[_ERROR if sandbox.spec.template.image == "lab/broken:1" else _READY]
        self.sandboxes[request.name] = sandbox
        self.proxies[request.name] = _Proxy(self, request.name)
        return self.messages.SandboxResponse(sandbox=sandbox)

    def _refuse_two_of_a_variable(self, names: list[str]) -> None:
        """Refuse providers that give the same variable: nothing that was read says which of them would count."""
        given: dict[str, str] = {}
        for name in names:
            for variable in self._provider(name).credentials:
                if variable in given:
                    text = f"providers '{given[variable]}' and '{name}' both give {variable}, and this stand-in knows no order of them"
                    raise RefusalError(Status.FAILED_PRECONDITION, text)
                given[variable] = name

    def _sandbox(self, name: str) -> Any:
        if name not in self.sandboxes:
            raise RefusalError(Status.NOT_FOUND, "sandbox not found")
        return self.sandboxes[name]

    def GetSandbox(self, request: Any) -> Any:
        return self.messages.SandboxResponse(sandbox=self._sandbox(request.name))

    def ListSandboxes(self, request: Any) -> Any:
        found, token = self._page(list(self.sandboxes.values()), request)
        return self.messages.ListSandboxesResponse(sandboxes=found, next_page_token=token)

    def DeleteSandbox(self, request: Any) -> Any:
        self._sandbox(request.name)
        del self.sandboxes[request.name]
        self.proxies.pop(request.name).end()
        return self.messages.DeleteSandboxResponse()

    def StopSandbox(self, request: Any) -> Any:
        return self._becomes(request.name, _STOPPED)

    def StartSandbox(self, request: Any) -> Any:
        return self._becomes(request.name, _READY)

    def _becomes(self, name: str, phase: str) -> Any:
        sandbox = self._sandbox(name)
        sandbox.status.phase = _PHASES[phase]
        sandbox.metadata.resource_version += 1
        return self.messages.SandboxResponse(sandbox=sandbox)

    def ListSandboxProviders(self, request: Any) -> Any:
        names = list(self._sandbox(request.sandbox).spec.providers)
        found, token = self._page([self._redacted(self.providers[name]) for name in names], request)
        return self.messages.ListSandboxProvidersResponse(providers=found, next_page_token=token)

    def AttachSandboxProvider(self, request: Any) -> Any:
        sandbox = self._sandbox(request.sandbox)
        provider = self._provider(request.provider)
        if provider.type not in self.profiles:
            raise RefusalError(Status.FAILED_PRECONDITION, f"provider profile '{provider.type}' is not imported")
        if request.expected_resource_version not in (0, sandbox.metadata.resource_version):
            raise RefusalError(Status.ABORTED, "sandbox was modified")
        new = request.provider not in sandbox.spec.providers
        if new:
            self._refuse_two_of_a_variable([*sandbox.spec.providers, request.provider])
            sandbox.spec.providers.append(request.provider)
            sandbox.metadata.resource_version += 1
            self.applied[request.sandbox, request.provider] = time.monotonic() + _APPLIES_S
        receipt = self._receipt(sandbox, request.provider, 1)
        return self.messages.AttachSandboxProviderResponse(sandbox=sandbox, attached=new, receipt=receipt)

    def DetachSandboxProvider(self, request: Any) -> Any:
        sandbox = self._sandbox(request.sandbox)
        gone = request.provider in sandbox.spec.providers
        if gone:
            sandbox.spec.providers.remove(request.provider)
            sandbox.metadata.resource_version += 1
        receipt = self._receipt(sandbox, request.provider, 2)
        return self.messages.DetachSandboxProviderResponse(sandbox=sandbox, detached=gone, receipt=receipt)

    def _receipt(self, sandbox: Any, provider: str, kind: int) -> Any:
        made = self.messages.ProviderMutationReceipt(
            receipt_id=str(uuid.uuid4()),
            mutation_id=str(uuid.uuid4()),
            provider=provider,
            workspace="default",
            kind=kind,
        )
        made.desired.sandbox_id, made.desired.sandbox = sandbox.metadata.id, sandbox.metadata.name
        return made

    def GetSandboxProviderStatus(self, request: Any) -> Any:
        sandbox = self._sandbox(request.sandbox)
        attached = request.provider in sandbox.spec.providers
        names = self.messages
        state, reason = names.PROVIDER_READINESS_STATE_PENDING, names.PROVIDER_READINESS_REASON_WAITING_FOR_CREDENTIALS
        if sandbox.status.phase != _PHASES[_READY]:
            pass  # nothing in it that could apply anything
        elif not attached:
            state, reason = names.PROVIDER_READINESS_STATE_REVOKED, names.PROVIDER_READINESS_REASON_UNSPECIFIED
        elif self._has_applied(sandbox, request.provider):
            state, reason = names.PROVIDER_READINESS_STATE_READY, names.PROVIDER_READINESS_REASON_UNSPECIFIED
        elif sandbox.spec.template.image == _NEVER:
            reason = names.PROVIDER_READINESS_REASON_UNSUPPORTED_SUPERVISOR
        status = names.ProviderReadinessStatus(
            receipt=self._receipt(sandbox, request.provider, 4), state=state, reason=reason
        )
        return names.GetSandboxProviderStatusResponse(status=status)

    def exec_sandbox(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        """Run a command with the placeholders of what is attached now."""
        with self.guard:
            self.calls.append("ExecSandbox")
            self.write_state()
            sandbox = self.sandboxes.get(request.sandbox)
            own = dict(request.environment)
            for name in sandbox.spec.providers if sandbox else ():
                if self._has_applied(sandbox, name):
                    version = self.providers[name].metadata.resource_version
                    own.update(
                        {key: f"openshell:resolve:env:v{version}_{key}" for key in self.providers[name].credentials}
                    )
        if sandbox is None:
            context.abort(Status.NOT_FOUND, "sandbox not found")
        elif sandbox.status.phase != _PHASES[_READY]:
            context.abort(Status.FAILED_PRECONDITION, "sandbox is not ready")
        limit = request.execution_timeout.seconds or None
        proxy = f"http://127.0.0.1:{self.proxies[request.sandbox].port}"
        written, errors, code = self.machinery.run(proxy, list(request.command), request.stdin, own, limit, True)
        event = self.messages.ExecSandboxEvent
        for half in (written[: len(written) // 2], written[len(written) // 2 :]):
            yield event(stdout=self.messages.ExecSandboxStdout(data=half))
        yield event(stderr=self.messages.ExecSandboxStderr(data=errors))
        yield event(exit=self.messages.ExecSandboxExit(exit_code=code))

    def resolve(
        self, sandbox_name: str, host: str, port: int, path: str, headers: dict[str, str]
    ) -> dict[str, str] | str:
        """Return the headers with real keys in them, or why the request is refused."""
        with self.guard:
            sandbox = self.sandboxes[sandbox_name]
            allowed = [
                name
                for name in sandbox.spec.providers
                if self._has_applied(sandbox, name)
                and _permits(self.profiles[self.providers[name].type], host, port, path)
            ]
            if not allowed:
                return "policy_denied"
            resolved = {}
            for header, value in headers.items():
                found = _PLACEHOLDER.search(value)
                keys = [self.keys.get((name, int(found[1])), {}).get(found[2]) for name in allowed] if found else []
                if found and not any(keys):
                    return "credential_endpoint_mismatch"
                key = next((one for one in keys if one), "")
                resolved[header] = _PLACEHOLDER.sub(lambda _match, key=key: key, value) if found else value
            return resolved

    def write_state(self) -> None:
        """Write all that there is, secrets included: it is what tests compare with what they gave to the CLI."""
        if self.state_file is None:
            return
        content = {
            "beginnings": self.beginnings,
            "calls": self.calls,
            "profiles": {
                name: [profile.resource_version, [f"{one.host}:{one.port}{one.path}" for one in profile.endpoints]]
                for name, profile in self.profiles.items()
            },
            "providers": {
                name: [provider.type, dict(provider.credentials), provider.metadata.resource_version]
                for name, provider in self.providers.items()
            },
            "sandboxes": {name: list(sandbox.spec.providers) for name, sandbox in self.sandboxes.items()},
        }
        temporary = self.state_file.with_suffix(".new")
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(self.state_file)


def _permits(profile: Any, host: str, port: int, path: str) -> bool:
    """Tell whether a profile allows curl to ask for a path of a server."""
    if not any(fnmatch.fnmatch(_CURL, binary.path) for binary in profile.binaries):
        return False
    for endpoint in profile.endpoints:
        ports = list(endpoint.ports) or [endpoint.port]
        pattern = endpoint.path or "/**"
        if endpoint.host == host and port in ports and fnmatch.fnmatch(path, pattern.replace("/**", "/*")):
            return True
    return False


class _Proxy:
    """The web proxy of one sandbox."""

    def __init__(self, gateway: Gateway, sandbox: str) -> None:
        class Handler(_Handler):
            pass

        Handler.gateway, Handler.sandbox = gateway, sandbox
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def end(self) -> None:
        threading.Thread(target=self._server.shutdown, daemon=True).start()


class _Handler(http.server.BaseHTTPRequestHandler):
    gateway: Gateway
    sandbox: str

    def do_POST(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {
            name: value for name, value in self.headers.items() if name.lower() not in ("host", "proxy-connection")
        }
        resolved = self.gateway.resolve(self.sandbox, str(url.hostname), url.port or 80, url.path, headers)
        if resolved == "policy_denied":
            where = f"{self.command} {url.hostname}:{url.port or 80}{url.path}"
            self._say(403, {"detail": f"{where} not permitted by policy", "error": "policy_denied"})
            return
        if isinstance(resolved, str):
            self._say(403, {"error": resolved, "message": "Credential is not authorized for this request endpoint"})
            return
        local = "127.0.0.1" if str(url.hostname).startswith("host.") else str(url.hostname)
        connection = http.client.HTTPConnection(local, url.port, timeout=120)
        try:
            connection.request(self.command, url.path, body or None, resolved)
            reply = connection.getresponse()
            content = reply.read()
        except OSError:
            self._say(502, {"error": "upstream connection failed"})
            return
        finally:
            connection.close()
        self._send(reply.status, reply.getheader("Content-Type") or "text/plain", content)

    do_GET = do_POST

    def _say(self, status: int, words: dict[str, str]) -> None:
        self._send(status, "application/json", json.dumps(words).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: Any) -> None:
        return


def _run_programs(path: str) -> None:
    """Run the command line for each client that connects (openshell_attachment_cli.py, CLIENT)."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(16)
        while True:
            threading.Thread(target=_run_program, args=(listening.accept()[0],), daemon=True).start()


def _run_program(client: socket.socket) -> None:
    with client, client.makefile("rwb") as stream:
        words, environ, stdin = marshal.loads(stream.read())
        stream.write(marshal.dumps(run_one(words, environ, stdin)))


def main() -> int:
    parser = argparse.ArgumentParser(description="A stand-in for the gateway of OpenShell 0.1.")
    parser.add_argument("--stubs", required=True, help="folder with openshell/_proto of the wheel of 0.1.5")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", type=Path, help="file that always holds what the gateway knows, as JSON")
    options = parser.parse_args()
    sys.path.insert(0, options.stubs)
    gateway = Gateway(options.state)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(tuple(gateway.handlers()))
    port = server.add_insecure_port(f"127.0.0.1:{options.port}")
    ended = threading.Event()
    parent = os.getppid()
    signal.signal(signal.SIGTERM, lambda _signal, _frame: ended.set())
    signal.signal(signal.SIGUSR1, lambda _signal, _frame: threading.Thread(target=gateway.forget).start())
    if options.state:
        path = str(options.state.with_suffix(".sock"))
        threading.Thread(target=_run_programs, args=(path,), daemon=True).start()
    server.start()
    print(f"http://127.0.0.1:{port}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        while not ended.wait(0.5) and os.getppid() == parent:
            pass
    server.stop(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
