# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nobody gains by the auth proxy: on a host with systemd, over ssh, with the distribution's own nginx."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import idle_ollama
import lab_host
import pytest

PROXY = {"ansible.builtin.include_role": {"name": "nemoclaw.local_inference.proxy"}}
CONFIG = "/etc/nemoclaw-ollama-proxy.conf"
UNIT = "nemoclaw-ollama-proxy.service"
# What is the proxy's own, or changes by itself while a host runs; and where Ansible puts files before they are in their place.
OURS = "/run|/proc|/sys|/dev|/tmp|/var/tmp|/var/log/journal|/var/lib/nemoclaw-ollama-proxy|/var/lib/private|/etc/nemoclaw-ollama-proxy.*"
OURS += "|/home/lab/.ansible"
# Owner and mode of every file and folder of the host.
OWNERS = rf"find / -regextype egrep -regex '({OURS})(/.*)?' -prune -o -printf '%u:%g %m %p\n' | sort"
# Holds the lock of the packages until the role is about to install one, which is when it masks the service of that, and some seconds more.
HOLD_LOCK = """
import fcntl, os, pathlib, time
lock = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
pathlib.Path("/run/locked").touch()
while not os.path.islink("/etc/systemd/system/nginx.service"):
    time.sleep(0.1)
time.sleep(15)
"""
OVERRIDE = "/etc/systemd/system/ollama.service.d/override.conf"

# Refuses strangers as the proxy does, and keeps whatever it is sent.
IMPOSTOR = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        header = self.headers.get("Authorization", "")
        with open("/tmp/impostor.log", "a") as log:
            log.write(f"{header}|")
        self.send_response(200 if header and "0" * 48 not in header else 401)
        self.send_header("WWW-Authenticate", 'Bearer realm="nemoclaw.local_inference"')
        self.end_headers()
        self.wfile.write(b'{"data": [{"id": "m"}]}')
    do_POST = do_GET
http.server.ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab_host.LabHost]:
    if "LAB_FIREWALL_IMAGE" not in os.environ:
        pytest.skip("LAB_FIREWALL_IMAGE names no image made by tests/lab_firewalls/build")
    with lab_host.booted(os.environ["LAB_FIREWALL_IMAGE"], tmp_path_factory.mktemp("hosts")) as made:
        idle_ollama.install(made)
        # A host as it is: no package lists, a source of somebody else's that is signed by nobody, and unattended upgrades at work.
        made.put("/etc/apt/sources.list.d/other.list", "deb http://127.0.0.1:9/debian nowhere main\n")
        made.put("/opt/upgrades.py", HOLD_LOCK)
        made.sh(
            "rm -rf /var/lib/apt/lists/* && systemd-run --quiet --unit unattended-upgrades python3 /opt/upgrades.py"
        )
        made.sh("for i in $(seq 100); do test -e /run/locked && exit 0; sleep 0.1; done; exit 1")
        played = made.play([PROXY])
        assert played.status == 0, played.said
        assert re.search(
            r"Waited \d+ s for python3 \(process \d+\), which held the lock of the packages", played.said
        ), played.said
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


@pytest.fixture
def impostor(host: lab_host.LabHost) -> Iterator[str]:
    """Have another user of the host listen on the proxy's port, and return the token."""
    token = host.sh("cat /home/lab/.nemoclaw/ollama-proxy-token").strip()
    host.sh("id mallory || useradd --create-home mallory")
    host.put("/opt/impostor.py", IMPOSTOR)
    host.sh(f"systemctl stop {UNIT}")
    for port in (11435, 8080):
        host.sh(f"systemd-run --quiet --uid mallory --unit impostor-{port} python3 /opt/impostor.py {port}")
        host.sh(f"for i in $(seq 100); do ss -ltn | grep -q :{port} && exit 0; sleep 0.1; done; exit 1")
    yield token
    host.sh(f"systemctl stop impostor-11435 impostor-8080; rm -f /tmp/impostor.log; systemctl start {UNIT}")


