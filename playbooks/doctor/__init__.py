"""The doctor: looks at the whole installation as it stands at a moment, and says what is wrong and what to do."""

from __future__ import annotations

from csplaybooks.playbooks.doctor.examination import Report, examine
from csplaybooks.playbooks.doctor.findings import Finding, Level

__all__ = ["Finding", "Level", "Report", "examine"]
