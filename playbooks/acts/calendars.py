"""The act that follows an edit of a calendar."""

from __future__ import annotations

from datetime import datetime

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import transaction

from csplaybooks.playbooks.business_time import CalendarError, HorizonExceeded, next_opening
from csplaybooks.playbooks.clockwork import calendar_value
from csplaybooks.playbooks.models import Calendar, Clock
from csplaybooks.playbooks.pokes import poke


def calendar_changed(*, calendar_id: int, now: datetime) -> int:
    """Check a calendar whose rows were just written, and have its ticking clocks recomputed; answers how many.

    Call it in the transaction that wrote the rows, so that a calendar that cannot be is rolled back with them.
    Raises Calendar.DoesNotExist, and ValidationError for rows that make no calendar (the field `zone` where the zone
    is at fault) or a calendar that never opens again after `now`: no promise made in its hours could run out.
    """
    with transaction.atomic():
        calendar = Calendar.objects.prefetch_related("blocks", "days").get(pk=calendar_id)
        try:
            next_opening(calendar_value(calendar), now)
        except CalendarError as error:
            at_fault = "zone" if error.item == "zone" else NON_FIELD_ERRORS
            said = error.problem if error.item in ("zone", "week") else str(error)
            raise ValidationError({at_fault: f"{said[0].upper()}{said[1:]}."}) from error
        except HorizonExceeded as error:
            raise ValidationError("This calendar never opens again.") from error
        stale = Clock.objects.ticking().filter(calendar=calendar).update(is_stale=True)
        if stale:
            poke("watch_clocks")
    return stale
