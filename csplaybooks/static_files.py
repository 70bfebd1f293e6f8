"""Static files of the stand-alone site, where `STATIC_ROOT` is set."""

from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedWhereCollected(CompressedManifestStaticFilesStorage):  # type: ignore[misc] # whitenoise brings no types
    """A name with its hash where `collectstatic` has seen the file, and the plain name where it has not.

    The plain one is served too, from where the file is installed (WHITENOISE_USE_FINDERS): a page looks the same
    before the first `collectstatic` and after it, and only what browsers may keep differs.
    """

    def stored_name(self, name: str) -> str:
        """See above; never raises for a file that was not collected."""
        try:
            stored: str = super().stored_name(name)
        except ValueError:
            return name
        return stored
