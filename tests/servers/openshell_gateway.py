# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
A stand-in for OpenShell's gateway, which the real CLI talks to over gRPC. No registry in reach has the real one.

    FOLDER/bin/python openshell_gateway.py --release 0.0.83 --stubs FOLDER/releases/0.0.83/stubs --port 18080

Messages are those of OpenShell's own wheel; what it answers follows the gateway's source (openshell-server, grpc/provider.rs,
inference.rs, grpc/sandbox.rs). It refuses what it does not know: methods, fields, types of providers that carry no route.
A sandbox becomes what its image says (IMAGES); any other image cannot be pulled. Commands in a sandbox are run by
openshell_supervisor.py, on this machine and not confined.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from openshell_supervisor import DEFAULT_TIMEOUT, Route, Supervisor

# Seconds until a sandbox leaves Provisioning, and what it becomes. None: never.
IMAGES: dict[str, tuple[float | None, str]] = {
    "lab/ready:1": (0.3, "READY"),
    "lab/slow:1": (2.0, "READY"),
    "lab/stuck:1": (None, "READY"),
    "lab/broken:1": (0.3, "ERROR"),
    "lab/bare:1": (0.3, "READY"),
}
# It has no program but a shell.
_BARE_IMAGE = "lab/bare:1"
_DEFAULT_IMAGE = "lab/ready:1"
_PHASES = {"PROVISIONING": 1, "READY": 2, "ERROR": 3, "DELETING": 4}
# inference.rs, resolve_provider_route: other types carry no route.
_ROUTE_TYPES = ("openai", "anthropic", "nvidia", "deepinfra")
_OTHER_TYPES = ("claude", "generic", "github", "gitlab", "outlook", "codex", "copilot", "opencode")
_SYSTEM_ROUTE = "sandbox-system"
# grpc/validation.rs: DNS labels, 19 characters for sandboxes since 0.0.88.
_SANDBOX_NAME_LIMIT = {"0.0.44": 253, "0.0.83": 253, "0.0.111": 19}

Status = grpc.StatusCode


