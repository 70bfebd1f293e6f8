"""Pages of the stand-alone site for what went wrong."""

from __future__ import annotations

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.views import defaults

_DATABASE_AWAY = """
<!doctype html>
<html lang="en">
<head>
  <title>Service Unavailable (503)</title>
</head>
<body>
  <h1>Service Unavailable (503)</h1><p>The database cannot be reached at the moment. Please try again soon.</p>
</body>
</html>
"""


def server_error(request: HttpRequest) -> HttpResponse:
    """The page for an error that nobody has caught: 503 where the database is away, else Django's own 500.

    The API's views answer their errors themselves, alike.
    """
    if isinstance(sys.exc_info()[1], OperationalError | InterfaceError):
        return HttpResponse(_DATABASE_AWAY, status=503, headers={"Retry-After": "5"})
    return defaults.server_error(request)
