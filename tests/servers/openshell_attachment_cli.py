# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
A double of the command line of OpenShell 0.1, whose wheel has none: what it prints follows the source of the real one.

It speaks to the stand-in gateway (openshell_attachment.py) in the messages of OpenShell's own wheel, knows the commands that the
collection uses, and ends with 2 for everything else. The stand-in runs it, since loading those messages takes longer than anything else;
the program on the PATH is CLIENT, which hands on its arguments, environment and input.
"""

from __future__ import annotations

import argparse
import io
import json
import marshal
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RELEASE = "0.1.5"
# Without the standard library, of which a start costs more than the call itself.
CLIENT = """
import _socket, marshal, posix, sys
stdin = b"" if posix.isatty(0) else open(0, "rb", closefd=False).read()
environ = {name.decode(): value.decode() for name, value in posix.environ.items()}
asked = marshal.dumps((sys.argv[2:], environ, stdin))
try:
    there = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    there.connect(sys.argv[1])
except OSError:
    posix.write(2, b"Error:   x transport error\\n  tcp connect error: Connection refused (os error 111)\\n")
    posix._exit(1)
there.sendall(asked)
there.shutdown(_socket.SHUT_WR)
said = b""
while piece := there.recv(65536):
    said += piece
code, output, errors = marshal.loads(said)
for number, content in ((1, output), (2, errors)):
    while content:
        content = content[posix.write(number, content):]
posix._exit(code)
"""


def ask(state: Path, words: Sequence[str], environ: Mapping[str, str], stdin: str) -> tuple[int, bytes, bytes]:
    """Return exit status, output and errors of that program, without the program: thousands of calls need no process each.

    state: the file of the stand-in.
    """
    with socket.socket(socket.AF_UNIX) as there:
        there.connect(str(state.with_suffix(".sock")))
        there.sendall(marshal.dumps((list(words), dict(environ), stdin.encode())))
        there.shutdown(socket.SHUT_WR)
        found: tuple[int, bytes, bytes] = marshal.loads(b"".join(iter(lambda: there.recv(65536), b"")))
    return found


_HELP = """OpenShell CLI tool

USAGE
  openshell <command> <subcommand> [flags]

SANDBOX COMMANDS
  sandbox:     Manage sandboxes
  logs:        View sandbox logs
  provider:    Manage provider configuration
  profile:     Manage reusable profiles

GATEWAY COMMANDS
  gateway:     Manage gateways
  status:      Show gateway status and information
