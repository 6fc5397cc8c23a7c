"""Roll a model that leaks tool calls out to a hundred hosts in the default waves, and see what it did to each (docs/benchmarks.md).

  canary   what became of it, and how long its previous route did not answer: seconds in all, and since its proof failed (bar: 60)
  rest     modules that ran on the other 99, files and services that changed on them (bar: 0)
  plan     whether the hosts whose modules run are as before

    python tests/bench/rollout.py        after `bin/test tarball`; needs what `bin/test molecule` needs, and takes ten minutes

The canary is a host of its own, with systemd, Docker, the auth proxy and two models in vLLM's containers, where an image with llama.cpp
stands in for vLLM's. There is room for one of them, so its previous route really goes, and is asked all the while as a client does, over
the network and through the auth proxy. The other 99 are the addresses of a second such host: each with an ssh connection and a route
record, all with one vLLM and one auth proxy. On BENCH_REAL of them the modules run; what two cores have no room for is answered by a
stand-in for Python, with the recorded plan of one that was asked (fleet.py does the same). Both kinds write down that they were called.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "tools"))

from suite import containers, docker, environment, lab, paths, venvs
from suite.run import Run

HOSTS = int(os.environ.get("BENCH_HOSTS", "100"))
STARTED = time.monotonic()
# How many of the 99 run what they are sent.
REAL_HOSTS = int(os.environ.get("BENCH_REAL", "4"))
FORKS = 25  # as ansible.cfg of this repository has it
# Of molecule/fleet/prepare.yml: both get an image and the weights of the models `old` and `new`.
CANARY, REST = "vllm-1", "vllm-2"
GATE_PORT = 8001
RECORD = "local-inference.json"
FOLDER = "/opt/many"
# What takes the place of Python on these hosts: it lies in the folder of each, and says that it was called.
CALLED = f"""#!/bin/sh
echo "${{0%/*}}" >>{FOLDER}/calls
"""
REAL = f'{CALLED}exec /usr/bin/python3 "$@"\n'
ANSWERING = f"{CALLED}cat >/dev/null\ncat {FOLDER}/answer\n"
RECORDING = f"#!/bin/sh\n/usr/bin/python3 >{FOLDER}/answer\ncat {FOLDER}/answer\n"
# Every file of a host but logs, and each service and container with the run that it is in.
LOOK = """
find / -xdev -type f ! -path '/proc/*' ! -path '/sys/*' ! -path '/tmp/*' ! -path '/var/log/*' ! -path '/opt/many/calls' \
  ! -path '/opt/many/answer' -printf 'file %p %T@ %C@ %m %u %s\\n'
