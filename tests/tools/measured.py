"""A plugin of pytest: measures what the process reaches of the collection, and each process that pytest-xdist starts.

`coverage run` would measure the first process alone. Loaded with `-p`, so that it runs before anything of the collection is imported.
"""

from __future__ import annotations

import os

import coverage

_measuring = coverage.Coverage(
    data_file=os.environ["MEASURED_DATA"],
    data_suffix=True,
    config_file=False,
    include=["*/local_inference/plugins/*"],
)
_measuring.start()


def pytest_unconfigure() -> None:
    _measuring.stop()
    _measuring.save()
