#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: inference_watch
version_added: "0.2.0"
short_description: Have a host monitor its own inference route, without Ansible
description:
  - Installs a systemd timer that repeats the checks of M(nemoclaw.local_inference.inference_status) on the server and the auth proxy as an
    unprivileged service, and writes the result, a short history and metrics for the node exporter.
  - The program is a single file that needs only Python 3.9 or newer and its standard library. The action plugin of the same name builds it
    from the collection's code, on the controller.
  - If O(close_proxy) is true, the auth proxy is stopped when the engine behind it has left loopback. The playbook C(site) starts it again.
  - The prerequisites on the host are checked before anything is written.
options:
  state:
    description: Whether the host has the watch. V(absent) removes its history as well.
    type: str
    choices: [present, absent]
    default: present
  user:
    description:
      - The owner of the inference setup; the service runs as this user. By default the user that the module runs as.
    type: str
  host:
    description:
      - The name by which the fleet knows the host, a label of its metrics. The action plugin passes C(inventory_hostname).
    type: str
  path:
    description: The route record. By default C(~/.nemoclaw/local-inference.json) of O(user).
    type: path
  token_path:
    description: The file with the token of the auth proxy. By default C(~/.nemoclaw/ollama-proxy-token) of O(user).
    type: path
  interval:
    description: Seconds between two checks, 5 or more. A dead server is noticed at the next one.
    type: int
    default: 60
  timeout:
    description: Time limit in seconds for a question to the model.
    type: int
    default: 60
  proof:
    description:
      - Whether to ask the model a question as well, every O(proof_interval) seconds. Without it, the server only has to answer and list the
        model.
      - An Ollama model that is not in memory is never asked, nor one that has had no other request since, so no question loads it or keeps
        it in memory.
    type: bool
    default: true
  proof_interval:
    description: Seconds between two questions to a model that answers. One that did not answer is asked at each check.
    type: int
    default: 600
  close_proxy:
    description: Whether the auth proxy is stopped when the engine behind it is open to the network.
    type: bool
    default: false
  textfile:
    description:
      - The folder of the node exporter's textfile collector, which gets a link to the metrics.
      - V(auto) is C(/var/lib/prometheus/node-exporter), the folder of Debian's and Ubuntu's package, if it exists. V(none) means none.
    type: str
    default: auto
  ca_path:
    description: File on the host with the certificates to trust instead of the system's. Not in a folder that O(user) cannot read.
    type: path
  validate_certs:
    description: Whether the server's certificate must be valid.
    type: bool
    default: true
  checksum:
    description: SHA-256 of the program, which the action plugin passes.
    type: str
  src:
    description: The program on the host, which the action plugin copies if it differs.
    type: path
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes
attributes:
  action:
    description: Has an action plugin of the same name, which builds the program on the controller.
    support: full
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - The contents of the settings and the units; for the program its checksum.
  idempotent:
    support: full
  action_group:
    support: full
    membership: [nemoclaw.local_inference.all]
notes:
  - It needs root (C(become)) if something must be changed.
seealso:
  - module: nemoclaw.local_inference.inference_status
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Have the host look every minute
  nemoclaw.local_inference.inference_watch:
    user: ada
  become: true

- name: Have it close the auth proxy as well, and never ask the model
  nemoclaw.local_inference.inference_watch:
    user: ada
    close_proxy: true
    proof: false
  become: true

- name: Remove it
  nemoclaw.local_inference.inference_watch:
    state: absent
  become: true
"""

RETURN = r"""
actions:
  description: What was done, or would be.
  returned: success
  type: list
  elements: str
  sample:
    - write /usr/local/lib/nemoclaw-watch/watch.pyz
    - start nemoclaw-watch.timer
reasons:
  description: Why, in words.
  returned: success
  type: list
  elements: str
  sample:
    - /usr/local/lib/nemoclaw-watch/watch.pyz is not there
program_needed:
  description: Whether the program must be copied first; the action plugin does so and runs the module again.
  returned: success
  type: bool
failure:
  description: What stopped it.
  returned: on failure
  type: dict
  contains:
    code:
      description: Stable name, listed in C(docs/failure-codes.md).
      type: str
      returned: always
      sample: systemd_missing
    message:
      description: The sentence, the same as C(msg).
      type: str
      returned: always
