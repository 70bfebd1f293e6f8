"""Where public holidays come from: the library `holidays`, and which of its releases this is.

Only an import asks it. What it said is kept in rows, so that another release of it moves no promise.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from datetime import date
from difflib import get_close_matches
from importlib.metadata import version
from itertools import count
from typing import Any

from django.core.exceptions import ValidationError

SOURCE = "holidays"

#: The language of the names where the library has them in it; else they are in the country's own.
_LANGUAGE = "en_US"


def source_version() -> str:
    """The release of the library that is installed."""
    return version(SOURCE)


def known_place(country: str, subdivision: str) -> tuple[str, str]:
    """The codes of a country and of a part of it (empty: the whole), spelt as the library spells them.

    Upper and lower case are one. Raises ValidationError for a `country` or a `subdivision` that the library does not
    know: with the countries whose names or codes come nearest, or with the parts that there are.
    """
    countries = _countries()
    code = country.strip().upper()
    if code not in countries:
        raise ValidationError({"country": f"No holidays are known of the country {country!r}. {_offer(country)}"})
    wanted = subdivision.strip().casefold()
    if not wanted:
        return code, ""
    parts = {part.casefold(): part for part in countries[code]}
    if wanted not in parts:
        there_are = f"There are: {', '.join(countries[code])}." if parts else "It has none: leave this empty."
        raise ValidationError({"subdivision": f"No region {subdivision!r} of {code} is known. {there_are}"})
    return code, parts[wanted]


def holidays_of(country: str, subdivision: str, year: int) -> dict[date, str]:
    """The public holidays of a place (see `known_place`) in a year, in order, with their names.

    Where a holiday falls on a weekend and another day is given for it, that day is among them. Raises ValidationError
    for `years` where the library knows none of that year, with the years that it knows, and where it says that it does
    not know all.
    """
    place = f"{country}-{subdivision}" if subdivision else country
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = _library_days(country, subdivision, year)
    if not found:
        raise ValidationError(
            {"years": f"No public holidays of {place} are known in {year}. {_known_years(country, subdivision, found)}"}
        )
    # What it tells its users, and not programmers; older releases used the base. Some would look like all of them.
    if gaps := [str(each.message).rstrip(".") for each in told if each.category in (UserWarning, Warning)]:
        raise ValidationError({"years": f"Not all public holidays of {place} are known in {year}: {gaps[0]}."})
    return {day: name[:200] for day, name in sorted(found.items())}


def years_in(words: str) -> list[int]:
    """Years as people write them, in order: `2026`, `2026-2028` or `2026, 2028`.

    Raises ValidationError for `years` where it is none of these.
    """
    years: set[int] = set()
    for word in words.replace(",", " ").split():
        match = re.fullmatch(r"(\d{4})(?:-(\d{4}))?", word, re.ASCII)
        if match is None:
            raise ValidationError({"years": f"{word!r} is no year: write 2026, or 2026-2028."})
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValidationError({"years": f"{word} is no span of years: write the earlier year first, as 2026-2028."})
        years.update(range(first, last + 1))
    if not years:
        raise ValidationError({"years": "Name at least one year."})
    return sorted(years)


def _offer(country: str) -> str:
    """What to write for a country instead: those whose names or codes come nearest, or what is asked for."""
    called = dict(_names())
    wanted = country.strip().casefold().replace("_", " ")
    # A name or longer code itself, else the names that it is a part of, else what is spelt like it.
    parts = sorted((name for name in called if len(wanted) > 3 and wanted in name), key=len)
    near = [wanted] if wanted in called else parts or get_close_matches(wanted, called, n=_OFFERED, cutoff=0.8)
    offers = list(dict.fromkeys(called[name] for name in near))[:_OFFERED]
    if not offers:
        return "Write its ISO 3166-1 code of two letters, such as DE or US."
    return f"Write {' or '.join(offers)}."


#: So many countries are offered for one that is not known.
_OFFERED = 3


# The library is imported only where it is asked: it is no part of what a web or a worker process does all day.


def _countries() -> dict[str, list[str]]:
    from holidays import list_supported_countries

    return list_supported_countries(include_aliases=False)


def _names() -> Iterator[tuple[str, str]]:
    """The names and longer codes of countries, in small letters, each with what it is called: `DE (Germany)`."""
    from holidays.registry import COUNTRIES

    countries = _countries()
    for module, (_, code, *others) in COUNTRIES.items():
        if code in countries:
            name = module.replace("_", " ")
            said = f"{code} ({name.title()})"
            for known in (name, code, *others):
                yield known.casefold(), said


def _known_years(country: str, subdivision: str, found: Any) -> str:
    """The years of which the library knows holidays of a place: it names a longer span than it has days for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        back = range(found.end_year, found.start_year - 1, -1)
        known = [year for year in back if _library_days(country, subdivision, year)]
    if not known:
        return "None are known of any year."
    # Without gap from the last on: long ago there are years with none between years with some.
    first = next(year for year in count(known[0], -1) if year - 1 not in known)
    return f"The years that may be asked for are {first} to {known[0]}."


def _library_days(country: str, subdivision: str, year: int) -> Any:
    from holidays import country_holidays

    place = country_holidays(country, subdiv=subdivision or None)
    language = _LANGUAGE if _LANGUAGE in place.supported_languages else None
    return country_holidays(country, subdiv=subdivision or None, years=year, expand=False, language=language)
