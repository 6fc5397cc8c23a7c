# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The watch as one file: what it needs of module_utils, found by its imports, packed so that the same sources give the same bytes.

  python3 -m ansible_collections.nemoclaw.local_inference.plugins.plugin_utils.watch_app watch.pyz

writes it for a host that Ansible does not set up. Nothing is compressed: zlib's output differs between its builds, and two controllers
would exchange the file for ever. Python reads it faster so, too.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_COLLECTION = Path(__file__).resolve().parents[2]
_ENTRY = Path("watch/app.py")
_PACKAGE = "inference_watch"
_SHEBANG = b"#!/usr/bin/python3\n"
# The least that a zip archive can say.
_DATE = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16
_UNIX = 3
_IMPORT = re.compile(r"^ *from (\.+)([\w.]*) import (\([^)]*\)|.+)$", re.MULTILINE)

_MAIN = '''"""Made by the collection nemoclaw.local_inference: python3 watch.pyz --help."""
import sys

if sys.version_info < (3, 9):
    sys.exit("The watch needs Python 3.9 or newer, and this is %d.%d." % sys.version_info[:2])

from {package}.watch.app import main

sys.exit(main(sys.argv[1:], "nemoclaw-watch {version}, sources {checksum}"))
'''


class App(NamedTuple):
    """The file, its SHA-256, and what it says of itself."""

    content: bytes
    checksum: str
    version: str


def build(collection: Path = _COLLECTION) -> App:
    """Return the program of the watch."""
    utils = collection / "plugins" / "module_utils"
    texts = {f"{_PACKAGE}/{path.as_posix()}": (utils / path).read_text(encoding="utf-8") for path in needed(utils)}
    for name in list(texts):
        for folder in Path(name).parents[:-1]:
            texts.setdefault(f"{folder.as_posix()}/__init__.py", "")
    version = _version(collection)
    sources = hashlib.sha256("".join(f"{name}\0{texts[name]}\0" for name in sorted(texts)).encode()).hexdigest()
    texts["__main__.py"] = _MAIN.format(package=_PACKAGE, version=version, checksum=sources[:12])
    packed = io.BytesIO()
    packed.write(_SHEBANG)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_STORED) as archive:
        for name in sorted(texts):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.external_attr, entry.create_system = _MODE, _UNIX
            archive.writestr(entry, texts[name])
    content = packed.getvalue()
    return App(content, hashlib.sha256(content).hexdigest(), f"{version}, sources {sources[:12]}")


def needed(utils: Path) -> list[Path]:
    """Return the files of module_utils that the watch imports, directly or not, also where a function does."""
    found: set[Path] = set()
    waiting = [_ENTRY]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imports(utils, path)
    return sorted(found)


def _imports(utils: Path, path: Path) -> Iterator[Path]:
    # A syntax tree would take ten times as long, for each host of a fleet.
    for dots, module, names in _IMPORT.findall((utils / path).read_text(encoding="utf-8")):
        home = path.parents[len(dots) - 1].joinpath(*module.split("."))
        if (utils / home).with_suffix(".py").is_file():
            yield home.with_suffix(".py")
        else:
            yield from (home / f"{name}.py" for name in re.findall(r"\w+", names))


def _version(collection: Path) -> str:
    """Return the version of the collection: an installed one has a manifest, a clone the file that it is made of."""
    manifest = collection / "MANIFEST.json"
    if manifest.is_file():
        return str(json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])
    found = re.search(r"^version: *(\S+)", (collection / "galaxy.yml").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else "unknown"


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(build().content)
