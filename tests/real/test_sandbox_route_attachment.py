# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transaction of sandbox_route on OpenShell 0.1: stand-ins for its gateway and its command line, and real model servers.

test_kills has a stand-in for the end proof too, which looks up what the sandbox has attached; the others ask the model.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openshell_attachment_cli
import openshell_parts
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host import machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import lifecycle, proof
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.cli import OpenShell, find_openshell
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.look import list_sandboxes
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.route import Desired
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.write import Journal
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.sandbox_route import backends
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status.look import Wanted as Status
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status.look import check_gateway
from conftest import KEY, Llama
from killed import break_off, break_off_uninstall, killed
from route_host import PROVIDER, Host, Wanted

OTHER_KEY = f"canary-{secrets.token_hex(16)}"
SANDBOX = "my-assistant"
NEXT = f"{PROVIDER}-next"

OLD = Wanted("http://127.0.0.1:8001/v1", "key-of-the-old", "old")
# The same model elsewhere with another key; the same server by another provider; and one that nobody answers for.
MOVED = Wanted("http://127.0.0.1:8003/v1", "key-of-the-moved", "old")
SWITCHED = Wanted("http://127.0.0.1:8004", "key-of-the-other", "old", provider="anthropicCompatible")
BROKEN = Wanted("http://127.0.0.1:9/v1", "key-of-nothing", "broken")


@pytest.fixture(scope="module")
def server(openshell_home: Path) -> Iterator[openshell_parts.Gateway]:
    with openshell_parts.serving(openshell_parts.ATTACHMENT, openshell_home) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_POLL_S", 0.1)


class Attached(Host):
    """A host with OpenShell 0.1."""

    def answer(self) -> tuple[str, str, str] | None:
        """Return the server that the agent of the sandbox reaches with its own variable, and its key; None where it reaches none."""
        known = self.server.known()
        for name in known["sandboxes"].get(SANDBOX, []):
            kind, keys, _version = known["providers"][name]
            if not name.endswith("-next"):
                return known["profiles"][kind][1][0].partition("/")[0], next(iter(keys.values())), next(iter(keys))
        return None

    def state(self) -> tuple[Any, ...]:
        known = self.server.known()
        profiles = {name: addresses for name, (_version, addresses) in known["profiles"].items()}
        providers = {name: found[:2] for name, found in known["providers"].items()}
        record = (self.record.read_bytes(), self.record.stat().st_mtime_ns) if self.record.exists() else None
        return profiles, providers, known["sandboxes"], record, self.notes()


@pytest.fixture
def host(tmp_path: Path, server: openshell_parts.Gateway) -> Attached:
    return Attached(tmp_path, server)


@pytest.fixture
def first(llama: Llama) -> Wanted:
    return Wanted(llama("good", api_key=KEY).base_url, KEY)


@pytest.fixture
def second(llama: Llama) -> Wanted:
    """Return a server with another model and another key."""
    return Wanted(llama("good", api_key=OTHER_KEY, alias="second").base_url, OTHER_KEY, "second")


def answer(wanted: Wanted) -> tuple[str, str, str]:
    address = wanted.route["base_url_sandbox"].split("//")[1].partition("/")[0]
    return address, wanted.key, wanted.route["credential_env"]


def refused(host: Attached, wanted: Wanted, **options: Any) -> Failure:
    """Return the failure of a run that has to leave everything as it was."""
    before = host.state()
    with pytest.raises(Failure) as caught:
        host.give(wanted, **options)
    assert host.state() == before
    said = json.dumps(caught.value.as_result())
    assert KEY not in said
    assert OTHER_KEY not in said
    return caught.value


