"""How the documentation is built: ``make docs``. Pages are Markdown; a warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from csplaybooks import __version__

project = "csplaybooks"
author = "csplaybooks contributors"
project_copyright = "csplaybooks contributors"
release = version = __version__

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
# Links to headings are checked too.
myst_heading_anchors = 3
nitpicky = True

html_theme = "furo"
html_title = "csplaybooks"
html_static_path = ["_static"]
html_css_files = ["pipeline.css"]
# No fonts, scripts or counters from elsewhere.
html_copy_source = False
html_show_sphinx = False
