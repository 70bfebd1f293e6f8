"""The stated rules of a replay: what is laid over a record that knows of activity and of nothing else.

Everything here is a plain number or a plain sentence, so that the report can say what it rests on.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Active users and usage are counted over this many days, the present one included.
WINDOW_DAYS = 28


@dataclass(frozen=True)
class LicenceRule:
    """How many seats an account licenses.

    First after `after_days` days: its active users and `headroom_percent` more, rounded up to `step`, at least
    `minimum`. Again at each yearly renewal, and upwards when a play of the motion seat expansion is won.
    """

    minimum: int = 5
    headroom_percent: int = 25
    step: int = 5
    after_days: int = WINDOW_DAYS

    def __post_init__(self) -> None:
        if self.minimum < 1 or self.step < 1 or self.headroom_percent < 0 or not 1 <= self.after_days <= 366:
            raise ValueError(
                "The licence rule needs a minimum and a step of at least 1, a headroom of at least 0 per cent, "
                "and 1 to 366 days."
            )

    def seats(self, active_users: int) -> int:
        """The licence for so many active users."""
        return _rounded_up(active_users, self.headroom_percent, self.step, self.minimum)

    def usage(self, rows: int) -> int:
        """The included usage for so many rows in a window: ten times the seat rule's minimum and step."""
        return _rounded_up(rows, self.headroom_percent, self.step * 10, self.minimum * 10)


def _rounded_up(used: int, headroom_percent: int, step: int, minimum: int) -> int:
    # In whole numbers: -(-a // b) is a / b rounded up.
    return max(minimum, -(-used * (100 + headroom_percent) // (100 * step)) * step)


@dataclass(frozen=True)
class WorkRule:
    """How the virtual team works its plays."""

    #: Working hours from opening to the first touch, play after play in turn. Some are late on purpose.
    delays: tuple[int, ...] = (1, 2, 4, 6, 7, 12, 3, 5, 20, 2)
    #: Of the plays that a person works, every so manieth is paused after its touch, and for how long.
    pause_every: int = 7
    pause_days: int = 14
    #: A growth that lasts this many days is bought.
    lasting_days: int = 7
    #: So many gates hit since the touch, and the next plan is bought.
    gates: int = 2


@dataclass(frozen=True)
class PriceRule:
    """What things cost a month, in minor units."""

    #: Key, name, price, price of a seat; each is followed by the next.
    plans: tuple[tuple[str, str, int, int], ...] = (
        ("team", "Team", 10_000, 2_000),
        ("business", "Business", 30_000, 3_500),
        ("enterprise", "Enterprise", 80_000, 5_000),
    )
    product: int = 25_000
    #: A block of ten times the licence step of usage.
    usage_block: int = 2_000


@dataclass(frozen=True)
class SegmentRule:
    """The segment by licensed seats: up to and including."""

    small_to: int = 10
    mid_market_to: int = 50

    def segment(self, seats: int) -> str:
        """The segment of an account with so many seats."""
        if seats <= self.small_to:
            return "small"
        return "mid_market" if seats <= self.mid_market_to else "enterprise"


@dataclass(frozen=True)
class Rules:
    """All rules of one replay."""

    licence: LicenceRule = LicenceRule()
    work: WorkRule = WorkRule()
    prices: PriceRule = PriceRule()
    segments: SegmentRule = SegmentRule()
    customer_success_managers: int = 8
    account_executives: int = 3
    #: Days between two reviews, and how long a gap that a review found stays open.
    review_days: int = 91
    gap_days: int = 120
    #: An account without a row for so long does not renew.
    churn_days: int = 182
    #: Windows slide while nothing arrives, so every so many days all accounts are looked at.
    full_run_days: int = 7

    def words(self) -> list[str]:
        """The rules in sentences, for the report."""
        licence, work = self.licence, self.work
        return [
            "The clock ticks once a day, at midnight UTC after it; what happened on the day is handed in then.",
            f"Active users and usage are counted over {WINDOW_DAYS} days.",
            f"Licence: after {licence.after_days} days the active users and {licence.headroom_percent} % more, rounded "
            f"up to {licence.step}, at least {licence.minimum}; again at each yearly renewal; raised when a seat play "
            "is won. Included usage: the same of rows, with ten times the step and the minimum.",
            f"An account without a row for {self.churn_days} days does not renew, and begins anew with its next row.",
            "A user's first row is also a user added by an admin; the first row in an area, once the account has a "
            "licence and until it has the top plan, is also a feature gate hit.",
            "The first row in a product other than the first is a cross-sell that happened, at the list price.",
            f"A review every {self.review_days} days of a customer with a row in the window cites as a gap the product "
            f"that most others hold and this one does not; after {self.gap_days} days the gap is dropped.",
            "Prices a month, in minor units: "
            + "; ".join(f"{name} {price:,} and {seat:,} a seat" for _, name, price, seat in self.prices.plans)
            + f"; a product {self.prices.product:,}; usage {self.prices.usage_block:,} for each "
            f"{licence.step * 10:,} rows.",
            f"First touch after {', '.join(map(str, work.delays))} working hours in turn, self-serve at once; every "
            f"{work.pause_every}th play of a person is then paused for {work.pause_days} days.",
            f"Won, once touched: seats and usage that stay above the limit for {work.lasting_days} days, or are bought "
            f"at the renewal; {work.gates} more gate hits (tier upsell). A cross-sell is won by the first row in its "
            "product. Lost: use below half of the limit, nobody active (tier upsell), not renewed. Else expired.",
        ]