def test_from_nothing_to_another_model_and_back(host: Attached, first: Wanted, second: Wanted) -> None:
    planned = host.check(first, sandbox=SANDBOX)
    known = host.server.known()
    assert (known["profiles"], known["providers"], known["sandboxes"]) == ({}, {}, {})
    assert not host.record.exists()

    done = host.give(first, "auto", sandbox=SANDBOX)
    assert (
        planned["actions"]
        == done["actions"]
        == [
            f"create the sandbox {SANDBOX}",
            f"import the profile {PROVIDER}",
            f"create the provider {PROVIDER}",
            f"attach the provider {PROVIDER} to {SANDBOX}",
        ]
    )
    assert (done["changed"], done["previous"], done["proved"], done["way"]) == (True, None, True, "attachment")
    assert done["proof"] == {"sandbox": SANDBOX, "tool_calling": "structured", "reason": None}
    assert (done["restart_needed"], done["warnings"]) == (False, []), "its first process has the key"
    assert done["environment"] == {"OPENAI_BASE_URL": first.route["base_url_sandbox"]}
    said = backends.summary(first.route, done)
    assert "sets neither model nor timeout" in said
    assert "the model scripted and 90 s" in said
    calls = host.server.known()["calls"]
    assert calls.index("CreateProvider") < calls.index("CreateSandbox"), "the sandbox starts with its provider"
    assert host.answer() == answer(first)
    found = host.recorded()
    assert (found["gateway"], found["sandbox"], found["way"]) == ("nemoclaw", SANDBOX, "attachment")
    kept = "".join(path.read_text(encoding="utf-8") for path in host.record.parent.iterdir())
    assert KEY not in kept + json.dumps(done)

    before = host.state()
    again = host.give(first, sandbox=SANDBOX)
    assert (again["changed"], again["actions"], again["proved"]) == (False, [], True)
    assert host.state() == before

    # The record names the sandbox.
    switched = host.give(second)
    assert switched["previous"] == {"provider": PROVIDER, "sandbox": SANDBOX}
    assert switched["restart_needed"]
    assert "sandbox_restart=true" in switched["warnings"][0]
    assert host.answer() == answer(second)
    known = host.server.known()
    assert (list(known["providers"]), list(known["profiles"])) == ([PROVIDER], [PROVIDER]), (
        "what stood beside it is gone"
    )
    assert (host.recorded()["model"], host.notes()) == ("second", [])

    assert host.remove(check_mode=True)["changed"]
    assert host.answer() == answer(second)
    removed = host.remove()
    assert removed["actions"] == [
        f"detach the provider {PROVIDER} from {SANDBOX}",
        f"delete the provider {PROVIDER}",
        f"delete the profile {PROVIDER}",
    ]
    known = host.server.known()
    assert (known["profiles"], known["providers"], known["sandboxes"]) == ({}, {}, {SANDBOX: []})
    assert not host.remove()["changed"]


def test_another_provider_takes_the_place_of_the_first(host: Attached, first: Wanted, llama: Llama) -> None:
    host.give(first, sandbox=SANDBOX)
    wanted = Wanted(llama("good", api_key=OTHER_KEY).root_url, OTHER_KEY, provider="anthropicCompatible")
    planned = host.check(wanted)
    done = host.give(wanted, may_restart=True)
    name = wanted.route["provider_name"]
    assert done["restarted"]
    assert host.server.known()["calls"].count("StartSandbox") == 1
    assert (
        done["actions"]
        == [*planned["actions"], f"restart the sandbox {SANDBOX}"]
        == [
            f"import the profile {name}",
            f"create the provider {name}",
            f"attach the provider {name} to {SANDBOX}",
            f"detach the provider {PROVIDER} from {SANDBOX}",
            f"delete the provider {PROVIDER}",
            f"restart the sandbox {SANDBOX}",
        ]
    )
    known = host.server.known()
    assert (list(known["providers"]), known["sandboxes"]) == ([name], {SANDBOX: [name]})
    assert done["environment"] == {"ANTHROPIC_BASE_URL": wanted.route["base_url_sandbox"]}
    assert not host.give(wanted)["changed"]


def test_what_fails_leaves_what_was(host: Attached, first: Wanted, second: Wanted, llama: Llama) -> None:
    host.add_sandbox(SANDBOX)
    elsewhere = {"base_url_sandbox": "http://host.openshell.internal:9/v1"}
    failure = refused(host, first, sandbox=SANDBOX, route=elsewhere)
    assert failure.code == "sandbox_upstream_down"
    assert f"Nothing was recorded. {SANDBOX} has no server attached, as before." in failure.message
    host.give(first, sandbox=SANDBOX)
    failure = refused(host, second, route=elsewhere)
    assert failure.code == "sandbox_upstream_down"
    assert "The previous route stays in force." in failure.message
    leaky = Wanted(llama("leaks", api_key=OTHER_KEY, alias="second").base_url, OTHER_KEY, "second")
    assert refused(host, leaky).code == "tool_calls_leaked"
    assert not host.give(first)["changed"], "the previous key still opens the previous server"


