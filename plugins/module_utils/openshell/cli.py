# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""OpenShell's command line: found for a user, its release checked, called, its errors explained (upstream-facts O1, O2, O13).

Why the CLI and not the SDK: docs/decisions/0011-openshell-cli.md.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from ..failure import Failure, quote
from ..host.machine import Account, CommandResult, Machine
from ..route.record import ATTACHMENT, ROUTE
from . import text

# The wire format changed just before.
OLDEST = (0, 0, 44)

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_PIN = "Install a release from 0.0.44 up to 0.0.116, for CLI and gateway alike (OPENSHELL_VERSION=v0.0.116 for its installer)."


@dataclass(frozen=True, order=True)
class Release:
    """A release such as 0.0.83, with the capabilities that the code asks for."""

    number: tuple[int, int, int]

    def __str__(self) -> str:
        return ".".join(str(part) for part in self.number)

    @property
    def lists_providers_as_json(self) -> bool:
        """True since 0.0.64; older ones show one provider as text."""
        return self.number >= (0, 0, 64)

    @property
    def tells_status_as_json(self) -> bool:
        """True since 0.0.92."""
        return self.number >= (0, 0, 92)

    @property
    def deletes_routes(self) -> bool:
        """True since 0.0.88, which made C(inference delete)."""
        return self.number >= (0, 0, 88)

    @property
    def detaches(self) -> bool:
        """True since 0.0.111: C(sandbox create) ends when the sandbox is ready, without a session in it."""
        return self.number >= (0, 0, 111)


def parse_release(said: str) -> Release | None:
    """Return the first release that a text names, None where it names none."""
    found = _VERSION.search(said)
    return Release((int(found[1]), int(found[2]), int(found[3]))) if found else None


def check_release(said: str, path: str) -> Release:
    """Return the release that C(openshell --version) prints, where it is one that works.

    Raises:
        Failure: C(openshell_version_unknown), C(openshell_too_old), C(openshell_too_new).

    """
    release = parse_release(said)
    if release is None:
        raise Failure(
            "openshell_version_unknown",
            f"Asked {path} for its version, but it reports {' '.join(said.split())[:100]!r}, which names no release (as do custom builds "
            f"and 0.0.28 to 0.0.30). {_PIN}",
        )
    if release.number < OLDEST:
        raise Failure(
            "openshell_too_old",
            f"{path} is OpenShell {release}. Releases before 0.0.44 speak another protocol and keep their gateway in a "
            f"container. {_PIN}",
            version=str(release),
        )
    return release


def way_of(help_text: str, attach_help: str) -> str | None:
    """Return the way that a command line knows by its own help, None for neither. Releases that know both use the route."""
    if re.search(r"^\s*inference:?\s", help_text, re.MULTILINE):
        return ROUTE
    # Without a wait nobody knows when a sandbox has applied what was attached.
    return ATTACHMENT if "--wait" in attach_help else None


def check_way(release: Release, path: str, way: str | None, ways: tuple[str, ...]) -> str:
    """Return the way, where it is one of those that are asked for.

    Raises:
        Failure: C(openshell_too_new), C(openshell_too_old).

    """
    if way in ways:
        return str(way)
    if way == ATTACHMENT:
        raise Failure(
            "openshell_too_new",
            f"{path} is OpenShell {release}, which routes sandboxes by attached providers: 0.1.0 removed the inference route, so there is "
            "no "
            f"`openshell inference` and no https://inference.local in the sandbox, and that is what is asked for here. {_PIN} Or attach a "
            "provider with sandbox_route or openshell_attachment (experimental). Sandboxes of older gateways have to be made again.",
            version=str(release),
        )
    if way == ROUTE:
        raise Failure(
            "openshell_too_old",
            f"{path} is OpenShell {release}, which routes all sandboxes of a gateway by one route and cannot wait for an attached "
            "provider; 0.1 "
            "can. Use openshell_provider and openshell_inference with this release.",
            version=str(release),
        )
    raise Failure(
        "openshell_too_new",
        f"{path} is OpenShell {release}, and its help has neither an inference route nor `sandbox provider attach --wait`: no way by which "
        f"this collection routes sandboxes to a model. {_PIN}",
        version=str(release),
    )


