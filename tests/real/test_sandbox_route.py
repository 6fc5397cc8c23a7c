# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transaction of sandbox_route on OpenShell's gateway: the real CLI, real model servers, and the stand-ins between them."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import openshell_parts
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import gateway_route, lifecycle
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.route import Desired
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.sandbox_route import backends
from conftest import KEY, Certificates, Llama, in_every_release
from route_host import PROVIDER, Host, Wanted, register, wrapped

OTHER_KEY = f"canary-{secrets.token_hex(16)}"
SANDBOX = "my-assistant"
RELEASE = "0.0.83"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_route, "SETTLE_S", 0.3)
    monkeypatch.setattr(lifecycle, "_POLL_S", 0.1)


@pytest.fixture(scope="module")
def server(openshell_home: Path) -> Iterator[openshell_parts.Gateway]:
    with openshell_parts.serving(RELEASE, openshell_home) as gateway:
        yield gateway


@pytest.fixture
def host(tmp_path: Path, server: openshell_parts.Gateway) -> Host:
    return Host(tmp_path, server)


@pytest.fixture
def first(llama: Llama) -> Wanted:
    return Wanted(llama("good", api_key=KEY).base_url, KEY)


@pytest.fixture
def second(llama: Llama) -> Wanted:
    """Return a server with another model and another key."""
    return Wanted(llama("good", api_key=OTHER_KEY, alias="second").base_url, OTHER_KEY, "second")


@pytest.fixture
def led(host: Host, first: Wanted) -> Host:
    """Return a host whose sandbox has a route."""
    host.give(first, sandbox=SANDBOX)
    return host


def refused(host: Host, wanted: Wanted, backend: str = "openshell", **options: object) -> Failure:
    """Return the failure of a run that has to leave everything as it was, the key that nobody could give back first."""
    before = host.state()
    with pytest.raises(Failure) as caught:
        host.give(wanted, backend, **options)
    assert host.state() == before
    said = json.dumps(caught.value.as_result())
    assert KEY not in said
    assert OTHER_KEY not in said
    return caught.value


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Keep everybody from writing there, root too, as on a file system that was mounted read-only after an error."""
    change = ("chattr", "+i", "-i") if os.geteuid() == 0 else ("chmod", "0500", "0700")
    subprocess.run([change[0], change[1], folder], check=True)
    try:
        yield
    finally:
        subprocess.run([change[0], change[2], folder], check=True)


@in_every_release
def test_from_nothing_to_another_model_and_back(
    gateway: openshell_parts.Gateway, tmp_path: Path, first: Wanted, second: Wanted
) -> None:
    """In each release."""
    host = Host(tmp_path, gateway)
    planned = host.check(first, sandbox=SANDBOX)
    known = gateway.known()
    assert (known["providers"], known["sandboxes"], host.route()) == ({}, {}, None)
    assert not host.record.exists()

    done = host.give(first, sandbox=SANDBOX)
    assert (
        planned["actions"]
        == done["actions"]
        == [
            f"create the sandbox {SANDBOX}",
            f"create the provider {PROVIDER}",
            f"route the gateway to scripted by {PROVIDER} with 90 s",
        ]
    )
    assert (done["changed"], done["previous"], done["proved"]) == (True, None, True)
    assert done["proof"] == {"sandbox": SANDBOX, "tool_calling": "structured", "reason": None}
    assert host.answer() == (first.route["base_url_sandbox"], KEY, "scripted")
    assert backends.summary(first.route, done).endswith(
        f"for {SANDBOX}. Proved from inside {SANDBOX}: an answer, and a tool call that is structured."
    )
    found = host.recorded()
    assert (found["gateway"], found["sandbox"]) == ("nemoclaw", SANDBOX)
    assert host.record.stat().st_mode & 0o777 == 0o600
    fingerprints = (host.record.parent / "openshell-providers.json").read_text(encoding="utf-8")
    assert KEY not in fingerprints + json.dumps(done) + host.record.read_text(encoding="utf-8")

    before = host.state()
    again = host.give(first, sandbox=SANDBOX)
    assert (again["changed"], again["actions"], again["proved"]) == (False, [], True)
    assert host.state() == before

    # The record names the sandbox: it is no other one that follows the route.
    switched = host.give(second)
    assert switched["previous"] == {"provider": PROVIDER, "model": "scripted", "timeout": 90}
    assert list(gateway.known()["providers"]) == [PROVIDER], "what stood beside it is gone"
    assert host.answer() == (second.route["base_url_sandbox"], OTHER_KEY, "second")
    assert (host.recorded()["model"], host.recorded()["sandbox"], host.notes()) == ("second", SANDBOX, [])

    desired = Desired(host.recorded(), "dummy", host.recorded(), "nemoclaw")
    assert backends.remove("openshell", host.machine, host.account, desired, True)["changed"]
    assert list(gateway.known()["providers"]) == [PROVIDER]
    assert backends.remove("openshell", host.machine, host.account, desired, False)["changed"]
    assert gateway.known()["providers"] == {}
    assert not backends.remove("openshell", host.machine, host.account, desired, False)["changed"]


# Each fails once. A command that ends badly may have done its work.
_FAILS = {
    "refused": 'case "$1 $2" in "-g nemoclaw") set -- "$3" "$4";; esac\n'
    'case "$1 $2" in "inference set") echo "Error: x disk full" >&2; exit 1;; esac',
    "unread": """
