# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenShell's CLI without OpenShell: its recorded words (tests/servers/record_openshell.py), and programs that only pretend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import cli as cli_module
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import text
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.cli import (
    ATTACHMENT,
    ROUTE,
    OpenShell,
    Release,
    check_release,
    check_way,
    find_openshell,
    parse_release,
    way_of,
)

RELEASES = ("0.0.44", "0.0.83", "0.0.111")
FIXTURES = Path(__file__).resolve().parents[3] / "fixtures" / "openshell"


def recorded(release: str, name: str) -> str:
    case: dict[str, Any] = json.loads((FIXTURES / f"{release}.json").read_text(encoding="utf-8"))[name]
    return str(case["output"])


def handle(release: str = "0.0.83", **options: Any) -> OpenShell:
    found = parse_release(release)
    assert found is not None
    account = find_account()._replace(home="/home/lab", name="lab")
    return OpenShell(Machine(environ={"HOME": "/home/lab"}), account, "/usr/bin/openshell", found, **options)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("provider-get-absent", "provider not found"),
        ("provider-create-again", "provider already exists"),
        ("provider-delete-attached", "provider 'lab' is attached to sandbox(es): broken"),
        (
            "sandbox-create-broken",
            "sandbox entered error phase while provisioning: Crashed: supervisor exited with status 1",
        ),
        (
            "sandbox-create-stuck",
            "sandbox provisioning timed out after 1s. Last reported status: Starting: container is starting",
        ),
        ("down", "transport error tcp connect error tcp connect error Connection refused (os error 111)"),
    ],
)
def test_wrapped_errors_are_one_line_in_the_servers_words(release: str, name: str, error: str) -> None:
    assert text.error_of(recorded(release, name)) == error


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("no-gateway", "openshell_gateway_unset"),
        ("unknown-gateway", "openshell_gateway_unset"),
        ("status-none", "openshell_gateway_unset"),
        ("no-certificates", "openshell_gateway_tls"),
        ("down", "openshell_gateway_down"),
        ("status-down", "openshell_gateway_down"),
        ("provider-get-absent", "openshell_provider_missing"),
        ("inference-set-unknown", "openshell_provider_missing"),
        ("inference-set-verify", "openshell_verify_failed"),
        ("provider-delete-attached", "provider_attached"),
        ("inference-get-other-release", "openshell_release_mismatch"),
        ("usage", "openshell_failed"),
    ],
)
def test_each_trouble_has_its_code(release: str, name: str, code: str) -> None:
    failure = handle(release).trouble(("provider", "get"), recorded(release, name), 1)
    assert failure.code == code
    assert failure.message.startswith("Ran openshell provider get")
    assert failure.message.isprintable()


@pytest.mark.parametrize(
    ("output", "code"),
    [
        # Of the real 0.0.83, whose user does not know the authority of the gateway's certificate.
        (
            "Error:   \u00d7 client error (Connect)\n  \u251c\u2500\u25b6 invalid peer certificate: UnknownIssuer\n"
            "  \u2570\u2500\u25b6 invalid peer certificate: UnknownIssuer\n",
            "openshell_gateway_tls",
        ),
        (
            "Error:   \u00d7 failed to verify inference endpoint for provider 'lab': tcp connect error: Connection refused\n",
            "openshell_verify_failed",
        ),
        # A gateway that answers, and whose Docker does not.
        (
            "Error:   \u00d7 code: 'Internal error', message: \"docker: client error (Connect): Connection refused (os error 111)\"\n",
            "openshell_failed",
        ),
    ],
)
def test_a_gateway_that_answers_is_not_down(output: str, code: str) -> None:
    assert handle().trouble(("status",), output, 1).code == code