# A call takes 13 ms (upstream-facts O4); a gateway that hangs must not hold the play up.
LIMIT_S = 30.0
# Settings that would make the CLI look at another user's registrations.
_OTHERS = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")

# What the CLI's words stand for, the code and the meaning; the first pattern that fits counts. The server's messages are the same in all
# releases. "client error (Connect)" and "Connection refused" alone say little: TLS that fails begins with the former, and a gateway that
# answers passes both on, from a server that it verified or from its Docker.
_TROUBLES = (
    {
        "said": r"failed to verify inference endpoint",
        "code": "openshell_verify_failed",
        "meaning": "the gateway could not reach the server. It asks from the host, where host.openshell.internal means nothing: "
        "leave verify off, and prove the server with endpoint_validate and sandbox_probe",
    },
    {
        "said": r"pull (Docker )?image failed.*(x509|certificate)",
        "code": "sandbox_error",
        "meaning": "the gateway's container engine does not know the authority of the image registry's certificate. Put that "
        "authority's certificate into /etc/docker/certs.d/REGISTRY/ca.crt, or make the image available to the engine "
        "(docker pull, docker load)",
    },
    {
        "said": r"pull (Docker )?image failed",
        "code": "sandbox_error",
        "meaning": "the gateway's container engine cannot get the image, so there is no sandbox. Correct its name, log the engine in "
        "to its registry, or load the image there (docker load)",
    },
    {
        "said": r"received fatal alert",
        "code": "openshell_gateway_tls",
        "meaning": "the gateway refuses the client certificate of the user {user}: it is of another authority than the gateway's "
        "own, or out of date. Copy ca.crt, tls.crt and tls.key of this gateway into the mtls folder of its registration",
    },
    {
        "said": r"InvalidContentType",
        "code": "openshell_gateway_plaintext",
        "meaning": "the gateway speaks no TLS at that port, and its address begins with https://. Register it with http://",
    },
    {
        "said": r"gRPC health check failed",
        "code": "openshell_gateway_down",
        "meaning": "something answers at that address, and not as a gateway does without TLS. If the gateway uses TLS, register it "
        "with https:// where its certificates lie; else something else has the port",
    },
    {
        "said": r"invalid peer certificate",
        "code": "openshell_gateway_tls",
        "meaning": "the gateway's certificate is of no authority that the user {user} knows, out of date, or for another address. Copy "
        "the gateway's own ca.crt into the mtls folder of its registration",
    },
    {
        "said": r"failed to read TLS|certificate|close_notify|Unauthenticated|valid authentication",
        "code": "openshell_gateway_tls",
        "meaning": "the gateway and the user {user} do not trust each other: the gateway's certificate is of no authority that the "
        "user knows, or it wants a client certificate and the user has none that fits. Register it where its certificates "
        "lie (openshell gateway add https://... --local)",
    },
    {
        "said": r"tcp connect error|transport error.*Connection refused",
        "code": "openshell_gateway_down",
        "meaning": "the gateway does not answer. Start it (systemctl --user start openshell-gateway, as its user), or correct "
        "gateway and gateway_endpoint; with sandbox_backend: none the roles leave it alone and only record the route",
    },
    {
        "said": r"No active gateway|No gateway configured|not_configured|Unknown gateway|No gateway metadata",
        "code": "openshell_gateway_unset",
        "meaning": "the user {user} has no such gateway registered. As that user, openshell gateway list has the names, and "
        "openshell gateway add http://127.0.0.1:8080 --local --name nemoclaw registers one",
    },
    {
        "said": r"Method not found|data is not UTF-8 encoded|failed to decode Protobuf",
        "code": "openshell_release_mismatch",
        "meaning": "CLI and gateway are of different releases, which do not understand each other. Install the same release of both; "
        "the CLI is {release}",
    },
    {
        "said": r"is attached to sandbox",
        "code": "provider_attached",
        "meaning": "the provider is attached to a sandbox, and OpenShell removes none that is. Detach it (openshell sandbox provider "
        "detach SANDBOX PROVIDER), or delete the sandbox",
    },
    {
        "said": r"provider '.*' not found|provider not found",
        "code": "openshell_provider_missing",
        "meaning": "the gateway has no such provider. Create it first, with the module openshell_provider",
    },
    {
        "said": r"unsupported type|does not support inference|unsupported provider type",
        "code": "openshell_provider_unfit",
        "meaning": "a provider of that type carries no inference route. Use the type openai or anthropic",
    },
)


