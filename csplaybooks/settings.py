"""Settings of the stand-alone site. A host site never imports them.

All that differs between machines comes from the environment:

``DATABASE_URL``
    Default: the file ``db.sqlite3`` in the checkout, or in the current folder where the site was installed.
    ``sqlite:///FILE``, or ``postgres://USER:PASSWORD@HOST:PORT/NAME`` for more than one machine.
``REDIS_URL``
    ``redis://HOST:PORT/NUMBER`` (``rediss://`` with TLS) or ``unix://FILE``. When set, Redis is the task broker and the
    shared cache; else the database is the broker.
``CLUSTER_WORKERS``
    How many tasks one qcluster works on at once. Default: 2.
``SECRET_KEY``
    Signs sessions and queued tasks, so it must be the same for every process. Required unless ``DEBUG`` is
    true, where a key is made once and kept in the git-ignored file ``.secret_key``.
``DEBUG``
    Default: false. Like ``HTTPS`` one of true, yes, on, 1, false, no, off, 0.
``ALLOWED_HOSTS``
    Comma-separated. Default: this machine only.
``CSRF_TRUSTED_ORIGINS``
    Comma-separated origins with scheme, for a site behind a proxy.
``HTTPS``
    Default: false. True where a proxy speaks TLS and sets ``X-Forwarded-Proto`` (its own, never a sender's):
    cookies become secure, plain requests are sent to https, and browsers are told to come by it only.
``HSTS_SECONDS``
    For how long browsers keep to https, where ``HTTPS`` is true. Default: 3600; 31536000 once all works.
``STATIC_ROOT``
    The folder into which ``collectstatic`` puts static files, under hashed names that browsers may keep. Without
    it they are served from where they are installed, and nothing needs collecting.
``EMAIL_URL``
    How mail leaves: ``smtp://USER:PASSWORD@HOST:PORT``, ``smtp+tls://`` (STARTTLS) or ``smtp+ssl://``;
    ``filemail:///FOLDER`` writes mails to files, ``consolemail://`` to the log. Where it is set, members of the team
    get notices and a daily digest by mail (``CSPLAYBOOKS_NOTICES_BY_MAIL=false``: they do not).
``STATEMENT_TIMEOUT``
    After so many seconds PostgreSQL ends a statement. Default: 30 under a web server, else none.
``LOG_FORMAT``
    ``plain`` (default): lines for people. ``json``: one object per line, see `csplaybooks.logs`.
``LOG_LEVEL``
    ``DEBUG``, ``INFO`` (default), ``WARNING``, ``ERROR`` or ``CRITICAL``: what is less than this is not logged.
``CSPLAYBOOKS_...``
    Each setting of the plugin (``csplaybooks.conf``), such as ``CSPLAYBOOKS_TIME_ZONE``, in which the admin shows and
    takes times as well; lists comma-separated.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import django
import environ
from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key

from csplaybooks.conf import DEFAULTS

env = environ.Env()

_checkout = Path(__file__).resolve().parent.parent
# An installed wheel has no checkout: files of the site then lie where it is started.
BASE_DIR = _checkout if (_checkout / "manage.py").is_file() else Path.cwd()

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


def _truth(text: str) -> bool:
    """Whether a word says true. Raises ValueError for one that says neither."""
    word = text.strip().lower()
    if word not in _TRUE + _FALSE:
        raise ValueError(text)
    return word in _TRUE


def _is_on(variable: str) -> bool:
    """Yes or no from the environment, by default no. Raises ImproperlyConfigured for a word that is neither."""
    text: str = env.str(variable, default="")
    try:
        return bool(text.strip()) and _truth(text)
    except ValueError:
        words = ", ".join(_TRUE + _FALSE)
        raise ImproperlyConfigured(f"{variable} is {text!r}; it must be one of {words}.") from None


DEBUG: bool = _is_on("DEBUG")


def _count(variable: str, *, default: int, least: int = 0) -> int:
    """A whole number from the environment. Raises ImproperlyConfigured, saying what is wrong with it."""
    try:
        number: int = env.int(variable, default=default)
    except ValueError:
        number = least - 1
    if number < least:
        raise ImproperlyConfigured(
            f"{variable} is {os.environ[variable]!r}; it must be a whole number from {least} on."
        )
    return number


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

if _is_on("HTTPS"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    SECURE_SSL_REDIRECT = True
    # Load balancers and supervisors ask past the proxy.
    SECURE_REDIRECT_EXEMPT = [r"^health/"]
    SECURE_HSTS_SECONDS: int = _count("HSTS_SECONDS", default=3600)
    # To bind the subdomains as well, or to have the domain put on browsers' lists, is for its owner to say, at the
    # proxy: it holds for more than this site.
    SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

ROOT_URLCONF = "csplaybooks.site_urls"
WSGI_APPLICATION = "csplaybooks.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGIN_URL = "admin:login"

INSTALLED_APPS = [
    # The stock admin, with our tables in the order of their use.
    "csplaybooks.admin_app.SiteAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    # Before django_q, which calculates with Q_CLUSTER as soon as it is imported: what is wrong there is told by us.
    "csplaybooks",
    "csplaybooks.accounts",
    "csplaybooks.signals",
    "csplaybooks.playbooks",
    "django_q",
    "django_filters",
    "rest_framework",
]

MIDDLEWARE = [
    # First, so that every line of the log and every answer carries the request's id.
    "csplaybooks.middleware.RequestIdMiddleware",
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


# Where Django looks a zone up as well, if it is there; of one that is not, it tells with a traceback.
_ZONES = Path("/usr/share/zoneinfo")


def _company_zone() -> str:
    """The company's time zone; UTC in place of a name that is none, which the system checks refuse in a sentence."""
    name: str = env.str("CSPLAYBOOKS_TIME_ZONE", default="UTC")
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return "UTC"
    if _ZONES.is_dir() and not (_ZONES / name).exists():
        raise ImproperlyConfigured(
            f"CSPLAYBOOKS_TIME_ZONE is {name!r}, which this machine does not list in {_ZONES}; write the name of a "
            "city, such as Europe/Berlin."
        )
    return name


