"""What `make generate` makes is committed as it is made now."""

from pathlib import Path

import pytest

from scripts.generate import ROOT, generated_files


@pytest.mark.parametrize(
    ("path", "content"),
    [pytest.param(*each, id=str(each[0].relative_to(ROOT))) for each in generated_files()],
)
def test_generated_files_are_current(path: Path, content: str) -> None:
    assert path.read_text(encoding="utf-8") == content, "run make generate"
