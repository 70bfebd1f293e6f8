"""The app of docs/extending.md, as it stands there, in a site of its own: its tests pass."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.docs.page import CHECKOUT, DOCS, blocks_of

#: The one block without a name is the playbook, which the tests of the page read.
PLAYBOOK = "own_rules/certified_and_ready.yaml"


def test_the_code_of_the_page_works(tmp_path: Path) -> None:
    written = []
    for block in blocks_of((DOCS / "extending.md").read_text()):
        name = PLAYBOOK if block.language == "yaml" else block.text.partition("\n")[0].removeprefix("# ")
        assert name.endswith((".py", ".yaml")), f"a block says in its first line which file it is:\n{block.text}"
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        assert not file.exists(), f"{name} stands twice on the page"
        file.write_text(block.text)
        written.append(name)
    assert len(written) == 9, written
    (tmp_path / "own_rules" / "__init__.py").touch()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(CHECKOUT)]),
        "PYTHONWARNINGS": "error::DeprecationWarning,error::PendingDeprecationWarning",
        "DJANGO_SETTINGS_MODULE": "own_settings",
        "SECRET_KEY": "for this test only",
        "DATABASE_URL": "sqlite://:memory:",
    }

    def django(*words: str) -> str:
        answer = subprocess.run(
            [sys.executable, "-m", "django", *words],
            cwd=tmp_path,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout + answer.stderr

    django("makemigrations", "own_rules")
    assert "no issues" in django("check", "--fail-level", "WARNING")
    said = django("test", "own_rules")
    assert "Ran 4 tests" in said
    assert "OK" in said
