"""What the host calls a signal."""

from __future__ import annotations

from django.db import models


class Signal(models.Model):
    """A traffic light."""

    colour = models.CharField(max_length=10)

    def __str__(self):
        return self.colour
