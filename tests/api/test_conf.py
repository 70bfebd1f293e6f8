"""The settings object."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from csplaybooks.conf import DEFAULTS, company_time_zone, csplaybooks_settings


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
        csplaybooks_settings.PAGE_SIZES  # type: ignore[attr-defined]  # noqa: B018 - reading is what fails


def test_settings_cannot_be_written():
    with pytest.raises(AttributeError):
        csplaybooks_settings.PAGE_SIZE = 3


def test_a_list_that_is_changed_by_its_reader_leaves_the_default_alone():
    csplaybooks_settings.AUTHENTICATION_CLASSES.clear()
    assert len(csplaybooks_settings.AUTHENTICATION_CLASSES) == 2


@override_settings(CSPLAYBOOKS=["PAGE_SIZE"])
def test_settings_that_are_no_dict():
    with pytest.raises(ImproperlyConfigured, match="must be a dict, not list"):
        csplaybooks_settings.PAGE_SIZE  # noqa: B018 - as above


@pytest.mark.parametrize("setting", DEFAULTS.values(), ids=DEFAULTS.keys())
def test_every_key_fits_its_own_type_and_has_help(setting):
    assert setting.fits(setting.default)
    assert setting.help.endswith(".")
    assert setting.minimum is None or setting.default >= setting.minimum
