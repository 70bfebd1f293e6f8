"""How gunicorn serves the stand-alone site.

``gunicorn --config python:csplaybooks.gunicorn_settings csplaybooks.wsgi``

What differs between machines comes from the environment; gunicorn's own options, and its ``GUNICORN_CMD_ARGS``, stand
above all of this.

``BIND``
    Where to listen: ``ADDRESS:PORT`` or ``unix:FILE``. Default: ``127.0.0.1:8000``, this machine only.
``WEB_PROCESSES``, ``WEB_THREADS``
    Processes, and requests that each of them serves at once. Default: 2 and 4. Each thread keeps a database connection.
    Where the first is not set, gunicorn's own ``WEB_CONCURRENCY`` counts.
``FORWARDED_ALLOW_IPS``
    Whose ``X-Forwarded-Proto`` gunicorn believes. Default: a proxy on this machine.
"""

from __future__ import annotations

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def _count(variable: str, default: int) -> int:
    """A whole number from 1 on from the environment. Raises ImproperlyConfigured for anything else."""
    text = os.environ.get(variable) or str(default)
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ImproperlyConfigured(f"{variable} is {text!r}; it must be a whole number from 1 on.")
    return int(text)


# gunicorn's own default listens on all addresses as soon as somebody sets PORT.
bind = os.environ.get("BIND") or "127.0.0.1:8000"
# Some hosters set the second. It is not the one that we ask people for: gunicorn reads it before us, and where it is no
# number ends with a traceback that does not name it.
workers = _count("WEB_PROCESSES", _count("WEB_CONCURRENCY", 2))
worker_class = "gthread"
threads = _count("WEB_THREADS", 4)

# A process that gives no sign of life for so long is killed. It gives them while its threads work, so this is no limit
# to a request; statements have one of their own.
timeout = 30
# What a request in hand is given when the server is to end: as long as a statement may take.
graceful_timeout = 35
# Longer than the proxies in use keep an idle connection, so that it is they who close it: 60 seconds with most.
keepalive = 65

# Whatever leaks is given back in time, and not by all processes at once.
max_requests = 10_000
max_requests_jitter = 1_000

# The sign of life is a file that is touched: on a disk that is busy it would come too late.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - gunicorn makes the name safely
# From 25 on gunicorn makes one socket for all servers of a user: those of a machine would take it from each other.
control_socket_disable = True
# Faults are in the site's own log; who wants the requests, too, says --access-logfile -.
accesslog = None
