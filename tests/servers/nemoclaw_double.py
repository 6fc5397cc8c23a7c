# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
A double of the program C(nemoclaw), since the real one cannot run in a test: its installer lies where no registry leads, it builds a
sandbox image of gigabytes from an image that no registry in reach has, and it starts a gateway that nobody can get.

    python nemoclaw_double.py --install FOLDER [--release 0.0.70]      makes FOLDER/bin/nemoclaw

It stands for the releases of nemoclaw_releases.py, whose real ones were recorded (tests/unit/fixtures/nemoclaw; upstream-facts N34 to N43);
test_nemoclaw_double.py compares it with them. All that it does to OpenShell it does by the real command line on PATH. It refuses every
command, flag and setting that it does not know, and ends with 1 or 2 as NemoClaw does.

FOLDER/gateway says where its own gateway listens and where that keeps its clients' certificates; without it OpenShell is asked as it is.

FOLDER/behaviour makes it fail: one of ENDS; provider, not-ready, hang, heartbeats (it waits for ever and says so), silent (ends well and
has made nothing), unwell (ends well, and its agent does not answer), unwritten (C(inference set) ends well, without the sandbox's own
settings), set (once, when all but those is done). FOLDER/calls has a line of JSON for each run, with its arguments and the variables that
mean something to NemoClaw, keys included. FOLDER/proxy is there where it has started a proxy of its own for Ollama.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from nemoclaw_releases import (
    ADVICE,
    ENDPOINT_HELP,
    ENDS,
    PRIVATE,
    PROVIDER_NAMES,
    RELEASES,
    UNWELL,
    Release,
    recorded_command,
    recorded_step,
)

FLAGS: tuple[str, ...] = (
    "--non-interactive",
    "--resume",
    "--fresh",
    "--recreate-sandbox",
    "--gpu",
    "--no-gpu",
    "--yes",
    "-y",
)
FLAGS += ("--no-ollama-autostart", "--sandbox-gpu", "--no-sandbox-gpu", "--yes-i-accept-third-party-software")
FLAGS_WITH_VALUE = ("--from", "--name", "--sandbox-gpu-device", "--agent", "--control-ui-port")
# Every other setting ends the run: one that is misspelt would be passed over by NemoClaw without a word.
SETTINGS = frozenset(
    (
        *("NON_INTERACTIVE", "ACCEPT_THIRD_PARTY_SOFTWARE", "PROVIDER", "MODEL", "ENDPOINT_URL", "PREFERRED_API"),
        *("SANDBOX_NAME", "YES", "PROVIDER_KEY", "LOCAL_INFERENCE_TIMEOUT", "SANDBOX_READY_TIMEOUT", "CONTEXT_WINDOW"),
        *("EXPERIMENTAL", "RECREATE_SANDBOX", "FROM_DOCKERFILE", "OPENSHELL_BIN", "OLLAMA_PORT", "OLLAMA_PROXY_PORT"),
        *("VLLM_PORT", "GATEWAY_PORT", "GATEWAY_BIND_ADDRESS", "DASHBOARD_PORT", "DASHBOARD_BIND", "DOCKER_GPU_PATCH"),
        *("POLICY_TIER", "POLICY_MODE", "POLICY_PRESETS", "AGENT_TIMEOUT", "MAX_TOKENS", "REASONING"),
        *("INFERENCE_INPUTS", "AGENT_HEARTBEAT_EVERY", "PROXY_HOST", "PROXY_PORT", "COMPATIBLE_AUTH_MODE"),
        *("CORPORATE_CA_BUNDLE", "GATEWAY_RECOVERY_WAIT_SECONDS", "REASONING_EFFORT", "SANDBOX_BASE_IMAGE_REF"),
        *("SANDBOX_GPU", "TOOL_DISCLOSURE", "TRUSTED_PRIVATE_HOSTS", "TRUSTED_PRIVATE_INFERENCE_HOSTS"),
        "WEB_SEARCH_PROVIDER",
    )
)
# The wizard's key of a provider -> what OpenShell calls it, its type, the variable of its key, that of its URL.
PROVIDERS = {
    "custom": ("compatible-endpoint", "openai", "COMPATIBLE_API_KEY", "OPENAI_BASE_URL"),
    "anthropiccompatible": (
        "compatible-anthropic-endpoint",
        "anthropic",
        "COMPATIBLE_ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
    ),
}
# OpenShell's name of an endpoint -> the variable of its key.
ENDPOINT_KEYS = {name: key for name, _kind, key, _url in PROVIDERS.values()}
SANDBOX_INTERNAL = "//host.openshell.internal"
HANGS_S = 600  # longer than any test


