"""The launcher finds the tritonserver of this machine and prepares its Python backend."""

import os
import sys
from pathlib import Path

import pytest

from launcher import installation
from launcher.installation import InstallationError, find_installation


def test_the_wheel_gives_a_server_and_a_python_backend_with_its_stub(tmp_path: Path) -> None:
    found = find_installation(tmp_path)
    assert os.access(found.executable, os.X_OK)
    stub = found.backend_directory / "python" / "triton_python_backend_stub"
    assert os.access(stub, os.X_OK)
    assert (found.backend_directory / "python" / "libtriton_python.so").is_file()
    assert found.environment["PATH"].startswith(str(Path(sys.executable).parent))
    assert "nvidia_pytriton.libs" in found.environment["LD_LIBRARY_PATH"]


def test_the_containers_server_is_taken_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = tmp_path / "opt" / "bin" / "tritonserver"
    server.parent.mkdir(parents=True)
    server.touch()
    monkeypatch.setattr(installation, "CONTAINER_ROOT", tmp_path / "opt")
    found = find_installation(tmp_path / "run")
    assert found.executable == server
    assert found.backend_directory == tmp_path / "opt" / "backends"
    assert not (tmp_path / "run").exists()


def test_a_machine_without_a_server_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(InstallationError, match="nvidia-pytriton is not installed"):
        find_installation(tmp_path)
