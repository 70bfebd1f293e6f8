"""What the app configurations of this package share: the system checks, and clear words when an app is missing."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from django.apps import AppConfig as Base
else:
    # A mixin, because Django takes every AppConfig that it finds in an app's module for a candidate.
    Base = object

FACE = "csplaybooks"

#: The apps of this package, each with the lower ones that its models stand on.
OUR_APPS: dict[str, tuple[str, ...]] = {
    FACE: (),
    "csplaybooks.accounts": (),
    "csplaybooks.signals": ("csplaybooks.accounts",),
    "csplaybooks.playbooks": ("csplaybooks.accounts", "csplaybooks.signals"),
}

#: Django's apps without which we cannot be: history names its subject by content type, roles are groups, and people
#: work in the admin, without whose app Django fails at its pages with a LookupError that names nothing to mend.
GROUND = ("django.contrib.contenttypes", "django.contrib.auth", "django.contrib.admin")


def how_to_add(missing: Iterable[str]) -> str:
    """The mend for apps that `INSTALLED_APPS` lacks, in words."""
    names = list(missing)
    words = [f"Add to INSTALLED_APPS: {', '.join(map(repr, names))}."]
    bare = [name.rpartition(".")[2] for name in names if name in OUR_APPS and name != FACE]
    words += [f"The {name!r} that stands there is another app." for name in bare if apps.is_installed(name)]
    return " ".join(words)


class PluginApp(Base):
    """Mixed into each app configuration of this package, in front of Django's.

    Each of them registers the system checks, so that they are also there when another is missing. What is missing is
    told by a check wherever Django gets as far as that (`csplaybooks.checks.installed`); where it would fail before,
    with an error that does not name the cause, `import_models` says it.
    """

    def import_models(self) -> None:
        """Import the models. Raises ImproperlyConfigured when apps are missing without which Django would fail."""
        if missing := self._missing_below():
            # Named together, or adding one would only bring the next message.
            others = [name for name in OUR_APPS if name not in missing and not apps.is_installed(name)]
            raise ImproperlyConfigured(
                f"INSTALLED_APPS lacks {' and '.join(missing)}, which {self.name} needs. {how_to_add(missing + others)}"
            )
        super().import_models()

    def ready(self) -> None:
        """Register the system checks, which they do by being imported. No query is made here."""
        super().ready()
        import_module("csplaybooks.checks")

    def _missing_below(self) -> list[str]:
        """The apps that are missing and must not be.

        Models of a room that is not installed are taken for models of the app `csplaybooks`, which contains it; so
        nothing fails then, and the check can speak. Only where all other rooms refer to it by name it does.
        """
        needed = [*GROUND, *OUR_APPS[self.name]]
        if self.name == FACE or apps.is_installed(FACE):
            needed = [*GROUND, "csplaybooks.accounts"]
        return [name for name in needed if not apps.is_installed(name)]