ROUTE = {
    "provider": "ollama",
    "base_url": "http://127.0.0.1:11434/v1",
    "base_url_sandbox": "http://host.openshell.internal:11435/v1",
    "model": "m",
}


def test_an_impostor_gets_no_token_and_no_key(host: lab_host.LabHost, impostor: str) -> None:
    """Another user on the proxy's port, who refuses strangers as the proxy does: 0.1.0 called that healthy."""
    record = {"nemoclaw.local_inference.inference_route": ROUTE}
    assert host.play([record]).status == 0
    shown = host.playbook("nemoclaw.local_inference.status", "-e", "status_timeout=3")
    assert (shown.status, "Inference (auth proxy): unhealthy" in shown.said) == (2, True), shown.said
    assert "of the user mallory, which did not receive the token" in shown.said
    rotated = host.playbook("nemoclaw.local_inference.rotate_token")
    assert (rotated.status, "mallory" in rotated.said) == (2, True), rotated.said
    assert "The token was not rotated" in rotated.said
    assert host.play([PROXY]).status == 2
    assert host.sh("cat /home/lab/.nemoclaw/ollama-proxy-token").strip() == impostor
    key = "canary-2f1c"
    asked = {"base_url": "http://127.0.0.1:8080/v1", "model": "m", "api_key": key}
    proved = host.play([{"nemoclaw.local_inference.endpoint_validate": asked}])
    assert (proved.status, "listens on 0.0.0.0 port 8080" in proved.said) == (2, True), proved.said
    seen = set(host.sh("cat /tmp/impostor.log").split("|"))
    assert seen == {"", "Bearer " + "0" * 48}
    trusted = host.play([{"nemoclaw.local_inference.endpoint_validate": {**asked, "trusted_users": ["mallory"]}}])
    assert trusted.status == 2
    assert f"Bearer {key}" in host.sh("cat /tmp/impostor.log").split("|")


def listens(host: lab_host.LabHost, port: int) -> list[str]:
    """Return the addresses on which somebody listens on the port, once there are any."""
    waiting = f"for i in $(seq 100); do ss -ltnH sport = :{port} | grep -q . && break; sleep 0.1; done"
    return sorted(
        line.split()[3].rpartition(":")[0] for line in host.sh(f"{waiting}; ss -ltnH sport = :{port}").splitlines()
    )


def test_an_engine_that_left_loopback_is_said_and_brought_back(host: lab_host.LabHost) -> None:
    """After the set-up: 0.1.0 ended green, and called it healthy. To both kinds of address: molecule/plan opens it to one."""
    assert host.play([{"nemoclaw.local_inference.inference_route": ROUTE}]).status == 0
    host.sh("rm -rf /etc/systemd/system/ollama.service.d")
    host.put(OVERRIDE, "[Service]\nEnvironment=OLLAMA_HOST=[::]:11434\n")
    host.sh("systemctl daemon-reload && systemctl restart ollama.service")
    assert listens(host, 11434) == ["*"]
    shown = host.playbook("nemoclaw.local_inference.status", "-e", "status_timeout=3")
    assert (shown.status, "Exposure: unhealthy" in shown.said) == (2, True), shown.said
    checked = host.play([PROXY], "--check")
    assert (checked.status, checked.changed > 0) == (0, True), checked.said
    assert listens(host, 11434) == ["*"]
    played = host.play([PROXY])
    assert (played.status, played.changed > 0) == (0, True), played.said
    assert listens(host, 11434) == ["127.0.0.1"]
    assert "Exposure" not in host.playbook("nemoclaw.local_inference.status", "-e", "status_timeout=3").said
    again = host.play([PROXY])
    assert (again.status, again.changed) == (0, 0), again.said


