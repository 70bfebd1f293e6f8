"""Writes docs/settings.md from the code: `make settings-page`, or `python -m docs.generate_settings`.

A test holds the page against what this makes, so it cannot fall behind.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from csplaybooks.checks.table import WHAT_IS_WRONG
from csplaybooks.conf import DEFAULTS, Setting
from csplaybooks.logs import JsonFormatter

PAGE = Path(__file__).with_name("settings.md")
PACKAGE = Path(__file__).resolve().parents[1] / "csplaybooks"

HEAD = """\
# Settings

<!-- Made by `make settings-page` from the code; what is changed here is lost. -->

A site that has csplaybooks in it has one setting for it, the dict `CSPLAYBOOKS`. The stand-alone site is set up by the
environment. `manage.py check` tells what is wrong with either, and what to do about it.
"""

PLUGIN = """\
## `CSPLAYBOOKS`

All keys have a default. They are read when they are needed, so that `override_settings` works in tests. The stand-alone
site takes each from the variable of the same name in the environment, with `CSPLAYBOOKS_` before it.
"""

ENVIRONMENT = """\
## The environment of the stand-alone site

The same for each of its processes (`csplaybooks/settings.py`).
"""

WEB_SERVER = """\
## The environment of its web server

For gunicorn alone (`csplaybooks/gunicorn_settings.py`).
"""

LOG = """\
## The log

The stand-alone site writes its log to standard error. Every request has an id: the one in its header `X-Request-ID`
where that is well-formed (up to 64 letters, digits, `.`, `_`, `-`), else one of ours. It is answered in the same
header, stands in the body of the API's 500s, and is on each line of the log that comes from answering the request. Each
request has a line of its own, without its query; health checks and static files only from `DEBUG` on. Tokens, cookies
and bodies are never logged. Times are in UTC.

From a request to what it caused the way goes by numbers: the request's line of `csplaybooks.intake` names the batch,
and the line of `csplaybooks.runs` names the batches that a run has claimed.

A host site has a log of its own, and may use `csplaybooks.middleware.RequestIdMiddleware` (first in `MIDDLEWARE`),
`csplaybooks.logs.ContextFilter` and the formatters in it. With `LOG_FORMAT=json` each line is one JSON
object, in ASCII; only gunicorn's own few lines about its processes stay as they are.
"""

CHECKS = """\
## System checks

What `manage.py check` may say. E: it does not work so. W: it works, and will hurt. I: good to know. Each comes with its
mend. What is meant to be so is put into Django's `SILENCED_SYSTEM_CHECKS` by its id.
"""


def page() -> str:
    """The whole page, as Markdown."""
    sections = [
        HEAD,
        PLUGIN,
        _table(("key", "type", "default", "meaning"), map(_setting_row, DEFAULTS.values())),
        ENVIRONMENT,
        _table(("variable", "meaning"), _variables(PACKAGE / "settings.py")),
        WEB_SERVER,
        _table(("variable", "meaning"), _variables(PACKAGE / "gunicorn_settings.py")),
        LOG,
        f"{(inspect.getdoc(JsonFormatter) or '').partition(chr(10) * 2)[2]}\n",
        CHECKS,
        _table(("id", "what is wrong"), ((f"`{name}`", text) for name, text in WHAT_IS_WRONG.items())),
    ]
    return "\n".join(sections)


def _setting_row(setting: Setting[object]) -> tuple[str, ...]:
    kind = "list of str" if setting.type is list else setting.type.__name__
    if setting.minimum is not None:
        kind += f", from {setting.minimum:,}"
    if setting.maximum is not None:
        kind += f" to {setting.maximum:,}"
    values = setting.default if isinstance(setting.default, list) else [setting.default]
    default = ", ".join(f"`{value!r}`" for value in values)
    return f"`{setting.name}`", kind, default, setting.help


def _variables(file: Path) -> Iterator[tuple[str, str]]:
    """The variables that a settings module tells of in its docstring, each with its text in one line.

    Read, not imported: it would look for the environment that it tells of.
    """
    docstring = ast.get_docstring(ast.parse(file.read_text())) or ""
    for names, text in re.findall(r"^(``[A-Z].*``)\n((?:    .*\n?)+)", docstring, re.MULTILINE):
        yield names.replace("``", "`"), " ".join(textwrap.dedent(text).split()).replace("``", "`")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page())
