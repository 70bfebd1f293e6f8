"""Run by the host's `manage.py shell`: every name that is one for the whole site, the plugin's beside all others.

Prints JSON: for each kind of name those of `ours` and those of `others`.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

from django.apps import apps
from django.contrib.auth.models import Permission
from django.contrib.staticfiles import finders
from django.core.management import get_commands
from django.template.backends.django import get_installed_libraries
from django.template.utils import get_app_template_dirs
from django.urls import URLResolver, get_resolver
from django_q.models import Schedule

import csplaybooks

PACKAGE = Path(csplaybooks.__file__).resolve().parent
names: dict[str, dict[str, list[str]]] = {}


def note(kind: str, name: str, ours: bool) -> None:
    names.setdefault(kind, {"ours": [], "others": []})["ours" if ours else "others"].append(name)


def is_ours(module: str) -> bool:
    return module.split(".")[0] == "csplaybooks"


def below(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


for config in apps.get_app_configs():
    note("labels", config.label, is_ours(config.name))

for model in apps.get_models(include_auto_created=True):
    ours = is_ours(model.__module__)
    note("tables", model._meta.db_table, ours)
    for kind in ("constraints", "indexes"):
        for one in getattr(model._meta, kind):
            note(kind, one.name, ours)

for permission in Permission.objects.select_related("content_type"):
    label = permission.content_type.app_label
    note("permissions", f"{label}.{permission.codename}", is_ours(apps.get_app_config(label).name))

for command, app in get_commands().items():
    note("commands", command, is_ours(app if isinstance(app, str) else app.name))

for folder in get_app_template_dirs("templates"):
    for name in below(Path(folder)):
        # Ours is a package as well, so that it gets into the wheel.
        if not name.endswith((".py", ".pyc")):
            note("templates", name, PACKAGE in Path(folder).resolve().parents)

for finder in finders.get_finders():
    for name, storage in finder.list([]):
        note("static files", Path(name).as_posix(), PACKAGE in Path(storage.location).resolve().parents)

for library, module in get_installed_libraries().items():
    note("template libraries", library, is_ours(module))

for schedule in Schedule.objects.all():
    note("schedules", schedule.name, is_ours(schedule.func))


def walk(resolver: URLResolver, spaces: tuple[str, ...]) -> None:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            walk(pattern, (*spaces, pattern.namespace) if pattern.namespace else spaces)
            continue
        if pattern.name is None:
            continue
        call = pattern.callback
        # Views of classes, and of the admin, are wrapped in functions made elsewhere.
        owner = getattr(call, "cls", None) or getattr(call, "view_class", None) or getattr(call, "model_admin", None)
        owner = owner or call
        owner = owner if hasattr(owner, "__module__") else type(owner)
        note("addresses", ":".join((*spaces, pattern.name)), is_ours(owner.__module__))


walk(get_resolver(), ())

# What can only be read: the ids of system checks, and loggers.
for file in PACKAGE.rglob("*.py"):
    if file == PACKAGE / "settings.py":
        # The stand-alone site's: it speaks of Django's checks, and no host imports it.
        continue
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Constant) and re.fullmatch(r"[\w.]+\.[DIWEC]\d{3}", str(node.value)):
            note("checks", str(node.value), True)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "getLogger":
            for argument in node.args:
                if isinstance(argument, ast.Constant):
                    note("loggers", str(argument.value), True)

print(json.dumps(names))  # noqa: T201 - its answer to the test
