"""Expansion playbooks for customer success: a Django plugin and a stand-alone site.

In a wheel the rooms ``accounts``, ``signals`` and ``playbooks`` lie inside this package. In a checkout they
stand beside it, at the top; the lines below let ``csplaybooks.accounts`` and its sisters be found there too,
so that every import is written the same way in both.
"""

from __future__ import annotations

from pathlib import Path

__version__ = "0.1.0"

_here = Path(__file__).resolve().parent
if not (_here / "accounts").is_dir():
    __path__.append(str(_here.parent))
