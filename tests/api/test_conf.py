"""The settings object and its system checks."""

from __future__ import annotations

from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from csplaybooks import checks
from csplaybooks.checks import check_database, check_settings
from csplaybooks.conf import DEFAULTS, company_time_zone, csplaybooks_settings


def ids(**values: object) -> list[str | None]:
    with override_settings(CSPLAYBOOKS=values):
        return [message.id for message in check_settings()]


def test_defaults_hold_where_the_site_says_nothing(settings):
    del settings.CSPLAYBOOKS
    for key, setting in DEFAULTS.items():
        assert getattr(csplaybooks_settings, key) == setting.default


def test_settings_are_read_when_asked_for():
    with override_settings(CSPLAYBOOKS={"PAGE_SIZE": 7, "TIME_ZONE": "Europe/Berlin"}):
        assert csplaybooks_settings.PAGE_SIZE == 7
        assert csplaybooks_settings.PAGE_SIZE_MAX == 500
        assert company_time_zone() == ZoneInfo("Europe/Berlin")
    assert csplaybooks_settings.PAGE_SIZE == 50


def test_unknown_attribute():
    with pytest.raises(AttributeError):
        csplaybooks_settings.PAGE_SIZES  # type: ignore[attr-defined]  # noqa: B018


def test_settings_cannot_be_written():
    with pytest.raises(AttributeError):
        csplaybooks_settings.PAGE_SIZE = 3


def test_a_list_that_is_changed_by_its_reader_leaves_the_default_alone():
    csplaybooks_settings.AUTHENTICATION_CLASSES.clear()
    assert len(csplaybooks_settings.AUTHENTICATION_CLASSES) == 2


@override_settings(CSPLAYBOOKS=["PAGE_SIZE"])
def test_settings_that_are_no_dict():
    with pytest.raises(ImproperlyConfigured, match="must be a dict, not list"):
        csplaybooks_settings.PAGE_SIZE  # noqa: B018
    assert [message.id for message in check_settings()] == ["csplaybooks.E002"]


@pytest.mark.parametrize("setting", DEFAULTS.values(), ids=DEFAULTS.keys())
def test_every_key_fits_its_own_type_and_has_help(setting):
    assert setting.fits(setting.default)
    assert setting.help.endswith(".")
    assert setting.minimum is None or setting.default >= setting.minimum


def test_check_accepts_good_settings():
    assert ids() == []
    assert ids(PAGE_SIZE=10, CURRENCY="EUR", AUTHENTICATION_CLASSES=("tests.api.doubles.SilentAuthentication",)) == []


@override_settings(CSPLAYBOOKS={"PAGE_SIZ": 10})
def test_check_names_an_unknown_key_and_the_one_meant():
    (message,) = check_settings()
    assert message.id == "csplaybooks.E001"
    assert "'PAGE_SIZ'" in message.msg
    assert "'PAGE_SIZE'" in (message.hint or "")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PAGE_SIZE", "50"),
        ("PAGE_SIZE", True),
        ("PAGE_SIZE", 1.5),
        ("PAGE_SIZE", None),
        ("TIME_ZONE", 1),
        ("AUTHENTICATION_CLASSES", "a.b"),
        ("AUTHENTICATION_CLASSES", [1]),
    ],
)
def test_check_finds_a_wrong_type(key, value):
    assert ids(**{key: value}) == ["csplaybooks.E002"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PAGE_SIZE", 0),
        ("INTAKE_MAX_BYTES", -1),
        ("TIME_ZONE", "Mars/Olympus"),
        ("TIME_ZONE", "../etc/passwd"),
        ("TIME_ZONE", ""),
        ("CURRENCY", "euro"),
        ("AUTHENTICATION_CLASSES", []),
        ("AUTHENTICATION_CLASSES", ["nowhere.Nothing"]),
        ("PAGE_SIZE", 501),
    ],
)
def test_check_finds_an_unusable_value(key, value):
    assert ids(**{key: value}) == ["csplaybooks.E003"]


def test_check_is_registered():
    from django.core.checks.registry import registry

    assert {check_settings, check_database} <= set(registry.get_checks())


@pytest.mark.parametrize(
    ("vendor", "options", "found"),
    [
        ("sqlite", {}, ["csplaybooks.W001"]),
        ("sqlite", {"transaction_mode": None}, ["csplaybooks.W001"]),
        ("sqlite", {"transaction_mode": "DEFERRED"}, ["csplaybooks.W001"]),
        ("sqlite", {"transaction_mode": "IMMEDIATE"}, []),
        ("sqlite", {"transaction_mode": "immediate"}, []),
        ("sqlite", {"transaction_mode": "EXCLUSIVE"}, []),
        ("postgresql", {}, []),
    ],
)
def test_check_finds_sqlite_that_locks_too_late(monkeypatch, vendor, options, found):
    database = SimpleNamespace(vendor=vendor, settings_dict={"OPTIONS": options})
    monkeypatch.setattr(checks, "connections", {"default": database})
    messages = check_database()
    assert [message.id for message in messages] == found
    assert all("IMMEDIATE" in (message.hint or "") for message in messages)


def test_the_sites_own_database_passes_the_check():
    assert check_database() == []
