"""Plan a converged host a hundred times, and count the plans that find something to do (docs/benchmarks.md; bar: none).

    python tests/bench/drift.py        after `bin/test tarball`; needs what `bin/test molecule` needs

The host is that of fleet.py: Ollama behind its auth proxy, with answers that come from llama.cpp. Each plan looks at everything and asks
the model. That drift which is there is found is a matter of molecule/plan.
"""

from __future__ import annotations

import os
import re
import time

from fleet import HOST, Plays, on_a_host

PLANS = int(os.environ.get("BENCH_PLANS", "100"))
PLAY = f"""- hosts: {HOST}
  gather_facts: false
  tasks:
    - nemoclaw.local_inference.inference_plan:
      become: true
      register: planned
      loop: "{{{{ range({PLANS}) | list }}}}"
    - ansible.builtin.debug:
        msg: "found: {{{{ planned.results | rejectattr('converged') | map(attribute='lines') }}}}"
"""


def measure(plays: Plays) -> None:
    plays.set_up()
    play = plays.lab.folder / "plans.yml"
    play.write_text(PLAY, encoding="utf-8")
    began = time.monotonic()
    said = plays.play(play, "--extra-vars", f"@{plays.settings}")
    seconds = time.monotonic() - began
    found = re.findall(r"Steps:", said.rpartition("found: ")[2])
    print(
        f"drift   {len(found)} of {PLANS} plans of a converged host found something (bar: 0), {seconds / PLANS:.2f} s each"
    )
    if found:
        raise SystemExit(f"look at {plays.run.log.name}")


if __name__ == "__main__":
    on_a_host(measure)
