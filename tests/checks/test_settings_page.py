"""docs/settings.md says what the code says."""

from __future__ import annotations

import re

from csplaybooks.checks.table import WHAT_IS_WRONG
from csplaybooks.conf import DEFAULTS
from docs.generate_settings import PACKAGE, PAGE, page


def test_the_page_is_what_the_code_says():
    assert PAGE.read_text() == page(), "docs/settings.md has fallen behind the code; run: make settings-page"


def test_the_page_has_every_key_and_every_check():
    text = page()
    assert [name for name in (*DEFAULTS, *WHAT_IS_WRONG) if f"| `{name}` |" not in text] == []


def test_every_variable_that_the_site_reads_is_told():
    text = page()
    reads = r"(?:env\.\w+|_count|_choice|_is_on|environ\.get)\(\s*\"([A-Z_]+)\""
    read = {
        name
        for file in ("settings.py", "gunicorn_settings.py")
        for name in re.findall(reads, (PACKAGE / file).read_text())
    }
    assert {"SECRET_KEY", "LOG_LEVEL", "HSTS_SECONDS", "BIND", "HTTPS", "DATABASE_URL", "WEB_THREADS"} <= read
    assert [name for name in sorted(read) if f"`{name}`" not in text] == []
