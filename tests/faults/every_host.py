# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host with systemd that can be set up with every provider, and what test_every.py breaks off on it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import lab_host
import llama_server
import model_registry
import ollama_front
import ollama_server
import payloads
from harness import INTERRUPT, KILL

CALLBACKS = Path(__file__).parent / "callback"
RECORD = "/home/lab/.nemoclaw/local-inference.json"
UNIT = "nemoclaw-ollama-proxy.service"
MODULE, CUT, CTRL_C, PLAY = f"module {KILL}", "ssh connection cut", f"play {INTERRUPT}", f"play {KILL}"
ENGINE, GATE = f"engine {KILL}", f"auth proxy {KILL}"
FULL, READ_ONLY, CLOCK = "home full", "home read-only", "clock a year ahead"
# Ansible hands a module to this interpreter, whose command line has nothing else. It is hit when it has run for the given seconds, and has
# used the given hundredths of a second of a CPU, which on a machine that is busy says more: they are what it takes to import what it needs.
STRIKE = """
command=$1 after=$2 used=${3:-0}
while test -e /run/armed; do
    if module=$(pgrep -fx /usr/bin/python3 | head -n 1) && test "$module"; then
        sleep "$after"
        while test -e /run/armed && read -r line 2> /dev/null < /proc/$module/stat; do
            set -- ${line##*) }
            test $((${12} + ${13})) -lt "$used" || break
            sleep 0.02
        done
        test -e /run/armed || exit 1
        sh -c "$command" > /dev/null 2>&1 && touch /run/hit && exit 0
        exit 1
    fi
    sleep 0.02
done
exit 1
"""
SSHD = "pkill -KILL -f '^sshd: lab'"
ON_HOST = {MODULE: "pkill -KILL -fx /usr/bin/python3", CUT: SSHD, GATE: f"systemctl kill -s KILL {UNIT}"}
# Where the controller is hit, its own process, and as in a terminal all that it has started; again where it waits (break_off.py).
AGAIN = "timeout 20 tail --pid=$5 -f /dev/null || { kill -INT -$5; timeout 20 tail --pid=$5 -f /dev/null || kill -KILL -$5; }"
ON_CONTROLLER = {CTRL_C: f"kill -INT -$5; {AGAIN}", PLAY: "kill -KILL $5"}
# What one would lose is what one has no more: the previous route cannot answer while its own engine or its auth proxy is down.
SERVES = """
import http.client, json, pathlib, urllib.parse
home = pathlib.Path("/home/lab/.nemoclaw")
try:
    route = json.loads((home / "local-inference.json").read_text())
except FileNotFoundError:
    raise SystemExit(print("null"))
def ask(where, path, headers, body=None):
    connection = http.client.HTTPConnection(where, timeout=60)
    try:
        connection.request("POST" if body else "GET", path, body and json.dumps(body), headers)
        return connection.getresponse().status
    except OSError as error:
        return type(error).__name__
    finally:
        connection.close()
url = urllib.parse.urlsplit(route["base_url_host"])
message = {"model": route["model"], "max_tokens": 8, "messages": [{"role": "user", "content": "hello"}]}
said = {"model": route["model"], "server": ask(url.netloc, url.path + "/chat/completions", {}, message)}
token = home / "ollama-proxy-token"
port = urllib.parse.urlsplit(route["base_url_sandbox"]).port
# One that was left behind an auth proxy has its token all the same.
if token.exists() and port != url.port:
    gate = "127.0.0.1:%d" % port
    said["with"] = ask(gate, "/v1/models", {"Authorization": "Bearer " + token.read_text().strip()})
    said["without"] = ask(gate, "/v1/models", {})
print(json.dumps(said))
"""
# What holds a GPU, or would again: our containers, with their states, and the models in Ollama's memory.
HOLDING = """
docker ps --all --filter name=nemoclaw --format '{{.Names}} {{.State}}' 2> /dev/null || true
test ! -e /usr/local/bin/ollama || ollama ps 2> /dev/null | sed -n '2,$s/^\\(\\S*\\).*/\\1 loaded/p'
"""
# A bare host again: what an administrator would do who knows nothing of the collection.
BARE = """
docker ps --all --quiet --filter name=nemoclaw | xargs --no-run-if-empty docker rm --force > /dev/null
systemctl disable --now nemoclaw-watch.timer nemoclaw-watch.service nemoclaw-ollama-proxy.service ollama.service 2> /dev/null || true
rm -rf /etc/systemd/system/nemoclaw* /etc/systemd/system/ollama* /etc/nemoclaw* /home/lab/.nemoclaw /home/lab/.cache/nim
rm -rf /usr/local/bin/ollama /usr/local/lib/ollama /usr/local/.nemoclaw* /usr/share/ollama /var/lib/nemoclaw* /usr/local/lib/nemoclaw-watch
rm -rf /home/lab/.ansible_async /home/lab/.ansible /root/.ansible_async
userdel ollama 2> /dev/null || true
systemctl unmask nginx.service 2> /dev/null
systemctl daemon-reload && systemctl reset-failed
"""
# What the host has of its own is copied, and which of our units run. Docker's own files are not: where it serves, a playbook does it again.
UNITS = f"ollama.service {UNIT} nemoclaw-watch.timer"
KEEP = f"""
place=/var/kept/$1
rm -rf "$place" && mkdir -p "$place" && cd /
for unit in {UNITS}; do systemctl is-active --quiet $unit && echo $unit; done > "$place/units" || true
there=$(ls -d usr/share/ollama var/lib/nemoclaw* 2> /dev/null || true)
tar -cf "$place/files" --one-file-system etc usr/local home/lab root $there 2> /dev/null || test $? = 1
"""
BACK = """
cd / && tar -xf "/var/kept/$1/files" --numeric-owner --exclude=etc/hosts --exclude=etc/hostname --exclude=etc/resolv.conf
systemctl daemon-reload
for unit in $(cat "/var/kept/$1/units"); do systemctl start $unit; done
! grep -q ollama.service "/var/kept/$1/units" || for i in $(seq 300); do ss -ltn | grep -q :11434 && break; sleep 0.1; done
"""
OPEN_OLLAMA = """
useradd --system --create-home --home-dir /usr/share/ollama --shell /bin/false ollama
tar -xzf /opt/ollama.tgz -C /usr/local
cat > /etc/systemd/system/ollama.service << END
[Service]
ExecStart=/usr/local/bin/ollama serve
User=ollama
Group=ollama
Restart=always
[Install]
WantedBy=default.target
END
mkdir -p /etc/systemd/system/ollama.service.d
printf '[Service]\\nEnvironment="OLLAMA_HOST=0.0.0.0:11434"\\n' > /etc/systemd/system/ollama.service.d/override.conf
systemctl daemon-reload && systemctl enable --now ollama.service
"""
CACHE = "/home/lab/.cache/huggingface/hub"
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


