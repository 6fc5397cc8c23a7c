# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""C(nemoclaw inference set): what it is called with, and what is undone where it fails. Scripts stand for NemoClaw and for OpenShell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.inference import Desired, have
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.records import NemoClaw, routed
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.cli import OpenShell, Release

DESIRED = Desired("lab", "compatible-endpoint", "new")
# It records what it was told, leads the gateway there with a timeout of its own, and ends as its first words say.
NEMOCLAW = """#!/bin/sh
cd HERE
case "$*" in *--version) echo "nemoclaw v0.0.58"; exit ;; *--help) echo "  --no-verify"; exit ;; esac
echo "$4 $6" >> told
echo "{\\"sandboxes\\": {\\"lab\\": {\\"provider\\": \\"$4\\", \\"model\\": \\"$6\\"}}}" > .nemoclaw/sandboxes.json
printf 'Gateway inference:\\n\\n  Provider: %s\\n  Model: %s\\n  Version: 2\\n' "$4" "$6" > route
[ "$6" = new ] && { echo "no sandbox answers"; exit 1; }
exit FAILS
"""
OPENSHELL = """#!/bin/sh
cd HERE
case "$1 $2" in
  "inference get") cat route ;;
  "sandbox list") echo '[]' ;;
  "inference set") printf 'Gateway inference:\\n\\n  Provider: %s\\n  Model: %s\\n  Timeout: %ss\\n' "$4" "$6" "$8" > route ;;
  *) exit 99 ;;
esac
"""


def program(path: Path, body: str) -> str:
    path.write_text(body.replace("HERE", str(path.parent)), encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("fails", "said"), [(0, "NemoClaw was told of old by ollama-local again"), (1, "could not be told")]
)
def test_half_of_its_work_is_undone(tmp_path: Path, fails: int, said: str) -> None:
    (tmp_path / ".nemoclaw").mkdir()
    registry = tmp_path / ".nemoclaw" / "sandboxes.json"
    registry.write_text('{"sandboxes": {"lab": {"provider": "ollama-local", "model": "old"}}}', encoding="utf-8")
    (tmp_path / "route").write_text(
        "Gateway inference:\n\n  Provider: ollama-local\n  Model: old\n  Version: 1\n  Timeout: 240s\n",
        encoding="utf-8",
    )
    account = find_account()._replace(home=str(tmp_path))
    machine = Machine(environ={"PATH": "/usr/bin:/bin"})
    nemoclaw = NemoClaw(machine, account, program(tmp_path / "nemoclaw", NEMOCLAW.replace("FAILS", str(fails))))
    cli = OpenShell(machine, account, program(tmp_path / "openshell", OPENSHELL), Release((0, 0, 83)))
    with pytest.raises(Failure, match=said) as raised:
        have(nemoclaw, cli, DESIRED, check_mode=False)
    assert raised.value.code == "nemoclaw_set_failed"
    assert (tmp_path / "told").read_text(encoding="utf-8").split() == [
        "compatible-endpoint",
        "new",
        "ollama-local",
        "old",
    ]
    assert json.loads(registry.read_text(encoding="utf-8"))["sandboxes"]["lab"] == {
        "provider": "ollama-local",
        "model": "old",
    }
    assert "The gateway routes to old by ollama-local again" in raised.value.message
    assert "Timeout: 240s" in (tmp_path / "route").read_text(encoding="utf-8"), "NemoClaw's own command leaves 60 s"


# A NemoClaw that writes down what it is called with, and lets the gateway be.
ASKED = """#!/bin/sh
cd HERE
case "$*" in *--version) echo "nemoclaw vRELEASE"; exit ;; *--help) echo "FLAGS"; exit ;; esac
echo "$*" > asked
echo "$COMPATIBLE_API_KEY $NEMOCLAW_VLLM_PORT" > given
ENDS
"""
ENDPOINT_FLAGS = "--provider --endpoint-url --credential-env --inference-api"
URL = "http://host.openshell.internal:8001/v1"


