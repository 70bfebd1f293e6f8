"""What the lower rooms tell the higher ones, and ask them, without knowing them."""

from __future__ import annotations

from django.dispatch import Signal as Hook

#: Sent inside the transaction that wrote rows which feed a trigger (a change or an intake batch). Receivers may only
#: arrange work for after the commit.
inputs_arrived = Hook()

#: Asked inside the transaction in which a team member (`member`) stops working. A receiver that cannot let them go
#: raises a ValidationError which says what has to be done first.
member_leaves = Hook()

#: Sent inside the transaction in which the working hours of team members (`members`, a set of ids) may have become
#: others: their time zone or who leads them is another.
hours_moved = Hook()

#: Sent inside the transaction in which signals or readings (`ids`, of the model that sends) are pruned, before they go.
events_go = Hook()

#: Sent inside the transaction in which the region of accounts (`accounts`, a set of ids) has become another.
regions_moved = Hook()

#: Asked inside the transaction in which rows of a catalogue (`rows`, of the model that sends) are deleted. A receiver
#: that still speaks of one by its key raises a ValidationError.
rows_go = Hook()
