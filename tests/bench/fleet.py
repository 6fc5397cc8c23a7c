"""Measure what converged hosts cost beside a ping: one, sixteen and a hundred, with provider ollama behind its auth proxy
(docs/benchmarks.md).

  calls    remote module calls, task results and changes of a second run of site (bars: 2, 15, 0)
  wall     its wall time beside that of a play of one ping over the same connection, the two taking turns (bar: 2.5 times)
  16       CPU seconds of the controller for each of sixteen hosts, site and plan beside the ping play (bar: 1.6 times)
  100      the same for a hundred (bar: at most 10 % more for each host than of sixteen), and collect with its wall time (bar: 60 s)
  forks    CPU and wall time of site for a hundred hosts at 10, 25 and 50 forks, and the memory of the controller

    python tests/bench/fleet.py        after `bin/test tarball`; needs what `bin/test molecule` needs, and ends within five minutes

Both sides are measured in one run, in turn, and as often as the time allows (BENCH_RUNS at most). The answers of the one host come from
llama.cpp (tests/servers/ollama_front.py).

The many hosts are one container with many addresses, because a hundred would not fit a small machine: for the controller they are a
hundred, each with an ssh connection and a worker of its own. Were their modules to run as well, they would take its cores, and it would
wait for them a hundred times as long as for hosts of a fleet, which is not free either. So a stand-in for Python takes what the controller
sends, waits for as long as the one host took, and gives that host's recorded answer. A ping it answers at once.
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
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "tools"))

from suite import docker, environment, lab, paths, venvs
from suite.run import Run

RUNS = int(os.environ.get("BENCH_RUNS", "5"))
# Seconds for everything; what is left once the host is set up is shared by the two comparisons.
LIMIT_S = float(os.environ.get("BENCH_LIMIT", "180"))
STARTED = time.monotonic()
FLEETS = tuple(int(number) for number in os.environ.get("BENCH_FLEETS", "16,100").split(","))
# As ansible.cfg of this repository has it.
FORKS = 25
MORE_FORKS = (10, 25, 50)
HOST = "fleet"
# What the host has before there is any inference: a release of Ollama to install.
RELEASE = f"""- hosts: {HOST}
  gather_facts: false
  become: true
  tasks:
    - ansible.builtin.copy:
        src: "{{{{ lab_ollama_release }}}}"
        dest: /opt/ollama.tgz
        mode: "0644"