def test_an_engine_that_is_not_ours_is_named(host: lab_host.LabHost) -> None:
    host.sh("systemctl stop ollama.service")
    host.sh("systemd-run --quiet --unit lab-other python3 -m http.server --bind 0.0.0.0 11434")
    try:
        assert listens(host, 11434) == ["0.0.0.0"]
        for words in ([], ["--check"]):
            played = host.play([PROXY], *words)
            assert (played.status, played.changed) == (2, 0), played.said
            assert "Port 11434 is open to the network" in played.said
            assert "lab-other.service" in played.said
        assert host.sh("systemctl is-active lab-other").strip() == "active"
    finally:
        host.sh("systemctl stop lab-other; systemctl start ollama.service")


ASK = """
import sys, http.client
connection = http.client.HTTPConnection("127.0.0.1", 11435)
connection.request("GET", "/v1/models", headers={"Authorization": "Bearer " + sys.stdin.read().strip()})
print(connection.getresponse().status)
"""
# At the moment between the look at the folder and the work on it, its owner puts a link to one of root's in its place.
RACE = """
import os, pathlib, sys
sys.path.insert(0, "/opt/collections")
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import working_on
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.write import write_record
make = pathlib.Path.mkdir
def flip(self, *args, **words):
    if self.name == ".nemoclaw":
        self.parent.joinpath(self.name).symlink_to("/opt/of-root")
    make(self, *args, **words)
pathlib.Path.mkdir = flip
path = "/home/racer/.nemoclaw/local-inference.json"
with working_on(path, find_account("racer")):
    write_record(path, {"model": "m"})
"""


def test_a_link_put_in_between_gains_nothing(host: lab_host.LabHost) -> None:
    """0.1.0 gave the folder behind the link to the user."""
    host.copy_code("/opt/collections")
    host.put("/opt/race.py", RACE)
    host.sh("useradd --create-home racer; mkdir -m 0755 /opt/of-root")
    assert "cannot be written" in host.sh("python3 /opt/race.py", fails=True)
    assert host.sh("stat -c '%U %a' /opt/of-root").strip() == "root 755"
    assert host.sh("ls -A /opt/of-root") == ""


def test_a_rotation_is_taken_by_the_proxy(host: lab_host.LabHost) -> None:
    """nginx reads its files anew, and the stamp of the unit says so: the next run of the role has nothing to tell it."""
    token = "/home/lab/.nemoclaw/ollama-proxy-token"
    before = host.sh(f"cat {token}")
    rotated = host.playbook("nemoclaw.local_inference.rotate_token", "-e", "nemoclaw_drop_previous_token=true")
    assert rotated.status == 0, rotated.said
    assert host.sh(f"cat {token}") != before
    host.put("/opt/ask.py", ASK)
    assert host.sh(f"python3 /opt/ask.py < {token}").strip() == "200"
    assert host.sh(f"echo {before.strip()} | python3 /opt/ask.py").strip() == "401"


def test_one_ordinary_user_becomes_another(host: lab_host.LabHost) -> None:
    """With Ansible's own default, and no ACLs on the host: 0.1.0 ended in Ansible's error about temporary files."""
    host.sh("id other || useradd --create-home other")
    shown = host.playbook("nemoclaw.local_inference.status", "-e", "nemoclaw_user=other", ANSIBLE_PIPELINING="false")
    assert (shown.status, "temporary files" in shown.said) == (2, False), shown.said
    assert "There is no route record /home/other/.nemoclaw/local-inference.json" in shown.said


WATCH = {"ansible.builtin.include_role": {"name": "nemoclaw.local_inference.watch"}}
NO_WATCH = {"ansible.builtin.include_role": {"name": "nemoclaw.local_inference.watch", "tasks_from": "absent"}}
METRICS = "/var/lib/prometheus/node-exporter/nemoclaw-watch.prom"


def wait_for(host: lab_host.LabHost, *conditions: str) -> None:
    """Wait until the metrics have all these lines, for the two minutes in which a dead engine has to show."""
    tests = " && ".join(f"grep -qE '^nemoclaw_inference_{one}$' {METRICS}" for one in conditions)
    host.sh(f"for i in $(seq 600); do {tests} && exit 0; sleep 0.2; done; cat {METRICS}; exit 1", limit_s=150)