case "$1 $2 $(ls "$HERE")" in
  "inference set "*failed*) ;;
  "inference set "*) "$REAL" "$@"; code=$?; touch "$HERE/set"; exit $code ;;
  "inference get "*failed*) ;;
  "inference get "*set*) touch "$HERE/failed"; echo "Error: x disk full" >&2; exit 1 ;;
esac
""",
}


@pytest.mark.parametrize(
    ("how", "words"), [("refused", "The previous route stays"), ("unread", f"routes to scripted by {PROVIDER} again")]
)
def test_a_gateway_that_fails_in_the_middle(led: Host, second: Wanted, tmp_path: Path, how: str, words: str) -> None:
    """The real CLI, but for one command, which no real gateway can be made to fail at after it took the provider."""
    led.environ["PATH"] = wrapped(tmp_path, led.server, _FAILS[how]) + led.environ["PATH"]
    calls = led.server.known()["calls"].count("CreateProvider")
    failure = refused(led, second)
    assert "disk full" in failure.message
    assert words in failure.message
    assert "Nothing was recorded." in failure.message
    known = led.server.known()
    assert known["calls"].count("CreateProvider") == calls + 1, "it came as far as the provider beside the one in use"
    assert "UpdateProvider" not in known["calls"]


def test_what_a_sandbox_cannot_reach(led: Host, first: Wanted, second: Wanted) -> None:
    """The server is good, as the host sees it. Its address for the sandbox is wrong, and only the end proof can tell."""
    failure = refused(led, second, sandbox=SANDBOX, route={"base_url_sandbox": "http://host.openshell.internal:9/v1"})
    assert failure.code == "sandbox_upstream_down"
    assert f"The gateway routes to scripted by {PROVIDER} again" in failure.message
    assert led.give(first, sandbox=SANDBOX)["proved"], "the previous key still opens the previous server"


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("down", "openshell_gateway_down"),
        ("unregistered", "openshell_gateway_unset"),
        ("0.0.43", "openshell_too_old"),
        ("0.1.0", "openshell_too_new"),
        ("0.0.84", "openshell_release_mismatch"),
    ],
)
@pytest.mark.parametrize("backend", ["auto", "openshell"])
def test_an_openshell_that_cannot_be_used(
    led: Host, second: Wanted, tmp_path: Path, what: str, code: str, backend: str
) -> None:
    """Also for auto. Sandboxes may run, and would go on to a server that makes way for the new one."""
    if what == "down":
        led.environ["OPENSHELL_GATEWAY_ENDPOINT"] = "http://127.0.0.1:9"
    elif what == "unregistered":
        led.environ["XDG_CONFIG_HOME"] = str(tmp_path / "none")
    else:
        script = f'[ "$1" = --version ] && {{ echo "openshell {what}"; exit 0; }}'
        # Which path a release has it says in its help.
        script += '; [ "$1" = --help ] && exit 0' if what == "0.1.0" else ""
        led.environ["PATH"] = wrapped(tmp_path, led.server, script) + led.environ["PATH"]
    failure = refused(led, second, backend)
    assert failure.code == code
    if what == "down":
        assert "sandbox_backend: none" in failure.message
        assert led.give(second, "none")["route"]["gateway"] is None


def test_a_gateway_that_is_not_trusted(led: Host, second: Wanted, certificates: Certificates, tmp_path: Path) -> None:
    known = tmp_path / "client"
    shutil.copytree(certificates.client, known)
    shutil.copy(certificates.stranger / "tls.crt", known / "ca.crt")
    with openshell_parts.serving(RELEASE, tls=certificates.server) as secured:
        led.environ["XDG_CONFIG_HOME"] = register(tmp_path / "secured", secured, known)
        assert refused(led, second).code == "openshell_gateway_tls"


def test_an_openshell_that_was_never_used(host: Host, first: Wanted, tmp_path: Path) -> None:
    """As an installer leaves it: no gateway is registered, so nobody is led anywhere."""
    host.environ["XDG_CONFIG_HOME"] = str(tmp_path / "none")
    for backend, options in (("openshell", {}), ("auto", {"gateway": "misspelt"})):
        with pytest.raises(Failure) as caught:
            host.give(first, backend, **options)
        assert caught.value.code == "openshell_gateway_unset"
    assert not host.record.exists()
    desired = Desired(first.route, KEY)
    name, backend_found, why = backends.choose("auto", host.machine, host.account, desired)
    assert (name, backend_found) == ("none", None)
    assert "No sandbox was created, since this host has no OpenShell gateway" in why
    host.give(first, "auto")
    assert (host.recorded()["gateway"], host.recorded()["sandbox"]) == (None, None)


def test_a_provider_of_another_type(led: Host, llama: Llama) -> None:
    wanted = Wanted(llama("good", api_key=KEY).root_url, KEY, provider="anthropicCompatible")
    name = "compatible-anthropic-endpoint"
    led.cli("provider", "create", "--name", name, "--type", "openai", "--credential", "OPENAI_API_KEY=of-another")
    failure = refused(led, wanted, sandbox=SANDBOX)
    assert failure.code == "provider_type_differs"
    assert "sandbox_replace_provider: true" in failure.message
    assert led.check(wanted, sandbox=SANDBOX, may_replace=True)["changed"]
    led.give(wanted, sandbox=SANDBOX, may_replace=True)
    assert led.provider(name)["type"] == "anthropic"
    assert led.provider(name)["config"] == {"ANTHROPIC_BASE_URL": wanted.route["base_url_sandbox"]}
    assert led.route() == [name, "scripted", 90]
    assert len(led.server.known()["providers"]) == 2, "a switch back finds its own"
    desired = Desired(led.recorded(), "dummy", led.recorded(), "nemoclaw")
    backends.remove("openshell", led.machine, led.account, desired, False)
    assert led.server.known()["providers"] == {}, "that of the previous route had a key of ours as well"


@pytest.mark.parametrize(("image", "code"), [("lab/stuck:1", "sandbox_timeout"), ("lab/broken:1", "sandbox_error")])
def test_a_sandbox_that_does_not_come_up(led: Host, second: Wanted, image: str, code: str) -> None:
    options = {"sandbox": "stays", "image": image, "ready_timeout": 2, "may_share": True}
    failure = refused(led, second, **options)
    assert failure.code == code
    assert "The previous route stays in force." in failure.message


def test_a_route_whose_provider_is_gone(led: Host, first: Wanted) -> None:
    """A sandbox that starts while it is gone would never get inference: the provider comes first then."""
    led.cli("sandbox", "delete", SANDBOX)
    led.cli("provider", "delete", PROVIDER)
    assert led.give(first, sandbox=SANDBOX)["proved"]


def test_a_sandbox_without_curl(led: Host, first: Wanted) -> None:
    """It is an error in the sandbox that was asked for, and a warning in another one."""
    led.cli("sandbox", "delete", SANDBOX)
    led.add_sandbox("neighbour", "lab/bare:1")
    assert refused(led, first, sandbox="neighbour").code == "sandbox_command_missing"
    done = led.give(first)
    assert not done["proved"]
    assert "has no curl that runs" in done["warnings"][0]
    assert backends.summary(first.route, done).endswith("Not proved from inside a sandbox.")
    assert not led.give(first, sandbox="neighbour", proof=False)["proved"]


def test_a_record_that_cannot_be_written(led: Host, second: Wanted) -> None:
    with read_only(led.record.parent):
        failure = refused(led, second, sandbox=SANDBOX)
    assert failure.code == "route_record_unwritable"
    assert "The previous route stays in force." in failure.message
    assert "UpdateProvider" not in led.server.known()["calls"]


def test_a_record_that_fails_last(led: Host, second: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the disk is full by then: the sandboxes were led to what was proved, and are led back."""

    def full(*_arguments: object, **_options: object) -> None:
        raise Failure("route_record_unwritable", "The disk is full.")

    monkeypatch.setattr(
        "ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.write.write_record", full
    )
    failure = refused(led, second, sandbox=SANDBOX)
    assert (
        failure.message
        == f"The disk is full. Nothing was recorded. The gateway routes to scripted by {PROVIDER} again."
    )