def test_each_way_that_trust_fails_has_its_sentence() -> None:
    """As a gateway with mutual TLS was seen to refuse."""
    answers = json.loads((FIXTURES / "real" / "tls.json").read_text(encoding="utf-8"))["answers"]
    said = {name: handle("0.0.111").trouble(("status",), output, 1) for name, (_code, output) in answers.items()}
    assert {name: failure.code for name, failure in said.items()} == {
        name: code for name, (code, _words) in answers.items()
    }
    meanings = {failure.message.split(" Output: ")[0] for failure in said.values()}
    assert len(meanings) == 5, "a call and a status that fail alike are told alike, other failures are not"
    assert "refuses the client certificate of the user lab" in said["foreign-client-certificate"].message
    assert "begins with https://" in said["https-to-a-plaintext-port"].message
    assert "authority that the user lab knows" in said["foreign-authority-in-a-call"].message


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("x509: certificate signed by unknown authority", "/etc/docker/certs.d"),
        ("dial tcp: connect: network is unreachable", "docker load"),
    ],
)
def test_an_image_that_the_engine_cannot_get_is_no_trouble_of_the_gateway(reason: str, advice: str) -> None:
    output = f'Error:   \u00d7 status: Internal, message: "create sandbox failed: pull Docker image failed: {reason}"\n'
    failure = handle("0.0.44").trouble(("sandbox", "create"), output, 1)
    assert failure.code == "sandbox_error"
    assert advice in failure.message


@pytest.mark.parametrize("release", RELEASES)
def test_what_the_cli_prints_is_read(release: str) -> None:
    assert text.route_of(recorded(release, "inference-get-none")) is None
    assert text.route_of(recorded(release, "inference-get")) == text.RouteSeen("lab", "m", 1, 180)
    assert text.route_of(recorded(release, "inference-get-default")) == text.RouteSeen("lab", "m", 2, 60)
    with pytest.raises(ValueError, match="Method not found!"):
        text.route_of(recorded(release, "inference-get-other-release"))
    assert text.fields_of(recorded(release, "status"))["version"] == release
    shown = text.fields_of(recorded(release, "provider-get"))
    assert (shown["type"], shown["resource version"]) == ("openai", "1")
    assert text.keys_of(shown["credential keys"]) == ["OPENAI_API_KEY"]
    phases = {entry["name"]: entry["phase"] for entry in text.json_of(recorded(release, "sandbox-list"))}
    assert phases == {"broken": "Error", "stuck": "Provisioning"}
    assert text.json_of(recorded(release, "sandbox-list-empty")) == []


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("", "nothing"),
        ("Gateway inference:\n\n  Provider: lab\n", "Gateway inference: Provider: lab"),
        ("Inference:\n\n  Error: a\x1b[31m b\x1b[0m\n", "a b"),
        # Only the system's route is there: it is not the user's.
        ("Inference:\n\nSystem inference:\n\n  Provider: x\n  Model: y\n", "Inference:"),
    ],
)
def test_no_route_is_made_up(said: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        text.route_of(said)


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("[]", []),
        ("warning: a new release is out [1]\n[\n]\nbye", []),
        ('\x1b[2m{"a": 1}\x1b[0m', {"a": 1}),
    ],
)
def test_json_is_found_between_other_words(said: str, value: Any) -> None:
    assert text.json_of(said) == value


def test_without_json_there_is_none() -> None:
    with pytest.raises(ValueError, match="no JSON"):
        text.json_of("nothing to see [here]")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("openshell 0.0.43", "openshell_too_old"),
        ("openshell 0.0.36", "openshell_too_old"),
        ("openshell m-dev", "openshell_version_unknown"),
        ("", "openshell_version_unknown"),
    ],
)
def test_releases_that_cannot_work_are_refused(said: str, code: str) -> None:
    with pytest.raises(Failure) as caught:
        check_release(said, "/usr/bin/openshell")
    assert caught.value.code == code
    assert "0.0.116" in caught.value.message


_ROUTE_HELP, _OTHER_HELP = (
    "GATEWAY COMMANDS\n  inference:   Manage inference\n",
    "SANDBOX COMMANDS\n  provider:    Manage\n",
)


@pytest.mark.parametrize(
    ("help_text", "attach_help", "way"),
    [
        (_ROUTE_HELP, "", ROUTE),
        # 0.0.111 attaches as well, and its route is what agents use.
        (_ROUTE_HELP, "  --wait", ROUTE),
        (_OTHER_HELP, "FLAGS:\n  --wait\n", ATTACHMENT),
        (_OTHER_HELP, "FLAGS:\n  <NAME>\n", None),
        ("  term:  an inference: TUI\n", "", None),
        ("", "", None),
    ],
)
def test_the_way_is_read_from_the_help(help_text: str, attach_help: str, way: str | None) -> None:
    assert way_of(help_text, attach_help) == way