LANGUAGE_CODE = "en"
# In which pages show and take times. The database keeps them in UTC, and the API writes them so.
TIME_ZONE = _company_zone()
USE_TZ = True

STATIC_URL = "static/"
# What has not been collected is served from where it is installed.
WHITENOISE_USE_FINDERS = True
STATIC_ROOT: str | None = env.str("STATIC_ROOT", default="") or None
if STATIC_ROOT:
    STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": "csplaybooks.static_files.HashedWhereCollected"},
    }


def _named_database() -> dict[str, Any]:
    """What ``DATABASE_URL`` names. Raises ImproperlyConfigured, never with its text: that holds the password."""
    forms = "sqlite:///FILE or postgres://USER:PASSWORD@HOST:PORT/NAME"
    url: str = env.str("DATABASE_URL", default=f"sqlite:///{BASE_DIR / 'db.sqlite3'}").strip()
    if not url:
        raise ImproperlyConfigured(f"DATABASE_URL is empty; leave it out, or write {forms}.")
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in ("sqlite", *env.POSTGRES_FAMILY):
        what = f"begins with {scheme + separator!r}" if separator else "is no address"
        raise ImproperlyConfigured(f"DATABASE_URL {what}; it must be {forms}.")
    try:
        database: dict[str, Any] = env.db_url_config(url)
    except ValueError:
        # Such as a port that is no number.
        raise ImproperlyConfigured(f"DATABASE_URL cannot be read; it must be {forms}.") from None
    if scheme == "sqlite" and database.get("HOST"):
        # With two slashes the file would be taken for a host, and the database be in memory.
        raise ImproperlyConfigured("DATABASE_URL names no file; write three slashes before it: sqlite:///FILE.")
    if not database["NAME"] and "service" not in database.get("OPTIONS", {}):
        raise ImproperlyConfigured(f"DATABASE_URL names no database; it must be {forms}.")
    return database


