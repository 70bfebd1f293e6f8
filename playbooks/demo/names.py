"""Invented companies and people; any likeness is by chance."""

from __future__ import annotations

from collections.abc import Collection
from random import Random

COMPANY_FIRST = (
    *("Alder", "Amber", "Anchor", "Aspen", "Beacon", "Birch", "Bramble", "Bright", "Calder", "Cedar", "Clover"),
    *("Cobalt", "Copper", "Coral", "Crane", "Delta", "Ember", "Falcon", "Fern", "Flint", "Garnet", "Granite"),
    *("Harbour", "Hazel", "Heron", "Indigo", "Juniper", "Kestrel", "Lantern", "Larch", "Lumen", "Maple", "Marble"),
    *("Meadow", "Nimbus", "Opal", "Orchard", "Osprey", "Pebble", "Pine", "Quartz", "Raven", "River", "Rowan"),
    *("Saffron", "Sable", "Silver", "Sparrow", "Summit", "Tidal", "Umber", "Vesper", "Willow", "Winter"),
)
#: What companies of an industry are called.
INDUSTRIES = {
    "consumer": ("Foods", "Retail", "Textiles", "Travel"),
    "logistics": ("Freight", "Logistics", "Mobility"),
    "manufacturing": ("Optics", "Paper", "Robotics", "Works"),
    "healthcare": ("Health", "Labs", "Pharma"),
    "finance": ("Capital", "Insurance"),
    "energy": ("Energy", "Grid"),
    "media": ("Media", "Studios"),
    "technology": ("Software", "Systems"),
}
PERSON_FIRST = (
    *("Ada", "Amir", "Bea", "Bruno", "Chiara", "Daan", "Elif", "Emil", "Farah", "Felix", "Greta", "Hugo"),
    *("Ines", "Ivan", "Jana", "Jonas", "Kofi", "Lena", "Luca", "Mara", "Milan", "Noor", "Olga", "Omar"),
    *("Petra", "Rafael", "Rosa", "Samir", "Sofia", "Tariq", "Thea", "Vera", "Viktor", "Yuki", "Zoe"),
)
PERSON_LAST = (
    *("Abbas", "Andersen", "Bauer", "Costa", "Demir", "Duval", "Eriksen", "Fischer", "Garcia", "Haddad"),
    *("Ito", "Jensen", "Kaya", "Kowalski", "Lang", "Marino", "Moreau", "Novak", "Okafor", "Patel"),
    *("Quist", "Rossi", "Santos", "Silva", "Tanaka", "Ueda", "Varga", "Weber", "Ziegler"),
)
TITLES = ("Head of Operations", "IT Manager", "Team Lead", "Process Owner", "Analyst", "Office Manager")
SENIOR_TITLES = ("VP Operations", "Chief Operating Officer", "Director of IT", "Chief Financial Officer")


def companies(random: Random, count: int, *, taken: Collection[str]) -> list[tuple[str, str]]:
    """`count` companies of different names, none of those `taken`: name and industry. At most a thousand."""
    known = [
        (f"{first} {second}", industry)
        for industry, seconds in INDUSTRIES.items()
        for second in seconds
        for first in COMPANY_FIRST
        if f"{first} {second}" not in taken
    ]
    return random.sample(known, count)


def person_name(random: Random) -> str:
    """A first and a last name."""
    return f"{random.choice(PERSON_FIRST)} {random.choice(PERSON_LAST)}"


def slug(name: str) -> str:
    """A name as an id: small letters and hyphens."""
    return name.lower().replace(" ", "-")
