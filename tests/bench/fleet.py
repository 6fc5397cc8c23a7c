"""Measure what a converged host costs beside a ping, one and sixteen, with provider ollama behind its auth proxy (docs/benchmarks.md).

  calls    remote module calls, task results and changes of a second run of site (bars: 2, 15, 0)
  wall     its wall time beside that of a play of one ping over the same connection, the two taking turns (bar: 2.5 times)
  fleet    CPU seconds of the controller for each of sixteen hosts beside those of the ping play (bar: 1.6 times)

    python tests/bench/fleet.py        after `bin/test tarball`; needs what `bin/test molecule` needs, and ends within five minutes

Both sides are measured in one run, in turn, and as often as the time allows (BENCH_RUNS at most). The sixteen hosts are one container with
sixteen addresses, because sixteen would not fit a small machine: for the controller they are sixteen, each with an ssh connection and
workers of its own. Their modules share the machine's cores with the controller, so only its CPU time is compared, not how long the
run takes. The answers come from llama.cpp (tests/servers/ollama_front.py).
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "tools"))

from suite import environment, lab, paths, venvs
from suite.run import Run

RUNS = int(os.environ.get("BENCH_RUNS", "5"))
# Seconds for everything; what is left once the host is set up is shared by the two comparisons.
LIMIT_S = float(os.environ.get("BENCH_LIMIT", "290"))
STARTED = time.monotonic()
FLEET = 16
# All of their modules run on one small machine: more at once would time out in their looks.
FORKS = int(os.environ.get("BENCH_FORKS", "4"))
HOST = "fleet"


def main() -> None:
    log_path = paths.CACHE / "test-logs" / "fleet.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("w", encoding="utf-8") as log:
        run = Run("fleet", log)
        tools = venvs.venv(run, "tools")
        with lab.opened(run, tools, (HOST,)) as made:
            if not made.ollama:
                raise SystemExit(f"no real Ollama here: {run.counts.reasons}")
            Plays(run, made, tools).measure()


class Plays:
    """The plays that are timed, on the hosts of a lab."""

    def __init__(self, run: Run, made: lab.Lab, tools: Path) -> None:
        self.run = run
        self.lab = made
        self.program = tools / "ansible-playbook"
        self.ping = made.folder / "ping.yml"
        self.ping.write_text(_ping(HOST), encoding="utf-8")
        self.settings = made.folder / "settings.json"
        self.settings.write_text(
            json.dumps(
                {
                    "nemoclaw_hosts": "lab",
                    "nemoclaw_yes": True,
                    "nemoclaw_model": "{{ lab_models.tools }}",
                    "ollama_version": "0.9.3",
                    "ollama_install_url": "/opt/ollama.tgz",
                    "ollama_install_checksum": "{{ lab_ollama_checksum }}",
                    "ollama_insecure_registry": True,
                }
            ),
            encoding="utf-8",
        )

    def measure(self) -> None:
        scenarios = TOP / "molecule"
        self.play(scenarios / "default" / "create.yml")
        self.play(scenarios / "ollama" / "prepare.yml")
        self.site()
        said = self.site("-vvv")
        calls, recap = said.count("Using module file"), _recap(said)
        results = sum(recap[name] for name in ("ok", "skipped", "failed", "rescued", "ignored"))
        print(f"setup   {time.monotonic() - STARTED:.0f} s")
        print(f"calls   {calls} (bar: 2), {results} task results (bar: 15), changed={recap['changed']} (bar: 0)")
        wall, floor = in_turn(self.site, self.one_ping, time.perf_counter, _share(2))
        print(
            f"wall    site {_seconds(wall)}, ping {_seconds(floor)}: {_ratio(wall, floor):.2f} times (bar: 2.5), {len(wall)} runs"
        )
        self.add_addresses()
        self.site()
        self.ping.write_text(_ping("lab"), encoding="utf-8")
        many, floor = in_turn(self.site, self.one_ping, _cpu_of_children, _share(1))
        each, base = ([seconds / FLEET for seconds in times] for times in (many, floor))
        print(
            f"fleet   CPU for each of {FLEET} hosts: site {_seconds(each)}, ping {_seconds(base)}: {_ratio(each, base):.2f} times "
            f"(bar: 1.6), {len(each)} runs"
        )
        print(f"total   {time.monotonic() - STARTED:.0f} s (bar: 300)")

    def site(self, *options: str) -> str:
        return self.play("nemoclaw.local_inference.site", "--extra-vars", f"@{self.settings}", *options)

    def one_ping(self) -> str:
        return self.play(self.ping)

    def play(self, *words: object) -> str:
        command = [self.program, "--inventory", self.lab.folder / "inventory", "--forks", str(FORKS), *words]
        own = {**environment.clean(), **self.lab.environment(self.program.parent), "ANSIBLE_VERBOSITY": "0"}
        own |= {"ANSIBLE_PIPELINING": "true", "ANSIBLE_INJECT_FACT_VARS": "false", "ANSIBLE_NOCOLOR": "true"}
        done = subprocess.run([str(word) for word in command], env=own, capture_output=True, text=True, check=False)
        self.run.say(done.stdout + done.stderr)
        if done.returncode:
            raise SystemExit(f"a play failed: look at {self.run.log.name}")
        return done.stdout

    def add_addresses(self) -> None:
        """Make the one container sixteen hosts of the inventory."""
        container = f"nemoclaw-molecule-{self.lab.run_id}-{HOST}"
        connection = self.lab.folder / "inventory" / "host_vars" / HOST / "connection.yml"
        address = re.search(r"ansible_host: (\S+)", connection.read_text(encoding="utf-8"))[1]
        # Addresses of its own for each run: the bridge remembers for a while whose the last ones were.
        network = f"{address.rsplit('.', 2)[0]}.{random.randint(100, 250)}"
        # One sshd stands for sixteen, and by itself refuses more than ten that log in at once.
        more_logins = "echo MaxStartups 100 >>/etc/ssh/sshd_config && systemctl reload ssh"
        subprocess.run(["docker", "exec", container, "sh", "-c", more_logins], check=True)
        hosts = {}
        for number in range(1, FLEET):
            own = f"{network}.{number}"
            subprocess.run(
                ["docker", "exec", container, "ip", "address", "add", f"{own}/16", "dev", "eth0"], check=True
            )
            hosts[f"{HOST}-{number}"] = {"ansible_host": own}
        more = {"lab": {"hosts": hosts}}
        (self.lab.folder / "inventory" / "fleet.json").write_text(json.dumps(more), encoding="utf-8")


def in_turn(
    subject: Callable[[], object], floor: Callable[[], object], clock: Callable[[], float], until: float
) -> tuple[list[float], list[float]]:
    """Return what the clock said of each run of both, taken alternately after one of each that does not count.

    The runs end with RUNS, or where another round would not fit before C(until); one round counts in any case.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for run in range(RUNS + 1):
        began = time.monotonic()
        for call, seconds in zip((subject, floor), times):
            started = clock()
            call()
            if run:
                seconds.append(clock() - started)
        if run and 2 * time.monotonic() - began > until:
            break
    return times


def _share(parts: int) -> float:
    """Return when a comparison has to end that may have one of so many parts of the time that is left."""
    now = time.monotonic()
    return now + max(STARTED + LIMIT_S - now, 0) / parts


def _ping(hosts: str) -> str:
    return f"- hosts: {hosts}\n  gather_facts: false\n  tasks:\n    - ansible.builtin.ping:\n"


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _recap(said: str) -> dict[str, int]:
    """Return the counts of the one host."""
    return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", said.rsplit("PLAY RECAP", 1)[1])}


def _ratio(subject: list[float], floor: list[float]) -> float:
    return statistics.median(subject) / statistics.median(floor)


def _seconds(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
