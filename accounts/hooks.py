"""What the lower rooms tell the higher ones, without knowing them."""

from __future__ import annotations

from django.dispatch import Signal as Hook

#: Sent inside the transaction that wrote rows which feed a trigger (a change or an intake batch). Receivers may only
#: arrange work for after the commit.
inputs_arrived = Hook()
