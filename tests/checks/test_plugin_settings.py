"""Bad values of `CSPLAYBOOKS` give one clear message each."""

from __future__ import annotations

import pytest
from django.core.checks import CheckMessage
from django.test import override_settings

from csplaybooks.checks import check_settings
from csplaybooks.conf import DEFAULTS


def messages_for(values: object) -> list[CheckMessage]:
    with override_settings(CSPLAYBOOKS=values):
        return check_settings()


def test_good_settings_give_none(settings):
    assert messages_for({}) == []
    good = {"PAGE_SIZE": 10, "CURRENCY": "EUR", "AUTHENTICATION_CLASSES": ("tests.api.doubles.SilentAuthentication",)}
    assert messages_for(good) == []
    # For ever, and just long enough.
    assert messages_for({"RETENTION_DAYS": 0}) == messages_for({"RETENTION_DAYS": 194}) == []
    del settings.CSPLAYBOOKS
    assert check_settings() == []


@pytest.mark.parametrize(
    ("values", "number", "named", "mend"),
    [
        (["PAGE_SIZE"], "E002", "must be a dict, not list", "CSPLAYBOOKS = {"),
        ({"PAGE_SIZ": 10}, "E001", "'PAGE_SIZ'", "Did you mean 'PAGE_SIZE'?"),
        ({"page_size": 10}, "E001", "'page_size'", "Did you mean 'PAGE_SIZE'?"),
        ({"COLOUR": "red"}, "E001", "'COLOUR'", "The keys are: API_MAX_BYTES"),
        ({7: "red"}, "E001", "7", "The keys are: API_MAX_BYTES"),
        ({"PAGE_SIZE": "50"}, "E002", "must be of type int, not str ('50')", DEFAULTS["PAGE_SIZE"].help),
        ({"PAGE_SIZE": True}, "E002", "not bool", DEFAULTS["PAGE_SIZE"].help),
        ({"PAGE_SIZE": 1.5}, "E002", "not float", DEFAULTS["PAGE_SIZE"].help),
        ({"PAGE_SIZE": None}, "E002", "not NoneType", DEFAULTS["PAGE_SIZE"].help),
        ({"TIME_ZONE": 1}, "E002", "type str, not int", DEFAULTS["TIME_ZONE"].help),
        ({"AUTHENTICATION_CLASSES": "a.b"}, "E002", "list of str, not str", "dotted paths"),
        ({"AUTHENTICATION_CLASSES": [1]}, "E002", "list of str", "dotted paths"),
        ({"PAGE_SIZE": 0}, "E003", "is 0, but must be at least 1", DEFAULTS["PAGE_SIZE"].help),
        ({"INTAKE_MAX_BYTES": -1}, "E003", "at least 1", "bytes"),
        ({"TIME_ZONE": "Mars/Olympus"}, "E003", "no time zone known here", "IANA"),
        ({"TIME_ZONE": "../etc/passwd"}, "E003", "no time zone known here", "IANA"),
        ({"TIME_ZONE": ""}, "E003", "must not be empty", "IANA"),
        ({"SITE_URL": "growth.example.com"}, "E003", "no address such as https", "link to plays"),
        ({"SITE_URL": "https://growth.example.com/?a=b"}, "E003", "no address such as https", "link to plays"),
        ({"MAIL_FROM": "growth"}, "E003", "no address of mail", "DEFAULT_FROM_EMAIL"),
        ({"NOTICES_BY_MAIL": 1}, "E002", "type bool, not int", "EMAIL_BACKEND"),
        ({"CURRENCY": "euro"}, "E003", "no ISO 4217 code", "currency"),
        ({"AUTHENTICATION_CLASSES": []}, "E003", "must not be empty", "dotted paths"),
        ({"AUTHENTICATION_CLASSES": ["nowhere.Nothing"]}, "E003", "cannot be imported", "dotted paths"),
        ({"AUTHENTICATION_CLASSES": ["os.path"]}, "E003", "'os.path', which is no authentication class", "dotted"),
        ({"RETENTION_DAYS": 193}, "W014", "is 193, and starter playbooks look 194 days back", "at least 194"),
        ({"RETENTION_DAYS": 1}, "W014", "is 1,", "or to 0"),
        ({"RETENTION_DAYS": 10**9}, "E003", "is 1000000000, but must be at most 36500", "for ever"),
        ({"FULL_RUN_MINUTES": 10_081}, "E003", "at most 10080", "minutes"),
        ({"INTAKE_FUTURE_TOLERANCE_SECONDS": 86_401}, "E003", "at most 86400", "ahead"),
        ({"PAGE_SIZE": 501}, "E003", "(501) is above CSPLAYBOOKS['PAGE_SIZE_MAX'] (500)", "Lower the first"),
    ],
)
def test_each_bad_setting_gives_one_message(values, number, named, mend):
    (message,) = messages_for(values)
    assert message.id == f"csplaybooks.{number}"
    assert named in message.msg
    assert mend in (message.hint or "")


def test_what_may_be_empty():
    assert messages_for({"SITE_URL": "", "MAIL_FROM": ""}) == []


def test_mail_that_leads_nowhere(settings):
    on = {"NOTICES_BY_MAIL": True, "SITE_URL": "https://growth.example.com/csp"}
    if hasattr(settings, "MAILERS"):
        del settings.MAILERS
    (nowhere,) = messages_for(on)
    assert nowhere.id == "csplaybooks.W017"
    assert "EMAIL_URL" in str(nowhere.hint)
    assert messages_for({}) == []
    settings.MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
    assert messages_for(on) == []
    (links,) = messages_for({**on, "SITE_URL": ""})
    assert links.id == "csplaybooks.W018"
    assert "SITE_URL" in str(links.hint)
