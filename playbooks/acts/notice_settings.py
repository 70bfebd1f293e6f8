"""Acts on how members want to be told of things."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from csplaybooks.accounts.acts.rows import Table, change_row, make_row
from csplaybooks.playbooks.models import Notice, NoticeSettings

#: A notice that is written already goes the way that was settled then.
NOTICE_SETTINGS = Table(
    model=NoticeSettings,
    fields=("member", *Notice.Kind.values, "digest", "digest_minute"),
    fixed=("member",),
)


def add_notice_settings(*, values: Mapping[str, Any], now: datetime, actor: Any) -> NoticeSettings:
    """Say how a member wants to be told of things; see `make_row`."""
    return make_row(table=NOTICE_SETTINGS, values=values, now=now, actor=actor)


def change_notice_settings(
    *, settings_id: int, values: Mapping[str, Any], now: datetime, actor: Any, expected_version: int | None = None
) -> NoticeSettings:
    """Say it anew; see `change_row`."""
    return change_row(
        table=NOTICE_SETTINGS,
        row_id=settings_id,
        values=values,
        now=now,
        actor=actor,
        expected_version=expected_version,
    )


def have_settings(member_ids: Iterable[int], now: datetime) -> None:
    """Give members without settings a row that says what the defaults say. One query; nothing is told of it."""
    rows = [NoticeSettings(member_id=pk, updated_at=now) for pk in member_ids]
    NoticeSettings.objects.bulk_create(rows, ignore_conflicts=True, batch_size=500)
