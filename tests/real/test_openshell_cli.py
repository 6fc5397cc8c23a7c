# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real CLI of three releases: found, checked against its gateway, and its troubles told apart."""

from __future__ import annotations

import http.server
import os
import shutil
import threading
from pathlib import Path

import openshell_parts
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.cli import OpenShell, find_openshell
from conftest import Certificates, OpenCli, in_every_release


def failure_of(open_cli: OpenCli, server: openshell_parts.Gateway, /, **options: str) -> Failure:
    with pytest.raises(Failure) as caught:
        open_cli(server, **options)
    return caught.value


@in_every_release
def test_it_knows_its_release(openshell: OpenShell, gateway: openshell_parts.Gateway) -> None:
    assert str(openshell.release) == gateway.release


def test_it_is_found_on_the_path(gateway: openshell_parts.Gateway, tmp_path: Path) -> None:
    machine = Machine(environ={"PATH": f"{gateway.cli.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)})
    found = find_openshell(machine, find_account()._replace(home=str(tmp_path)), endpoint=gateway.endpoint)
    assert found.path == str(gateway.cli)


def test_it_is_found_in_the_users_own_folder(gateway: openshell_parts.Gateway, tmp_path: Path) -> None:
    (tmp_path / ".local" / "bin").mkdir(parents=True)
    (tmp_path / ".local" / "bin" / "openshell").symlink_to(gateway.cli)
    machine = Machine(environ={"PATH": "/nowhere", "HOME": str(tmp_path)})
    found = find_openshell(machine, find_account()._replace(home=str(tmp_path)), endpoint=gateway.endpoint)
    assert found.path == str(tmp_path / ".local" / "bin" / "openshell")


@pytest.mark.parametrize("release", openshell_parts.RELEASES)
class TestTroubles:
    """What is wrong has its own code and sentence, in each release."""

    @pytest.fixture
    def running(self, openshell_home: Path, release: str) -> openshell_parts.Gateway:
        """Return a gateway that is gone again."""
        with openshell_parts.serving(release, openshell_home) as gateway:
            return gateway

    def test_the_gateway_is_down(self, running: openshell_parts.Gateway, open_cli: OpenCli) -> None:
        failure = failure_of(open_cli, running)
        assert failure.code == "openshell_gateway_down"
        assert "Connection refused" in failure.message

    def test_none_is_registered(self, running: openshell_parts.Gateway, open_cli: OpenCli) -> None:
        failure = failure_of(open_cli, running, endpoint="")
        assert failure.code == "openshell_gateway_unset"
        assert "gateway add" in failure.message

    def test_another_name_is_registered(self, running: openshell_parts.Gateway, open_cli: OpenCli) -> None:
        assert failure_of(open_cli, running, endpoint="", gateway="nobody").code == "openshell_gateway_unset"

    def test_its_certificates_are_missing(self, running: openshell_parts.Gateway, open_cli: OpenCli) -> None:
        failure = failure_of(open_cli, running, endpoint="https://127.0.0.1:1", gateway="nobody")
        assert failure.code == "openshell_gateway_tls"

    def test_something_else_listens(self, running: openshell_parts.Gateway, open_cli: OpenCli) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_arguments: object) -> None:
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            failure = failure_of(open_cli, running, endpoint=f"http://127.0.0.1:{server.server_port}")
            server.shutdown()
        assert failure.code == "openshell_gateway_down"

    @pytest.mark.parametrize("reported", ["0.0.45", "0.0.116", "0.1.0", "0.0.0-dev"])
    def test_the_gateway_is_of_another_release(
        self, openshell_home: Path, release: str, reported: str, open_cli: OpenCli
    ) -> None:
        with openshell_parts.serving(release, openshell_home, reports=reported) as gateway:
            failure = failure_of(open_cli, gateway)
        assert failure.code == "openshell_release_mismatch"
        assert release in failure.message
        assert reported in failure.message

    def test_a_client_certificate_is_used(
        self, openshell_home: Path, release: str, certificates: Certificates, open_cli: OpenCli, tmp_path: Path
    ) -> None:
        with openshell_parts.serving(release, openshell_home, tls=certificates.server) as gateway:
            registered = tmp_path / "home" / ".config" / "openshell" / "gateways" / "lab"
            registered.mkdir(parents=True)
            (registered / "mtls").symlink_to(certificates.client)
            cli = open_cli(gateway, gateway="lab")
            assert cli.call("sandbox", "list", "-o", "json").strip() == "[]"
            (registered / "mtls").unlink()
            (registered / "mtls").symlink_to(certificates.stranger)
            assert failure_of(open_cli, gateway, gateway="lab").code == "openshell_gateway_tls"
            # The gateway's own certificate, of an authority that the user does not know.
            (registered / "mtls").unlink()
            shutil.copytree(certificates.client, registered / "mtls")
            shutil.copy(certificates.stranger / "tls.crt", registered / "mtls" / "ca.crt")
            assert failure_of(open_cli, gateway, gateway="lab").code == "openshell_gateway_tls"


def test_the_users_registered_gateway_is_taken(
    gateway: openshell_parts.Gateway, open_cli: OpenCli, tmp_path: Path
) -> None:
    first = open_cli(gateway)
    OpenShell(first.machine, first.account, first.path, first.release).call(
        "gateway", "add", gateway.endpoint, "--local", "--name", "lab"
    )
    assert first.gateway is None
    for options in ({}, {"gateway": "lab"}):
        found = open_cli(gateway, endpoint="", **options)
        assert (found.release, found.gateway) == (first.release, "lab")
    # Root, or a play that became somebody else, brings settings that are not this user's.
    machine = Machine(environ={"PATH": os.environ["PATH"], "HOME": "/root", "XDG_CONFIG_HOME": str(tmp_path / "other")})
    assert find_openshell(machine, first.account, executable=str(gateway.cli)).release == first.release
