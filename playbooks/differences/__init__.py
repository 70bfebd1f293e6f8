"""What differs between two playbook documents, in words for people.

Documents are compared as they are run, filled in, and not as they are written: comments, layout and the order of names
make no difference. What is said is total: settings of a host's measures and guards, and parts of documents that nobody
knew when this was written, are told by their names.
"""

from __future__ import annotations

from csplaybooks.playbooks.differences.comparing import Difference, differences
from csplaybooks.playbooks.differences.publishing import SAME, changes_by, changes_of_draft, changes_of_version

__all__ = ["SAME", "Difference", "changes_by", "changes_of_draft", "changes_of_version", "differences"]
