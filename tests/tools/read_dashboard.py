"""Has Grafana's own model of a dashboard read one, and says what it does not know: `read_dashboard.py DASHBOARD RULES`.

The model is what Grafana generates from its schemas (grafana-foundation-sdk); a field that it does not know is not there when it writes
the dashboard again. The queries become recording rules in the file RULES, since those promtool reads without a server.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def main() -> int:
    dashboard = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    queries = [target["expr"].replace("$host", ".*") for panel in dashboard["panels"] for target in panel["targets"]]
    rules = [{"record": f"dashboard:query_{number}", "expr": query} for number, query in enumerate(queries)]
    Path(sys.argv[2]).write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    register_default_plugins()
    lost = list(differences(dashboard, json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard))), ""))
    print("\n".join(lost))
    return 1 if lost else 0


def differences(ours: Any, theirs: Any, path: str) -> Iterator[str]:
    """Yield the path of each field of ours that is missing there, or has another value."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name, value in ours.items():
            yield from differences(value, theirs.get(name), f"{path}/{name}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs)):
            yield from differences(one, other, f"{path}/{number}")
    elif ours != theirs:
        yield path


if __name__ == "__main__":
    sys.exit(main())
