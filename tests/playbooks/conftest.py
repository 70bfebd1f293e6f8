"""What the tests of playbooks share."""

from __future__ import annotations

import pytest

from csplaybooks.playbooks.acts.setup import set_up
from tests.playbooks.inputs import DAY, NOW


@pytest.fixture
def library(db: None) -> None:
    """The starter playbooks and the starter catalogue, for a month."""
    set_up(now=NOW - 30 * DAY, schedules=False)
