# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The weights of a model in a Hugging Face cache: whether they are all there, how much is there, and how to remove them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ..containers.oneshot import Amount
from ..failure import Failure
from ..preconditions import cache_not_writable, why_closed
from ..untrusted import object_of, parse_json

DEFAULT_FOLDER = ".cache/huggingface"
_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf", "*.pt", "*.pth")
# Ours, beside the blobs while a download of ours is under way: it fetches several files at a time, so an index with all its shards
# may be there before the chat template is.
_UNDER_WAY = ".nemoclaw-download"


class Weights:
    """The files of one model in a cache, laid out as huggingface_hub does (its docs, "Understand caching").

    Args:
        cache_dir: What C(HF_HOME) is, by default C(~/.cache/huggingface).
        model: Full id, C(ORGANISATION/NAME).
        revision: Branch or commit.

    """

    def __init__(self, cache_dir: str, model: str, revision: str | None = None) -> None:
        self.cache_dir = Path(cache_dir)
        self.model = model
        self._revision = revision or "main"
        self.folder = self.cache_dir / "hub" / f"models--{model.replace('/', '--')}"
        self._mark = self.folder / _UNDER_WAY

    @property
    def complete(self) -> bool:
        """Whether a server that may not download would find all of them."""
        snapshot = self._snapshot()
        if snapshot is None or self._mark.exists() or any(self.folder.glob("blobs/*.incomplete")):
            return False
        for index in snapshot.glob("*.index.json"):
            try:
                shards = object_of(object_of(parse_json(index.read_bytes())).get("weight_map")).values()
            except (OSError, ValueError):
                return False
            if not all((snapshot / str(shard)).exists() for shard in shards):
                return False
        return (snapshot / "config.json").exists() and any(
            path.exists() for pattern in _WEIGHTS for path in snapshot.rglob(pattern)
        )

    @property
    def bytes(self) -> int:
        """Bytes that are there, unfinished files included."""
        return self.measure(None).done

    def measure(self, total: int | None) -> Amount:
        """Return how much is there, and when that last grew."""
        done, grew = 0, 0.0
        for path in self.folder.glob("blobs/*"):
            try:
                status = path.stat()
            except OSError:  # renamed meanwhile: it is complete now
                continue
            done, grew = done + status.st_size, max(grew, status.st_mtime)
        return Amount(done, total, grew)

    def prepare(self) -> None:
        """Make the folders, as the user who acts, and mark that a download is under way.

        Raises:
            Failure: C(cache_not_writable).

        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._mark.touch()
        except OSError as error:
            raise self._not_writable(str(error)) from error

    def require_writable(self) -> None:
        """Raise where the download would fail for want of rights: upstream's own set-up leaves a cache of root's behind.

        Raises:
            Failure: C(cache_not_writable).

        """
        for place in (self.folder / "blobs", self.folder, self.cache_dir / "hub", self.cache_dir):
            why = why_closed(place) if place.exists() else None
            if why:
                raise self._not_writable(why)

    def finish(self) -> None:
        """Take the mark away."""
        self._mark.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove all of them.

        Raises:
            Failure: C(cache_not_writable).

        """
        try:
            for folder in (self.folder, self.cache_dir / "hub" / ".locks" / self.folder.name):
                if folder.exists():
                    shutil.rmtree(folder)
        except OSError as error:
            raise self._not_writable(str(error)) from error

    def _snapshot(self) -> Path | None:
        snapshots = self.folder / "snapshots"
        try:
            commit = (self.folder / "refs" / self._revision).read_text(encoding="utf-8").strip()
        except OSError:
            commit = self._revision
        return snapshots / commit if commit and (snapshots / commit).is_dir() else None

    def _not_writable(self, why: str) -> Failure:
        return cache_not_writable(f"the weights of {self.model}", self.folder, self.cache_dir, os.geteuid(), why)
