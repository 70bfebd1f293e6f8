"""Measures over the people at an account and the reviews held with them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from django.db.models import Case, Exists, IntegerField, OuterRef, Q, QuerySet, Subquery, Value, When

from csplaybooks.accounts.models import Champion, ChampionChange, Change, Entitlement, Finding, FindingState
from csplaybooks.playbooks.measures.base import Compiled, Measure, Moment, day_of, in_days, listed
from csplaybooks.signals.models import Strength

#: So much of what somebody wrote down is told.
_MOST_TOLD = 120

#: A product is held, another one was asked for, the gap names none, the gap is settled or dropped.
_HELD, _OTHER, _UNNAMED, _CLOSED = range(4)


def _short(text: str) -> str:
    return text if len(text) <= _MOST_TOLD else f"{text[:_MOST_TOLD].rstrip()}…"


def _quoted(text: str, around: str) -> str:
    """What somebody wrote down, as `around` puts it; nothing for whoever may not read it."""
    return around.format(_short(text)) if text else ""


def _status(moment: Moment) -> QuerySet[Any]:
    """The state of the finding around it, as it was at the moment; none where nobody had brought it up."""
    return FindingState.objects.holding_at(moment.as_of, moment.known.mark).filter(finding=OuterRef("pk")).order_by()


def _of_account(changes: QuerySet[Any]) -> QuerySet[Any]:
    """Changes of champions of the account around them, the last first."""
    return changes.filter(account=OuterRef("pk")).order_by("-occurred_at", "-pk")


class OpenGap(Measure):
    """An open finding of kind gap that names a product the account does not hold."""

    key = "open_gap"
    strength = Strength.STRONG.value
    treats = "held products fill no gap"
    quotes: ClassVar[dict[str, tuple[str, ...]]] = {Finding._meta.label: ("text", "near_text")}
    moment_is_a_parameter = True
    settings_schema: ClassVar[dict[str, Any]] = {
        "products": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 50}
    }
    takes_threshold = False

    def compile(self, settings: Mapping[str, Any], moment: Moment) -> Compiled:
        """See `Measure.compile`."""
        gaps = Finding.objects.filter(
            Exists(_status(moment).filter(status=FindingState.Status.OPEN)),
            ~Exists(self._held(moment)),
            kind=Finding.Kind.GAP,
            product__isnull=False,
        )
        if products := settings.get("products"):
            gaps = gaps.filter(product__key__in=products)
        asked = gaps if moment.accounts is None else gaps.filter(account__in=moment.accounts)
        own = gaps.filter(account=OuterRef("pk")).order_by("pk")
        return Compiled(
            holds=Q(pk__in=asked.order_by().values("account")),
            found={
                "finding": Subquery(own.values("pk")[:1]),
                "text": Subquery(own.values("text")[:1]),
                "product": Subquery(own.values("product__key")[:1]),
                "product_name": Subquery(own.values("product__name")[:1]),
            },
        )

    @staticmethod
    def _held(moment: Moment) -> QuerySet[Any]:
        """What the account of the finding around it holds of the product that fills the gap."""
        held = Entitlement.objects.holding_at(moment.as_of, moment.known.mark).order_by()
        return held.filter(account=OuterRef("account"), product=OuterRef("product"))

    def explain(self, settings: Mapping[str, Any], moment: Moment) -> Mapping[str, Any]:
        """See `Measure.explain`: beside it the gap that comes nearest, and what stands in its way."""
        wanted = Q(product__key__in=settings["products"]) if settings.get("products") else Q()
        is_open = Exists(_status(moment).filter(status=FindingState.Status.OPEN))
        near = (
            Finding.objects.filter(Exists(_status(moment)), account=OuterRef("pk"), kind=Finding.Kind.GAP)
            .annotate(
                why=Case(
                    When(~Q(is_open), then=Value(_CLOSED)),
                    When(product__isnull=True, then=Value(_UNNAMED)),
                    When(~wanted, then=Value(_OTHER)) if wanted else When(pk__in=[], then=Value(_OTHER)),
                    default=Value(_HELD),
                    output_field=IntegerField(),
                ),
                status=Subquery(_status(moment).values("status")[:1]),
            )
            .order_by("why", "pk")
        )
        return {
            **self.compile(settings, moment).found,
            **{
                f"near_{name.replace('__', '_')}": Subquery(near.values(name)[:1])
                for name in ("why", "status", "text", "product__name")
            },
        }

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        if found["finding"] is not None:
            return f"a review cited a gap that {found['product_name']} fills{_quoted(found['text'], ': {}')}"
        if "near_why" not in found:
            return "no open gap that a product not held would fill"
        products = settings.get("products")
        which = f"{listed(products)}, not held," if products else "a product not held"
        return f"{self._nearest(found)}, needed an open gap that {which} fills"

    @staticmethod
    def _nearest(found: Mapping[str, Any]) -> str:
        """Why no gap counts, in words."""
        if (why := found["near_why"]) is None:
            return "no gap is known"
        text, product = _quoted(found["near_text"], " ({})"), found["near_product_name"]
        if why == _CLOSED:
            return f"a gap is {FindingState.Status(found['near_status']).label.lower()}{text}"
        if why == _UNNAMED:
            return f"an open gap names no product that fills it{text}"
        if why == _OTHER:
            return f"an open gap is filled by {product}{text}"
        return f"{product}, which fills an open gap, is held already{text}"


class FindingKnown(Measure):
    """A finding of one of some kinds, raised in a review or by hand; a win is a documented outcome.

    It counts with the status it had at the moment: open or settled, or one of `statuses`. With `window_days` it was
    raised in the window `(as_of - window_days, as_of]`; a new status does not raise it again. Of several the one told
    last is named.
    """

    key = "finding"
    treats = "none fails, and so does a dropped one unless `statuses` names it; without `window_days` any age counts"
    quotes: ClassVar[dict[str, tuple[str, ...]]] = {Finding._meta.label: ("text", "near_text")}
    strength = Strength.MODERATE.value
    moment_is_a_parameter = True
    settings_schema: ClassVar[dict[str, Any]] = {
        "kinds": {"type": "array", "items": {"enum": list(Finding.Kind.values)}, "minItems": 1, "uniqueItems": True},
        "statuses": {
            "type": "array",
            "items": {"enum": list(FindingState.Status.values)},
            "minItems": 1,
            "uniqueItems": True,
        },
        "window_days": {"type": "integer", "minimum": 1, "maximum": 3650},
    }
    required = ("kinds",)
    takes_threshold = False
    _STATUSES = (FindingState.Status.OPEN.value, FindingState.Status.SETTLED.value)

    def compile(self, settings: Mapping[str, Any], moment: Moment) -> Compiled:
        """See `Measure.compile`."""
        findings = self._known(settings, moment).filter(
            Exists(_status(moment).filter(status__in=settings.get("statuses", self._STATUSES)))
        )
        if "window_days" in settings:
            begin = moment.as_of - timedelta(days=settings["window_days"])
            findings = findings.filter(~Exists(self._raised(moment).filter(valid_from__lte=begin)))
        asked = findings if moment.accounts is None else findings.filter(account__in=moment.accounts)
        return Compiled(
            holds=Q(pk__in=asked.order_by().values("account")), found=self._told(findings.order_by("-pk"), moment)
        )

    @staticmethod
    def _known(settings: Mapping[str, Any], moment: Moment) -> QuerySet[Any]:
        """The findings of the kinds, whatever came of them."""
        return Finding.objects.filter(kind__in=settings["kinds"])

    @staticmethod
    def _raised(moment: Moment) -> QuerySet[Any]:
        """What was held for true of the finding around it, of all time: the first of it raised it."""
        states = FindingState.objects.filter(finding=OuterRef("pk"))
        if moment.known.mark is None:
            return states.filter(superseded_by__isnull=True)
        unknown = Change.objects.not_known_at(moment.known.mark).values("pk")
        return states.filter(~Q(change__in=unknown) & (Q(superseded_by__isnull=True) | Q(superseded_by__in=unknown)))

    def _told(self, findings: QuerySet[Any], moment: Moment, prefix: str = "") -> dict[str, Any]:
        """What is told of the first of some findings of the account around them."""
        own = findings.filter(account=OuterRef("pk")).annotate(
            status=Subquery(_status(moment).values("status")[:1]),
            raised_at=Subquery(self._raised(moment).order_by("valid_from").values("valid_from")[:1]),
        )
        columns = {"finding": "pk", "kind": "kind", "status": "status", "text": "text", "raised_at": "raised_at"}
        return {f"{prefix}{name}": Subquery(own.values(column)[:1]) for name, column in columns.items()}

    def explain(self, settings: Mapping[str, Any], moment: Moment) -> Mapping[str, Any]:
        """See `Measure.explain`: beside it the finding of these kinds that comes nearest, by its status first."""
        fits = Exists(_status(moment).filter(status__in=settings.get("statuses", self._STATUSES)))
        known = self._known(settings, moment).filter(Exists(_status(moment)))
        near = known.annotate(away=Case(When(fits, then=Value(0)), default=Value(1), output_field=IntegerField()))
        return {
            **self.compile(settings, moment).found,
            **self._told(near.order_by("away", "-pk"), moment, "near_"),
        }

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        statuses = settings.get("statuses", self._STATUSES)
        wanted = f"{listed(settings['kinds'])} that is {listed(statuses)}"
        if "window_days" in settings:
            wanted += f", raised in {in_days(settings['window_days'])}"
        if found["finding"] is not None:
            said = self._named(found, "")
        elif found.get("near_finding") is not None:
            said = self._named(found, "near_")
        else:
            said = f"no {listed(settings['kinds'])} is known"
        return f"{said}, needed {wanted}"

    @staticmethod
    def _named(found: Mapping[str, Any], prefix: str) -> str:
        """A finding in words: "win raised on 2026-11-02 and settled (Saves two days a month.)"."""
        status = str(FindingState.Status(found[f"{prefix}status"]).label).lower()
        raised = f"raised on {day_of(found[f'{prefix}raised_at'])}"
        return f"{found[f'{prefix}kind']} {raised}, {status}{_quoted(found[f'{prefix}text'], ' ({})')}"


class ChampionChanged(Measure):
    """A champion's change of one of some kinds in a window `(as_of - window_days, as_of]`."""

    key = "champion_change"
    strength = Strength.STRONG.value
    treats = "none in the window fails"
    quotes: ClassVar[dict[str, tuple[str, ...]]] = {
        Champion._meta.label: ("champion", "new_title", "last_champion", "other_champion")
    }
    moment_is_a_parameter = True
    settings_schema = {
        "kinds": {
            "type": "array",
            "items": {"enum": list(ChampionChange.Kind.values)},
            "minItems": 1,
            "uniqueItems": True,
        },
        "window_days": {"type": "integer", "minimum": 1, "maximum": 730},
    }
    required = ("kinds", "window_days")
    takes_threshold = False

    def compile(self, settings: Mapping[str, Any], moment: Moment) -> Compiled:
        """See `Measure.compile`."""
        begin = moment.as_of - timedelta(days=settings["window_days"])
        changes = self._changes(moment).filter(kind__in=settings["kinds"], occurred_at__gt=begin)
        asked = changes if moment.accounts is None else changes.filter(account__in=moment.accounts)
        own = _of_account(changes)
        return Compiled(
            holds=Q(pk__in=asked.order_by().values("account")),
            found={
                "champion": Subquery(own.values("champion__name")[:1]),
                "kind": Subquery(own.values("kind")[:1]),
                "new_title": Subquery(own.values("new_title")[:1]),
                "at": Subquery(own.values("occurred_at")[:1]),
            },
        )

    @staticmethod
    def _changes(moment: Moment) -> QuerySet[Any]:
        """All that had happened to champions by the moment, as far as was known."""
        changes: QuerySet[Any] = ChampionChange.objects.filter(occurred_at__lte=moment.as_of)
        if moment.known.mark is not None:
            changes = changes.exclude(change__in=Change.objects.not_known_at(moment.known.mark).values("pk"))
        return changes

    def explain(self, settings: Mapping[str, Any], moment: Moment) -> Mapping[str, Any]:
        """See `Measure.explain`: beside it the last change of these kinds, however long ago, and of others since."""
        begin = moment.as_of - timedelta(days=settings["window_days"])
        found = dict(self.compile(settings, moment).found)
        for name, changes in (
            ("last", self._changes(moment).filter(kind__in=settings["kinds"])),
            ("other", self._changes(moment).filter(occurred_at__gt=begin).exclude(kind__in=settings["kinds"])),
        ):
            for column in ("champion__name", "kind", "occurred_at"):
                found[f"{name}_{column.partition('_')[0]}"] = Subquery(_of_account(changes).values(column)[:1])
        return found

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        if found["champion"] is not None:
            title = f" to {found['new_title']}" if found["new_title"] else ""
            return f"{found['champion'] or 'a champion'}: {_labelled(found['kind'])}{title}"
        wanted = f"{listed(_labelled(kind) for kind in settings['kinds'])} in {in_days(settings['window_days'])}"
        for name, when in (("last", "last "), ("other", "only ")):
            if found.get(f"{name}_occurred") is not None:
                what = f"{found[f'{name}_champion'] or 'a champion'} {_labelled(found[f'{name}_kind'])}"
                return f"{when}{what} on {day_of(found[f'{name}_occurred'])}, needed {wanted}"
        return f"no champion changed, needed {wanted}"


def _labelled(kind: str) -> str:
    """What happened to a champion, in words."""
    return str(ChampionChange.Kind(kind).label).lower()