def test_a_host_watches_itself(host: lab_host.LabHost) -> None:
    """A dead engine shows, one that left loopback closes the auth proxy, nothing of the token is written, and all of it goes again."""
    assert host.play([{"nemoclaw.local_inference.inference_route": ROUTE}]).status == 0
    folder = OVERRIDE.rpartition("/")[0]
    host.sh(f"rm -rf {folder} && systemctl daemon-reload && systemctl restart ollama.service && systemctl start {UNIT}")
    host.sh(f"mkdir -p {METRICS.rpartition('/')[0]}")
    before = host.sh(OWNERS)
    settings = {"watch_interval": 5, "watch_close_proxy": True}
    checked = host.play([WATCH], "--check", **settings)
    assert (checked.status, checked.changed, host.sh(OWNERS)) == (0, 1, before), checked.said
    played = host.play([WATCH], **settings)
    assert (played.status, played.changed) == (0, 1), played.said
    wait_for(host, "up.* 1", r'probe_success\{.*probe="completion"\} 1', r'probe_success\{.*probe="auth_proxy"\} 1')
    again = host.play([WATCH], **settings)
    assert (again.status, again.changed) == (0, 0), again.said
    for unit in ("nemoclaw-watch.service", "nemoclaw-watch-close.service"):
        rated = host.sh(f"systemd-analyze security --no-pager {unit} | tail -1")
        assert float(re.findall(r": (\d+\.\d)", rated)[0]) < 2, rated
    # Another user on another address of the engine's port is told, and closes nothing.
    host.sh(
        "useradd squatter && systemd-run --quiet --unit squatter --uid squatter python3 -m http.server -b $(hostname -i) 11434"
    )
    wait_for(host, r'probe_success\{.*probe="exposure"\} 0', "proxy_closed.* 0")
    assert host.sh(f"systemctl is-active {UNIT}").strip() == "active"
    host.sh("systemctl stop squatter && userdel squatter")
    host.sh("systemctl stop ollama.service")
    wait_for(host, "up.* 0", r'probe_success\{.*probe="backend"\} 0')
    assert "Inference:  unreachable" in host.sh("/usr/local/lib/nemoclaw-watch/watch.pyz status", fails=True)
    host.put(OVERRIDE, "[Service]\nEnvironment=OLLAMA_HOST=0.0.0.0:11434\n")
    host.sh("systemctl daemon-reload && systemctl start ollama.service")
    wait_for(host, "proxy_closed.* 1", r'probe_success\{.*probe="auth_proxy"\} 0')
    assert host.sh(f"systemctl is-active {UNIT}", fails=True).strip() == "inactive"
    # It stays closed when the engine is back, until somebody opens it.
    host.sh(f"rm -r {folder} && systemctl daemon-reload && systemctl restart ollama.service")
    wait_for(
        host, "proxy_closed.* 1", r'probe_success\{.*probe="backend"\} 1', r'probe_success\{.*probe="auth_proxy"\} 0'
    )
    host.sh(f"systemctl start {UNIT}")
    wait_for(host, "up.* 1", "proxy_closed.* 0")
    places = "/var/lib/nemoclaw-watch /etc/nemoclaw-watch.json /etc/systemd/system /run/lab-journal"
    host.sh("journalctl --output=export > /run/lab-journal")
    found = host.sh(f"grep -rlFf /home/lab/.nemoclaw/ollama-proxy-token {places}", fails=True)
    assert found == ""
    # By hand, and with it went what the removal looked for first.
    host.sh("rm /etc/nemoclaw-watch.json")
    for changed in (1, 0):
        removed = host.play([NO_WATCH])
        assert (removed.status, removed.changed) == (0, changed), removed.said
    assert set(host.sh(OWNERS).splitlines()) ^ set(before.splitlines()) == set()
    assert host.sh("systemctl list-units --all --plain --no-legend 'nemoclaw-watch*'").strip() == ""
