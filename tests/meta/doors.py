"""Every door of the site: found by walking the addresses, so that a new page is found by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db import models
from django.urls import URLPattern, URLResolver, get_resolver

from csplaybooks.admin_base import BaseAdmin


@dataclass(frozen=True)
class Door:
    """One address. `name` is its full name (`admin:index`), or its route where it has none.

    For a page of a table, `model` is that table and `kind` what the page is (`changelist`, `add`, ...). Where a class
    answers, `view` is that class and `methods` are those that it takes.
    """

    name: str
    route: str
    kind: str
    model: type[models.Model] | None = None
    methods: tuple[str, ...] = ()
    view: Any = None

    def __str__(self) -> str:
        return self.name


#: What the admin calls the page without a name, from which old links are sent on.
OLD_ADDRESS = "old address"


def doors() -> list[Door]:
    """Every address of the site, the admin's and ours."""
    return list(_walk(get_resolver().url_patterns, "", ()))


def _walk(patterns: Any, route: str, namespaces: tuple[str, ...]) -> Iterator[Door]:
    for pattern in patterns:
        here = route + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            inner = (*namespaces, pattern.namespace) if pattern.namespace else namespaces
            yield from _walk(pattern.url_patterns, here, inner)
        else:
            yield _door(pattern, here, namespaces)


def _door(pattern: URLPattern, route: str, namespaces: tuple[str, ...]) -> Door:
    name = ":".join((*namespaces, pattern.name)) if pattern.name else route
    if namespaces[:1] == ("admin",):
        for model in admin.site._registry:
            start = f"{model._meta.app_label}_{model._meta.model_name}_"
            if pattern.name and pattern.name.startswith(start):
                return Door(name, route, pattern.name.removeprefix(start), model)
            if not pattern.name and route.startswith(f"admin/{model._meta.app_label}/{model._meta.model_name}/"):
                return Door(name, route, OLD_ADDRESS, model)
    view = getattr(pattern.callback, "cls", None) or getattr(pattern.callback, "view_class", None)
    return Door(name, route, name, methods=_methods(pattern.callback, view), view=view)


def _methods(callback: Any, view: Any) -> tuple[str, ...]:
    """The methods that a view takes; none for a plain function."""
    taken = getattr(callback, "actions", None) or [
        method for method in getattr(view, "http_method_names", ()) if hasattr(view, method)
    ]
    return tuple(sorted(method for method in taken if method != "head"))


def ours(door: Door) -> bool:
    """Whether it is a page of a table of ours."""
    return door.model is not None and isinstance(admin.site.get_model_admin(door.model), BaseAdmin)