"""
_ATTACH_HELP = (
    "Attach a provider to a sandbox\n\nFLAGS:\n  <NAME>\n  <PROVIDER>\n  --wait\n  --timeout <SECONDS>\n  -o <OUTPUT>\n"
)
_PHASES = {2: "Ready", 3: "Error", 7: "Stopped"}


class _Here(threading.local):
    """What belongs to one run of the program."""

    output: io.BytesIO
    errors: io.BytesIO
    environ: Mapping[str, str]
    stdin: bytes
    gateway: str
    endpoint: str


_here = _Here()


def _print(words: object) -> None:
    _here.output.write(f"{words}\n".encode())


def _warn(words: object) -> None:
    _here.errors.write(f"{words}\n".encode())


class Stubs:
    """The calls of the gateway by name."""

    def __init__(self, endpoint: str) -> None:
        import grpc
        from google.protobuf import message_factory
        from openshell._proto import openshell_pb2

        self.messages = openshell_pb2
        self.error = grpc.RpcError
        self._factory = message_factory.GetMessageClass
        self._service = openshell_pb2.DESCRIPTOR.services_by_name["OpenShell"]
        self._channel = grpc.insecure_channel(endpoint.split("://")[-1])

    def __call__(self, method: str, **fields: Any) -> Any:
        known = self._service.methods_by_name[method]
        kind = "unary_stream" if method == "ExecSandbox" else "unary_unary"
        call = getattr(self._channel, kind)(
            f"/{self._service.full_name}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=self._factory(known.output_type).FromString,
        )
        request = self._factory(known.input_type)(**fields)
        if "workspace_scope" in known.input_type.fields_by_name:
            request.workspace_scope.workspace = "default"
        return call(request, timeout=120)


def _done(words: str) -> int:
    _print(f"\x1b[1m\x1b[32m\u2713\x1b[39m\x1b[0m {words}")
    return 0


def _fail(words: str) -> int:
    _warn(f"Error:   \u00d7 {words}\n")
    return 1


def _show(value: Any) -> int:
    _print(json.dumps(value, indent=2))
    return 0


def _provider_json(provider: Any) -> dict[str, Any]:
    shown = {"name": provider.metadata.name, "type": provider.type, "credential_keys": sorted(provider.credentials)}
    return {**shown, "id": provider.metadata.id, "resource_version": provider.metadata.resource_version}


def _delete(stubs: Stubs, method: str, kind: str, what: str, **fields: str) -> int:
    """Delete one; what was refused stands before the error, which only counts."""
    try:
        stubs(method, **fields)
    except stubs.error as error:
        if error.code().name == "NOT_FOUND":
            _print(f"\x1b[33m!\x1b[39m {kind.capitalize()} {what} not found")
            return 0
        said = f"code: '{error.code().name}', message: \"{error.details()}\""
        _warn(f"\x1b[1m\x1b[31m!\x1b[39m\x1b[0m Failed to delete {kind} {what}: {said}")
        return _fail(f"failed to delete 1 {kind}: {what}")
    return _done(f"Deleted {kind} {what}")


# -- profiles -----------------------------------------------------------------------------------------------------------------------------

_ACCESS = {"read-only": 1, "read-write": 2, "full": 3}


def _item(stubs: Stubs, path: str) -> Any:
    """Return a profile in JSON as a message; a field that the real one does not know is an error."""
    from google.protobuf import json_format

    content = json.loads(Path(path).read_text(encoding="utf-8"))
    content["category"] = f"PROVIDER_PROFILE_CATEGORY_{content.get('category', 'other').upper()}"
    content["binaries"] = [{"path": binary} for binary in content.get("binaries", [])]
    for endpoint in content.get("endpoints", []):
        endpoint["access"] = _ACCESS[endpoint["access"]]
        endpoint["enforcement"] = {"enforce": 1, "audit": 2}[endpoint["enforcement"]]
    item = stubs.messages.ProviderProfileImportItem(source=path)
    json_format.ParseDict(content, item.profile)
    return item


def _profile_json(profile: Any) -> dict[str, Any]:
    return {
        "id": profile.id,
        "resource_version": profile.resource_version,
        "display_name": profile.display_name,
        "description": profile.description,
        "category": "inference",
        "inference_capable": profile.inference_capable,
        "credentials": [
            {
                "name": one.name,
                "env_vars": list(one.env_vars),
                "required": one.required,
                "auth_style": one.auth_style,
                "header_name": one.header_name,
            }
            for one in profile.credentials
        ],
        "endpoints": [
            {
                "host": one.host,
                "port": one.port,
                "path": one.path,
                "protocol": one.protocol,
                "access": {number: name for name, number in _ACCESS.items()}[one.access],
                "enforcement": "enforce",
            }
            for one in profile.endpoints
        ],
        "binaries": [one.path for one in profile.binaries],
    }


def profile(stubs: Stubs, options: argparse.Namespace) -> int:
    if options.verb == "export":
        return _show(_profile_json(stubs("GetProviderProfile", id=options.names[0]).profile))
    if options.verb == "delete":
        return _delete(stubs, "DeleteProviderProfile", "provider profile", options.names[0], id=options.names[0])
    item = _item(stubs, options.file)
    if options.verb == "lint":
        answer, good = stubs("LintProviderProfiles", profiles=[item]), "Provider profile lint passed."
        well = answer.valid
    elif options.verb == "import":
        answer, good = stubs("ImportProviderProfiles", profiles=[item]), "Imported 1 provider profile."
        well = answer.imported
    else:
        version = item.profile.resource_version
        answer = stubs("UpdateProviderProfiles", id=options.names[0], profile=item, expected_resource_version=version)
        good, well = "Updated provider profile.", answer.updated
    if well:
        _print(good)
        return 0
    _warn("\x1b[1m\x1b[31mProvider profile diagnostics:\x1b[39m\x1b[0m")
    for one in answer.diagnostics:
        _warn(f"  {one.severity} {one.source} profile={one.profile_id or '-'} field={one.field} {one.message}")
    return _fail(f"provider profile {options.verb} failed")


# -- providers ----------------------------------------------------------------------------------------------------------------------------


def _pairs(given: list[str]) -> dict[str, str]:
    made = {}
    for word in given:
        name, has_value, value = word.partition("=")
        if not has_value and not _here.environ.get(name):
            raise ValueError(f"--credential {name} requires the environment variable {name} to be set")
        made[name] = value if has_value else _here.environ[name]
    return made


def provider(stubs: Stubs, options: argparse.Namespace) -> int:
    if options.verb == "list":
        answer = stubs("ListProviders", page_token=options.page_token)
        return _show(
            {"providers": [_provider_json(one) for one in answer.providers], "next_page_token": answer.next_page_token}
        )
    name = options.name or options.names[0]
    if options.verb == "get":
        found = stubs("GetProvider", name=name).provider
        _print("\x1b[1m\x1b[36mProvider:\x1b[39m\x1b[0m\n")
        for label, value in (
            ("Id", found.metadata.id),
            ("Name", name),
            ("Type", found.type),
            ("Resource version", found.metadata.resource_version),
            ("Credential keys", ", ".join(sorted(found.credentials)) or "<none>"),
            ("Config keys", ", ".join(found.config) or "<none>"),
        ):
            _print(f"  \x1b[2m{label}:\x1b[0m {value}")
        return 0
    if options.verb == "delete":
        return _delete(stubs, "DeleteProvider", "provider", name, name=name)
    wanted = {"metadata": {"name": name}, "credentials": _pairs(options.credential), "config": _pairs(options.config)}
    if options.verb == "create":
        try:
            stubs("GetProviderProfile", id=options.type)
        except stubs.error as error:
            return _fail(f"unsupported provider type or profile: {options.type} ({error.details()})")
        stubs("CreateProvider", provider={**wanted, "type": options.type})
        return _done(f"Created provider {name}")
    stubs("UpdateProvider", provider=wanted)
    return _done(f"Updated provider {name}")


# -- sandboxes ----------------------------------------------------------------------------------------------------------------------------


def _label(message: Any, field: str, value: int, prefix: str) -> str:
    name = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number[value].name
    return str(name).replace(prefix, "").lower()


def _status(stubs: Stubs, options: argparse.Namespace, receipt: Any, wanted: str) -> int:
    """Print the state of an attachment, once it is the one that is waited for or the time is over."""
    sandbox, name = options.names
    deadline = time.monotonic() + options.timeout
    outcome = "not_requested"
    while True:
        status = stubs("GetSandboxProviderStatus", sandbox=sandbox, provider=name).status
        state = _label(status, "state", status.state, "PROVIDER_READINESS_STATE_")
        if not options.wait:
            break
        if state == wanted or time.monotonic() >= deadline:
            outcome = "complete" if state == wanted else "timed_out"
            break
        time.sleep(0.02)
    target = {
        "receipt": {"receipt_id": (receipt or status.receipt).receipt_id, "provider_name": name},
        "state": state,
        "reason": _label(status, "reason", status.reason, "PROVIDER_READINESS_REASON_"),
        "observed": None,
        "wait_outcome": outcome,
    }
    _show({"mutation_id": (receipt or status.receipt).mutation_id, "targets": [target]})
    if options.wait and outcome != "complete":
        return _fail(
            "provider readiness wait did not complete for every selected sandbox; inspect the reported outcomes"
        )
    return 0


def sandbox_provider(stubs: Stubs, options: argparse.Namespace) -> int:
    if options.verb == "list":
        found = stubs("ListSandboxProviders", sandbox=options.names[0], page_size=100).providers
        return _show([_provider_json(one) for one in found])
    if options.verb == "status":
        return _status(stubs, options, None, "ready")
    sandbox, name = options.names
    version = stubs("GetSandbox", name=sandbox).sandbox.metadata.resource_version
    fields = {"sandbox": sandbox, "provider": name, "expected_resource_version": version}
    if options.verb == "attach":
        return _status(stubs, options, stubs("AttachSandboxProvider", **fields).receipt, "ready")
    return _status(stubs, options, stubs("DetachSandboxProvider", **fields).receipt, "revoked")


def sandbox(stubs: Stubs, options: argparse.Namespace) -> int:
    if options.verb == "list":
        answer = stubs("ListSandboxes", page_token=options.page_token)
        found = [
            {"id": one.metadata.id, "name": one.metadata.name, "phase": _PHASES[one.status.phase]}
            for one in answer.sandboxes
        ]
        return _show({"sandboxes": found, "next_page_token": answer.next_page_token})
    name = options.name or options.names[0]
    if options.verb == "create":
        spec = {"providers": options.provider, "template": {"image": options.image or ""}}
        stubs("CreateSandbox", name=name, spec=spec)
        return _done(f"Created sandbox {name}")
    if options.verb == "exec":
        code = 0
        limit = {"seconds": options.timeout}
        for event in stubs(
            "ExecSandbox", sandbox=name, command=options.command, stdin=_here.stdin, execution_timeout=limit
        ):
            _here.output.write(event.stdout.data)
            _here.errors.write(event.stderr.data)
            code = event.exit.exit_code if event.HasField("exit") else code
        return code
    verbs = {"delete": "Deleted", "stop": "Stopped", "start": "Started"}
    stubs(f"{options.verb.capitalize()}Sandbox", name=name)
    return _done(f"{verbs[options.verb]} sandbox {name}")


def status(stubs: Stubs, _options: argparse.Namespace) -> int:
    version = stubs("Health").version
    return _show({"gateway": _here.gateway, "server": _here.endpoint, "status": "connected", "version": version})


# -- gateways -----------------------------------------------------------------------------------------------------------------------------


def _registrations() -> Path:
    home = _here.environ.get("XDG_CONFIG_HOME") or f"{_here.environ['HOME']}/.config"
    return Path(home, "openshell")


def gateway(_stubs: Stubs | None, options: argparse.Namespace) -> int:
    """Register a gateway and make it the active one."""
    folder = _registrations()
    own = folder / "gateways" / options.name
    own.mkdir(parents=True, exist_ok=True)
    content = {"gateway_endpoint": options.names[0], "auth_mode": "plaintext"}
    (own / "metadata.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "active_gateway").write_text(options.name, encoding="utf-8")
    return _done(f"Gateway '{options.name}' added")


def _registered(name: str) -> str | None:
    """Return the address of a registered gateway, by default that of the active one."""
    folder = _registrations()
    try:
        _here.gateway = name or (folder / "active_gateway").read_text(encoding="utf-8")
        content = json.loads((folder / "gateways" / _here.gateway / "metadata.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return str(content["gateway_endpoint"])


_GROUPS = {
    ("provider", "profile"): (profile, ("lint", "import", "update", "export", "delete")),
    ("sandbox", "provider"): (sandbox_provider, ("list", "attach", "detach", "status")),
    ("provider",): (provider, ("list", "get", "create", "update", "delete")),
    ("gateway",): (gateway, ("add",)),
    ("sandbox",): (sandbox, ("list", "create", "exec", "delete", "stop", "start")),
}


def run_one(words: list[str], environ: Mapping[str, str], stdin: bytes) -> tuple[int, bytes, bytes]:
    """Return how a run of the program ends and what it prints."""
    _here.output, _here.errors, _here.environ, _here.stdin = io.BytesIO(), io.BytesIO(), environ, stdin
    code = _main(words)
    return code, _here.output.getvalue(), _here.errors.getvalue()


def _main(words: list[str]) -> int:
    endpoint, name = _here.environ.get("OPENSHELL_GATEWAY_ENDPOINT", ""), ""
    if words[:1] in (["--gateway-endpoint"], ["-g"]):
        endpoint, name = (words[1], "") if words[0] == "--gateway-endpoint" else (endpoint, words[1])
        words = words[2:]
    if words == ["--version"]:
        _print(f"openshell {RELEASE}")
        return 0
    if words == ["--help"]:
        _print(_HELP)
        return 0
    if words == ["sandbox", "provider", "attach", "--help"]:
        _print(_ATTACH_HELP)
        return 0
    group = next((key for key in _GROUPS if tuple(words[: len(key)]) == key), None)
    run, verbs = _GROUPS[group] if group else (status, ("-o",))
    rest = words[len(group or ("status",)) :]
    if (group is None and words[:1] != ["status"]) or not rest or rest[0] not in verbs:
        _warn(f"error: unrecognized subcommand '{words[-1] if words else ''}'")
        return 2
    parser = argparse.ArgumentParser(prog="openshell", add_help=False, allow_abbrev=False)
    for option in ("--name", "--type", "--from", "-o", "-f", "--page-token"):
        parser.add_argument(option, default="", dest={"--from": "image", "-f": "file", "-o": "output"}.get(option))
    for option in ("--credential", "--config", "--provider"):
        parser.add_argument(option, action="append", default=[])
    for option in ("--wait", "--detach", "--no-tty", "--no-auto-providers", "--local"):
        parser.add_argument(option, action="store_true")
    parser.add_argument("--timeout", type=int, default=30)
    parser.add_argument("names", nargs="*")
    own, command = (rest[1:], []) if "--" not in rest else (rest[1 : rest.index("--")], rest[rest.index("--") + 1 :])
    options = parser.parse_args(own)
    options.verb, options.command = rest[0], command
    if group == ("gateway",):
        return gateway(None, options)
    _here.gateway = endpoint
    _here.endpoint = endpoint or _registered(name) or ""
    if not _here.endpoint:
        return _fail(f"Unknown gateway '{name}'" if name else "No active gateway")
    stubs = Stubs(_here.endpoint)
    try:
        return run(stubs, options)
    except ValueError as error:
        return _fail(str(error))
    except stubs.error as error:
        known = {
            "NOT_FOUND": "Some requested entity was not found",
            "ALREADY_EXISTS": "Some entity that we attempted to create already exists",
        }
        if error.code().name == "UNAVAILABLE":
            return _fail(
                "transport error\n  \u251c\u2500\u25b6 tcp connect error\n  \u2570\u2500\u25b6 Connection refused (os error 111)"
            )
        return _fail(f"code: '{known.get(error.code().name, error.code().name)}', message: \"{error.details()}\"")
