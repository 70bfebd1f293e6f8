"""The keys of verdicts, as addresses and runs have them."""

from __future__ import annotations

import pytest

from csplaybooks.playbooks.verdicts import Verdict


@pytest.mark.parametrize("key", ["outside", "failed:0:1", "held:onboarding", "cooling", "still_matching"])
def test_keys_are_read_back(key: str) -> None:
    assert Verdict.parse(key).key == key


@pytest.mark.parametrize(
    "key",
    [
        "",
        "failed",
        "failed:0",
        "failed:0:x",
        "failed:-1:0",
        "failed:٣:0",
        "held",
        "held:",
        "held:cooling",
        "fired:1",
        "no",
    ],
)
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="is no verdict"):
        Verdict.parse(key)