class Moment(NamedTuple):
    """When a module is hit: the seconds that it has run, and the hundredths of a second of a CPU that it has used."""

    after: float
    used: int


@dataclass(frozen=True)
class Provider:
    """How a host is set up with it, and what may be killed of it; C(other): what a switch changes."""

    settings: dict[str, Any]
    other: dict[str, Any]
    before: str = ""  # a script that makes the host what it is set up on
    engine: str = ""  # a command that kills the engine
    alive: str = ""  # a command that succeeds while it is there
    # A GPU has room for one model: a switch stops the one before. It is in a container, which copies of files do not bring back.
    is_exclusive: bool = False


@dataclass
class EveryHost:
    """The host, and its providers."""

    host: lab_host.LabHost
    providers: dict[str, Provider]
    notes: Path = field(init=False)

    def __post_init__(self) -> None:
        self.notes = self.host.folder / "notes"

    def play(self, playbook: str, settings: dict[str, Any], **environment: str) -> lab_host.Played:
        """Play a playbook to its end."""
        more = {**payloads.environment(CALLBACKS), "ANSIBLE_CALLBACKS_ENABLED": "break_off", **environment}
        # Else a host that is cut off takes minutes.
        more["ANSIBLE_SSH_RETRIES"] = "0"
        played = self.host.playbook(f"nemoclaw.local_inference.{playbook}", "-e", json.dumps(settings), **more)
        logging.info(
            "%s %s: status %s, changed %s", playbook, environment.get("FAULT_STEP", ""), played.status, played.changed
        )
        return played

    def well(self, playbook: str, settings: dict[str, Any], **environment: str) -> lab_host.Played:
        """Play it, and see that it ends well."""
        played = self.play(playbook, settings, **environment)
        assert played.status == 0, f"{playbook}: {played.said}"
        return played

    def changing(self, playbook: str, settings: dict[str, Any]) -> dict[str, float]:
        """Play it unbroken, and return the tasks that changed the host, with the seconds of each."""
        self.notes.unlink(missing_ok=True)
        self.well(playbook, settings, FAULT_NOTES=str(self.notes))
        noted = [json.loads(line) for line in self.notes.read_text(encoding="utf-8").splitlines()]
        return {name: seconds for name, seconds in noted if name}

    def broken_off(
        self, provider: Provider, playbook: str, settings: dict[str, Any], fault: str, task: str, moment: Moment
    ) -> tuple[bool, int]:
        """Play it with a fault in a task; return whether that hit what it was for, and the exit status."""
        self.host.sh("rm -f /run/hit")
        command = {**ON_HOST, ENGINE: provider.engine}.get(fault, "true")
        blow = ON_CONTROLLER.get(fault, "true")
        script = 'docker exec "$1" sh /opt/strike "$2" $3 && eval "$4"'
        when = f"{moment.after:.2f} {moment.used}"
        program = json.dumps(["sh", "-c", script, "strike", self.host.name, command, when, blow])
        # A task that is skipped, since the run before came to its end, is no reason to hit the next one.
        way = json.dumps(["docker", "exec", self.host.name])
        played = self.play(playbook, settings, FAULT_STEP=task, FAULT_PROGRAM=program, FAULT_HOST=way)
        # What ran when its session went is on its own, and ends; what waits for a controller that is no more gets to know it.
        self.host.sh(
            f"rm -f /run/armed; {SSHD} || true; while pgrep -fx /usr/bin/python3 > /dev/null; do sleep 0.05; done",
            limit_s=300,
        )
        is_hit = "hit" in self.host.sh("ls /run").split()
        assert is_hit or played.status == 0, f"the run itself fails: {played.said}"
        # What is hit and matters not, as a module that has just told its result, is no fault; what a run leaves to the next one is.
        is_hit = is_hit and (fault in (ENGINE, GATE) or played.status != 0 or "to_free" in self.record())
        logging.info("%s in %s after %s s: %s", fault, task, when, "hit" if is_hit else "nothing there")
        return is_hit, played.status

    @staticmethod
    def is_known(provider: Provider, fault: str) -> bool:
        """Tell whether a provider has what a fault is for; an engine that is somebody else's is not."""
        return fault not in (ENGINE, GATE) or bool(provider.engine)

    def is_there(self, provider: Provider, fault: str) -> bool:
        """Tell whether there is now what a fault is for."""
        asking = {GATE: f"systemctl is-active {UNIT}", ENGINE: provider.alive}.get(fault, "true")
        return not self.host.sh(f"{asking} > /dev/null || echo no", fails=True)

    def asked(self) -> dict[str, Any] | None:
        """Return what the route of the record answers, None without a record."""
        found: dict[str, Any] | None = json.loads(self.host.sh("python3 /opt/serves.py"))
        return found

    def record(self) -> dict[str, Any]:
        """Return the record, empty without one."""
        found: dict[str, Any] = json.loads(self.host.sh(f"cat {RECORD} 2> /dev/null || echo {{}}"))
        return found

    def left(self) -> list[str]:
        """Return what is there of a server that the record does not know of, or of a switch that is under way."""
        record = self.record()
        known = [record, *record.get("to_free", ())] if record else []
        found = [line.split() for line in self.host.sh(HOLDING).splitlines()]
        used = [one["container"] for one in known]
        used += [
            name for name, state in found if state == "loaded" and any("ollama" in one["provider"] for one in known)
        ]
        return [
            f"{name} is {state}"
            for name, state in found
            if name.endswith(("-previous", "-next")) or (state in ("running", "loaded") and name not in used)
        ]

    def bare(self) -> None:
        """Take everything away."""
        self.host.sh(BARE)

    def has(self, name: str) -> bool:
        """Tell whether there is a copy of this name."""
        return not self.host.sh(f"test -e /var/kept/{name}/files || echo no")

    def keep(self, name: str) -> None:
        """Copy what the host has now."""
        self.host.sh(f"set -- {name}\n{KEEP}")

    def back(self, name: str) -> None:
        """Have the host as it was when it was copied; its engine has its model in memory again."""
        self.host.sh(f"{BARE}\nset -- {name}\n{BACK}")
        self.asked()


