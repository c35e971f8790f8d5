"""Logs and repositories go where the operator says, or where this process may write."""

from pathlib import Path

import pytest

from launcher import run_directory
from launcher.run_directory import VARIABLE, RunDirectoryError, find_run_directory


def test_by_default_it_is_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_run_directory(None, 8000).resolve() == tmp_path / ".run" / "8000"


def test_the_command_line_comes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "variable"))
    assert find_run_directory(None, 1) == tmp_path / "variable" / "1"
    assert find_run_directory(tmp_path / "given", 1) == tmp_path / "given" / "1"


def test_where_the_working_directory_is_read_only_it_is_a_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file in the place of the directory: root may write to any directory.
    (tmp_path / "file").touch()
    monkeypatch.setattr(run_directory, "DEFAULT", tmp_path / "file" / ".run")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "temporary"))
    found = find_run_directory(None, 8000)
    assert found.parent.parent == tmp_path / "temporary"
    assert found.is_dir()


def test_a_chosen_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        RunDirectoryError, match="choose another run directory with --run-directory"
    ):
        find_run_directory(tmp_path / "file", 8000)
