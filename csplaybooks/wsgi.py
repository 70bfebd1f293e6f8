"""The stand-alone site as a WSGI application; `csplaybooks.gunicorn_settings` tells how to serve it.

Nobody waits for a page for long, so here a statement has an end (``STATEMENT_TIMEOUT`` in `csplaybooks.settings`);
for commands and tasks, which may take their time, it has none.
"""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "csplaybooks.settings")
os.environ.setdefault("STATEMENT_TIMEOUT", "30")

application = get_wsgi_application()
