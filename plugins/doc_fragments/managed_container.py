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
      - V(started) has the server answer with the model that is wanted. What differs is made anew; image and weights that are there
        are used.
      - V(stopped) frees the GPU. Container, image and weights stay, and it stays stopped over a reboot. A run that still starts the
        server, in the background perhaps, is ended, here and for V(restored) and V(absent).
      - V(restored) undoes a V(started) that was ready and did not do all the same. What O(keep_previous) kept takes its name and its place
        back; else O(instead_of) does where it was stopped for this one, and this one is stopped and kept. What serves then is started,
        and not waited for.
      - V(absent) removes the container. Image and weights stay.
    type: str
    choices: [started, stopped, restored, absent]
    default: started
  image:
    description:
      - The image to run, best by digest.
      - The default is the one of the host's profile.
    type: str
  port:
    description: Port of the host that the server is published on, on O(publish) only.
    type: int
    default: 8000
  publish:
    description:
      - Addresses of the host to publish the port on.
      - The default is V(127.0.0.1) and the gateway of the network that sandboxes are in (C(openshell-docker), else Docker's own
        bridge). V(127.0.0.1) is always among them, since this host asks the server. Published ports pass by ufw, so do not use
        V(0.0.0.0).
    type: list
    elements: str
    default: []
  gpus:
    description:
      - V(auto) takes the GPUs of the host's profile, which on a DGX Station are those named GB300.
      - V(all) takes all, V(none) none.
      - Else a list with commas of indices, UUIDs or parts of names.
    type: str
    default: auto
  share_gpus:
    description: Start although another container, or another process, holds a GPU that this one gets.
    type: bool
    default: false
  instead_of:
    description:
      - Another container of this collection, of whichever kind, that makes way for this one. Where it has the port or a GPU that this one
        gets, it is stopped just before this one starts, when image and weights are there. It is kept, and started again where this one
        fails.
      - A container of somebody else is never stopped or started.
    type: str
  keep_previous:
    description:
      - Whether the container that this one replaced is kept, stopped, once this one is ready. RV(ignore:previous) names it.
      - For callers that prove more than that the server is ready. They end with O(state=absent) for that name, or with O(state=restored).
    type: bool
    default: false
  environment:
    description: Further variables for the server. No secrets, since they show in a diff.
    type: dict
    default: {}
  allow_download:
    description: Whether an image or weights that are not on the host may be downloaded.
    type: bool
    default: true
  docker_host:
    description:
      - Where the engine is, as C(unix://PATH) or C(tcp://HOST:PORT) with an address of this host. Podman is not supported.
      - The default is E(DOCKER_HOST), then the first socket that answers.
    type: str
  wait_timeout:
    description:
      - Seconds without a sign of life, that is a new line in the server's log, after which it is given up. A line about a request is none,
        and once the server says that it serves, only another phase is one.
      - There is no limit on the whole time. A container that ends, or is restarted three times, is given up at once.
    type: int
    default: 900
  stall_timeout:
    description: Seconds without progress after which a pull or a download is given up. What came is kept.
    type: int
    default: 300
"""