def test_what_is_refused_before_anything_is_changed(host: Attached, first: Wanted) -> None:
    failure = refused(host, first)
    assert failure.code == "sandbox_name_missing"
    assert "nemoclaw_sandbox_name" in failure.message
    host.give(first, sandbox=SANDBOX)
    host.add_sandbox("neighbour")
    host.cli("sandbox", "provider", "attach", "neighbour", PROVIDER, "--wait")
    moved = Wanted("http://127.0.0.1:9/v1", KEY)
    failure = refused(host, moved)
    assert (failure.code, failure.details["sandboxes"]) == ("route_shared", ["neighbour"])
    host.cli("sandbox", "delete", SANDBOX)
    assert refused(host, first).code == "sandbox_not_ready", "only the record names it"
    assert host.give(first, sandbox=SANDBOX)["proved"], "whoever names it has it made again"


def test_what_a_neighbour_has_stays_until_the_proof(
    host: Attached, first: Wanted, second: Wanted, llama: Llama
) -> None:
    host.give(first, sandbox="neighbour")
    host.add_sandbox(SANDBOX)
    # The first route of this sandbox: nothing is attached to it, but the neighbour has the same provider.
    wrong = Wanted(first.base_url, OTHER_KEY)
    assert refused(host, wrong, sandbox=SANDBOX).code == "sandbox_key_refused"
    assert refused(host, BROKEN, sandbox=SANDBOX, may_share=True).code == "sandbox_upstream_down"
    host.cli("sandbox", "stop", "neighbour")
    done = host.give(second, sandbox=SANDBOX, may_share=True, may_restart=True)
    assert (done["proved"], done["actions"][-1]) == (True, f"restart the sandbox {SANDBOX}")
    phases = {
        one.name: one.phase
        for one in list_sandboxes(find_openshell(host.machine, host.account, gateway="nemoclaw", ways=("attachment",)))
    }
    assert phases == {"neighbour": "Stopped", SANDBOX: "Ready"}, "what somebody stopped stays so"
    assert host.server.known()["sandboxes"] == {"neighbour": [PROVIDER], SANDBOX: [PROVIDER]}
    assert not host.give(second)["changed"]
    switched = Wanted(llama("good", api_key=OTHER_KEY).root_url, OTHER_KEY, provider="anthropicCompatible")
    name = switched.route["provider_name"]
    planned = host.check(switched)
    assert host.give(switched)["actions"] == planned["actions"]
    assert f"delete the provider {PROVIDER}" not in planned["actions"]
    assert host.server.known()["sandboxes"] == {"neighbour": [PROVIDER], SANDBOX: [name]}


def test_what_others_did_is_put_right(host: Attached, first: Wanted) -> None:
    host.give(first, sandbox=SANDBOX)
    for words, actions in (
        (
            [("sandbox", "provider", "detach", SANDBOX, PROVIDER, "--wait")],
            [f"attach the provider {PROVIDER} to {SANDBOX}"],
        ),
        (
            [("provider", "update", PROVIDER, "--credential", "COMPATIBLE_API_KEY=of-another")],
            [f"update the provider {PROVIDER}", f"wait until {SANDBOX} has applied the provider {PROVIDER}"],
        ),
    ):
        for one in words:
            host.cli(*one)
        done = host.give(first)
        assert (done["actions"], done["proved"]) == (actions, True)
        assert host.answer() == answer(first)
        assert not host.give(first)["changed"]


def test_a_sandbox_that_does_not_come_up(host: Attached, first: Wanted) -> None:
    with pytest.raises(Failure) as caught:
        host.give(first, sandbox="stays", image="lab/broken:1", ready_timeout=2)
    assert caught.value.code == "sandbox_error"
    known = host.server.known()
    assert (known["profiles"], known["providers"], known["sandboxes"]) == ({}, {}, {"stays": []})
    assert (host.record.exists(), host.notes()) == (False, [])


