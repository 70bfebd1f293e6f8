"""Settings of the stand-alone site. A host site never imports them.

All that differs between machines comes from the environment:

``DATABASE_URL``
    Default: the file ``db.sqlite3`` in the checkout. ``postgres://USER:PASSWORD@HOST:PORT/NAME`` for more
    than one machine.
``REDIS_URL``
    When set, Redis is the task broker and the shared cache; else the database is the broker.
``SECRET_KEY``
    Signs sessions and queued tasks, so it must be the same for every process. Required unless ``DEBUG`` is
    true, where a key is made once and kept in the git-ignored file ``.secret_key``.
``DEBUG``
    Default: false.
``ALLOWED_HOSTS``
    Comma-separated. Default: this machine only.
``CSRF_TRUSTED_ORIGINS``
    Comma-separated origins with scheme, for a site behind a proxy.
``HTTPS``
    Default: false. True where a proxy speaks TLS and sets ``X-Forwarded-Proto``: cookies become secure.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key

env = environ.Env()

_checkout = Path(__file__).resolve().parent.parent
# An installed wheel has no checkout: files of the site then lie where it is started.
BASE_DIR = _checkout if (_checkout / "manage.py").is_file() else Path.cwd()

DEBUG: bool = env.bool("DEBUG", default=False)


def _debug_secret_key(file: Path) -> str:
    """Return the key in ``file``, making it first if it is not there.

    The file appears whole or not at all, and the first writer wins, so that the web server and the workers
    of one checkout agree even when they are started together.
    """
    if not file.exists():
        draft = file.with_name(f"{file.name}.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(get_random_secret_key() + "\n")
        try:
            os.link(draft, file)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return file.read_text().strip()


SECRET_KEY: str = env.str("SECRET_KEY", default="")
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured("Set SECRET_KEY in the environment (or DEBUG=true on your own machine).")
    SECRET_KEY = _debug_secret_key(BASE_DIR / ".secret_key")

ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])

if env.bool("HTTPS", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True

ROOT_URLCONF = "csplaybooks.site_urls"
WSGI_APPLICATION = "csplaybooks.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGIN_URL = "admin:login"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_q",
    "django_filters",
    "rest_framework",
    "csplaybooks",
    "csplaybooks.accounts",
    "csplaybooks.signals",
    "csplaybooks.playbooks",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csplaybooks.middleware.ContentSecurityPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
# Static files are served from where they are installed: there is nothing to collect.
WHITENOISE_USE_FINDERS = True


def _database() -> dict[str, Any]:
    """Return Django's settings for the database that ``DATABASE_URL`` names."""
    database: dict[str, Any] = env.db_url("DATABASE_URL", default=f"sqlite:///{BASE_DIR / 'db.sqlite3'}")
    if database["ENGINE"] == "django.db.backends.sqlite3":
        # A writer takes its lock when the transaction begins and waits for it. With the defaults, several
        # processes meet "database is locked" as soon as a transaction that has read begins to write.
        database["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            **database.get("OPTIONS", {}),
        }
    else:
        # Never psycopg's pool: under a qcluster most of its tasks stick.
        database.setdefault("CONN_MAX_AGE", 60)
        database.setdefault("CONN_HEALTH_CHECKS", True)
    return database


DATABASES = {"default": _database()}

REDIS_URL: str = env.str("REDIS_URL", default="")
if REDIS_URL:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}

Q_CLUSTER: dict[str, Any] = {
    "name": "csplaybooks",
    "label": "Background tasks",
    "workers": 2,
    "queue_limit": 2,
    # A fetched task waits with its retry clock running: retry > timeout x (queue_limit / workers + 2).
    "timeout": 60,
    "retry": 300,
    "max_attempts": 3,
    "ack_failures": True,
    "catch_up": False,
    # A task is only a poke and the truth is in our own rows, so none is kept when it succeeds (failures
    # always are). A limit above zero costs a locking count per task, and zero keeps every one for ever.
    "save_limit": -1,
    "poll": 0.2,
    **({"redis": REDIS_URL} if REDIS_URL else {"orm": "default"}),
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {
            "class": "csplaybooks.logs.PlainFormatter",
            "format": "{asctime} {levelname} {name}: {message}",
            "style": "{",
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    # Django hangs handlers of its own on these two; the root's one handler is enough.
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.server": {"handlers": [], "level": "INFO", "propagate": True},
    },
}

# The plugin's own settings: see csplaybooks.conf. The defaults serve.
CSPLAYBOOKS: dict[str, Any] = {}