@pytest.mark.parametrize(
    ("way", "ways", "code", "words"),
    [
        (ATTACHMENT, (ROUTE,), "openshell_too_new", "removed the inference route"),
        (ROUTE, (ATTACHMENT,), "openshell_too_old", "openshell_inference"),
        (None, (ROUTE, ATTACHMENT), "openshell_too_new", "attach --wait"),
    ],
)
def test_a_way_that_is_not_asked_for(way: str | None, ways: tuple[str, ...], code: str, words: str) -> None:
    with pytest.raises(Failure, match=words) as caught:
        check_way(Release((0, 2, 0)), "/usr/bin/ryno", way, ways)
    assert (caught.value.code, caught.value.details["version"]) == (code, "0.2.0")
    assert "/usr/bin/ryno is OpenShell 0.2.0" in caught.value.message
    assert check_way(Release((0, 2, 0)), "/usr/bin/ryno", ATTACHMENT, (ROUTE, ATTACHMENT)) == ATTACHMENT


@pytest.mark.parametrize(
    ("said", "json_list", "json_status", "deletes", "detaches"),
    [
        ("openshell 0.0.44", False, False, False, False),
        ("openshell 0.0.64", True, False, False, False),
        ("openshell 0.0.88", True, False, True, False),
        ("openshell 0.0.116", True, True, True, True),
    ],
)
def test_what_a_release_can_do(said: str, json_list: bool, json_status: bool, deletes: bool, detaches: bool) -> None:
    release = check_release(said, "openshell")
    assert release.lists_providers_as_json == json_list
    assert release.tells_status_as_json == json_status
    assert release.deletes_routes == deletes
    assert release.detaches == detaches
    assert release == Release(release.number)


def program(folder: Path, body: str) -> str:
    """Return the path of a shell script."""
    path = folder / "openshell"
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


class TestPrograms:
    """A program that pretends to be OpenShell: what the real ones do not do on request."""

    def find(self, folder: Path, **options: Any) -> OpenShell:
        machine = Machine(environ={"PATH": "/usr/bin:/bin", "HOME": str(folder)})
        return find_openshell(machine, find_account()._replace(home=str(folder)), **options)

    def test_none_is_there(self, tmp_path: Path) -> None:
        for options in ({}, {"executable": "/nowhere/openshell"}, {"executable": "openshell"}):
            with pytest.raises(Failure, match="executable") as caught:
                self.find(tmp_path, **options)
            assert caught.value.code == "openshell_missing"

    @pytest.mark.parametrize(
        ("version", "code"),
        [("0.0.36", "openshell_too_old"), ("0.1.0", "openshell_too_new"), ("m-dev", "openshell_version_unknown")],
    )
    def test_another_release(self, tmp_path: Path, version: str, code: str) -> None:
        with pytest.raises(Failure) as caught:
            self.find(tmp_path, executable=program(tmp_path, f"echo openshell {version}"))
        assert caught.value.code == code

    def test_a_gateway_that_hangs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cli_module.OpenShell.call, "__kwdefaults__", {"environment": None, "limit_s": 0.3})
        body = (
            'case "$*" in *--version) echo openshell 0.0.83;; *--help) echo "  inference: x";; *) exec sleep 60;; esac'
        )
        with pytest.raises(Failure, match="did not end within") as caught:
            self.find(tmp_path, executable=program(tmp_path, body))
        assert caught.value.code == "openshell_timeout"

    def test_a_secret_in_an_error_is_not_shown(self, tmp_path: Path) -> None:
        body = 'echo "Error: bad value canary-77 for it" >&2; exit 1'
        with pytest.raises(Failure) as caught:
            self.find(tmp_path, executable=program(tmp_path, body), secret="canary-77")
        assert "canary-77" not in json.dumps(caught.value.as_result())
        assert "bad value" in caught.value.message

    def test_options_and_environment(self, tmp_path: Path) -> None:
        path = program(tmp_path, 'echo "$@"; echo "$K $OPENSHELL_NO_BROWSER $XDG_CONFIG_HOME"')
        account = find_account()._replace(home=str(tmp_path))
        machine = Machine(environ={"PATH": "/usr/bin:/bin", "HOME": "/root", "XDG_CONFIG_HOME": "/root/.config"})
        cli = OpenShell(machine, account, path, Release((0, 0, 83)), ("-g", "second"))
        assert cli.call("status", environment={"K": "v"}) == "-g second status\nv 1 \n"