def test_a_token_is_rotated(host: Attached, llama: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    token, rotated = secrets.token_hex(24), secrets.token_hex(24)
    # In the place of the auth proxy: it takes the token that comes after the first, and that alone.
    proxy = llama("good", api_key=rotated, alias="qwen2.5:7b").base_url
    wanted = Wanted("http://127.0.0.1:11434/v1", token, "qwen2.5:7b", "ollama")
    elsewhere = {"base_url_sandbox": proxy.replace("127.0.0.1", "host.openshell.internal")}
    host.give(wanted, sandbox=SANDBOX, route=elsewhere, proof=False)
    recorded = host.recorded()
    update = "update the provider ollama-local"

    def rotate(key: str, previous: str = "", *, check_mode: bool = False, **options: Any) -> dict[str, Any]:
        desired = Desired(recorded, key, recorded, "nemoclaw", SANDBOX, require_tools=False, **options)
        return backends.rotate("auto", host.machine, host.account, desired, check_mode, previous)

    def calls(since: int = 0) -> list[str]:
        kinds = ("UpdateProvider", "ExecSandbox", "StopSandbox", "StartSandbox")
        found = [one for one in host.server.known()["calls"][since:] if one in kinds]
        return [one for at, one in enumerate(found) if at == 0 or found[at - 1] != one]

    def key() -> str:
        found: str = host.server.known()["providers"]["ollama-local"][1]["OPENAI_API_KEY"]
        return found

    for may_restart in (False, True):
        foreseen = rotate(rotated, check_mode=True, may_restart=may_restart)
        assert (foreseen["restart_needed"], foreseen["restarted"]) == (not may_restart, may_restart)
        assert foreseen["diff"]["after"] == "".join(f"{one}\n" for one in foreseen["actions"])
    assert (calls(), key()) == ([], token)

    done = rotate(rotated, token)
    assert (done["actions"], done["proved"], done["restart_needed"]) == ([update], True, True)
    assert "sandbox_restart=true" in done["warnings"][0]
    assert calls() == ["UpdateProvider", "ExecSandbox"]
    assert not rotate(rotated)["changed"]

    # What a new process finds wrong is found before anything is restarted.
    since = len(host.server.known()["calls"])
    with pytest.raises(
        Failure, match=r"The provider ollama-local has the previous one again\. The auth proxy"
    ) as caught:
        rotate(token, rotated, may_restart=True)
    assert caught.value.code == "sandbox_key_refused"
    assert (calls(since), key()) == (["UpdateProvider", "ExecSandbox", "UpdateProvider"], rotated)
    with pytest.raises(Failure, match="The provider ollama-local has the new one"):
        rotate(token)
    assert key() == token

    since = len(host.server.known()["calls"])
    done = rotate(rotated, token, may_restart=True)
    assert (done["actions"], done["restarted"]) == (foreseen["actions"], True)
    assert done["actions"] == [update, f"restart the sandbox {SANDBOX}"]
    restart = ["StopSandbox", "StartSandbox"]
    assert calls(since) == ["UpdateProvider", "ExecSandbox", *restart, "ExecSandbox"]

    # The sandbox was well with the new one before its restart, and is not afterwards.
    def prove(cli: OpenShell, name: str, spec: proof.Desired, report: Any) -> None:
        if calls(since)[-1] == "StartSandbox":
            raise Failure("sandbox_proof_failed", "The sandbox does not answer.")

    since = len(host.server.known()["calls"])
    with monkeypatch.context() as patched:
        patched.setattr(proof, "prove", prove)
        with pytest.raises(Failure, match="has the previous one again, and its sandboxes were stopped and started"):
            rotate(token, rotated, may_restart=True)
    assert (calls(since), key()) == (["UpdateProvider", *restart, "UpdateProvider", *restart], rotated)

    host.cli("sandbox", "stop", SANDBOX)
    begun, since = time.monotonic(), len(host.server.known()["calls"])
    with pytest.raises(Failure, match="The provider ollama-local has the new one") as caught:
        rotate(token, rotated, may_restart=True)
    assert (caught.value.code, key()) == ("sandbox_not_ready", token), "who was not asked says nothing against it"
    assert time.monotonic() - begun < 60, "nothing is waited for where nothing is applied"
    assert calls(since) == ["UpdateProvider"], "what somebody stopped is not started"
    assert not rotate(token)["changed"]


def test_what_is_not_ours_stays(host: Attached, first: Wanted) -> None:
    host.give(first, sandbox=SANDBOX)
    attach_of_another(host, "vllm-local")
    assert not host.give(first)["changed"], "what the user attached beside the route"
    removed = host.remove()
    assert f"The provider vllm-local of OpenShell stays, attached to {SANDBOX}" in removed["summary"][0]
    known = host.server.known()
    assert (list(known["profiles"]), known["sandboxes"]) == (["mine"], {SANDBOX: ["vllm-local"]})


def test_a_profile_of_the_user_is_not_changed_unasked(host: Attached, first: Wanted, second: Wanted) -> None:
    """Also where a run would only stage something under that name."""
    host.add_sandbox(SANDBOX)
    import_profile(host, PROVIDER)
    for act in (host.check, host.give):
        with pytest.raises(Failure, match=f"a profile {PROVIDER} that was not created here") as caught:
            act(first, sandbox=SANDBOX)
        assert caught.value.code == "profile_foreign"
        assert "sandbox_replace_provider: true" in caught.value.message
    known = host.server.known()
    assert (known["profiles"][PROVIDER], known["providers"], host.record.exists()) == (FOREIGN, {}, False)
    assert host.give(first, sandbox=SANDBOX, may_replace=True)["proved"]
    import_profile(host, NEXT)
    assert not host.give(first)["changed"]
    assert refused(host, second).code == "profile_foreign"
    host.remove()
    known = host.server.known()
    assert (known["profiles"], known["providers"]) == ({NEXT: FOREIGN}, {})


FOREIGN = [1, ["192.0.2.1:80"]]


def import_profile(host: Attached, name: str) -> None:
    """Import a profile that a user wrote."""
    profile = host.home / "profile.json"
    content: dict[str, Any] = {"id": name, "display_name": "Mine", "category": "inference"}
    content["binaries"] = ["/usr/bin/curl"]
    content["credentials"] = [{"name": "key", "env_vars": ["MINE"]}]
    content["endpoints"] = [{"host": "192.0.2.1", "port": 80, "access": "read-only", "enforcement": "enforce"}]
    profile.write_text(json.dumps(content), encoding="utf-8")
    host.cli("provider", "profile", "import", "-f", str(profile))


def attach_of_another(host: Attached, name: str) -> None:
    """Attach a provider that a user made with a profile of his own."""
    import_profile(host, "mine")
    host.cli("provider", "create", "--name", name, "--type", "mine", "--credential", "MINE=of-another")
    host.cli("sandbox", "provider", "attach", SANDBOX, name, "--wait")


def test_the_status_tells_apart_what_is_wrong(host: Attached, first: Wanted) -> None:
    host.give(first, sandbox=SANDBOX)

    def status() -> list[tuple[str, str, str | None]]:
        checks = check_gateway(host.machine, host.account, host.recorded(), Status(), 20)
        return [(one.name, one.state, one.code) for one in checks]

    assert status() == [("gateway", "healthy", None), ("sandbox", "healthy", None)]
    # Our name and our profile, and a key that somebody else gave.
    host.cli("provider", "update", PROVIDER, "--credential", "COMPATIBLE_API_KEY=of-another")
    host.cli("sandbox", "provider", "status", SANDBOX, PROVIDER, "--wait")
    assert status()[1] == ("sandbox", "unauthorized", "sandbox_key_refused")
    host.cli("sandbox", "provider", "detach", SANDBOX, PROVIDER, "--wait")
    assert status() == [("gateway", "not configured", "attachment_missing")]
    host.cli("provider", "delete", PROVIDER)
    attach_of_another(host, PROVIDER)
    assert status() == [("gateway", "differs", "provider_foreign")]
    assert refused(host, first).code == "provider_type_differs"
    host.cli("sandbox", "stop", SANDBOX)
    assert status() == [("gateway", "unhealthy", "sandbox_not_ready")]
    host.cli("sandbox", "delete", SANDBOX)
    assert status() == [("gateway", "unhealthy", "sandbox_not_ready")]


def test_a_release_before_is_not_taken_for_it(
    host: Attached, first: Wanted, gateways: dict[str, openshell_parts.Gateway], tmp_path: Path
) -> None:
    host.give(first, sandbox=SANDBOX)
    before = Host(tmp_path / "before", gateways["0.0.83"])
    assert before.give(first, "auto", sandbox=SANDBOX)["way"] == "route"
    assert before.recorded()["way"] == "route"


@pytest.mark.parametrize(("wanted", "first"), [(MOVED, 1), (SWITCHED, 2)], ids=["address", "provider"])
def test_killed_between_two_routes(
    tmp_path: Path, server: openshell_parts.Gateway, monkeypatch: pytest.MonkeyPatch, wanted: Wanted, first: int
) -> None:
    """Every second point of each: a whole round of both has four thousand calls."""
    looked_up(monkeypatch, server)

    def make(number: int) -> Attached:
        host = Attached(tmp_path / str(number), server)
        host.give(OLD, sandbox=SANDBOX)
        assert host.answer() == answer(OLD)
        return host

    for index, host in enumerate(break_off(make, wanted, range(first, 100, 2))):
        recorded = host.recorded()["base_url_sandbox"]
        if recorded == OLD.route["base_url_sandbox"]:
            assert host.answer() == answer(OLD), "agents notice nothing until what is new was proved and recorded"
        # What the killed run had not proved is not what the next one goes back to.
        if recorded == OLD.route["base_url_sandbox"] and wanted is MOVED:
            with pytest.raises(Failure, match="previous route stays"):
                host.give(BROKEN)
            assert (host.answer(), host.notes()) == (answer(OLD), [])
        if index % 4 == 1:
            uninstalled(host)
        host.give(wanted, sandbox=SANDBOX)
        converged(host, wanted, again=index % 4 == 0)


def test_killed_at_a_first_route(
    tmp_path: Path, server: openshell_parts.Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up(monkeypatch, server)
    for number, host in enumerate(
        break_off(lambda number: Attached(tmp_path / str(number), server), OLD, sandbox=SANDBOX)
    ):
        if number % 2 and not host.record.exists():
            # An uninstall finds what it left, also without a record.
            uninstalled(host)
        host.give(OLD, sandbox=SANDBOX)
        converged(host, OLD, again=number % 4 == 0)


def test_a_killed_uninstall(tmp_path: Path, server: openshell_parts.Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """From two sandboxes, of a run that was killed between what it staged and its record."""
    looked_up(monkeypatch, server)

    def make(number: int) -> Attached:
        host = Attached(tmp_path / str(number), server)
        host.give(OLD, sandbox=SANDBOX)
        host.add_sandbox("neighbour")
        host.cli("sandbox", "provider", "attach", "neighbour", PROVIDER, "--wait")
        host.cli("sandbox", "stop", "neighbour")
        assert killed(lambda: host.give(MOVED, may_share=True), 5)
        assert NEXT in host.server.known()["providers"]
        return host

    for host in break_off_uninstall(make):
        known = host.server.known()
        assert (known["providers"], known["profiles"]) == ({}, {})
        assert known["sandboxes"] == {SANDBOX: [], "neighbour": []}


def uninstalled(host: Attached) -> None:
    """Uninstall, and find nothing left in the gateway."""
    host.remove()
    known = host.server.known()
    assert (known["providers"], known["profiles"]) == ({}, {})
    assert not any(known["sandboxes"].values())
    Journal(str(host.record), host.account).remove()


def converged(host: Attached, wanted: Wanted, *, again: bool) -> None:
    assert host.answer() == answer(wanted)
    assert host.recorded()["base_url_sandbox"] == wanted.route["base_url_sandbox"]
    known = host.server.known()
    assert known["sandboxes"] == {SANDBOX: [wanted.route["provider_name"]]}
    assert not any(name.endswith("-next") for name in (*known["providers"], *known["profiles"]))
    assert host.notes() == []
    if again:
        before = host.state()
        assert not host.give(wanted)["changed"]
        assert host.state() == before


def looked_up(monkeypatch: pytest.MonkeyPatch, server: openshell_parts.Gateway) -> None:
    """Prove by what the sandbox has attached, and ask the double of the command line without a process for each of its calls."""
    real = machine._run

    def run(argv: list[str], limit_s: float, environ: Any, run_as: Any, stdin: str | None, errors: Any) -> Any:
        if argv[0] != str(server.cli):
            return real(argv, limit_s, environ, run_as, stdin, errors)
        code, output, said = openshell_attachment_cli.ask(server.state, argv[1:], environ, stdin or "")
        if errors:
            errors.write(said)
        return machine.CommandResult(code, (output if errors else output + said).decode())

    monkeypatch.setattr(machine, "_run", run)

    def prove(_cli: OpenShell, name: str, desired: proof.Desired, _report: Any) -> None:
        known = server.known()
        address = desired.base_url.split("//")[1].partition("/")[0]
        for one in known["sandboxes"][name]:
            kind, keys, _version = known["providers"][one]
            found = known["profiles"][kind][1][0]
            if found.startswith(address) and desired.credential_name in keys and ":9/" not in found:
                return
        raise Failure("sandbox_upstream_down", f"{name} got no answer from {address}. Correct it.")

    monkeypatch.setattr(proof, "prove", prove)