def _ask_for(names: tuple[str, ...]) -> dict[str, str]:
    return {name: os.environ[name] for name in names}


@contextlib.contextmanager
def booted(folder: Path, only: str) -> Iterator[EveryHost]:
    """Have the host until the block ends, with what the chosen providers need."""
    environ = _ask_for(("LAB_FLEET_IMAGE", "LAB_VLLM_IMAGE", "LAB_NIM_IMAGE", "OLLAMA_TEST_HOME"))
    home = Path(environ["OLLAMA_TEST_HOME"])
    with contextlib.ExitStack() as stack:
        host = stack.enter_context(
            lab_host.booted(environ["LAB_FLEET_IMAGE"], folder, "--volume", f"{home}:/opt/ollama-test:ro")
        )
        host.put("/opt/strike", STRIKE)
        host.put("/opt/serves.py", SERVES)
        bridge = re.findall(r"default via (\S+)", host.sh("ip -4 route"))[0]
        one, other = (stack.enter_context(llama_server.serving(bind=bridge)) for _number in range(2))
        providers = {
            "custom": Provider(
                {"nemoclaw_provider": "custom", "nemoclaw_endpoint_url": one.base_url, "nemoclaw_model": "scripted"},
                {"nemoclaw_endpoint_url": other.base_url},
            )
        }
        if "ollama" in only:
            providers |= _ollama(stack, host, home, one)
        if "vllm" in only or "nim" in only:
            _bring_images(host, environ["LAB_VLLM_IMAGE"], environ["LAB_NIM_IMAGE"])
            providers |= _containers(environ["LAB_VLLM_IMAGE"], environ["LAB_NIM_IMAGE"])
        yield EveryHost(host, providers)