def host(folder: Path, entry: dict[str, str], release: str = "0.0.70", ends: str = "", seen: str = "new") -> NemoClaw:
    """Return NemoClaw of a release with a sandbox, whose gateway has the route already."""
    (folder / ".nemoclaw").mkdir()
    (folder / ".nemoclaw" / "sandboxes.json").write_text(json.dumps({"sandboxes": {"lab": entry}}), encoding="utf-8")
    (folder / "route").write_text(
        f"Gateway inference:\n\n  Provider: {entry['provider']}\n  Model: {seen}\n  Version: 1\n  Timeout: 180s\n",
        encoding="utf-8",
    )
    flags = ENDPOINT_FLAGS if tuple(map(int, release.split("."))) >= (0, 0, 69) else "--provider"
    script = ASKED.replace("RELEASE", release).replace("FLAGS", flags).replace("ENDS", ends)
    program(folder / "openshell", OPENSHELL)
    account = find_account()._replace(home=str(folder))
    return NemoClaw(Machine(environ={"PATH": "/usr/bin:/bin"}), account, program(folder / "nemoclaw", script))


def tell(nemoclaw: NemoClaw, desired: Desired, check_mode: bool = False) -> dict[str, Any]:
    folder = Path(nemoclaw.account.home)
    cli = OpenShell(nemoclaw.machine, nemoclaw.account, str(folder / "openshell"), Release((0, 0, 83)))
    return have(nemoclaw, cli, desired, check_mode)


OLD = {"provider": "compatible-endpoint", "model": "old", "preferredInferenceApi": "openai-completions"}
ANTHROPIC = {"provider": "compatible-anthropic-endpoint", "model": "old"}
VLLM = {"provider": "vllm-local", "model": "old"}


@pytest.mark.parametrize(
    ("entry", "desired", "release", "words", "given"),
    [
        # The same provider needs no more than the model, whatever the release.
        (OLD, Desired("lab", "compatible-endpoint", "new", base_url=URL, credential="k"), "0.0.70", "", ""),
        (OLD, Desired("lab", "compatible-endpoint", "new"), "0.0.58", "", ""),
        # Another one: by its flags where it has them.
        (
            ANTHROPIC,
            Desired("lab", "compatible-endpoint", "new", base_url=URL, api="openai-completions", credential="k"),
            "0.0.70",
            f"--endpoint-url {URL} --credential-env COMPATIBLE_API_KEY --inference-api openai-completions",
            "k",
        ),
        (ANTHROPIC, Desired("lab", "compatible-endpoint", "new"), "0.0.58", "", ""),
        # Another API alone.
        (
            OLD,
            Desired("lab", "compatible-endpoint", "old", base_url=URL, api="openai-responses"),
            "0.0.70",
            f"--endpoint-url {URL} --credential-env COMPATIBLE_API_KEY --inference-api openai-responses",
            "dummy",
        ),
        # A release that asks a local server is told where it is.
        (VLLM, Desired("lab", "vllm-local", "new", base_url=URL), "0.0.66", "", "8001"),
        (VLLM, Desired("lab", "vllm-local", "new", base_url=URL), "0.0.65", "", ""),
    ],
)
def test_what_it_is_called_with(
    tmp_path: Path, entry: dict[str, str], desired: Desired, release: str, words: str, given: str
) -> None:
    nemoclaw = host(tmp_path, entry, release)
    assert tell(nemoclaw, desired, check_mode=True)["changed"]
    assert not (tmp_path / "asked").exists()
    tell(nemoclaw, desired)
    first = f"inference set --provider {desired.provider} --model {desired.model} --sandbox lab --no-verify"
    assert (tmp_path / "asked").read_text(encoding="utf-8").strip() == f"{first} {words}".strip()
    assert (tmp_path / "given").read_text(encoding="utf-8").strip() == given


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize(
    ("entry", "desired", "release", "code", "says"),
    [
        (
            OLD,
            Desired("lab", "compatible-endpoint", "old", api="openai-responses"),
            "0.0.58",
            "nemoclaw_too_old",
            "takes NemoClaw 0.0.69 or later, and .*nemoclaw is 0.0.58",
        ),
        (ANTHROPIC, Desired("lab", "compatible-endpoint", "m"), "0.0.70", "nemoclaw_route_incomplete", "base_url, api"),
        # Of what it had before: the placeholder for no key would take the place of one that nobody knows.
        (
            VLLM,
            Desired(
                "lab",
                "compatible-endpoint",
                "old",
                base_url="http://192.0.2.1/v1",
                api="openai-completions",
                restores=True,
            ),
            "0.0.70",
            "nemoclaw_key_unknown",
            "nobody here knows the one that it had",
        ),
        (
            OLD,
            Desired("lab", "ollama-local", "m"),
            "0.0.66",
            "nemoclaw_provider_refused",
            "NemoClaw 0.0.66 would start an auth",
        ),
    ],
)
def test_what_is_refused_before_it_is_run(
    tmp_path: Path, entry: dict[str, str], desired: Desired, release: str, code: str, says: str, check_mode: bool
) -> None:
    with pytest.raises(Failure, match=says) as raised:
        tell(host(tmp_path, entry, release), desired, check_mode)
    assert raised.value.code == code
    assert not (tmp_path / "asked").exists()


