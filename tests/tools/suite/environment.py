"""The environment that every command of the tests runs in: the user's, less what would change the tests' answers."""

from __future__ import annotations

import os
import shutil

from . import paths

# Settings of the tools we run and the collection's own variables: a developer's shell must not decide a test.
_DROPPED_PREFIXES = ("ANSIBLE_", "COVERAGE_", "GALAXY_IMPORTER_", "MOLECULE_", "NEMOCLAW_", "PYTEST_", "PYTHON")
_DROPPED_NAMES = (
    "ANTHROPIC_API_KEY",
    "COMPATIBLE_ANTHROPIC_API_KEY",
    "COMPATIBLE_API_KEY",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "NGC_API_KEY",
    "NVIDIA_API_KEY",
    "NVIDIA_INFERENCE_API_KEY",
    "OPENAI_API_KEY",
    "PYENV_VERSION",
    "VIRTUAL_ENV",
)
_LOOPBACK = "127.0.0.1,localhost,::1"


def in_ci() -> bool:
    """CI=true turns every skip into a failure."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def clean() -> dict[str, str]:
    """Return the environment for a command; HOME is ours, so that ~/.ansible of the user neither helps nor suffers."""
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in _DROPPED_NAMES and not name.startswith(_DROPPED_PREFIXES)
    }
    no_proxy = ",".join(filter(None, [env.get("NO_PROXY") or env.get("no_proxy"), _LOOPBACK]))
    env.update(
        HOME=str(paths.HOME),
        LC_ALL="C.UTF-8",
        NO_COLOR="1",
        NO_PROXY=no_proxy,
        no_proxy=no_proxy,
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        # The checkout may belong to somebody else than who runs the tests; git then asks for this.
        GIT_CONFIG_COUNT="1",
        GIT_CONFIG_KEY_0="safe.directory",
        GIT_CONFIG_VALUE_0="*",
        # A local connection would look in the home of the passwd database, which is not ours.
        ANSIBLE_ASYNC_DIR=str(paths.HOME / ".ansible_async"),
    )
    env.setdefault("PIP_CACHE_DIR", str(paths.CACHE / "pip"))
    return env


def prepare_home() -> None:
    """Make our HOME, with the user's pip settings in it: ansible-test hands no PIP_* variable on to pip."""
    folder = paths.HOME / ".config" / "pip"
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        name[len("PIP_") :].lower().replace("_", "-"): value
        for name, value in os.environ.items()
        if name.startswith("PIP_") and name != "PIP_CONFIG_FILE"
    }
    settings.setdefault("cache-dir", str(paths.CACHE / "pip"))
    target = folder / "pip.conf"
    target.touch(mode=0o600)
    lines = [f"{name} = {value}" for name, value in sorted(settings.items())]
    target.write_text("\n".join(["[global]", *lines, ""]), encoding="utf-8")
    own = paths.USER_HOME / ".config" / "pip" / "pip.conf"
    older = paths.HOME / ".pip" / "pip.conf"  # read before the one above, so the variables win as they do in pip
    if own.is_file():
        older.parent.mkdir(exist_ok=True)
        shutil.copyfile(own, older)