@dataclass(frozen=True)
class Double:
    """A double that is installed."""

    folder: Path

    @property
    def program(self) -> Path:
        return self.folder / "bin" / "nemoclaw"

    def behave(self, behaviour: str) -> None:
        (self.folder / "behaviour").write_text(behaviour, encoding="utf-8")

    def own(self, endpoint: str, certificates: Path | None = None) -> None:
        """Have it start a gateway, which is somewhere already, and take its clients' certificates from there."""
        started = {"endpoint": endpoint, "certificates": str(certificates or "")}
        (self.folder / "gateway").write_text(json.dumps(started), encoding="utf-8")

    def calls(self) -> list[dict[str, Any]]:
        """Return what it was asked since it was installed: C(words) and C(settings)."""
        path = self.folder / "calls"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def install(folder: Path, release: str = "0.0.58") -> Double:
    """Make the program, which knows its folder."""
    made = Double(folder.resolve())
    made.program.parent.mkdir(parents=True)
    made.behave("well")
    (made.folder / "release").write_text(release, encoding="utf-8")
    # As a module it is compiled once. It is asked thousands of times, and needs the standard library alone.
    here = f'import sys; sys.path.insert(0, "{Path(__file__).resolve().parent}"); import nemoclaw_double; sys.exit(nemoclaw_double.main())'
    script = f"#!/bin/sh\nexec '{sys.executable}' -I -S -c '{here}' --folder '{made.folder}' -- \"$@\"\n"
    made.program.write_text(script, encoding="utf-8")
    made.program.chmod(made.program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return made


def stop(*lines: str, code: int = 1) -> NoReturn:
    for line in "\n".join(lines).splitlines():
        print(f"  {line}" if line else "", file=sys.stderr)
    sys.exit(code)


def refused(url: str, limit_s: float, body: bytes | None = None, headers: dict[str, str] | None = None) -> str:
    """Ask a server, past the proxies of the environment, and return why it did not answer; empty where it did."""
    # It takes as long to load as all else of this program, and few calls need it.
    import urllib.error
    import urllib.request

    request = urllib.request.Request(url, body, headers or {})
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=limit_s).close()
    except (urllib.error.URLError, OSError) as error:
        return str(error) or "no answer"
    return ""


def say(text: str) -> None:
    print("\n".join(f"  {line}" if line else "" for line in text.splitlines()), flush=True)


def step(number: int, name: str) -> None:
    print(f"\n  [{number}/8] {name}\n  {'─' * 50}", flush=True)


def program() -> str:
    return os.environ.get("NEMOCLAW_OPENSHELL_BIN", "openshell")


def openshell(*words: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program(), *words], env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )


def must(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode:
        stop(" ".join((done.stderr + done.stdout).split()), code=done.returncode)
    return done.stdout


class State:
    """C(~/.nemoclaw), as the real one keeps it."""

    def __init__(self) -> None:
        self.folder = Path(os.environ["HOME"]) / ".nemoclaw"
        self.registry = self.folder / "sandboxes.json"
        self.lock = self.folder / "onboard.lock"

    def read(self) -> dict[str, Any]:
        if not self.registry.exists():
            return {"sandboxes": {}, "defaultSandbox": None}
        content: dict[str, Any] = json.loads(self.registry.read_text(encoding="utf-8"))
        return content

    def write(self, content: dict[str, Any]) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.registry.write_text(json.dumps(content, indent=2), encoding="utf-8")
        self.registry.chmod(0o600)

    def take_lock(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if self.lock.exists():
            holder = json.loads(self.lock.read_text(encoding="utf-8"))["pid"]
            if Path(f"/proc/{holder}").exists():
                stop("Another NemoClaw onboarding run is already in progress.", f"Lock holder PID: {holder}")
        self.lock.write_text(json.dumps({"pid": os.getpid(), "command": "nemoclaw onboard"}), encoding="utf-8")


def check_settings() -> None:
    unknown = [
        name for name in os.environ if name.startswith("NEMOCLAW_") and name.removeprefix("NEMOCLAW_") not in SETTINGS
    ]
    if unknown:
        stop(f"nemoclaw double: unknown settings {', '.join(sorted(unknown))}")


def onboard(words: list[str], behaviour: str, folder: Path, release: Release) -> None:
    rest, name = list(words), os.environ.get("NEMOCLAW_SANDBOX_NAME", "my-assistant")
    for flag in FLAGS_WITH_VALUE:
        while flag in rest:
            at = rest.index(flag)
            if at + 1 >= len(rest) or rest[at + 1].startswith("--"):
                stop(f"{flag} requires a value")
            name = rest[at + 1] if flag == "--name" else name
            del rest[at : at + 2]
    unknown = [word for word in rest if word not in FLAGS]
    if unknown:
        print("  Nonexistent flag: " + unknown[0] + "\nSee more help with --help", file=sys.stderr)
        sys.exit(2)
    if "--non-interactive" not in rest and os.environ.get("NEMOCLAW_NON_INTERACTIVE") != "1":
        stop("nemoclaw double: it asks no questions")
    accepted = os.environ.get("NEMOCLAW_ACCEPT_THIRD_PARTY_SOFTWARE") == "1"
    if not accepted and "--yes-i-accept-third-party-software" not in rest:
        stop("Non-interactive onboarding requires --yes-i-accept-third-party-software.")
    chosen = os.environ.get("NEMOCLAW_PROVIDER", "").strip().lower()
    if chosen not in PROVIDERS:
        stop(f"Unsupported NEMOCLAW_PROVIDER: {chosen}", f"Valid values: {', '.join(PROVIDERS)}")
    state = State()
    state.take_lock()
    try:
        _Onboarding(name, PROVIDERS[chosen], behaviour, state, release, folder / "gateway").run()
    finally:
        state.lock.unlink()


@dataclass
class _Onboarding:
    name: str
    provider: tuple[str, str, str, str]
    behaviour: str
    state: State
    release: Release
    started: Path

    def run(self) -> None:
        if self.behaviour == "silent":
            return
        say("\nNemoClaw Onboarding\n(non-interactive mode)\n===================")
        self._step(1, "Preflight checks")
        self._step(2, "Starting OpenShell gateway")
        if self.started.exists():
            _register(self.release, **json.loads(self.started.read_text(encoding="utf-8")))
        must(openshell("status"))
        self._step(3, "Configuring inference provider")
        model, url, key = self._endpoint()
        self._step(4, "Setting up inference provider")
        openshell_name, kind, key_name, url_name = self.provider
        _set_provider(openshell_name, kind, key_name, key, f"{url_name}={url}")
        # The real one leaves --no-verify away for Anthropic's API; the stand-in gateway can reach nothing.
        route = ["inference", "set", "--no-verify", "--provider", openshell_name, "--model", model]
        if openshell_name == "compatible-endpoint":
            route += ["--timeout", os.environ.get("NEMOCLAW_LOCAL_INFERENCE_TIMEOUT", "180")]
        must(openshell(*route))
        print(f"  ✓ Inference route set: {openshell_name} / {model}")
        entry = self._entry(model, url)
        if self.release.reserves:
            self._record({**entry, "pendingRouteReservation": True}, default=None)
        if self.behaviour == "hang":
            time.sleep(HANGS_S)
        self._step(5, "Messaging channels")
        self._step(6, "Creating sandbox")
        if self.behaviour == "heartbeats":
            self._wait_for_ever()
        _make_sandbox(self.name, "lab/stuck:1" if self.behaviour == "not-ready" else "lab/ready:1")
        self._record(entry, default=self.name)
        self._step(7, "Setting up OpenClaw inside sandbox")
        self._step(8, "Policy presets")
        if self.behaviour == "unwell":
            print(recorded_step(UNWELL, 8))
        else:
            print(f"\n  {'─' * 50}\n  OpenClaw is ready\n\n  Sandbox:  {self.name}")

    def _step(self, number: int, name: str) -> None:
        step(number, name)
        end = ENDS.get((self.behaviour, number))
        if isinstance(end, Path):
            _end(recorded_step(end, number))
        if end is not None:
            stop(end, ADVICE if self.release.advises else "")

    def _endpoint(self) -> tuple[str, str, str]:
        """Return model, address and key, proved as far as the release does."""
        model, url = os.environ.get("NEMOCLAW_MODEL", ""), os.environ.get("NEMOCLAW_ENDPOINT_URL", "")
        _name, kind, key_name, _url = self.provider
        key = os.environ.get(key_name) or os.environ.get("NEMOCLAW_PROVIDER_KEY", "")
        if not model or not url:
            stop("Endpoint URL and model are required in non-interactive mode.")
        if not key:
            stop(f"{key_name} (or NEMOCLAW_PROVIDER_KEY) is required for the endpoint in non-interactive mode.")
        print(f"  [non-interactive] Provider: {os.environ['NEMOCLAW_PROVIDER']}")
        if self.behaviour == "provider":
            stop(
                "Other OpenAI-compatible endpoint endpoint validation failed.",
                f"HTTP 401: the key {key} is not known here",
            )
        if self.release.guards_private and not _is_admitted(str(urlsplit(url).hostname)):
            _end(recorded_step(PRIVATE, 3).partition("\n")[2])
        _validate(url, model, key, kind)
        return model, url, key

    def _entry(self, model: str, url: str) -> dict[str, Any]:
        entry: dict[str, Any] = {"name": self.name, "model": model, "provider": self.provider[0]}
        if not self.release.reserves:
            return {**entry, "agent": None}
        api = os.environ.get("NEMOCLAW_PREFERRED_API") or "anthropic-messages"
        more = {"endpointSource": "onboard", "credentialEnv": self.provider[2], "gatewayName": "nemoclaw"}
        return {**entry, "endpointUrl": url, "preferredInferenceApi": api, **more}

    def _record(self, entry: dict[str, Any], default: str | None) -> None:
        content = self.state.read()
        content["sandboxes"][self.name] = entry
        content["defaultSandbox"] = content["defaultSandbox"] or default
        self.state.write(content)

    def _wait_for_ever(self) -> NoReturn:
        print("  Creating sandbox in gateway...", flush=True)
        for waited in range(HANGS_S * 10):
            print(f"  Still creating sandbox in gateway... ({waited}s elapsed)", flush=True)
            time.sleep(0.1)
        sys.exit(1)


def _is_admitted(host: str) -> bool:
    """Tell whether the guard of newer releases lets a host pass: private ones by name, metadata and link-local ones never."""
    named = os.environ.get("NEMOCLAW_TRUSTED_PRIVATE_HOSTS", "").split(",")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return True
    return address.is_loopback or (not address.is_link_local and (not address.is_private or host in named))


def _validate(url: str, model: str, key: str, kind: str) -> None:
    if SANDBOX_INTERNAL in url and kind == "openai":
        print(recorded_step(UNWELL, 3).splitlines()[1])
        print(f"  Using Other OpenAI-compatible endpoint with model: {model}")
        return
    path, headers = "/chat/completions", {"Authorization": f"Bearer {key}"}
    if kind == "anthropic":
        path, headers = "/v1/messages", {"x-api-key": key, "anthropic-version": "2023-06-01"}
    asked = {"model": model, "max_tokens": 16, "messages": [{"role": "user", "content": "Reply with exactly: OK"}]}
    headers = {"Content-Type": "application/json", **headers}
    if why := refused(url.rstrip("/") + path, 2, json.dumps(asked).encode(), headers):
        stop("Other endpoint validation failed.", why)


def _register(release: Release, endpoint: str, certificates: str) -> None:
    """Register the gateway, in the place of an older registration, with what it gives its clients to show."""
    if bool(certificates) != release.wants_certificates:
        stop(f"nemoclaw double: the gateway of {release.version} does not ask for certificates, or does")
    openshell("gateway", "remove", "nemoclaw")
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path(os.environ["HOME"], ".config"))
    if certificates:
        own = home / "openshell" / "gateways" / "nemoclaw" / "mtls"
        shutil.rmtree(own, ignore_errors=True)
        shutil.copytree(certificates, own)
    must(openshell("gateway", "add", endpoint, "--local", "--name", "nemoclaw"))
    must(openshell("gateway", "select", "nemoclaw"))


def _set_provider(name: str, kind: str, key_name: str, key: str, config: str) -> None:
    if openshell("provider", "get", name).returncode:
        words = ["provider", "create", "--name", name, "--type", kind]
    else:
        words = ["provider", "update", name]
    must(openshell(*words, "--credential", key_name, "--config", config, environment={key_name: key}))


def _make_sandbox(name: str, image: str) -> None:
    limit = int(os.environ.get("NEMOCLAW_SANDBOX_READY_TIMEOUT", "180"))
    # Without --detach it waits for the sandbox itself and for a session in it, so it goes on by itself as the real one's does.
    environment = {**os.environ, "OPENSHELL_PROVISION_TIMEOUT": str(limit)}
    making = subprocess.Popen(
        [
            program(),
            "sandbox",
            "create",
            "--name",
            name,
            "--from",
            image,
            "--no-auto-providers",
            "--no-tty",
            "--",
            "true",
        ],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            listed = json.loads(must(openshell("sandbox", "list", "-o", "json")))
            if any(one["name"] == name and one["phase"] == "Ready" for one in listed):
                return
            time.sleep(0.1)
    finally:
        making.kill()
        making.wait()
    openshell("sandbox", "delete", name)
    stop(f"Sandbox '{name}' was created but did not become ready within {limit}s.")


def inference_set(words: list[str], behaviour: str, folder: Path, release: Release) -> None:
    if not {"--provider", "--model"} <= set(words):
        _end(recorded_command("compatible-endpoint --sandbox my-assistant"))
    help_text = recorded_command("--model x --nosuch").partition("\n\n")[2] + (
        ENDPOINT_HELP if release.takes_endpoints else ""
    )
    if "--help" in words:
        print(help_text)
        sys.exit(0)
    asked = _set_words(words, release)
    if not re.fullmatch(r"[A-Za-z0-9._:/-]+", asked["--model"]):
        _refuse("Invalid model id. Model values may only contain letters, numbers, '.', '_', ':', '/', and '-'.")
    provider, model = asked["--provider"], asked["--model"]
    if provider not in PROVIDER_NAMES:
        _refuse(f"Unsupported provider '{provider}'. Supported providers: {', '.join(PROVIDER_NAMES)}.")
    state = State()
    content = state.read()
    name = asked.get("--sandbox") or content["defaultSandbox"]
    if name not in content["sandboxes"]:
        _refuse(f"Sandbox '{name}' is not registered.")
    entry = content["sandboxes"][name]
    if entry.get("pendingRouteReservation"):
        _refuse(f"Sandbox '{name}' is still being created by onboarding.")
    if release.takes_endpoints:
        _check_endpoint(name, entry, asked)
    if release.checks_local and provider in ("ollama-local", "vllm-local"):
        _check_local(provider, folder)
    print(f"  Setting OpenShell inference route: {provider} / {model}", flush=True)
    route = ["inference", "set", "-g", "nemoclaw", "--provider", provider, "--model", model]
    done = openshell(*route, *(["--no-verify"] if "--no-verify" in asked else []))
    if done.returncode:
        print(
            f"{done.stderr}{done.stdout}\nOpenShell inference route update failed with exit {done.returncode}.",
            file=sys.stderr,
        )
        sys.exit(done.returncode)
    entry |= {"provider": provider, "model": model}
    if "--inference-api" in asked:
        entry |= {"endpointUrl": asked["--endpoint-url"], "preferredInferenceApi": asked["--inference-api"]}
    state.write(content)
    print(f"  Syncing OpenClaw model identity in sandbox '{name}'...", flush=True)
    if behaviour == "unwritten":
        said = recorded_command("compatible-endpoint --model other --sandbox my-assistant")
        print(said[said.index("  Warning:") :].replace("/ other,", f"/ {model},").replace("my-assistant", name))
        return
    if behaviour == "set":
        Double(folder).behave("well")
        stop(f"Failed to write the config of sandbox '{name}'.")
    print(f"  Inference route synced for '{name}': inference/{model}")


def _end(said: str, code: int = 1) -> NoReturn:
    """End with what was recorded."""
    print(said.rstrip("\n"), file=sys.stderr)
    sys.exit(code)


def _refuse(text: str) -> NoReturn:
    print(text, file=sys.stderr)
    sys.exit(2)


def _set_words(words: list[str], release: Release) -> dict[str, str]:
    takes = {"--provider", "--model", "--sandbox"}
    takes |= {"--endpoint-url", "--credential-env", "--inference-api"} if release.takes_endpoints else set()
    found: dict[str, str] = {}
    rest = list(words)
    while rest:
        flag = rest.pop(0)
        if flag == "--no-verify":
            found[flag] = ""
        elif flag in takes and rest:
            found[flag] = rest.pop(0)
        else:
            _end(recorded_command("--model x --nosuch").replace("--nosuch", flag), code=2)
    return found


def _check_endpoint(name: str, entry: dict[str, Any], asked: dict[str, str]) -> None:
    provider = asked["--provider"]
    explicit = "--endpoint-url" in asked
    if explicit and provider not in ENDPOINT_KEYS:
        _refuse(
            "endpoint-url, credential-env, and inference-api are only supported for compatible-endpoint and compatible-anthropic-endpoint."
        )
    if explicit and asked.get("--credential-env") != ENDPOINT_KEYS[provider]:
        _refuse(f"credential-env for '{provider}' must be '{ENDPOINT_KEYS[provider]}' so rebuild can safely reuse it.")
    if explicit and not os.environ.get(ENDPOINT_KEYS[provider]):
        stop(f"nemoclaw double: {ENDPOINT_KEYS[provider]} is empty")
    if explicit and "--inference-api" not in asked:
        _refuse(f"inference-api is required for '{provider}' so the shared gateway route can be identified safely.")
    if not explicit and provider in ENDPOINT_KEYS and entry.get("provider") != provider:
        _refuse(f"Cannot switch sandbox '{name}' to '{provider}' without trusted durable endpoint metadata.")


def _check_local(provider: str, folder: Path) -> None:
    """Ask the server itself, without a key. For Ollama, which no container reaches in a test, it starts its own proxy."""
    ollama = provider == "ollama-local"
    port = os.environ.get("NEMOCLAW_OLLAMA_PORT", "11434") if ollama else os.environ.get("NEMOCLAW_VLLM_PORT", "8000")
    url = f"http://127.0.0.1:{port}/{'api/tags' if ollama else 'v1/models'}"
    if refused(url, 5) and not ollama:
        stop(f"Cannot reach local provider '{provider}': Local vLLM was selected, but nothing is responding on {url}.")
    if ollama:
        (folder / "proxy").write_text("", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description="A double of the program nemoclaw.")
    parser.add_argument("--install", type=Path, metavar="FOLDER")
    parser.add_argument("--release", default="0.0.58", choices=RELEASES)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("words", nargs="*")
    asked = parser.parse_args()
    if asked.install:
        install(asked.install, asked.release)
        return 0
    # Both streams go to one pipe, and what it said comes before how it ended.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    words, folder = asked.words, asked.folder
    settings = {
        name: value for name, value in os.environ.items() if name.startswith("NEMOCLAW_") or name.endswith("_API_KEY")
    }
    with (folder / "calls").open("a", encoding="utf-8") as log:
        log.write(json.dumps({"words": words, "settings": settings}) + "\n")
    behaviour = (folder / "behaviour").read_text(encoding="utf-8").strip()
    release = RELEASES[(folder / "release").read_text(encoding="utf-8").strip()]
    if words in (["--version"], ["-v"]):
        print(f"nemoclaw v{release.version}")
        return 0
    check_settings()
    if words[:1] == ["onboard"]:
        onboard(words[1:], behaviour, folder, release)
    elif words[:2] == ["inference", "set"]:
        inference_set(words[2:], behaviour, folder, release)
    elif words == ["list", "--json"]:
        content = State().read()
        sandboxes = list(content["sandboxes"].values())
        print(json.dumps({"schemaVersion": 1, "defaultSandbox": content["defaultSandbox"], "sandboxes": sandboxes}))
    else:
        known = ", ".join(State().read()["sandboxes"])
        stop(
            f"Sandbox '{words[0]}' does not exist.",
            "",
            f"Registered sandboxes: {known}",
            "Run 'nemoclaw list' to see all sandboxes.",
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