def test_a_proxy_of_nemoclaws_own_is_its_business(tmp_path: Path) -> None:
    nemoclaw = host(tmp_path, {"provider": "ollama-local", "model": "old"})
    (tmp_path / ".nemoclaw" / "ollama-auth-proxy.pid").write_text("1", encoding="ascii")
    assert tell(nemoclaw, Desired("lab", "ollama-local", "new"))["changed"]


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        (
            "echo '  Warning: gateway and registry now use x, but writing the in-sandbox config failed: y'",
            "nemoclaw_config_unwritten",
        ),
        ("echo \"Cannot reach local provider 'vllm-local': it does not answer.\"; exit 1", "nemoclaw_local_check"),
        ("echo \"Sandbox 'lab' is not registered.\"; exit 2", "nemoclaw_set_failed"),
        ("echo '  Unknown nemoclaw command: inference set'; exit 1", "nemoclaw_too_old"),
        ("echo ' > Error: Nonexistent flag: --sandbox'; exit 2", "nemoclaw_too_old"),
    ],
)
def test_how_it_fails(tmp_path: Path, ends: str, code: str) -> None:
    with pytest.raises(Failure, match="The gateway still routes to new by vllm-local") as raised:
        tell(host(tmp_path, VLLM, ends=ends), Desired("lab", "vllm-local", "new"))
    assert raised.value.code == code
    assert "told of" not in raised.value.message, "its record is what it was"
    if code == "nemoclaw_too_old":
        assert "is NemoClaw 0.0.70 and does not know what it was asked. 0.0.58 and later do" in raised.value.message


ROUTE = {
    "provider_name": "vllm-local",
    "provider_type": "openai",
    "credential_env": "OPENAI_API_KEY",
    "model": "new",
}


@pytest.mark.parametrize(
    ("entry", "release", "provider"),
    [
        (OLD, "0.0.58", "vllm-local"),
        (OLD, "0.0.66", "compatible-endpoint"),
        # A model of the same provider that it has already needs no command, and so no check.
        ({"provider": "vllm-local", "model": "new"}, "0.0.70", "vllm-local"),
        (VLLM, "0.0.70", "compatible-endpoint"),
    ],
)
def test_by_which_provider_a_release_routes(tmp_path: Path, entry: dict[str, str], release: str, provider: str) -> None:
    taken = routed(host(tmp_path, entry, release), "lab", ROUTE)
    assert taken["provider_name"] == provider
    assert (taken["credential_env"] == "COMPATIBLE_API_KEY") == (provider == "compatible-endpoint")
    assert routed(host_without(tmp_path), "lab", {**ROUTE, "provider_name": "compatible-endpoint"})["model"] == "new"


def host_without(folder: Path) -> NemoClaw:
    """Return one that cannot be asked anything: where it does not matter, the release is not asked for."""
    return NemoClaw(Machine(environ={}), find_account()._replace(home=str(folder)), "/no/nemoclaw")
