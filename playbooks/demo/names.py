"""Invented companies and people; any likeness is by chance."""

from __future__ import annotations

from random import Random

COMPANY_FIRST = (
    *("Alder", "Amber", "Anchor", "Aspen", "Beacon", "Birch", "Bramble", "Bright", "Calder", "Cedar", "Clover"),
    *("Cobalt", "Copper", "Coral", "Crane", "Delta", "Ember", "Falcon", "Fern", "Flint", "Garnet", "Granite"),
    *("Harbour", "Hazel", "Heron", "Indigo", "Juniper", "Kestrel", "Lantern", "Larch", "Lumen", "Maple", "Marble"),
    *("Meadow", "Nimbus", "Opal", "Orchard", "Osprey", "Pebble", "Pine", "Quartz", "Raven", "River", "Rowan"),
    *("Saffron", "Sable", "Silver", "Sparrow", "Summit", "Tidal", "Umber", "Vesper", "Willow", "Winter"),
)
COMPANY_SECOND = (
    *("Foods", "Freight", "Robotics", "Textiles", "Energy", "Health", "Insurance", "Labs", "Logistics", "Media"),
    *("Mobility", "Optics", "Paper", "Pharma", "Retail", "Software", "Studios", "Systems", "Travel", "Works"),
)
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


def company_names(random: Random, count: int) -> list[str]:
    """`count` different names of companies, at most some thousand."""
    names = [f"{first} {second}" for first in COMPANY_FIRST for second in COMPANY_SECOND]
    return random.sample(names, count)


def person_name(random: Random) -> str:
    """A first and a last name."""
    return f"{random.choice(PERSON_FIRST)} {random.choice(PERSON_LAST)}"
