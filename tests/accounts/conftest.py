"""What the tests of the room `accounts` share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from csplaybooks.accounts import hooks


@pytest.fixture
def told() -> Iterator[list[str]]:
    """The kinds of inputs that the higher rooms were told of, one for each time."""
    kinds: list[str] = []

    def listen(sender: object, kind: str, **kwargs: object) -> None:
        kinds.append(kind)

    hooks.inputs_arrived.connect(listen)
    yield kinds
    hooks.inputs_arrived.disconnect(listen)