def _database() -> dict[str, Any]:
    """Return Django's settings for the database that ``DATABASE_URL`` names."""
    database = _named_database()
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
        database["OPTIONS"] = {
            **_noticing_a_dead_server(),
            "options": " ".join(f"-c {name}={value}" for name, value in _session_limits().items()),
            **database.get("OPTIONS", {}),
        }
    return database


def _noticing_a_dead_server() -> dict[str, int]:
    """Options of libpq by which we notice within a minute that the database's machine is gone; in seconds."""
    return {
        "connect_timeout": 5,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60_000,  # milliseconds
    }


def _session_limits() -> dict[str, str]:
    """What each session asks of PostgreSQL, so that nobody holds a lock for long who has no more use for it.

    A machine that loses its power, or a worker that is killed in a query, says no goodbye: without these its
    transaction, and the lease it holds, would stand for hours.
    """
    limits = {
        # The machine at our end is gone: noticed within a minute.
        "tcp_keepalives_idle": "30s",
        "tcp_keepalives_interval": "10s",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": "60s",
        # Our process is gone while its query runs.
        "client_connection_check_interval": "10s",
        # Our process is there, and stands still within a transaction. None of ours thinks that long.
        "idle_in_transaction_session_timeout": "5min",
        # Who waits for somebody else's lock gives up with a clear error, just before the task is ended (`timeout`).
        "lock_timeout": "50s",
        # Of a question with many conditions PostgreSQL compiles code for seconds, and then runs it for milliseconds.
        "jit": "off",
        # What a condition finds is looked up in a hash of its accounts. With the server's 4 MB there is none from some
        # 260,000 accounts on, and the time grows with their square.
        "work_mem": "32MB",
    }
    if seconds := _count("STATEMENT_TIMEOUT", default=0):
        limits["statement_timeout"] = f"{seconds}s"
    return limits


DATABASES = {"default": _database()}


def _impatient(url: str) -> str:
    """The address of a Redis, with limits to waiting. Raises ImproperlyConfigured, never with its text: see above.

    A request that pokes must not hang for long on a Redis that does not answer. Longer than the second for which a
    cluster waits for its next task.
    """
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("redis", "rediss", "unix") and "://" in url and parts.port != 0
    except ValueError:
        # Such as a port that is no number.
        fits = False
    if not fits:
        raise ImproperlyConfigured(
            "REDIS_URL cannot be read; it must be redis://HOST:PORT/NUMBER, rediss://HOST:PORT/NUMBER or unix://FILE."
        )
    query = {"socket_connect_timeout": "2", "socket_timeout": "5", **dict(parse_qsl(parts.query))}
    # By hand: urlunsplit takes the slashes from an address without a host.
    return f"{parts.scheme}://{parts.netloc}{parts.path}?{urlencode(query)}"


REDIS_URL: str = env.str("REDIS_URL", default="").strip()
if REDIS_URL:
    REDIS_URL = _impatient(REDIS_URL)
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}

_SMTP = {"smtp": 25, "smtp+tls": 587, "smtp+ssl": 465}


def _mailer(url: str) -> tuple[str, dict[str, Any]]:
    """The mail backend that an address names, and its options. Raises ImproperlyConfigured, never with its text."""
    backend = "django.core.mail.backends.{}.EmailBackend"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Such as a port that is no number.
        parts, port = urlsplit(""), None
    if parts.scheme == "consolemail":
        return backend.format("console"), {}
    if parts.scheme == "filemail" and parts.path.strip("/") and not parts.netloc:
        return backend.format("filebased"), {"file_path": unquote(parts.path)}
    if parts.scheme in _SMTP and parts.hostname:
        return backend.format("smtp"), {
            "host": parts.hostname,
            "port": port or _SMTP[parts.scheme],
            "username": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "use_tls": parts.scheme == "smtp+tls",
            "use_ssl": parts.scheme == "smtp+ssl",
            "timeout": 10,
        }
    raise ImproperlyConfigured(
        "EMAIL_URL cannot be read; it must be smtp://USER:PASSWORD@HOST:PORT, smtp+tls://..., smtp+ssl://..., "
        "filemail:///FOLDER or consolemail://."
    )


