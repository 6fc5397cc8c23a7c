# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that manage a container with a model server."""

from __future__ import annotations


class ModuleDocFragment:
    """See plugins/module_utils/base.py, CONTAINER_OPTIONS, for the same as code."""

    DOCUMENTATION = r"""
options:
  state:
    description:
      - V(started) ensures that the server answers with the requested model. A container that differs is created again; an existing image
        and weights are used.
      - V(stopped) frees the GPU. Container, image and weights stay, and the container stays stopped across reboots. A run that is still
        starting the server, perhaps in the background, is ended first, as it is for V(restored) and V(absent).
      - V(restored) undoes a V(started) whose server was ready but later failed validation. The container that O(keep_previous) kept gets
        its name and its place back; otherwise O(instead_of) does, if it was stopped for this one, and this one is stopped but not removed.
        The restored server is started, and not waited for.
      - V(absent) removes the container. Image and weights stay.
    type: str
    choices: [started, stopped, restored, absent]
    default: started
  image:
    description:
      - The image to run, preferably by digest.
      - The default is the one of the host's profile.
    type: str
  port:
    description: Port of the host that the server is published on, on O(publish) only.
    type: int
    default: 8000
  publish:
    description:
      - Addresses of the host to publish the port on.
      - The default is V(127.0.0.1) and the gateway of the network that sandboxes are in (C(openshell-docker), else Docker's own bridge).
        V(127.0.0.1) is always among them, since this host queries the server. Published ports bypass ufw, so do not use V(0.0.0.0).
    type: list
    elements: str
    default: []
  gpus:
    description:
      - V(auto) takes the GPUs of the host's profile, which on a DGX Station are those named GB300.
      - V(all) uses all of them, V(none) none.
      - Otherwise a comma-separated list of indices, UUIDs or parts of names.
    type: str
    default: auto
  share_gpus:
    description: Start even if another container or process holds a GPU that this one gets.
    type: bool
    default: false
  instead_of:
    description:
      - Another container of this collection, of any kind, that makes room for this one. If it holds the port or a GPU that this one gets,
        it is stopped just before this one starts, once image and weights are there. It is not removed, and is started again if this one
        fails.
      - A container that does not belong to the collection is never stopped or started.
    type: str
  keep_previous:
    description:
      - Whether the container that this one replaced is kept, stopped, once this one is ready. RV(ignore:previous) names it.
      - For callers that prove more than readiness. They finish with O(state=absent) for that name, or with O(state=restored).
    type: bool
    default: false
  environment:
    description: Additional variables for the server. No secrets, since they appear in diffs.
    type: dict
    default: {}
  allow_download:
    description: Whether an image or weights that are not on the host may be downloaded.
    type: bool
    default: true
  docker_host:
    description:
      - Address of the engine, as C(unix://PATH) or C(tcp://HOST:PORT) with an address of this host. Podman is not supported.
      - The default is E(DOCKER_HOST), then the first socket that answers.
    type: str
  wait_timeout:
    description:
      - Seconds without a sign of life, that is a new line in the server's log, after which the server is given up. A line about a request
        does not count, and once the server reports that it serves, only another phase does.
      - The total time is not limited. A container that exits, or is restarted three times, is given up at once.
    type: int
    default: 900
  stall_timeout:
    description: Seconds without progress after which a pull or a download is abandoned. The downloaded part is kept.
    type: int
    default: 300
"""
