"""How the host's own API behaves: nobody may do anything, and says so loudly."""

from __future__ import annotations

from rest_framework.authentication import BaseAuthentication
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle


class ShoutingRenderer(BaseRenderer):
    """Capital letters."""

    media_type = "text/plain"
    format = "shout"

    def render(self, data, accepted_media_type=None, renderer_context=None):
        """All of it."""
        return str(data).upper().encode()


class KnowsNobody(BaseAuthentication):
    """Whoever calls is unknown."""

    def authenticate(self, request):
        """Nobody."""
        return


class DenyAll(BasePermission):
    """No."""

    def has_permission(self, request, view):
        """Never."""
        return False


class ThrottleAll(BaseThrottle):
    """Too often already."""

    def allow_request(self, request, view):
        """Never."""
        return False


class FirstRenderer(BaseContentNegotiation):
    """Whatever is asked for, one answer."""

    def select_parser(self, request, parsers):
        """The first."""
        return parsers[0]

    def select_renderer(self, request, renderers, format_suffix=None):
        """The first."""
        return renderers[0], renderers[0].media_type


def answer_the_hosts_way(error, context):
    """Every error alike."""
    return Response({"host says": "no"}, status=418)
