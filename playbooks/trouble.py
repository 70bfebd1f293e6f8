"""Whose fault an error is: the database's for the moment, or that of what it was asked."""

from __future__ import annotations

from django.db import InterfaceError, OperationalError


def is_database_trouble(error: Exception) -> bool:
    """Whether an error is a passing one of the database (a deadlock, a lock, a lost connection), and not of a query.

    A query that is too slow or too large is an OperationalError as well, and would fail again in every run.
    """
    if isinstance(error, InterfaceError):
        return True
    if not isinstance(error, OperationalError):
        return False
    code = getattr(error.__cause__, "sqlstate", None)
    if code is not None:
        # Connection exceptions, transaction rollbacks, lock not available, the server shutting down.
        return code[:2] in ("08", "40") or code in ("55P03", "57P01", "57P02", "57P03")
    return any(word in str(error).lower() for word in ("locked", "deadlock", "disk", "connection"))
