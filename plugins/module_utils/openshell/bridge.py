# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""From the network of the sandboxes to a port: an image to probe from, and a container that opens a connection."""

from __future__ import annotations

import io
import re
import secrets
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from ..host.machine import Account, Machine
from .network import CALL_LIMIT_S, Docker, Network, Unavailable, find_docker, words_of

_PULL_LIMIT_S = 120.0
# What a sandbox calls the gateway's machine (upstream-facts O8).
SANDBOX_NAMES = ("host.openshell.internal", "host.docker.internal")
# The image that is made of the host's own busybox where no other can be had.
OWN_IMAGE = "nemoclaw-local-inference/probe:2"
_APPLETS = ("sh", "nc", "timeout", "true")
_NAME_TROUBLE = re.compile(
    r"bad address|could not resolve|not known|name resolution|Name does not resolve", re.IGNORECASE
)

# $1 host, $2 port, $3 seconds, $4 what to GET over HTTP or nothing. Some netcats know no -z (Debian's busybox); the sandbox's
# own image has bash and no netcat.
_SCRIPT = """
request="GET $4 HTTP/1.0\\r\\nHost: $1:$2\\r\\nConnection: close\\r\\n\\r\\n"
judge() {
  [ -n "$1" ] || exit 0
  case $2 in HTTP/1.*) echo "nemoclaw-answer: $2"; exit 0 ;; esac
  echo "nemoclaw-probe: it takes connections and gives no HTTP answer to GET $1" >&2
  exit 1
}
if command -v nc >/dev/null 2>&1; then
  limit=
  command -v timeout >/dev/null 2>&1 && limit="timeout $3"
  fetch() { [ -z "$4" ] || printf "$request" | $limit nc -w "$3" "$1" "$2" 2>/dev/null; }
  said=$(nc -z -w "$3" "$1" "$2" 2>&1 </dev/null) && judge "$4" "$(fetch "$@")"
  case $said in
    *invalid\\ option*|*unrecognized\\ option*|*sage:*)
      said=$(nc -w "$3" "$1" "$2" -e /bin/true 2>&1 </dev/null) && judge "$4" "$(fetch "$@")" ;;
  esac
elif command -v bash >/dev/null 2>&1; then
  talk='exec 3<>"/dev/tcp/$0/$1" && { [ -z "$2" ] || { printf "$3" >&3; cat <&3; }; }'
  said=$(timeout "$3" bash -c "$talk" "$1" "$2" "$4" "$request" 2>&1 </dev/null) && judge "$4" "$said"
  said=${said:-timed out}
else
  echo "the image has neither nc nor bash" >&2
  exit 126
fi
# netcat-openbsd says nothing of a closed port.
echo "nemoclaw-probe: ${said:-the connection was refused, or nothing came back}" >&2
exit 1
"""
# What the script says of a closed way: a container that never got to it may end with 1 as well.
_CLOSED = "nemoclaw-probe: "
_HTTP_STATUS = re.compile(r"nemoclaw-answer: HTTP/1\.\d (\d{3})")


@dataclass(frozen=True)
class Answer:
    """What the container said: open, with the HTTP status where it was to ask for something, or closed with its words."""

    open: bool
    said: str = ""
    status: int | None = None


@dataclass
class Prober(Docker):
    """The docker command, to probe from a container. added_image: whether one was pulled or made for it."""

    added_image: bool = field(default=False)

    def have_image(self, image: str, busybox: str | None, check_mode: bool) -> str:
        """Return an image to probe from: the one asked for or one made earlier, else pulled, else made of the host's busybox.

        Raises:
            Unavailable: None can be had; in check mode, none is there.

        """
        for present in (image, OWN_IMAGE):
            if self._inspect("image", present) is not None:
                return present
        if check_mode:
            raise Unavailable(f"the image {image} is not there, and check mode gets none")
        pulled = self._run(["pull", "--quiet", image], _PULL_LIMIT_S)
        if pulled.code == 0:
            self.added_image = True
            return image
        program = busybox or self.machine.find_command("busybox")
        if program is None:
            raise Unavailable(
                f"the image {image} is not there and cannot be pulled ({words_of(pulled)}), and the host has no busybox to make one "
                "of. Name an image that the host has (one with nc, or with bash, such as the sandbox's own), or install the "
                "package busybox-static"
            )
        self._import(program)
        self.added_image = True
        return OWN_IMAGE

    def open(self, image: str, network: Network, host: str, port: int, limit_s: int, path: str = "") -> Answer:
        """Open a TCP connection from a new container and say whether that worked. The container is gone afterwards.

        With C(path), ask for it over HTTP as well: any status counts.

        Raises:
            Unavailable: The container did not run, or it could not resolve the host's name.

        """
        name = f"nemoclaw-probe-{secrets.token_hex(6)}"
        aliases = [word for alias in SANDBOX_NAMES for word in ("--add-host", f"{alias}:{network.alias}")]
        confined = ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only"]
        words = [
            "run",
            "--rm",
            "--name",
            name,
            "--network",
            network.name,
            *aliases,
            *confined,
            "--entrypoint",
            "sh",
            image,
        ]
        arguments = ["-c", _SCRIPT, "probe", host, str(port), str(limit_s), path]
        ended = self._run([*words, *arguments], limit_s * 3 + CALL_LIMIT_S)
        if ended.code is None:
            self._run(["rm", "--force", name])
        if ended.code == 0:
            status = _HTTP_STATUS.search(ended.output)
            return Answer(True, status=int(status[1]) if status else None)
        said = words_of(ended)
        if ended.code != 1 or _CLOSED not in said:
            if image == OWN_IMAGE:
                # Made of a busybox that does not run by itself: kept, it would be found again.
                self._run(["rmi", "--force", OWN_IMAGE])
                self.added_image = False
            raise Unavailable(f"a container of the image {image} did not run on the network {network.name}: {said}")
        said = said.partition(_CLOSED)[2]
        if _NAME_TROUBLE.search(said):
            raise Unavailable(f"the name {host} does not resolve in a container of the network {network.name}: {said}")
        return Answer(False, said)

    def _import(self, program: str) -> None:
        """Make the image of a busybox that needs no libraries."""
        with tempfile.NamedTemporaryFile(prefix="nemoclaw-probe-", suffix=".tar") as file:
            with tarfile.open(fileobj=file, mode="w") as archive:
                # Without an entry of its own the folder is closed to a container without capabilities, in some engines.
                folder = tarfile.TarInfo("bin")
                folder.type, folder.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(folder)
                content = Path(program).read_bytes()
                entry = tarfile.TarInfo("bin/busybox")
                entry.size, entry.mode = len(content), 0o755
                archive.addfile(entry, io.BytesIO(content))
                for applet in _APPLETS:
                    link = tarfile.TarInfo(f"bin/{applet}")
                    link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                    archive.addfile(link)
            file.flush()
            # The docker command may run as another user.
            Path(file.name).chmod(0o644)
            made = self._run(["import", file.name, OWN_IMAGE], _PULL_LIMIT_S)
        if made.code != 0:
            raise Unavailable(f"no image could be made of {program}: {words_of(made)}")


def find_prober(machine: Machine, account: Account) -> Prober:
    """Return the docker command with an engine that answers to this user.

    Raises:
        Unavailable: There is none, or it does not answer.

    """
    found = find_docker(machine, account)
    return Prober(machine, account, found.path, found.system)
