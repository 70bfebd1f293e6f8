"""A site that lacks something of ours is told so in one message."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from django.apps import AppConfig, apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django.urls import include, path

from csplaybooks.app_base import OUR_APPS, PluginApp
from csplaybooks.checks import check_apps, check_time, check_urls, installed

ours = include("csplaybooks.urls")


def pages(*patterns: Any) -> Any:
    """A URLconf with these patterns."""
    module: Any = ModuleType("pages")
    module.urlpatterns = list(patterns)
    return override_settings(ROOT_URLCONF=module)


def test_the_site_has_all():
    assert check_apps() == check_urls() == check_time() == []


@pytest.mark.parametrize("name", installed.NEEDED)
def test_an_app_that_must_be_there(monkeypatch, name):
    # Left out in earnest, some of them end Django before its checks: see test_in_earnest.
    found = apps.is_installed
    monkeypatch.setattr(apps, "is_installed", lambda other: other != name and found(other))
    (message,) = check_apps()
    assert message.id == "csplaybooks.E004"
    assert f"INSTALLED_APPS lacks {name!r}" in message.msg
    assert message.hint == f"Add to INSTALLED_APPS: {name!r}."


@pytest.mark.parametrize("name", installed.WANTED)
def test_an_app_that_should_be_there(name):
    # An entry may also name the app's configuration, as that of the admin does.
    others = [entry for entry in settings.INSTALLED_APPS if AppConfig.create(entry).name != name]
    with override_settings(INSTALLED_APPS=others):
        (message,) = check_apps()
    assert message.id == "csplaybooks.W002"
    assert f"INSTALLED_APPS lacks {name!r}" in message.msg
    assert message.hint == f"Add to INSTALLED_APPS: {name!r}."


def test_several_are_named_together(monkeypatch):
    monkeypatch.setattr(apps, "is_installed", lambda name: name not in ("csplaybooks.accounts", "django_q"))
    (message,) = check_apps()
    assert "'django_q' and 'csplaybooks.accounts'" in message.msg
    # An app of that name is there, and is not ours.
    assert message.hint == (
        "Add to INSTALLED_APPS: 'django_q', 'csplaybooks.accounts'. The 'accounts' that stands there is another app."
    )


def test_a_name_that_only_a_checkout_knows(monkeypatch):
    # As Django makes it of a bare "signals" in INSTALLED_APPS.
    bare = type("SignalsConfig", (AppConfig,), {"__module__": "signals.apps", "path": "nowhere"})
    config = bare("csplaybooks.signals", SimpleNamespace())
    monkeypatch.setattr(apps, "get_app_configs", lambda: [config])
    (message,) = check_apps()
    assert message.id == "csplaybooks.E005"
    assert "names 'signals'" in message.msg
    assert message.hint == "Write 'csplaybooks.signals' in its place."


@pytest.mark.parametrize("name", OUR_APPS)
def test_each_app_of_ours_brings_the_checks(name):
    (config,) = [config for config in apps.get_app_configs() if config.name == name]
    assert isinstance(config, PluginApp)


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("csplaybooks", {"csplaybooks.accounts"}),
        ("csplaybooks.signals", {"csplaybooks.accounts"}),
        ("csplaybooks.playbooks", {"csplaybooks", "csplaybooks.signals"}),
        ("csplaybooks.accounts", {"django.contrib.contenttypes"}),
        ("csplaybooks.accounts", {"django.contrib.auth"}),
    ],
)
def test_where_django_would_fail_before_its_checks_one_sentence_says_why(monkeypatch, name, missing):
    (config,) = [config for config in apps.get_app_configs() if config.name == name]
    found = apps.is_installed
    monkeypatch.setattr(apps, "is_installed", lambda other: other not in missing and found(other))
    with pytest.raises(ImproperlyConfigured) as caught:
        config.import_models()
    message = str(caught.value)
    assert message.startswith("INSTALLED_APPS lacks ")
    assert f"which {name} needs. Add to INSTALLED_APPS: " in message
    assert all(repr(other) in message.partition("Add to")[2] for other in missing)


@pytest.mark.parametrize(
    "patterns",
    [
        [path("", ours)],
        [path("tools/", include([path("expansion/", ours)]))],
        [path("tools/", include(([path("expansion/", ours)], "portal")))],
        [path("one/", include("csplaybooks.urls", namespace="one")), path("two/", ours)],
        [path("one/", include(([path("", ours)], "one"))), path("two/", include(([path("", ours)], "two")))],
    ],
)
def test_urls_that_are_included(patterns):
    with pages(*patterns):
        assert check_urls() == []


def test_urls_that_are_not_included():
    with pages(path("admin/", include([]))):
        (message,) = check_urls()
    assert message.id == "csplaybooks.W005"
    assert "does not include csplaybooks.urls" in message.msg
    assert 'path("expansion/", include("csplaybooks.urls"))' in (message.hint or "")


@pytest.mark.parametrize(
    ("patterns", "namespace"),
    [
        ([path("", ours), path("again/", ours)], "csplaybooks"),
        ([path("", ours), path("more/", include([path("again/", ours)]))], "csplaybooks"),
        ([path("", include(([path("", ours), path("again/", ours)], "portal")))], "portal:csplaybooks"),
    ],
)
def test_urls_that_are_included_twice(patterns, namespace):
    with pages(*patterns):
        (message,) = check_urls()
    assert message.id == "csplaybooks.W006"
    assert f"2 times under the namespace {namespace!r}" in message.msg
    assert 'include("csplaybooks.urls", namespace="...")' in (message.hint or "")


def test_a_process_without_pages_needs_no_urls(settings):
    settings.ROOT_URLCONF = None
    assert check_urls() == []


def test_times_without_a_zone():
    with override_settings(USE_TZ=False):
        (message,) = check_time()
    assert message.id == "csplaybooks.E006"
    assert "USE_TZ is False" in message.msg
    assert "USE_TZ = True" in (message.hint or "")
    assert settings.USE_TZ
