# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
A double of the program C(nemoclaw), since the real one cannot run in a test: its installer lies where no registry leads, it builds a
sandbox image of gigabytes from an image that no registry in reach has, and it starts a gateway that nobody can get.

    python nemoclaw_double.py --install FOLDER      makes FOLDER/bin/nemoclaw

Commands, flags, variables, the order of the eight steps, what is printed and what is recorded follow NemoClaw of June 2026
(upstream-facts N34 to N39; src/lib/onboard/legacy-command.ts, src/lib/onboard.ts, src/lib/actions/inference-set.ts,
docs/reference/commands.mdx). All that it does to OpenShell it does by the real command line on PATH. It refuses every command, flag
and setting that it does not know, and ends with 1 or 2 as NemoClaw does.

FOLDER/behaviour makes it fail: preflight, provider, not-ready, hang, silent (ends well and has made nothing), set (once, when all but
the sandbox's own settings is done). FOLDER/calls has a
line of JSON for each run, with its arguments and the variables that mean something to NemoClaw, keys included.
"""

from __future__ import annotations

import argparse
import json
import os
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

VERSION = "0.0.58"
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
        *(
            "NON_INTERACTIVE",
            "ACCEPT_THIRD_PARTY_SOFTWARE",
            "PROVIDER",
            "MODEL",
            "ENDPOINT_URL",
            "PREFERRED_API",
            "SANDBOX_NAME",
            "YES",
            "PROVIDER_KEY",
        ),
        *(
            "LOCAL_INFERENCE_TIMEOUT",
            "SANDBOX_READY_TIMEOUT",
            "CONTEXT_WINDOW",
            "EXPERIMENTAL",
            "RECREATE_SANDBOX",
            "FROM_DOCKERFILE",
            "OPENSHELL_BIN",
        ),
        *(
            "OLLAMA_PORT",
            "OLLAMA_PROXY_PORT",
            "VLLM_PORT",
            "GATEWAY_PORT",
            "GATEWAY_BIND_ADDRESS",
            "DASHBOARD_PORT",
            "DASHBOARD_BIND",
            "DOCKER_GPU_PATCH",
        ),
        *(
            "POLICY_TIER",
            "POLICY_MODE",
            "POLICY_PRESETS",
            "AGENT_TIMEOUT",
            "MAX_TOKENS",
            "REASONING",
            "INFERENCE_INPUTS",
            "AGENT_HEARTBEAT_EVERY",
        ),
        *("PROXY_HOST", "PROXY_PORT", "COMPATIBLE_AUTH_MODE", "CORPORATE_CA_BUNDLE", "GATEWAY_RECOVERY_WAIT_SECONDS"),
        *("REASONING_EFFORT", "SANDBOX_BASE_IMAGE_REF", "SANDBOX_GPU", "TOOL_DISCLOSURE", "TRUSTED_PRIVATE_HOSTS"),
        *("TRUSTED_PRIVATE_INFERENCE_HOSTS", "WEB_SEARCH_PROVIDER"),
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
SET_PROVIDERS = ("compatible-endpoint", "compatible-anthropic-endpoint", "ollama-local", "vllm-local")
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

    def calls(self) -> list[dict[str, Any]]:
        """Return what it was asked since it was installed: C(words) and C(settings)."""
        path = self.folder / "calls"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def install(folder: Path) -> Double:
    """Make the program, which knows its folder."""
    made = Double(folder.resolve())
    made.program.parent.mkdir(parents=True)
    made.behave("well")
    script = f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" --folder "{made.folder}" -- "$@"\n'
    made.program.write_text(script, encoding="utf-8")
    made.program.chmod(made.program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return made


def stop(*lines: str, code: int = 1) -> NoReturn:
    for line in lines:
        print(f"  {line}", file=sys.stderr)
    sys.exit(code)


def step(number: int, name: str) -> None:
    print(f"\n  [{number}/8] {name}\n  {'-' * 50}", flush=True)


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


def onboard(words: list[str], behaviour: str) -> None:
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
        stop(f"Unknown onboard option(s): {', '.join(unknown)}", "Usage: nemoclaw onboard [--non-interactive] ...")
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
        _onboard(name, PROVIDERS[chosen], behaviour, state)
    finally:
        state.lock.unlink()


def _onboard(name: str, provider: tuple[str, str, str, str], behaviour: str, state: State) -> None:
    if behaviour == "silent":
        return
    print("\n  NemoClaw Onboarding\n  (non-interactive mode)\n  ===================")
    step(1, "Preflight checks")
    if behaviour == "preflight":
        stop("Docker is not reachable. Please fix Docker and try again.")
    step(2, "Starting OpenShell gateway")
    must(openshell("status"))
    step(3, "Configuring inference (NIM)")
    model, url = os.environ.get("NEMOCLAW_MODEL", ""), os.environ.get("NEMOCLAW_ENDPOINT_URL", "")
    openshell_name, kind, key_name, url_name = provider
    key = os.environ.get(key_name) or os.environ.get("NEMOCLAW_PROVIDER_KEY", "")
    if not model or not url:
        stop("Endpoint URL and model are required in non-interactive mode.")
    if not key:
        stop(f"{key_name} (or NEMOCLAW_PROVIDER_KEY) is required for the endpoint in non-interactive mode.")
    if behaviour == "provider":
        stop(
            "Other OpenAI-compatible endpoint endpoint validation failed.", f"HTTP 401: the key {key} is not known here"
        )
    _validate(url, model, key, kind)
    step(4, "Setting up inference provider")
    _set_provider(openshell_name, kind, key_name, key, f"{url_name}={url}")
    # The real one leaves --no-verify away for Anthropic's API; the stand-in gateway can reach nothing.
    route = ["inference", "set", "--no-verify", "--provider", openshell_name, "--model", model]
    if openshell_name == "compatible-endpoint":
        route += ["--timeout", os.environ.get("NEMOCLAW_LOCAL_INFERENCE_TIMEOUT", "180")]
    must(openshell(*route))
    print(f"  Inference route set: {openshell_name} / {model}")
    if behaviour == "hang":
        time.sleep(HANGS_S)
    step(5, "Messaging channels")
    step(6, "Creating sandbox")
    _make_sandbox(name, "lab/stuck:1" if behaviour == "not-ready" else "lab/ready:1")
    content = state.read()
    content["sandboxes"][name] = {"name": name, "model": model, "provider": openshell_name, "agent": None}
    content["defaultSandbox"] = content["defaultSandbox"] or name
    state.write(content)
    step(7, "Setting up OpenClaw inside sandbox")
    step(8, "Policy presets")
    print(f"  Sandbox      {name}\n  Model        {model}")


def _validate(url: str, model: str, key: str, kind: str) -> None:
    if SANDBOX_INTERNAL in url and kind == "openai":
        print("  host.openshell.internal only resolves inside the sandbox - validation skipped.")
        return
    path, headers = "/chat/completions", {"Authorization": f"Bearer {key}"}
    if kind == "anthropic":
        path, headers = "/v1/messages", {"x-api-key": key, "anthropic-version": "2023-06-01"}
    asked = {"model": model, "max_tokens": 16, "messages": [{"role": "user", "content": "Reply with exactly: OK"}]}
    request = urllib.request.Request(
        url.rstrip("/") + path, json.dumps(asked).encode(), {"Content-Type": "application/json", **headers}
    )
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=15).close()
    except (urllib.error.URLError, OSError) as error:
        stop("Other endpoint validation failed.", str(error))


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


def inference_set(words: list[str], behaviour: str, folder: Path) -> None:
    parser = argparse.ArgumentParser(prog="nemoclaw inference set", allow_abbrev=False)
    for flag in ("--provider", "--model"):
        parser.add_argument(flag, required=True)
    parser.add_argument("--sandbox")
    parser.add_argument("--no-verify", action="store_true")
    asked = parser.parse_args(words)
    if asked.provider not in SET_PROVIDERS:
        stop(f"Unsupported provider '{asked.provider}'.", code=2)
    state = State()
    content = state.read()
    name = asked.sandbox or content["defaultSandbox"]
    if name not in content["sandboxes"]:
        stop(f"Sandbox '{name}' is not registered.", code=2)
    print(f"  Setting OpenShell inference route: {asked.provider} / {asked.model}", flush=True)
    route = ["inference", "set", "-g", "nemoclaw", "--provider", asked.provider, "--model", asked.model]
    must(openshell(*route, *(["--no-verify"] if asked.no_verify else [])))
    content["sandboxes"][name] |= {"provider": asked.provider, "model": asked.model}
    state.write(content)
    if behaviour == "set":
        Double(folder).behave("well")
        stop(f"Failed to write the config of sandbox '{name}'.")
    print(f"  Inference route synced for '{name}': inference/{asked.model}")


def main() -> int:
    parser = argparse.ArgumentParser(description="A double of the program nemoclaw.")
    parser.add_argument("--install", type=Path, metavar="FOLDER")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("words", nargs="*")
    asked = parser.parse_args()
    if asked.install:
        install(asked.install)
        return 0
    words, folder = asked.words, asked.folder
    settings = {
        name: value for name, value in os.environ.items() if name.startswith("NEMOCLAW_") or name.endswith("_API_KEY")
    }
    with (folder / "calls").open("a", encoding="utf-8") as log:
        log.write(json.dumps({"words": words, "settings": settings}) + "\n")
    behaviour = (folder / "behaviour").read_text(encoding="utf-8").strip()
    if words in (["--version"], ["-v"]):
        print(f"nemoclaw v{VERSION}")
        return 0
    check_settings()
    if words[:1] == ["onboard"]:
        onboard(words[1:], behaviour)
    elif words[:2] == ["inference", "set"]:
        inference_set(words[2:], behaviour, folder)
    elif words == ["list", "--json"]:
        content = State().read()
        sandboxes = list(content["sandboxes"].values())
        print(json.dumps({"schemaVersion": 1, "defaultSandbox": content["defaultSandbox"], "sandboxes": sandboxes}))
    else:
        stop(f"Unknown command: {' '.join(words)}", code=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
