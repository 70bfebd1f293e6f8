"""The sample company behind `make demo`: made up, the same for the same seed, told through the product's own acts.

It needs factory-boy (the extra `demo`), so nothing outside the demo imports it.
"""

from __future__ import annotations
