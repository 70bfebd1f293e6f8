"""A site that tells its people by mail."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(autouse=True)
def by_mail(settings: Any) -> None:
    """Notices go by mail, with links."""
    settings.CSPLAYBOOKS = {
        "NOTICES_BY_MAIL": True,
        "SITE_URL": "https://growth.example.com/",
        "MAIL_FROM": "growth@vendor.example",
    }