@dataclass(frozen=True)
class OpenShell:
    """The CLI of one release, and which gateway it talks to, as which user.

    Attributes:
        machine: Where it runs.
        account: Who owns the registration of the gateway.
        path: The program.
        release: Its release, which is the gateway's as well.
        options: C(-g) and C(--gateway-endpoint), where given.
        secret: A value that no sentence may show.
        gateway: The name that the gateway is registered under, None where an address was used without one.
        way: How this release routes sandboxes to a model.

    """

    machine: Machine
    account: Account
    path: str
    release: Release
    options: tuple[str, ...] = ()
    secret: str = field(default="", repr=False)
    gateway: str | None = None
    way: str = ROUTE

    def call(self, *words: str, environment: Mapping[str, str] | None = None, limit_s: float = LIMIT_S) -> str:
        """Return what a command of the CLI prints.

        Args:
            words: The command; options that name the gateway are put before it.
            environment: More variables: this is how secrets get to the CLI.
            limit_s: Seconds until it is stopped.

        Raises:
            Failure: With the code that the CLI's words stand for, else C(openshell_failed).

        """
        answer = self.attempt(*words, environment=environment, limit_s=limit_s)
        if answer.code:
            raise self.trouble(words, answer.output, answer.code)
        return answer.output

    def attempt(
        self,
        *words: str,
        environment: Mapping[str, str] | None = None,
        limit_s: float = LIMIT_S,
        stdin: str | None = None,
        errors_apart: bool = False,
    ) -> CommandResult:
        """Return how a command of the CLI ended and what it printed, whatever its exit status is.

        Args:
            words: As for call().
            environment: As for call().
            limit_s: As for call().
            stdin: What the command reads, less than a pipe holds (64 KiB).
            errors_apart: Whether standard error is kept out of the output.

        Raises:
            Failure: C(openshell_timeout); it did not end by itself.

        """
        machine = replace(self.machine, environ=self.environ(environment or {}))
        answer = machine.run(self.argv(words), limit_s, self.account, stdin, errors_apart)
        if answer.code is None:
            raise Failure(
                "openshell_timeout",
                f"Ran {self.shown(words)}, but {answer.problem}. Check whether the gateway hangs (openshell status), then run this again.",
            )
        return answer

    def argv(self, words: Sequence[str]) -> list[str]:
        """Return the whole command line."""
        return [self.path, *self.options, *words]

    def environ(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a call: that of this process, without what points to another user's registrations."""
        own = dict(self.machine.environ)
        if own.get("HOME") != self.account.home:
            for name in _OTHERS:
                own.pop(name, None)
        return {**own, "OPENSHELL_NO_BROWSER": "1", **more}

    def shown(self, words: Sequence[str]) -> str:
        """Return a command as a sentence may show it: its verbs, not its values."""
        verbs = itertools.takewhile(lambda word: not word.startswith("-"), words[:2])
        return " ".join(["openshell", *verbs])

    def trouble(self, words: Sequence[str], output: str, code: int | None) -> Failure:
        """Return what a failed command means. Some fail with exit status 0; then C(code) is None."""
        said = quote(text.error_of(output), self.secret, 400)
        for trouble in _TROUBLES:
            if re.search(trouble["said"], said):
                meaning = trouble["meaning"].format(user=self.account.name, release=self.release)
                sentence = f"Ran {self.shown(words)}, but {meaning}. Output: {said}"
                return Failure(trouble["code"], sentence, server_message=said)
        ended = "" if code is None else f" with exit status {code}"
        return Failure(
            "openshell_failed",
            f"Ran {self.shown(words)}, but it failed{ended}: {said or 'no output'}. Correct what it names, or check the gateway's log "
            f"(journalctl --user -u openshell-gateway).",
            server_message=said,
        )


def find_openshell(
    machine: Machine,
    account: Account,
    *,
    gateway: str | None = None,
    endpoint: str | None = None,
    executable: str | None = None,
    secret: str = "",
    ways: tuple[str, ...] = (ROUTE,),
) -> OpenShell:
    """Return the CLI, once it and its gateway are known to be of one release that works.

    Args:
        machine: Where to look.
        account: Whose gateway.
        gateway: Its name; by default the active one.
        endpoint: Its URL, instead of the registered one.
        executable: The program; by default C(openshell) on PATH or in C(~/.local/bin).
        secret: A value that no sentence may show.
        ways: The ways of routing sandboxes that the caller knows.

    Raises:
        Failure: C(openshell_missing), the codes of check_release and check_way, C(openshell_release_mismatch), or one of call().

    """
    path = executable or machine.find_command("openshell", [f"{account.home}/.local/bin"])
    if path is None or not machine.exists(path):
        where = path or "on PATH or in ~/.local/bin"
        raise Failure(
            "openshell_missing",
            f"Looked for the program openshell {where} and found none. Install OpenShell 0.0.44 to 0.0.116 for the user "
            f"{account.name}, or name the program with the option executable.",
        )
    if not path.startswith("/"):
        raise Failure(
            "openshell_missing", f"The option executable is {path!r}, which is not an absolute path. Use a full path."
        )
    options = [*(["-g", gateway] if gateway else []), *(["--gateway-endpoint", endpoint] if endpoint else [])]
    unchecked = OpenShell(machine, account, path, Release((0, 0, 0)), tuple(options), secret)
    release = check_release(unchecked.call("--version"), path)
    cli = replace(unchecked, release=release, way=check_way(release, path, _way_of(unchecked), ways))
    theirs, name = _gateway_of(cli)
    if parse_release(theirs) != release:
        raise Failure(
            "openshell_release_mismatch",
            f"The CLI {path} is OpenShell {release} and its gateway is {theirs}. They must be the same release: others do not understand "
            f"each other, and some of their errors look like success. Update the older one.",
            cli_version=str(release),
            gateway_version=theirs,
        )
    return replace(cli, gateway=name)


def _way_of(cli: OpenShell) -> str | None:
    said = text.plain(cli.attempt("--help").output)
    way = way_of(said, "")
    return way or way_of(said, text.plain(cli.attempt("sandbox", "provider", "attach", "--help").output))


def _gateway_of(cli: OpenShell) -> tuple[str, str | None]:
    """Return the release that the gateway says it is, and the name that it is registered under.

    C(status) exits with 0 where no gateway is registered, and where the port answers with something else.
    """
    words = ("status", "-o", "json") if cli.release.tells_status_as_json else ("status",)
    said = cli.call(*words)
    try:
        content = text.json_of(said) if cli.release.tells_status_as_json else text.fields_of(said)
    except ValueError:
        content = text.fields_of(said)
    version = content.get("version") if isinstance(content, dict) else None
    if isinstance(version, str) and version:
        name = content.get("gateway")
        # For an address that was given, the CLI says that address.
        return version, name if isinstance(name, str) and name and "://" not in name else None
    trouble = cli.trouble(("status",), said, None)
    if trouble.code != "openshell_failed":
        raise trouble
    raise Failure(
        "openshell_gateway_down",
        f"Ran openshell status, but it does not name the gateway's release: {quote(text.plain(said), cli.secret)}. Something else may be "
        f"listening at the gateway's address: correct it, or start the gateway.",
    )


@contextmanager
def reading(cli: OpenShell, *words: str) -> Iterator[None]:
    """Turn an answer that cannot be read into a failure: the CLI prints some errors and exits with 0."""
    try:
        yield
    except ValueError as error:
        raise cli.trouble(words, f"Error: {error}", None) from error
    except (AttributeError, KeyError, TypeError) as error:
        raise cli.trouble(
            words, "Error: its answer has not the shape that this release of OpenShell has", None
        ) from error


NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")


def check_name(what: str, name: str) -> None:
    """Raise C(openshell_name_invalid) for a name that the CLI could take for an option, or the gateway refuses."""
    if not NAME.fullmatch(name):
        raise Failure(
            "openshell_name_invalid",
            f"The {what} is to be called {name!r}. Use letters, digits, dots, - and _, beginning and ending with a letter or "
            "digit.",
        )