"""
# The name of the simulated hosts' group, and where their stand-in lies in the container.
MANY, STAND_IN = "many", "/opt/stand-in"

# Takes the place of Python: what is smaller than a plan's payload is a ping.
ANSWERING = """#!/bin/sh
[ "$(wc -c)" -gt 200000 ] || { echo '{"ping": "pong"}'; exit; }
sleep "$(cat /opt/stand-in/seconds)"
cat /opt/stand-in/answer
"""
# Runs the module, and keeps what it said and how long that took: a second and a half at most, since hosts are not slow because this machine
# is.
RECORDING = """#!/bin/sh
began=$(date +%s.%N)
/usr/bin/python3 >/opt/stand-in/answer
echo "$began $(date +%s.%N)" | awk '{took = $2 - $1; print took < 1.5 ? took : 1.5}' >/opt/stand-in/seconds
cat /opt/stand-in/answer
"""


def on_a_host(measure: Callable[[Plays], None]) -> None:
    """Measure the plays of a lab with one host."""
    sys.stdout.reconfigure(line_buffering=True)
    name = Path(sys.argv[0]).stem
    log_path = paths.CACHE / "test-logs" / f"{name}.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("w", encoding="utf-8") as log:
        run = Run(name, log)
        tools = venvs.venv(run, "tools")
        # The image has the packages that the roles install: nobody measures how long they take to come.
        with lab.opened(run, tools, (HOST,), image=docker.fleet_image(run)) as made:
            if not made.ollama:
                raise SystemExit(f"no real Ollama here: {run.counts.reasons}")
            measure(Plays(run, made, tools))


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

    def set_up(self) -> None:
        """Have the host, and local inference on it."""
        self.play(TOP / "molecule" / "default" / "create.yml")
        release = self.lab.folder / "release.yml"
        release.write_text(RELEASE, encoding="utf-8")
        self.play(release)
        self.site()

    def measure(self) -> None:
        self.set_up()
        said = self.site("lab", "-vvv")
        calls, recap = said.count("Using module file"), _recap(said)
        results = sum(recap[name] for name in ("ok", "skipped", "failed", "rescued", "ignored"))
        print(f"setup   {time.monotonic() - STARTED:.0f} s")
        print(f"calls   {calls} (bar: 2), {results} task results (bar: 15), changed={recap['changed']} (bar: 0)")
        wall, floor = in_turn((self.site, self.one_ping), time.perf_counter, _share(4))
        print(
            f"wall    site {_seconds(wall)}, ping {_seconds(floor)}: {_ratio(wall, floor):.2f} times (bar: 2.5), {len(wall)} runs"
        )
        self.simulate()
        self.ping.write_text(_ping(MANY), encoding="utf-8")
        each: dict[str, list[float]] = {}
        for hosts in FLEETS:
            each[f"{hosts}"] = self.compare(hosts)
        small, large = (statistics.median(one) for one in each.values())
        print(
            f"growth  CPU of site for each of {FLEETS[1]} hosts: {large / small:.2f} times that of {FLEETS[0]} (bar: 1.1)"
        )
        for forks in MORE_FORKS:
            used, began = _cpu_of_children(), time.perf_counter()
            with Memory() as memory:
                self.site(MANY, forks=forks)
            print(
                f"forks   {forks}: site for {FLEETS[1]} hosts {time.perf_counter() - began:.1f} s, CPU {_cpu_of_children() - used:.1f} s, "
                f"controller at most {memory.most_mib:.0f} MiB"
            )
        self.record("collect", "--extra-vars", f"collect_path={self.lab.folder}/report")
        used, began = _cpu_of_children(), time.perf_counter()
        self.collect(MANY)
        print(
            f"collect {FLEETS[1]} hosts in {time.perf_counter() - began:.1f} s (bar: 60), CPU {_cpu_of_children() - used:.1f} s; the look "
            f"of one takes {self.seconds()} s"
        )
        print(f"total   {time.monotonic() - STARTED:.0f} s (bar: 300)")

    def compare(self, hosts: int) -> list[float]:
        """Print what each of so many hosts costs, and return what site does."""
        limit = ("--limit", f"{MANY}[0:{hosts - 1}]")
        subjects = (lambda: self.site(MANY, *limit), lambda: self.plan(MANY, *limit), lambda: self.one_ping(*limit))
        site, plan, floor = (
            [seconds / hosts for seconds in one]
            for one in in_turn(subjects, _cpu_of_children, _share(3), RUNS if hosts < 50 else 1)
        )
        print(
            f"{hosts:<7} CPU for each of {hosts} hosts: site {_seconds(site)}, plan {_seconds(plan)}, ping {_seconds(floor)}: site "
            f"{_ratio(site, floor):.2f}, plan {_ratio(plan, floor):.2f} times (bar: 1.6), {len(site)} runs"
        )
        return site

    def site(self, hosts: str = "lab", *options: str, forks: int = FORKS) -> str:
        return self.ours("site", hosts, *options, forks=forks)

    def plan(self, hosts: str, *options: str) -> str:
        return self.ours("plan", hosts, *options)

    def collect(self, hosts: str) -> str:
        return self.ours("collect", hosts, "--extra-vars", f"collect_path={self.lab.folder}/report")

    def ours(self, playbook: str, hosts: str, *options: str, forks: int = FORKS) -> str:
        settings = ("--extra-vars", f"@{self.settings}", "--extra-vars", f"nemoclaw_hosts={hosts}")
        return self.play(f"nemoclaw.local_inference.{playbook}", *settings, *options, forks=forks)

    def one_ping(self, *options: str) -> str:
        return self.play(self.ping, *options)

    def play(self, *words: object, forks: int = FORKS) -> str:
        command = [self.program, "--inventory", self.lab.folder / "inventory", "--forks", str(forks), *words]
        own = {**environment.clean(), **self.lab.environment(self.program.parent), "ANSIBLE_VERBOSITY": "0"}
        own |= {"ANSIBLE_PIPELINING": "true", "ANSIBLE_INJECT_FACT_VARS": "false", "ANSIBLE_NOCOLOR": "true"}
        # A hundred logins at once on one container, beside other work: sudo may take longer than for a host of its own.
        own["ANSIBLE_TIMEOUT"] = "120"
        # Connections outlive the runs between two of the same hosts, also on a busy machine.
        own["ANSIBLE_SSH_ARGS"] = "-C -o ControlMaster=auto -o ControlPersist=300s"
        done = subprocess.run([str(word) for word in command], env=own, capture_output=True, text=True, check=False)
        self.run.say(done.stdout + done.stderr)
        if done.returncode:
            raise SystemExit(f"a play failed: look at {self.run.log.name}")
        return done.stdout

    def simulate(self) -> None:
        """Make the one container many hosts of the inventory, which answer as it does."""
        self.inside(f"mkdir -p {STAND_IN} && chmod 777 {STAND_IN} && rm -f {STAND_IN}/*")
        for name, script in (("answering", ANSWERING), ("recording", RECORDING)):
            self.inside(f"cat >{STAND_IN}/{name} && chmod 755 {STAND_IN}/{name}", script)
        self.record("site")
        connection = self.lab.folder / "inventory" / "host_vars" / HOST / "connection.yml"
        address = re.search(r"ansible_host: (\S+)", connection.read_text(encoding="utf-8"))[1]
        # Addresses of its own for each run: the bridge remembers for a while whose the last ones were.
        network = f"{address.rsplit('.', 2)[0]}.{random.randint(100, 250)}"
        names = range(1, max(FLEETS) + 1)
        # One sshd stands for all of them, and by itself refuses more than ten that log in at once.
        self.inside("echo MaxStartups 200 >>/etc/ssh/sshd_config && systemctl reload ssh")
        self.inside("\n".join(f"ip address add {network}.{number}/16 dev eth0" for number in names))
        hosts = {f"{MANY}-{number:03}": {"ansible_host": f"{network}.{number}"} for number in names}
        group = {"hosts": hosts, "vars": {"ansible_python_interpreter": f"{STAND_IN}/answering"}}
        # A group of the lab's, for its settings.
        more = {"lab": {"children": {MANY: group}}}
        (self.lab.folder / "inventory" / "many.json").write_text(json.dumps(more), encoding="utf-8")
        self.one_ping()

    def record(self, playbook: str, *options: str) -> None:
        """Have the stand-in answer as the one host answers this playbook."""
        recording = ("--extra-vars", f"ansible_python_interpreter={STAND_IN}/recording")
        self.ours(playbook, HOST, *recording, *options)

    def seconds(self) -> str:
        """Return how long the recorded look took."""
        return self.inside(f"cat {STAND_IN}/seconds").strip()

    def inside(self, script: str, given: str = "") -> str:
        """Run a script on the container, as root."""
        container = f"nemoclaw-molecule-{self.lab.run_id}-{HOST}"
        command = ["docker", "exec", "--interactive", container, "sh", "-ec", script]
        return subprocess.run(command, input=given, check=True, capture_output=True, text=True).stdout


class Memory:
    """The most memory that the processes of this one had together while the block ran: their shares of what they share."""

    def __init__(self) -> None:
        self.most_mib = 0.0
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch)

    def __enter__(self) -> Memory:
        self._watcher.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._over.wait(0.5):
            self.most_mib = max(self.most_mib, sum(map(_share_of_memory, _descendants(os.getpid()))) / 1024)


def _descendants(pid: int) -> list[int]:
    """Return the processes that a process started, and those that they did."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        try:
            children = [
                int(word)
                for task in Path(f"/proc/{one}/task").iterdir()
                for word in (task / "children").read_text().split()
            ]
        except OSError:
            continue  # It has ended.
        found += children
        waiting += children
    return found


def _share_of_memory(pid: int) -> int:
    """Return kilobytes."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    share = re.search(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)
    return int(share[1]) if share else 0


def in_turn(
    subjects: Sequence[Callable[[], object]], clock: Callable[[], float], until: float, runs: int = RUNS
) -> tuple[list[float], ...]:
    """Return what the clock said of each run of each subject, taken in turn; the last of them, the ping, opens the connections before.

    The runs end with C(runs), or where another round would not fit before C(until); one round counts in any case.
    """
    times: tuple[list[float], ...] = tuple([] for _subject in subjects)
    subjects[-1]()
    for _run in range(runs):
        began = time.monotonic()
        for call, seconds in zip(subjects, times):
            started = clock()
            call()
            seconds.append(clock() - started)
        if 2 * time.monotonic() - began > until:
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
    on_a_host(Plays.measure)