for unit in docker containerd nginx ssh nemoclaw-ollama-proxy; do echo "service $unit $(systemctl show --property=InvocationID $unit)"; done
docker ps --all --no-trunc --format 'container {{.Names}} {{.ID}}' | sort
docker ps --all --quiet | xargs -r docker inspect --format 'started {{.Name}} {{.State.StartedAt}}'
"""


def main() -> None:
    sys.stdout.reconfigure(line_buffering=True)
    log_path = paths.CACHE / "test-logs" / "rollout.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("w", encoding="utf-8") as log:
        run = Run("rollout", log)
        tools = venvs.venv(run, "tools")
        with lab.opened(run, tools, (CANARY, REST), image=docker.fleet_image(run)) as made:
            Fleet(run, made, tools).measure()


class Fleet:
    """A canary, and the other hosts, of which each is an address of one container."""

    def __init__(self, run: Run, made: lab.Lab, tools: Path) -> None:
        self.run = run
        self.lab = made
        self.program = tools / "ansible-playbook"
        self.names = [f"many-{number:03}" for number in range(1, HOSTS + 1)]
        self.canary, self.rest = self.names[0], self.names[1:]
        self.results = made.folder / "results.json"

    def measure(self) -> None:
        self.set_up()
        print(
            f"setup   {time.monotonic() - STARTED:.0f} s: {HOSTS} hosts, of which {1 + REAL_HOSTS} run what they are sent"
        )
        wish = ("--extra-vars", '{"nemoclaw_vllm_model": "new"}')
        # Some hosts may be refused, since all ask one Docker on a busy machine. A canary that fails is the end whatever this says.
        allowed = ("--extra-vars", "rollout_max_failures=10%")
        self.record(*wish)
        before = {host: self.look(host) for host in (CANARY, REST)}
        self.inside(REST, f": >{FOLDER}/calls; chmod 666 {FOLDER}/calls")
        with Client(self.address(CANARY), self.token()) as client:
            client.wait_for("lab/old")
            began = time.monotonic()
            status, lines = self.play("nemoclaw.local_inference.rollout", *wish, *allowed)
            ended = time.monotonic()
        states = self.states()
        print(f"rollout {ended - began:.0f} s, exit status {status}, {_counted(states)}")
        print(f"        {next((line for _when, line in lines if line.startswith('Stopped')), 'it was not stopped')}")
        self.show_canary(client, lines)
        self.show_rest(before)
        began = time.monotonic()
        status, _lines = self.play("nemoclaw.local_inference.plan", "--limit", ",".join(self.names[: 1 + REAL_HOSTS]))
        took = time.monotonic() - began
        print(
            f"plan    of those whose modules run, with the settings of before: {_counted(self.states())}, {took:.0f} s"
        )
        print(f"total   {time.monotonic() - STARTED:.0f} s")

    def show_canary(self, client: Client, lines: list[tuple[float, str]]) -> None:
        message = next(one["message"] for one in self.outcomes() if one["host"] == self.canary)
        print(f"canary  {' '.join(message.split())}")
        failed = next((when for when, line in lines if "tool_calls_leaked" in line), None)
        gone = [when for when, model in client.answers if model != "lab/old"]
        back = [when for when, model in client.answers if model == "lab/old" and gone and when > gone[-1]]
        if failed is None or not gone or not back:
            print(
                f"canary  its proof {'never failed' if failed is None else 'failed'}, its previous route was "
                f"{'away' if gone else 'never away'}{'' if back else ' and did not come back'}"
            )
            return
        meanwhile = sum(model == "lab/new" for _when, model in client.answers)
        print(
            f"canary  the previous route answers again {back[0] - failed:.1f} s after the proof failed (bar: 60); it was away for "
            f"{back[0] - gone[0]:.1f} s, and {meanwhile} of {len(client.answers)} requests were answered by the new model"
        )

    def show_rest(self, before: dict[str, set[str]]) -> None:
        called = Counter(self.inside(REST, f"cat {FOLDER}/calls").split())
        calls = "calls: " + ", ".join(f"{hosts} had {number}" for number, hosts in Counter(called.values()).items())
        print(f"rest    of {len(self.rest)} hosts {len(called)} were asked; remote module {calls}")
        for host in (CANARY, REST):
            differs = sorted({line.split()[1] for line in before[host] ^ self.look(host)})
            word = "canary" if host == CANARY else "rest"
            listed = ", ".join(differs[:12]) or "none"
            print(f"{word:<7} of {len(before[host])} files, services and containers {len(differs)} differ: {listed}")

    def set_up(self) -> None:
        """Make both hosts, give them the model `old`, and make the second of them all the others."""
        scenarios = TOP / "molecule"
        python = venvs.venv(self.run, "servers") / "python"
        from llama_server import cached_model

        weights = {name: cached_model(name, paths.CACHE / "models", str(python)) for name in ("good", "leaks")}
        given = {"lab_vllm": containers.vllm_image(self.run), "lab_weights": str(weights["good"])}
        self.must(scenarios / "default" / "create.yml")
        self.must(scenarios / "fleet" / "prepare.yml", "--extra-vars", json.dumps(given))
        leaking = "/home/lab/.cache/huggingface/hub/models--lab--new/snapshots/lab/model.gguf"
        for host in (CANARY, REST):
            subprocess.run(
                ["docker", "cp", "--quiet", weights["leaks"], f"{self.container(host)}:{leaking}"], check=True
            )
        scripts = {"recording": RECORDING, "real": REAL, "answering": ANSWERING}
        self.inside(REST, f"mkdir -p {FOLDER} && chmod 777 {FOLDER}")
        for name, script in scripts.items():
            self.inside(REST, f"cat >{FOLDER}/{name} && chmod 755 {FOLDER}/{name}", script)
        linked = [
            f"install -d -o lab {FOLDER}/{name} && ln {FOLDER}/{'answering' if number >= REAL_HOSTS else 'real'} {FOLDER}/{name}/python"
            for number, name in enumerate(self.rest)
        ]
        self.inside(REST, "\n".join(linked))
        self.write_inventory(given["lab_vllm"])
        first = self.rest[0]
        self.must("nemoclaw.local_inference.site", "--limit", f"{self.canary},{first}")
        # As if each of them had been set up: what a host has of its own is its record.
        self.inside(REST, "\n".join(f"cp -p {FOLDER}/{first}/{RECORD} {FOLDER}/{name}/" for name in self.rest[1:]))

    def record(self, *settings: str) -> None:
        """Have the stand-ins answer as the first of the other hosts answers with these settings."""
        recording = ("--extra-vars", f"ansible_python_interpreter={FOLDER}/recording")
        self.must("nemoclaw.local_inference.plan", "--limit", self.rest[0], *recording, *settings)

    def write_inventory(self, image: str) -> None:
        """Have the hosts of this fleet in the inventory, with what the second container needs to be many of them."""
        address = self.address(REST)
        # Addresses of its own for each run: the bridge remembers for a while whose the last ones were.
        network = f"{address.rsplit('.', 2)[0]}.{random.randint(100, 250)}"
        # One sshd stands for all of them, and by itself refuses more than ten that log in at once.
        self.inside(REST, "echo MaxStartups 200 >>/etc/ssh/sshd_config && systemctl reload ssh")
        numbers = range(1, len(self.rest) + 1)
        self.inside(REST, "\n".join(f"ip address add {network}.{number}/16 dev eth0" for number in numbers))
        hosts: dict[str, dict[str, str]] = {self.canary: {"ansible_host": self.address(CANARY)}}
        for number, name in zip(numbers, self.rest):
            hosts[name] = {
                "ansible_host": f"{network}.{number}",
                "ansible_python_interpreter": f"{FOLDER}/{name}/python",
                "nemoclaw_route_path": f"{FOLDER}/{name}/{RECORD}",
            }
        models = {
            name: {"model": f"lab/{name}", "max_model_len": 16384, "tool_call_parser": "hermes"}
            for name in ("old", "new")
        }
        settings = {
            "nemoclaw_provider": "install-vllm",
            "nemoclaw_experimental": True,
            "nemoclaw_vllm_model": "old",
            "vllm_models": models,
            "vllm_image": image,
            "vllm_gpus": "none",
            "vllm_gate_port": GATE_PORT,
            "vllm_allow_download": False,
            "sandbox_backend": "none",
            "rollout_state_path": f"{self.lab.folder}/rollout.json",
        }
        group = {"machines": {"children": {"many": {"hosts": hosts, "vars": settings}}}}
        (self.lab.folder / "inventory" / "many.json").write_text(json.dumps(group), encoding="utf-8")

    def must(self, *words: object) -> None:
        status, _lines = self.play(*words)
        if status:
            raise SystemExit(f"a play failed: look at {self.run.log.name}")

    def play(self, *words: object) -> tuple[int, list[tuple[float, str]]]:
        """Run a playbook on the fleet; return its exit status, and each line with when it came."""
        command = [self.program, "--inventory", self.lab.folder / "inventory", "--forks", FORKS]
        command += ["--vault-password-file", self.lab.folder / "vault-password", *words]
        command += ["--extra-vars", json.dumps({"nemoclaw_hosts": "many", "nemoclaw_results_path": str(self.results)})]
        own = {**environment.clean(), **self.lab.environment(self.program.parent), "ANSIBLE_VERBOSITY": "0"}
        own |= {
            "ANSIBLE_TIMEOUT": "120",
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_INJECT_FACT_VARS": "false",
            "ANSIBLE_NOCOLOR": "true",
        }
        own |= {
            "ANSIBLE_SSH_ARGS": "-C -o ControlMaster=auto -o ControlPersist=60s",
            "ANSIBLE_INTERNAL_POLL_INTERVAL": "0.01",
        }
        lines = []
        with subprocess.Popen(
            [str(word) for word in command], env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout
            for line in process.stdout:
                lines.append((time.monotonic(), line.rstrip()))
                self.run.say(line)
        return process.returncode, lines

    def outcomes(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = json.loads(self.results.read_text(encoding="utf-8"))["hosts"]
        return found

    def states(self) -> list[str]:
        return [one["state"] for one in self.outcomes()]

    def look(self, host: str) -> set[str]:
        return set(self.inside(host, LOOK).splitlines())

    def token(self) -> str:
        return self.inside(CANARY, "cat /home/lab/.nemoclaw/ollama-proxy-token").strip()

    def address(self, host: str) -> str:
        connection = self.lab.folder / "inventory" / "host_vars" / host / "connection.yml"
        found = re.search(r"ansible_host: (\S+)", connection.read_text(encoding="utf-8"))
        assert found
        return found[1]

    def container(self, host: str) -> str:
        return f"nemoclaw-molecule-{self.lab.run_id}-{host}"

    def inside(self, host: str, script: str, given: str = "") -> str:
        """Run a script on a host, as root."""
        command = ["docker", "exec", "--interactive", self.container(host), "sh", "-ec", script]
        return subprocess.run(command, input=given, check=True, capture_output=True, text=True).stdout


class Client:
    """Asks the canary through its auth proxy all the while, and keeps which model answered, and when."""

    def __init__(self, address: str, token: str) -> None:
        self.answers: list[tuple[float, str]] = []
        self._address = address
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask_on)

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def wait_for(self, model: str) -> None:
        until = time.monotonic() + 30
        while not self.answers or self.answers[-1][1] != model:
            if time.monotonic() > until:
                raise SystemExit(f"the canary never answered as {model}: {self.answers[-3:]}")
            time.sleep(0.1)

    def _ask_on(self) -> None:
        while not self._over.wait(0.25):
            try:
                model = self._ask()
            except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
                model = type(error).__name__
            self.answers.append((time.monotonic(), model))

    def _ask(self) -> str:
        """Return the model that has answered a completion."""
        connection = http.client.HTTPConnection(self._address, GATE_PORT, timeout=10)
        try:
            connection.request("GET", "/v1/models", headers=self._headers)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 200:
                return f"status {answer.status}"
            model: str = json.loads(said)["data"][0]["id"]
            asked = {"model": model, "max_tokens": 4, "messages": [{"role": "user", "content": "Say hello."}]}
            connection.request("POST", "/v1/chat/completions", json.dumps(asked), self._headers)
            answer = connection.getresponse()
            json.loads(answer.read())["choices"]
            return model
        finally:
            connection.close()


def _counted(states: list[str]) -> str:
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


if __name__ == "__main__":
    main()