def test_a_first_record_that_fails(host: Host, first: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenShell 0.0.83 cannot remove a route, and the error says so."""

    def full(*_arguments: object, **_options: object) -> None:
        raise Failure("route_record_unwritable", "The disk is full.")

    monkeypatch.setattr(
        "ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.write.write_record", full
    )
    with pytest.raises(Failure, match="The gateway could not be routed back to nothing"):
        host.give(first)
    assert not host.record.exists()
    desired = Desired({}, "dummy")
    assert backends.remove("auto", host.machine, host.account, desired, True)["actions"] == [
        f"delete the provider {PROVIDER}"
    ]
    backends.remove("auto", host.machine, host.account, desired, False)
    assert host.server.known()["providers"] == {}, "an uninstall finds it without a record"


def test_other_sandboxes_are_not_led_away(led: Host, second: Wanted, llama: Llama) -> None:
    led.add_sandbox("neighbour")
    failure = refused(led, second)
    assert failure.code == "route_shared"
    assert "neighbour" in failure.message
    # The same model elsewhere: the gateway's route stays as it is, and the provider under it would not.
    third = Wanted(llama("good", api_key=KEY, n_ctx=16384).base_url, KEY)
    assert "use it as well: neighbour" in refused(led, third).message
    # Nobody has recorded where the provider leads, as where NemoClaw made it.
    led.record.rename(led.record.with_name("kept.json"))
    with pytest.raises(Failure, match="where this collection did not point it"):
        led.give(third)
    led.record.with_name("kept.json").rename(led.record)
    assert led.give(third, may_share=True)["sandboxes"] == ["neighbour"]


def test_a_blocked_path_stops_before_anything_is_saved(led: Host, first: Wanted) -> None:
    if os.geteuid() or not shutil.which("docker") or not shutil.which("busybox"):
        pytest.skip("a network of one's own needs root, Docker and busybox (Debian package busybox-static)")
    network = f"nemoclaw-test-{secrets.token_hex(4)}"
    subprocess.run(["docker", "network", "create", network], check=True, capture_output=True, timeout=60)
    try:
        # The model server listens on 127.0.0.1 alone, which is nothing that a sandbox reaches.
        failure = refused(led, replace(first, timeout=120), network=network)
        assert led.check(replace(first, timeout=120), network=network)["changed"], (
            "in check mode nothing may listen yet"
        )
    finally:
        subprocess.run(["docker", "network", "rm", network], check=True, capture_output=True, timeout=60)
    assert failure.code == "sandbox_path_blocked"
    assert "does so on 127.0.0.1 alone" in failure.message
    assert "Nothing was saved, and the previous route stays in force." in failure.message


def test_a_token_is_rotated(host: Host, llama: Llama) -> None:
    token, rotated = secrets.token_hex(24), secrets.token_hex(24)
    # In the place of the auth proxy: it takes the token that comes after the first, and that alone.
    proxy = llama("good", api_key=rotated, alias="qwen2.5:7b").base_url
    wanted = Wanted("http://127.0.0.1:11434/v1", token, "qwen2.5:7b", "ollama")
    elsewhere = {"base_url_sandbox": proxy.replace("127.0.0.1", "host.openshell.internal")}
    host.give(wanted, route=elsewhere)
    recorded = host.recorded()
    assert backends.is_gated(recorded)
    host.add_sandbox("neighbour")

    def rotate(key: str, previous: str = "", *, check_mode: bool = False) -> dict[str, object]:
        desired = Desired(recorded, key, recorded, "nemoclaw", require_tools=False)
        return backends.rotate("auto", host.machine, host.account, desired, check_mode, previous)

    foreseen = rotate(rotated, check_mode=True)
    assert host.provider("ollama-local")["credentials"] == {"OPENAI_API_KEY": token}
    done = rotate(rotated)
    assert (done["proved"], done["actions"]) == (True, foreseen["actions"])
    with pytest.raises(Failure, match="The provider ollama-local has the previous one again"):
        rotate(token, rotated)
    assert host.provider("ollama-local")["credentials"] == {"OPENAI_API_KEY": rotated}
    assert not rotate(rotated)["changed"]
    with pytest.raises(Failure, match="The auth proxy still accepts the previous one") as caught:
        rotate(token)
    assert caught.value.code == "sandbox_key_refused"
    host.cli("inference", "delete")
    host.cli("provider", "delete", "ollama-local")
    assert not rotate(rotated)["changed"], "what the gateway does not have is not made"
    assert host.server.known()["providers"] == {}
