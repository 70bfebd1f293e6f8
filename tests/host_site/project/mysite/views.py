"""The host's own API."""

from __future__ import annotations

from rest_framework.response import Response
from rest_framework.views import APIView


class HostView(APIView):
    """A view of the host's, with all of its defaults."""

    def get(self, request):
        """Never reached: see DenyAll."""
        return Response({})