def _ollama(
    stack: contextlib.ExitStack, host: lab_host.LabHost, home: Path, generator: llama_server.Server
) -> dict[str, Provider]:
    registry = stack.enter_context(model_registry.serving())
    models = [registry.push(f"lab/{name}", "1b", padding=1_000_000) for name in ("tools", "other")]
    release = host.folder / "ollama.tgz"
    program = ollama_server.find_binary(home).relative_to(home)
    ollama_front.write_archive(release, program, generator.base_url, "none")
    subprocess.run(["docker", "cp", str(release), f"{host.name}:/opt/ollama.tgz"], check=True, capture_output=True)
    checksum = host.sh("sha256sum /opt/ollama.tgz").split()[0]
    _tunnel(stack, host, registry.port, registry.content.server_address[1])
    settings = {
        "nemoclaw_yes": True,
        "nemoclaw_model": models[0],
        "ollama_version": "0.9.3",
        "ollama_install_url": "/opt/ollama.tgz",
        "ollama_install_checksum": f"sha256:{checksum}",
        "ollama_insecure_registry": True,
        "watch_enabled": True,
    }
    other = {"nemoclaw_model": models[1]}
    kill, alive = "systemctl kill -s KILL ollama.service", "systemctl is-active ollama.service"
    return {
        "ollama": Provider({**settings, "nemoclaw_provider": "ollama"}, other, OPEN_OLLAMA, kill, alive),
        "install-ollama": Provider({**settings, "nemoclaw_provider": "install-ollama"}, other, "", kill, alive),
    }


