"""Where things are. All that the tests write lies under .cache/ and can be lost at any time."""

from __future__ import annotations

from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
CACHE = REPO / ".cache"
LOGS = CACHE / "test-logs"
LOCKS = CACHE / "locks"
VENVS = CACHE / "venvs"
TREES = CACHE / "tree"
HOME = CACHE / "home"
HOMES = CACHE / "homes"
COVERAGE = CACHE / "coverage"
MOLECULE = CACHE / "molecule"
PAYLOADS = CACHE / "payloads"
DIST = CACHE / "dist"
INSTALLED = CACHE / "installed"
REQUIREMENTS = REPO / "tests" / "requirements"
USER_HOME = Path.home()

COLLECTION = "nemoclaw.local_inference"
COLLECTION_FOLDER = Path("ansible_collections/nemoclaw/local_inference")