"""

import hashlib
from pathlib import Path
from typing import Any

from ..module_utils.base import create_module, fail
from ..module_utils.failure import Failure
from ..module_utils.host.machine import Machine, find_account
from ..module_utils.proxy.token import token_path
from ..module_utils.route.record import record_path
from ..module_utils.watch import layout
from ..module_utils.watch.compare import Difference, Host, checksum_of, compare, refuse
from ..module_utils.watch.install import install, leftovers, remove
from ..module_utils.watch.layout import WatchSettings

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "user": {"type": "str"},
    "host": {"type": "str"},
    "path": {"type": "path"},
    "token_path": {"type": "path"},
    "interval": {"type": "int", "default": 60},
    "timeout": {"type": "int", "default": 60},
    "proof": {"type": "bool", "default": True},
    "proof_interval": {"type": "int", "default": 600},
    "close_proxy": {"type": "bool", "default": False},
    "textfile": {"type": "str", "default": "auto"},
    "ca_path": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "checksum": {"type": "str"},
    "src": {"type": "path"},
}


class Watch:
    """Brings the watch of a host into its state: look, plan, apply."""

    def __init__(self, params: dict[str, Any], host: Host) -> None:
        self.params, self.host = params, host

    def absent(self, check_mode: bool) -> dict[str, Any]:
        """Remove it."""
        there = leftovers(self.host)
        if there and not check_mode:
            remove(self.host)
        return {
            "changed": bool(there),
            "actions": [f"remove {one}" for one in there],
            "reasons": [f"{one} is there" for one in there],
            "program_needed": False,
        }

    def present(self, check_mode: bool) -> dict[str, Any]:
        """Install it, or say that the program has to be brought first."""
        refuse(self.host)
        settings = self._settings()
        found = compare(self.host, settings, self.params["checksum"] or "")
        program = self._program()
        is_needed = program is None and any(one.what == layout.APP for one in found)
        diff = self._diff(found, settings)
        if found and not check_mode and not is_needed:
            install(self.host, settings, found, program)
        return {
            "changed": bool(found) and (check_mode or not is_needed),
            "actions": [f"{one.action} {one.what}" for one in found],
            "reasons": [one.reason for one in found],
            "program_needed": is_needed,
            "diff": diff,
        }

    def _settings(self) -> WatchSettings:
        values = self.params
        for name, least in (("interval", 5), ("timeout", 1), ("proof_interval", 1)):
            if values[name] < least:
                raise Failure(
                    "setting_invalid", f"The watch's {name} is {values[name]}, and it has to be {least} or more."
                )
        account = find_account(values["user"])
        return WatchSettings.of(
            {
                **values,
                "user": account.name,
                "home": account.home,
                "host": values["host"] or "",
                "record": values["path"] or record_path(account.home),
                "token": values["token_path"] or token_path(account.home),
                "textfile": layout.textfile_folder(self.host.machine, values["textfile"]),
                "ca_path": values["ca_path"] or "",
            }
        )

    def _program(self) -> bytes | None:
        if not self.params["src"]:
            return None
        content = Path(self.params["src"]).read_bytes()
        if hashlib.sha256(content).hexdigest() != self.params["checksum"]:
            raise Failure(
                "checksum_mismatch",
                f"The program of the watch came to {self.params['src']} with other bytes than the controller sent. Run this again.",
            )
        return content

    def _diff(self, found: list[Difference], settings: WatchSettings) -> list[dict[str, str]]:
        texts = layout.render_files(settings)
        before = {one.what: self.host.machine.read(one.what) or "" for one in found if one.what != layout.APP}
        if any(one.what == layout.APP for one in found):
            there = checksum_of(self.host, layout.APP)
            before[layout.APP] = f"sha256 {there}\n" if there else ""
            texts[layout.APP] = f"sha256 {self.params['checksum']}\n"
        return [
            {
                "before": before[one.what],
                "after": texts.get(one.what, ""),
                "before_header": one.what,
                "after_header": one.what,
            }
            for one in found
            if one.what in texts or (one.action == "remove" and one.what.startswith("/etc/"))
        ]


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    watch = Watch(module.params, Host.of(Machine()))
    try:
        result = (
            watch.present(module.check_mode) if module.params["state"] == "present" else watch.absent(module.check_mode)
        )
    except Failure as failure:
        fail(module, failure)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