def _tunnel(stack: contextlib.ExitStack, host: lab_host.LabHost, *ports: int) -> None:
    """A registry of this machine's loopback on the host's, by a session of somebody else's, which no fault cuts."""
    host.sh("useradd --create-home tunnel && cp -r /home/lab/.ssh /home/tunnel/ && chown -R tunnel: /home/tunnel/.ssh")
    words = ["ssh", "-N", "-i", str(host.folder / "key"), "-o", "StrictHostKeyChecking=no"]
    words += ["-o", f"UserKnownHostsFile={host.folder}/known_hosts_tunnel", "-o", "ExitOnForwardFailure=yes"]
    words += [f"-R127.0.0.1:{port}:127.0.0.1:{port}" for port in ports]
    running = subprocess.Popen([*words, f"tunnel@{host.address}"], stderr=subprocess.DEVNULL)
    stack.callback(running.wait)
    stack.callback(running.terminate)
    host.sh(f"for i in $(seq 100); do ss -ltn | grep -q :{ports[-1]} && exit; sleep 0.1; done; exit 1")


def _bring_images(host: lab_host.LabHost, vllm: str, nim: str) -> None:
    host.sh("systemctl start docker.service")
    saved = subprocess.Popen(["docker", "save", vllm, nim], stdout=subprocess.PIPE)
    load = ["docker", "exec", "--interactive", host.name, "docker", "load"]
    subprocess.run(load, stdin=saved.stdout, check=True, capture_output=True, timeout=300)
    saved.wait()
    host.sh(
        f"docker create --name recipe {nim} && docker commit --change 'ENV NIM_LAB_MODEL=nvidia/nemotron-3-nano' recipe other-nim"
    )
    host.sh("docker rm recipe")
    for name in ("scripted", "other"):
        place = f"{CACHE}/models--lab--{name}"
        host.sh(
            f"mkdir -p {place}/refs {place}/snapshots/lab && cd {place} && printf lab > refs/main && echo {{}} > snapshots/lab/config.json"
            f" && docker run --rm --entrypoint cat {nim} /opt/lab/model.gguf > snapshots/lab/model.gguf && chown -R lab: /home/lab/.cache"
        )


def _containers(vllm: str, nim: str) -> dict[str, Provider]:
    alive = "docker ps --quiet --filter name=nemoclaw | grep ."
    kill = "docker kill $(docker ps --quiet --filter name=nemoclaw) | grep ."
    models = {
        name: {"model": f"lab/{name}", "max_model_len": 16384, "tool_call_parser": "hermes"}
        for name in ("scripted", "other")
    }
    common = {"nemoclaw_experimental": True}
    return {
        "install-vllm": Provider(
            {
                **common,
                "nemoclaw_provider": "install-vllm",
                "nemoclaw_vllm_model": "scripted",
                "vllm_image": vllm,
                "vllm_gpus": "none",
                "vllm_models": models,
                "vllm_gate_port": 8001,
                "vllm_allow_download": False,
            },
            {"nemoclaw_vllm_model": "other"},
            engine=kill,
            alive=alive,
            is_exclusive=True,
        ),
        "nim": Provider(
            {
                **common,
                "nemoclaw_provider": "nim",
                "nim_model": "meta/llama-3.1-8b-instruct",
                "nim_image": nim,
                "nim_gpus": "none",
                "nim_gate_port": 8001,
                "nim_ngc_api_key": "a-key-of-the-lab",
            },
            {
                "nim_model": "nvidia/nemotron-3-nano",
                "nemoclaw_model": "nvidia/nemotron-3-nano",
                "nim_image": "other-nim",
            },
            engine=kill,
            alive=alive,
            is_exclusive=True,
        ),
    }
