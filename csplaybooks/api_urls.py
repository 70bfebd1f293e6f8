"""The routes of the REST API, version 1."""

from __future__ import annotations

from django.urls import include, path, re_path, reverse
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter

from csplaybooks.accounts.api import AccountViewSet
from csplaybooks.api.views import ApiView, not_found_view
from csplaybooks.playbooks.api import PlayViewSet
from csplaybooks.playbooks.api_acts import ACT_VIEWS
from csplaybooks.playbooks.api_prompts import PromptsView
from csplaybooks.playbooks.api_reports import HandoffReportView, PlayIntervalsView, WhoseTimeView
from csplaybooks.playbooks.api_routing import RoutingView
from csplaybooks.playbooks.api_steps import PlayStepsView
from csplaybooks.playbooks.api_verdicts import (
    TriggerAccountsView,
    TriggerVerdictsView,
    TriggerViewSet,
    VerdictsView,
)
from csplaybooks.signals.api import ReadingsView, SignalsView
from csplaybooks.signals.api_readiness import ReadinessView


class IndexView(ApiView):
    """The endpoints there are, by name, for whoever is signed in."""

    permission_classes = (IsAuthenticated,)

    def get(self, request: Request) -> Response:
        """The addresses of all endpoints."""
        names = {
            "accounts": "accounts-list",
            "handoffs_report": "handoffs-report",
            "plays": "plays-list",
            "prompts": "prompts",
            "readiness": "readiness",
            "readings": "readings",
            "routing": "routing",
            "signals": "signals",
            "triggers": "triggers-list",
            "verdicts": "verdicts",
            "whose_time": "whose-time",
        }
        match = request.resolver_match
        namespace = f"{match.namespace}:" if match is not None and match.namespace else ""
        return Response(
            {name: request.build_absolute_uri(reverse(f"{namespace}{route}")) for name, route in names.items()}
        )


app_name = "api"

router = SimpleRouter()
router.register("accounts", AccountViewSet, basename="accounts")
router.register("plays", PlayViewSet, basename="plays")
router.register("triggers", TriggerViewSet, basename="triggers")

urlpatterns = [
    path("", IndexView.as_view(), name="index"),
    path("signals/", SignalsView.as_view(), name="signals"),
    path("readings/", ReadingsView.as_view(), name="readings"),
    path("readiness/", ReadinessView.as_view(), name="readiness"),
    path("prompts/", PromptsView.as_view(), name="prompts"),
    path("intervals/whose-time/", WhoseTimeView.as_view(), name="whose-time"),
    path("handoffs/report/", HandoffReportView.as_view(), name="handoffs-report"),
    path("plays/<int:pk>/intervals/", PlayIntervalsView.as_view(), name="play-intervals"),
    path("plays/<int:pk>/steps/", PlayStepsView.as_view(), name="play-steps"),
    path("routing/", RoutingView.as_view(), name="routing"),
    path("verdicts/", VerdictsView.as_view(), name="verdicts"),
    path("triggers/<int:pk>/verdicts/", TriggerVerdictsView.as_view(), name="trigger-verdicts"),
    path("triggers/<int:pk>/accounts/", TriggerAccountsView.as_view(), name="trigger-accounts"),
    *(path(f"plays/<int:pk>/{verb}/", view.as_view(), name=f"plays-{verb}") for verb, view in ACT_VIEWS.items()),
    path("", include(router.urls)),
    # Last: every other address below is answered by a problem document too.
    re_path("", not_found_view, name="not-found"),
]
