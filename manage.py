#!/usr/bin/env python
"""Django's command line for the stand-alone site."""

from __future__ import annotations

import os
import sys

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "csplaybooks.settings")
    try:
        if not any(argument.startswith("--settings") for argument in sys.argv):
            # Read at once: some commands, such as shell, would begin without them.
            _ = settings.INSTALLED_APPS
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        # Settings that cannot be read need a sentence, and no traceback; later errors are not of their making.
        if settings.configured:
            raise
        sys.exit(str(error))
