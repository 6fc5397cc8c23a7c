# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
A stand-in for OpenShell's gateway, which the real CLI talks to over gRPC. No registry in reach has the real one.

    FOLDER/bin/python openshell_gateway.py --release 0.0.83 --stubs FOLDER/releases/0.0.83/stubs --port 18080

Messages are those of OpenShell's own wheel; what it answers follows the gateway's source (openshell-server, grpc/provider.rs,
inference.rs) and what real gateways answered (tests/unit/fixtures/openshell/real, upstream-facts O12). It refuses what it does not know:
methods, fields, types of providers that carry no route. Its sandboxes are in openshell_sandboxes.py; commands in them are run by
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
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from openshell_sandboxes import Refusal, Sandboxes, Status
from openshell_supervisor import DEFAULT_TIMEOUT, Route, RouteDanglingError
from tls_front import TlsFront

# inference.rs, resolve_provider_route: other types carry no route.
_ROUTE_TYPES = ("openai", "anthropic", "nvidia", "deepinfra")
_OTHER_TYPES = ("claude", "generic", "github", "gitlab", "outlook", "codex", "copilot", "opencode")
_SUPPORTED = {
    "0.0.44": "openai, anthropic, nvidia",
    "0.0.83": "openai, anthropic, nvidia, deepinfra, google-vertex-ai, aws-bedrock",
    "0.0.111": "openai, anthropic, nvidia, deepinfra, google-vertex-ai, aws-bedrock",
}
_SYSTEM_ROUTE = "sandbox-system"
_NAME_LIMIT = 253


def _serialize(message: Any) -> bytes:
    return message.SerializeToString()


class Gateway(Sandboxes):
    """The state, and one method for each call that it knows."""

    def __init__(self, release: str, reported: str, state_file: Path | None, refresh: float) -> None:
        from openshell._proto import inference_pb2, openshell_pb2, sandbox_pb2

        self.messages, self.inference, self.settings = openshell_pb2, inference_pb2, sandbox_pb2
        self.release, self.reported = release, reported
        self.workspaces = release == "0.0.111"
        self.state_file = state_file
        self.guard = threading.RLock()
        self.beginnings = 0
        self.begin_sandboxes(refresh)
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a gateway with an empty database."""
        with self.guard:
            self.providers: dict[str, Any] = {}
            self.routes: dict[str, Any] = {}
            self.forget_sandboxes()
            self.calls: list[str] = []
            self.beginnings += 1
            self.write_state()

    # -- what is known of a release -------------------------------------------------------------------------------------------

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        known = ["Health", "GetGatewayConfig", "CreateProvider", "GetProvider", "ListProviders", "UpdateProvider"]
        known += ["DeleteProvider", "CreateSandbox", "GetSandbox", "ListSandboxes", "DeleteSandbox", "GetSandboxLogs"]
        known += ["GetProviderProfile"]
        known += ["GetGatewayInfo", "StopSandbox", "StartSandbox"] if self.workspaces else []
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
                    self.write_state()
                    context.abort(refusal.code, str(refusal))
                self.write_state()
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
        driver = self.messages.ComputeDriverInfo(name="docker")
        driver.capabilities.driver_name = "docker"
        driver.capabilities.driver_version = "20.10.24+dfsg1"
        return self.messages.GetGatewayInfoResponse(status=1, gateway_version=self.reported, compute_drivers=[driver])

    def GetGatewayConfig(self, _request: Any) -> Any:
        return self.settings.GetGatewayConfigResponse()

    # -- providers ------------------------------------------------------------------------------------------------------------

    def CreateProvider(self, request: Any) -> Any:
        provider = copy.deepcopy(request.provider)
        name = provider.metadata.name
        if len(name) > _NAME_LIMIT:
            text = f"provider.name exceeds maximum length ({len(name)} > {_NAME_LIMIT})"
            raise Refusal(Status.INVALID_ARGUMENT, text)
        if provider.type not in (*_ROUTE_TYPES, *_OTHER_TYPES):
            raise Refusal(Status.INVALID_ARGUMENT, f"provider type '{provider.type}' is not known to this stand-in")
        if not provider.credentials:
            raise Refusal(Status.INVALID_ARGUMENT, "provider.credentials must not be empty")
        if name in self.providers:
            raise Refusal(Status.ALREADY_EXISTS, "provider already exists")
        self.stamp(provider.metadata)
        self.providers[name] = provider
        return self.messages.ProviderResponse(provider=self._redacted(provider))

    def GetProvider(self, request: Any) -> Any:
        return self.messages.ProviderResponse(provider=self._redacted(self._provider(request.name)))

    def GetProviderProfile(self, request: Any) -> Any:
        raise Refusal(Status.NOT_FOUND, f"provider profile '{request.id}' not found")

    def ListProviders(self, request: Any) -> Any:
        found = [self._redacted(provider) for provider in self.providers.values()]
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
        if self.workspaces:
            # 0.0.111 does not say when a provider was made.
            shown.metadata.created_at_ms = 0
        return shown

    def stamp(self, metadata: Any) -> None:
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
            raise Refusal(Status.INVALID_ARGUMENT, f"{text} (supported: {_SUPPORTED[self.release]})")
        if not provider.credentials:
            text = f"provider '{request.provider_name}' has no usable API key credential"
            raise Refusal(Status.INVALID_ARGUMENT, text)
        if not request.no_verify:
            # The real one asks the server from the host, where the sandbox's name for the host means nothing.
            base_url = self._base_url(provider)
            text = f"failed to verify inference endpoint for provider '{request.provider_name}' and model '{request.model_id}' at "
            text += f"'{base_url}': failed to connect to {base_url}/chat/completions: error sending request for url "
            text += f"({base_url}/chat/completions). Next steps: check that the service is running, confirm the base URL and "
            text += "protocol, and verify credentials, or retry with '--no-verify' if you want to skip verification"
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
            where = " in workspace 'default'" if self.workspaces else ""
            text = f"inference route '{name}' is not configured{where}; run 'openshell inference set --provider <name> --model <id>'"
            raise Refusal(Status.NOT_FOUND, text)
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
        """Return the user's route as a supervisor gets it, None where none is set."""
        with self.guard:
            route = self.routes.get("inference.local")
            if route is None:
                return None
            if route.provider_name not in self.providers:
                raise RouteDanglingError
            provider = self.providers[route.provider_name]
            key = provider.credentials.get(f"{provider.type.upper()}_API_KEY")
            key = key or provider.credentials[min(provider.credentials)]
            timeout = route.timeout_secs or DEFAULT_TIMEOUT
            return Route(provider.type, self._base_url(provider), key, route.model_id, timeout)

    @staticmethod
    def _base_url(provider: Any) -> str:
        return provider.config.get(f"{provider.type.upper()}_BASE_URL", "https://nothing.invalid")

    # -- what tests look at ---------------------------------------------------------------------------------------------------

    def write_state(self) -> None:
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
        plain, files = server.add_insecure_port("127.0.0.1:0"), options.tls
        front = TlsFront(plain, files / "server.crt", files / "server.key", options.port, files / "ca.crt")
        port = front.server_address[1]
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
    parser.add_argument("--release", required=True, choices=sorted(_SUPPORTED))
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
