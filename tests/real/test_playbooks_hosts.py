# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nobody gains by the auth proxy: on a host with systemd, over ssh, with the distribution's own nginx."""

from __future__ import annotations

import os
from collections.abc import Iterator

import lab_host
import pytest

PROXY = {"ansible.builtin.include_role": {"name": "nemoclaw.local_inference.proxy"}}
CONFIG = "/etc/nemoclaw-ollama-proxy.conf"
UNIT = "nemoclaw-ollama-proxy.service"
# What is the proxy's own, or changes by itself while a host runs.
OURS = "/run|/proc|/sys|/dev|/tmp|/var/tmp|/var/log/journal|/var/lib/nemoclaw-ollama-proxy|/var/lib/private|/etc/nemoclaw-ollama-proxy.*"
# Owner and mode of every file and folder of the host.
OWNERS = rf"find / -regextype egrep -regex '({OURS})(/.*)?' -prune -o -printf '%u:%g %m %p\n' | sort"
SERVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")
http.server.ThreadingHTTPServer(("127.0.0.1", 11434), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab_host.LabHost]:
    if "LAB_FIREWALL_IMAGE" not in os.environ:
        pytest.skip("LAB_FIREWALL_IMAGE names no image made by tests/lab_firewalls/build")
    with lab_host.booted(os.environ["LAB_FIREWALL_IMAGE"], tmp_path_factory.mktemp("hosts")) as made:
        made.put("/opt/upstream.py", SERVER)
        made.sh("apt-get update -qq && systemd-run --quiet --unit lab-upstream python3 /opt/upstream.py")
        played = made.play([PROXY])
        assert played.status == 0, played.said
        yield made


@pytest.mark.parametrize("user", ["root", "lab"])
@pytest.mark.parametrize("state", ["start", "stop"])
def test_nothing_else_of_the_host_changes_hands(host: lab_host.LabHost, user: str, state: str) -> None:
    """Run as root, nginx gives its folders to the account it runs as: 0.1.0 named /usr, which then was that of nobody."""
    host.sh(f"systemctl {state} {UNIT}")
    before = host.sh(OWNERS)
    for command in ("nginx -t", "nginx -T", "nginx -s reload", "nginx -s reopen"):
        said = host.sh(f"/usr/sbin/{command} -c {CONFIG}", user, fails=True)
        if user == "root" and command in ("nginx -t", "nginx -T"):
            assert "test is successful" in said
    for command in ("reload", "restart"):
        host.sh(f"systemctl {command} {UNIT}", user, fails=user != "root" or state == "stop")
    after = host.sh(OWNERS)
    assert set(after.splitlines()) ^ set(before.splitlines()) == set()
    host.sh(f"systemctl start {UNIT}")
    assert host.sh(f"systemctl is-active {UNIT}").strip() == "active"


def test_root_signals_the_proxy_and_not_the_nginx_of_the_distribution(host: lab_host.LabHost) -> None:
    host.sh("systemctl unmask nginx.service && systemctl start nginx.service")
    before = host.sh("systemctl show --property=MainPID --value nginx.service")
    host.sh(f"/usr/sbin/nginx -s stop -c {CONFIG}")
    assert host.sh("systemctl show --property=MainPID --value nginx.service") == before
    assert host.sh("systemctl is-active nginx.service").strip() == "active"
    host.sh(f"systemctl stop nginx.service && systemctl mask nginx.service && systemctl start {UNIT}")


def test_a_second_run_changes_nothing(host: lab_host.LabHost) -> None:
    played = host.play([PROXY])
    assert (played.status, played.changed) == (0, 0), played.said
