"""What the tests of operations share."""

from __future__ import annotations

import pytest

from csplaybooks import health


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test is told what another has found out; those of the keeping itself say otherwise."""
    monkeypatch.setattr(health, "KEPT_SECONDS", 0.0)
