"""Tests of the API's shared bases and of its endpoints."""

from __future__ import annotations
