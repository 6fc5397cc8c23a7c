"""Waits until the controller has seen the first proof of each host, and then breaks them: `between_proofs.py STATE HOST COMMAND ...`."""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

STATE, COMMANDS = Path(sys.argv[1]), dict(zip(sys.argv[2::2], sys.argv[3::2]))


def read():
    found = json.loads(STATE.read_text())
    return found["id"], {host: one["state"] for host, one in found["hosts"].items()}


before, _states = read()
deadline = time.monotonic() + 200
while True:
    rollout, states = read()
    if rollout != before and {states[host] for host in COMMANDS} == {"changed"}:
        break
    if time.monotonic() > deadline:
        sys.exit(f"they were never set up: {states}")
    time.sleep(0.05)
broken = [subprocess.Popen(shlex.split(command)) for command in COMMANDS.values()]
sys.exit(max(process.wait(60) for process in broken))
