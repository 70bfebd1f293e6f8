"""The admin of the room `accounts`, one file for each kind of thing."""

from __future__ import annotations

from csplaybooks.accounts.admin import access, catalogue, companies, people, record, relationship

__all__ = ["access", "catalogue", "companies", "people", "record", "relationship"]
