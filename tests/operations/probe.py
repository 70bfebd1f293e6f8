"""Ask the doctor and `/health/ready` whenever a line comes in, in a process with the settings of the clusters.

``python -m tests.operations.probe`` answers each line of its standard input by a line of JSON.
"""

from __future__ import annotations

import io
import json
import sys

import django


def main() -> None:
    """Answer until the input ends."""
    django.setup()
    from django.core.management import call_command
    from django.test import Client

    from csplaybooks import health

    # Both are to answer for the same moment.
    health.KEPT_SECONDS = 0.0
    for _ in sys.stdin:
        told = io.StringIO()
        status = 0
        try:
            call_command("csplaybooks_doctor", "--json", stdout=told)
        except SystemExit as ended:
            status = int(ended.code or 0)
        ready = Client().get("/health/ready")
        answer = {"exit": status, "report": json.loads(told.getvalue()), "ready": [ready.status_code, ready.json()]}
        print(json.dumps(answer), flush=True)  # noqa: T201 - its answer to the test


if __name__ == "__main__":
    main()