#: Django's older settings of mail, by the option that took their place in 6.1.
_MAIL_SETTINGS = {
    "file_path": "EMAIL_FILE_PATH",
    "host": "EMAIL_HOST",
    "port": "EMAIL_PORT",
    "username": "EMAIL_HOST_USER",
    "password": "EMAIL_HOST_PASSWORD",
    "use_tls": "EMAIL_USE_TLS",
    "use_ssl": "EMAIL_USE_SSL",
    "timeout": "EMAIL_TIMEOUT",
}

_email_url: str = env.str("EMAIL_URL", default="").strip()
if _email_url:
    _backend, _options = _mailer(_email_url)
    if django.VERSION >= (6, 1):
        MAILERS = {"default": {"BACKEND": _backend, "OPTIONS": _options}}
    else:
        EMAIL_BACKEND = _backend
        globals().update({_MAIL_SETTINGS[name]: value for name, value in _options.items()})
elif django.VERSION >= (6, 1):
    # What has been Django's own default, and will be none.
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend", "OPTIONS": {"host": "localhost"}}}

_workers: int = _count("CLUSTER_WORKERS", default=2, least=1)

Q_CLUSTER: dict[str, Any] = {
    "name": "csplaybooks",
    "label": "Background tasks",
    "workers": _workers,
    "queue_limit": _workers,
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


def _choice(variable: str, *choices: str) -> str:
    """One of some words from the environment, by default the first. Raises ImproperlyConfigured for another."""
    word: str = env.str(variable, default="") or choices[0]
    if word not in choices:
        raise ImproperlyConfigured(f"{variable} is {word!r}; it must be one of {', '.join(choices)}.")
    return word


_log_level = _choice("LOG_LEVEL", "INFO", "DEBUG", "WARNING", "ERROR", "CRITICAL")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"context": {"()": "csplaybooks.logs.ContextFilter"}},
    "formatters": {
        "plain": {
            "class": "csplaybooks.logs.PlainFormatter",
            "format": "{asctime} {levelname} {name}{context}: {message}",
            "style": "{",
        },
        "json": {"()": "csplaybooks.logs.JsonFormatter"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "filters": ["context"],
            "formatter": _choice("LOG_FORMAT", "plain", "json"),
        }
    },
    "root": {"handlers": ["console"], "level": _log_level},
    # Django hangs handlers of its own on these two; the root's one handler is enough.
    "loggers": {
        "django": {"handlers": [], "level": _log_level, "propagate": True},
        "django.server": {"handlers": [], "level": _log_level, "propagate": True},
        # At DEBUG it would print every query with its parameters, which hold what customers sent and who signed in.
        "django.db.backends": {"level": "INFO"},
    },
}


def _plugin_value(variable: str, kind: type) -> Any:
    """The value of a variable as a setting of that type; where it is none its text, which the system checks refuse."""
    if kind is str:
        return env.str(variable)
    try:
        return env.list(variable) if kind is list else _truth(env.str(variable)) if kind is bool else env.json(variable)
    except ValueError:
        return env.str(variable)


# What Kubernetes and links of containers put into the environment for a service called csplaybooks, or csplaybooks-web.
_OF_A_SERVICE = re.compile(r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")

# The plugin's own settings: see csplaybooks.conf. The defaults serve; the checks look at what is set, and refuse what
# is none of them, such as a name that is misspelt.
CSPLAYBOOKS: dict[str, Any] = {
    name: _plugin_value(variable, DEFAULTS[name].type if name in DEFAULTS else str)
    for variable in sorted(os.environ)
    if (name := variable.removeprefix("CSPLAYBOOKS_")) != variable
    # The sample company's own, see csplaybooks.playbooks.demo.live.
    and name != "DEMO_LIVE"
    and not _OF_A_SERVICE.fullmatch(name)
}
if _email_url:
    # Whoever sets up mail wants it.
    CSPLAYBOOKS.setdefault("NOTICES_BY_MAIL", True)