class Refusal(Exception):
    """What the gateway says no with."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


def _serialize(message: Any) -> bytes:
    return message.SerializeToString()


class Gateway:
    """The state, and one method for each call that it knows."""

    def __init__(self, release: str, reported: str, state_file: Path | None, refresh: float) -> None:
        from openshell._proto import inference_pb2, openshell_pb2, sandbox_pb2

        self.messages, self.inference, self.settings = openshell_pb2, inference_pb2, sandbox_pb2
        self.release, self.reported = release, reported
        self.workspaces = release == "0.0.111"
        self.state_file = state_file
        self.guard = threading.RLock()
        self.beginnings = 0
        self.forget()
        self.supervisor = Supervisor(self.resolved_route, refresh)

    def forget(self) -> None:
        """Begin anew, as a gateway with an empty database."""
        with self.guard:
            self.providers: dict[str, Any] = {}
            self.routes: dict[str, Any] = {}
            self.sandboxes: dict[str, Any] = {}
            self.born: dict[str, float] = {}
            self.calls: list[str] = []
            self.beginnings += 1
            self._write_state()

    # -- what is known of a release -------------------------------------------------------------------------------------------

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        known = ["Health", "GetGatewayConfig", "CreateProvider", "GetProvider", "ListProviders", "UpdateProvider"]
        known += ["DeleteProvider", "CreateSandbox", "GetSandbox", "ListSandboxes", "DeleteSandbox", "GetSandboxLogs"]
        known += ["GetGatewayInfo"] if self.workspaces else []
        kind = "InferenceRoute" if self.workspaces else "ClusterInference"
        inference = [f"Set{kind}", f"Get{kind}", *([f"Delete{kind}"] if self.workspaces else [])]
        services = [(self.messages, "OpenShell", known), (self.inference, "Inference", inference)]
        made = []
        for stubs, service, methods in services:
            descriptor = stubs.DESCRIPTOR.services_by_name[service]
            table = {name: self._unary(descriptor.methods_by_name[name]) for name in methods}
            if service == "OpenShell":
                table["WatchSandbox"] = grpc.unary_stream_rpc_method_handler(
                    self.watch_sandbox, self.messages.WatchSandboxRequest.FromString, _serialize
                )
                table["ExecSandbox"] = grpc.unary_stream_rpc_method_handler(
                    self.exec_sandbox, self.messages.ExecSandboxRequest.FromString, _serialize
                )
            made.append(grpc.method_handlers_generic_handler(descriptor.full_name, table))
        return made

    def _unary(self, method: Any) -> grpc.RpcMethodHandler:
        from google.protobuf import message_factory

        # Renamed in 0.0.88; what they do stayed the same.
        own_name = method.name.replace("ClusterInference", "Route").replace("InferenceRoute", "Route")
        answer = getattr(self, own_name)

        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            with self.guard:
                self.calls.append(method.name)
                try:
                    self._refuse_unknown_fields(request)
                    reply = answer(request)
                except Refusal as refusal:
                    self._write_state()
                    context.abort(refusal.code, str(refusal))
                self._write_state()
                return reply

        request_class: Any = message_factory.GetMessageClass(method.input_type)
        return grpc.unary_unary_rpc_method_handler(handle, request_class.FromString, _serialize)

    def _refuse_unknown_fields(self, message: Any) -> None:
        from google.protobuf import unknown_fields

        unknown = unknown_fields.UnknownFieldSet(message)
        if len(unknown):
            numbers = ", ".join(str(field.field_number) for field in unknown)
            raise Refusal(
                Status.INVALID_ARGUMENT, f"{message.DESCRIPTOR.name} has fields this stand-in lacks: {numbers}"
            )
        for field, value in message.ListFields():
            if field.message_type and not field.is_repeated and field.message_type.file.package.startswith("openshell"):
                self._refuse_unknown_fields(value)

    # -- gateway --------------------------------------------------------------------------------------------------------------

    def Health(self, _request: Any) -> Any:
        return self.messages.HealthResponse(status=1, version=self.reported)

    def GetGatewayInfo(self, _request: Any) -> Any:
        return self.messages.GetGatewayInfoResponse(status=1, gateway_version=self.reported)

    def GetGatewayConfig(self, _request: Any) -> Any:
        return self.settings.GetGatewayConfigResponse()

    # -- providers ------------------------------------------------------------------------------------------------------------

    def CreateProvider(self, request: Any) -> Any:
        provider = copy.deepcopy(request.provider)
        name = provider.metadata.name
        if provider.type not in (*_ROUTE_TYPES, *_OTHER_TYPES):
            raise Refusal(Status.INVALID_ARGUMENT, f"provider type '{provider.type}' is not known to this stand-in")
        if not provider.credentials:
            raise Refusal(Status.INVALID_ARGUMENT, "provider.credentials must not be empty")
        if name in self.providers:
            raise Refusal(Status.ALREADY_EXISTS, "provider already exists")
        self._stamp(provider.metadata)
        self.providers[name] = provider
        return self.messages.ProviderResponse(provider=self._redacted(provider))

    def GetProvider(self, request: Any) -> Any:
        return self.messages.ProviderResponse(provider=self._redacted(self._provider(request.name)))

    def ListProviders(self, request: Any) -> Any:
        found = [self._redacted(provider) for _name, provider in sorted(self.providers.items())]
        return self.messages.ListProvidersResponse(providers=found[request.offset :][: request.limit or 100])

    def UpdateProvider(self, request: Any) -> Any:
        provider = self._provider(request.provider.metadata.name)
        if request.provider.type and request.provider.type != provider.type:
            raise Refusal(Status.INVALID_ARGUMENT, "provider type cannot be changed; delete and recreate the provider")
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
        return self.messages.ProviderResponse(provider=self._redacted(provider))

    def DeleteProvider(self, request: Any) -> Any:
        users = [name for name, sandbox in self.sandboxes.items() if request.name in sandbox.spec.providers]
        if users:
            text = f"provider '{request.name}' is attached to sandbox(es): {', '.join(users)}"
            raise Refusal(Status.FAILED_PRECONDITION, text)
        return self.messages.DeleteProviderResponse(deleted=self.providers.pop(request.name, None) is not None)

    def _provider(self, name: str) -> Any:
        if name not in self.providers:
            raise Refusal(Status.NOT_FOUND, "provider not found")
        return self.providers[name]

    def _redacted(self, provider: Any) -> Any:
        shown = copy.deepcopy(provider)
        for key in shown.credentials:
            shown.credentials[key] = "REDACTED"
        return shown

    def _stamp(self, metadata: Any) -> None:
        metadata.id = str(uuid.uuid4())
        metadata.created_at_ms = int(time.time() * 1000)
        metadata.resource_version = 1
        if self.workspaces:
            metadata.workspace = metadata.workspace or "default"

    # -- the route ------------------------------------------------------------------------------------------------------------

    def SetRoute(self, request: Any) -> Any:
        name = self._route_name(request)
        if request.provider_name not in self.providers:
            where = " in workspace 'default'" if self.workspaces else ""
            raise Refusal(Status.FAILED_PRECONDITION, f"provider '{request.provider_name}' not found{where}")
        provider = self.providers[request.provider_name]
        if provider.type not in _ROUTE_TYPES:
            text = f"provider '{request.provider_name}' has unsupported type '{provider.type}' for cluster inference"
            raise Refusal(Status.INVALID_ARGUMENT, text)
        if not request.no_verify:
            # The real one asks the server from the host, where the sandbox's name for the host means nothing.
            text = f"failed to verify inference endpoint for provider '{request.provider_name}': dns error"
            raise Refusal(Status.FAILED_PRECONDITION, text)
        version = self.routes[name].version + 1 if name in self.routes else 1
        fields = {
            "provider_name": request.provider_name,
            "model_id": request.model_id,
            "timeout_secs": request.timeout_secs,
            "version": version,
            "route_name": name,
            **({"workspace": "default"} if self.workspaces else {}),
        }
        kind = "InferenceRoute" if self.workspaces else "ClusterInference"
        self.routes[name] = getattr(self.inference, f"Get{kind}Response")(**fields)
        return getattr(self.inference, f"Set{kind}Response")(**fields)

    def GetRoute(self, request: Any) -> Any:
        name = self._route_name(request)
        if name not in self.routes:
            raise Refusal(Status.NOT_FOUND, f"inference route '{name}' is not configured")
        return self.routes[name]

    def DeleteRoute(self, request: Any) -> Any:
        deleted = self.routes.pop(self._route_name(request), None) is not None
        return self.inference.DeleteInferenceRouteResponse(deleted=deleted)

    def _route_name(self, request: Any) -> str:
        name = request.route_name or "inference.local"
        if name not in ("inference.local", _SYSTEM_ROUTE):
            raise Refusal(Status.INVALID_ARGUMENT, f"unknown route_name '{name}'")
        return name

    def resolved_route(self) -> Route | None:
        """Return the user's route as a supervisor gets it; a provider that is gone leaves it dangling, so there is none."""
        with self.guard:
            route = self.routes.get("inference.local")
            if route is None or route.provider_name not in self.providers:
                return None
            provider = self.providers[route.provider_name]
            prefix = provider.type.upper()
            key = provider.credentials.get(f"{prefix}_API_KEY") or provider.credentials[min(provider.credentials)]
            base_url = provider.config.get(f"{prefix}_BASE_URL", "https://nothing.invalid")
            return Route(provider.type, base_url, key, route.model_id, route.timeout_secs or DEFAULT_TIMEOUT)

    # -- sandboxes ------------------------------------------------------------------------------------------------------------

    def CreateSandbox(self, request: Any) -> Any:
        if len(request.name) > _SANDBOX_NAME_LIMIT[self.release]:
            limit = _SANDBOX_NAME_LIMIT[self.release]
            raise Refusal(Status.INVALID_ARGUMENT, f"sandbox.name exceeds maximum length ({limit})")
        if request.name in self.sandboxes:
            raise Refusal(Status.ALREADY_EXISTS, f"sandbox '{request.name}' already exists")
        for name in request.spec.providers:
            if name not in self.providers:
                raise Refusal(Status.FAILED_PRECONDITION, f"provider '{name}' not found")
        sandbox = self.messages.Sandbox(spec=request.spec)
        sandbox.metadata.name = request.name
        self._stamp(sandbox.metadata)
        sandbox.spec.template.image = sandbox.spec.template.image or _DEFAULT_IMAGE
        self.sandboxes[request.name] = sandbox
        self.born[request.name] = time.monotonic()
        return self.messages.SandboxResponse(sandbox=self._seen(sandbox))

    def GetSandbox(self, request: Any) -> Any:
        if request.name not in self.sandboxes:
            raise Refusal(Status.NOT_FOUND, "sandbox not found")
        return self.messages.SandboxResponse(sandbox=self._seen(self.sandboxes[request.name]))

    def ListSandboxes(self, request: Any) -> Any:
        found = [self._seen(sandbox) for _name, sandbox in sorted(self.sandboxes.items())]
        return self.messages.ListSandboxesResponse(sandboxes=found[request.offset :][: request.limit or 100])

    def DeleteSandbox(self, request: Any) -> Any:
        return self.messages.DeleteSandboxResponse(deleted=self.sandboxes.pop(request.name, None) is not None)

    def GetSandboxLogs(self, request: Any) -> Any:
        line = self.messages.SandboxLogLine(
            sandbox_id=request.sandbox_id,
            timestamp_ms=int(time.time() * 1000),
            level="INFO",
            target="lab",
            message="image requested from the engine",
            source="gateway",
        )
        return self.messages.GetSandboxLogsResponse(logs=[line], buffer_total=1)

    def watch_sandbox(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        """Send a snapshot at once and one for each new phase, until the sandbox is gone or nobody listens."""
        with self.guard:
            self.calls.append("WatchSandbox")
        last = None
        while context.is_active():
            with self.guard:
                found = [sandbox for sandbox in self.sandboxes.values() if sandbox.metadata.id == request.id]
                phase = self._phase(found[0]) if found else None
                event = self.messages.SandboxStreamEvent(sandbox=self._seen(found[0])) if found else None
            if event is None:
                context.abort(Status.NOT_FOUND, "sandbox not found")
            if phase != last:
                last = phase
                yield event
            time.sleep(0.02)

    def exec_sandbox(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        """Run a command, and send what it wrote and how it ended (grpc/sandbox.rs, handle_exec_sandbox)."""
        with self.guard:
            self.calls.append("ExecSandbox")
            self._write_state()
            found = [sandbox for sandbox in self.sandboxes.values() if sandbox.metadata.id == request.sandbox_id]
            ready = bool(found) and self._phase(found[0]) == "READY"
        if not found:
            context.abort(Status.NOT_FOUND, "sandbox not found")
        if not ready:
            context.abort(Status.FAILED_PRECONDITION, "sandbox is not ready")
        if request.tty or not request.command or any({"\n", "\r", "\0"} & set(word) for word in request.command):
            context.abort(Status.INVALID_ARGUMENT, "command argument contains newline or carriage return characters")
        written, errors, code = self.supervisor.run(
            list(request.command),
            request.stdin,
            dict(request.environment),
            request.timeout_seconds,
            found[0].spec.template.image != _BARE_IMAGE,
        )
        event = self.messages.ExecSandboxEvent
        # The real one sends the two streams in any order: here an error comes in the midst of the output, which is the worst of it.
        half = len(written) // 2
        if written:
            yield event(stdout=self.messages.ExecSandboxStdout(data=written[:half]))
        if errors:
            yield event(stderr=self.messages.ExecSandboxStderr(data=errors))
        if written:
            yield event(stdout=self.messages.ExecSandboxStdout(data=written[half:]))
        yield event(exit=self.messages.ExecSandboxExit(exit_code=code))

    def _phase(self, sandbox: Any) -> str:
        after, becomes = IMAGES.get(sandbox.spec.template.image, (0.3, "ERROR"))
        old_enough = after is not None and time.monotonic() - self.born[sandbox.metadata.name] >= after
        return becomes if old_enough else "PROVISIONING"

    def _seen(self, sandbox: Any) -> Any:
        """Return the sandbox as it is now, its phase where the release looks for it."""
        seen = copy.deepcopy(sandbox)
        phase = self._phase(sandbox)
        ready = {"READY": ("True", "Ready", ""), "PROVISIONING": ("False", "Starting", "container is starting")}
        known = sandbox.spec.template.image in IMAGES
        failed = ("Crashed", "supervisor exited with status 1") if known else ("ImagePullFailed", "no such image")
        status, reason, message = ready.get(phase, ("False", *failed))
        seen.status.conditions.add(type="Ready", status=status, reason=reason, message=message)
        seen.status.phase = _PHASES[phase]
        if self.release == "0.0.44":
            # Its Sandbox has the phase in field 4, as a number.
            seen.MergeFromString(bytes([4 << 3, _PHASES[phase]]))
        return seen

    # -- what tests look at ---------------------------------------------------------------------------------------------------

    def _write_state(self) -> None:
        """Write all that there is, secrets included: it is what tests compare with what they gave to the CLI."""
        if self.state_file is None:
            return
        content = {
            "beginnings": self.beginnings,
            "calls": self.calls,
            "providers": {
                name: {
                    "type": provider.type,
                    "credentials": dict(provider.credentials),
                    "config": dict(provider.config),
                    "resource_version": provider.metadata.resource_version,
                }
                for name, provider in self.providers.items()
            },
            "routes": {
                name: [route.provider_name, route.model_id, route.timeout_secs, route.version]
                for name, route in self.routes.items()
            },
            "sandboxes": {
                name: {
                    "image": sandbox.spec.template.image,
                    "providers": list(sandbox.spec.providers),
                    "environment": dict(sandbox.spec.environment),
                }
                for name, sandbox in self.sandboxes.items()
            },
        }
        temporary = self.state_file.with_suffix(".new")
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(self.state_file)


def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM, or until the process that started it ends. SIGUSR1: begin anew."""
    gateway = Gateway(options.release, options.report_version or options.release, options.state, options.route_refresh)
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=32),
        options=[
            # The CLI pings; without these it is told off for it while it watches a sandbox.
            ("grpc.http2.max_ping_strikes", 0),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 1),
            ("grpc.so_reuseport", 0),
        ],
    )
    server.add_generic_rpc_handlers(tuple(gateway.handlers()))
    address = f"127.0.0.1:{options.port}"
    if options.tls:
        pem = {name: (options.tls / name).read_bytes() for name in ("ca.crt", "server.crt", "server.key")}
        credentials = grpc.ssl_server_credentials([(pem["server.key"], pem["server.crt"])], pem["ca.crt"], True)
        port = server.add_secure_port(address, credentials)
    else:
        port = server.add_insecure_port(address)
    ended = threading.Event()
    parent = os.getppid()
    # Before it says that it listens: until then SIGUSR1 would end it.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: ended.set())
    signal.signal(signal.SIGUSR1, lambda _signal, _frame: threading.Thread(target=gateway.forget).start())
    server.start()
    print(f"{'https' if options.tls else 'http'}://127.0.0.1:{port}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        while not ended.wait(0.5) and os.getppid() == parent:
            pass
    server.stop(0)


def main() -> int:
    parser = argparse.ArgumentParser(description="A stand-in for OpenShell's gateway.")
    parser.add_argument("--release", required=True, choices=sorted(_SANDBOX_NAME_LIMIT))
    parser.add_argument("--stubs", required=True, help="folder with openshell/_proto of the release's wheel")
    parser.add_argument("--report-version", help="what it says its version is; by default the release")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--tls", type=Path, help="folder with ca.crt, server.crt, server.key; clients need a certificate"
    )
    parser.add_argument("--state", type=Path, help="file that always holds what the gateway knows, as JSON")
    parser.add_argument(
        "--route-refresh", type=float, default=5.0, help="seconds between a sandbox's looks at the route"
    )
    options = parser.parse_args()
    sys.path.insert(0, options.stubs)
    serve(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
