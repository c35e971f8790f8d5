"""A guardian ends everything that its command has started, and reports how the command ended."""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from launcher import guardian
from launcher.ports import free_ports
from launcher.processes import family, processes_with
from launcher.server import SHARED_MEMORY
from scripts.bench.service import serve_command

SECONDS = 30
VARIABLE = "GUARDIAN_TEST"
ORPHANS = "setsid sleep 600 & setsid sh -c 'sleep 600 & sleep 600' & "
"""Processes in sessions, and so in process groups, of their own."""

LOOP = "echo on >&2; while :; do sleep 0.1; done"


def guardian_command(script: str, grace: str = "60", parent: int | None = None) -> list[str]:
    parent = os.getpid() if parent is None else parent
    program = [sys.executable, "-I", "-S", guardian.__file__]
    return [*program, str(parent), grace, "", "sh", "-c", script]


@contextmanager
def guarded(script: str, grace: str = "60") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a shell script under a guardian; yields it and the value of VARIABLE in its family."""
    mark = uuid.uuid4().hex
    with subprocess.Popen(
        guardian_command(script, grace),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {VARIABLE: mark},
    ) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) in [each.pid for each in family(process.pid)]
        yield process, mark
        process.kill()
    for each in processes_with(VARIABLE, mark):
        each.kill()


def wait_for_line(process: subprocess.Popen[str], line: str) -> None:
    assert process.stderr is not None
    assert process.stderr.readline().strip() == line


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137)])
def test_the_exit_status_is_that_of_the_command(script: str, status: int) -> None:
    with guarded(f"sleep 0.2; {script}") as (process, _):
        assert process.wait(SECONDS) == status


def test_a_command_that_does_not_exist_is_named() -> None:
    done = subprocess.run(
        [*guardian_command("")[:-3], "/no/such/program"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 127
    assert done.stderr == "error: /no/such/program: No such file or directory\n"


def test_what_outlives_the_command_is_ended_before_the_guardian_ends() -> None:
    with guarded(f"{ORPHANS} sleep 0.3; echo done >&2; exit 5") as (process, mark):
        wait_for_line(process, "done")
        assert process.wait(SECONDS) == 5
        assert processes_with(VARIABLE, mark) == []


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_forwarded_and_the_command_has_time_to_end(stop: signal.Signals) -> None:
    trap = f"trap 'sleep 0.3; exit 7' {stop.name[3:]}; "
    with guarded(f"{trap} {ORPHANS} {LOOP}") as (process, mark):
        wait_for_line(process, "on")
        process.send_signal(stop)
        assert process.wait(SECONDS) == 7
        assert processes_with(VARIABLE, mark) == []


def test_a_command_that_does_not_end_is_killed_after_the_grace_period() -> None:
    with guarded(f"trap '' TERM; {LOOP}", "0.5") as (process, mark):
        wait_for_line(process, "on")
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(SECONDS)
        assert time.monotonic() - begun >= 0.5
        assert processes_with(VARIABLE, mark) == []


def test_sigquit_ends_the_family_at_once() -> None:
    with guarded(f"trap '' TERM QUIT; {ORPHANS} echo on >&2; sleep 600") as (process, mark):
        wait_for_line(process, "on")
        process.send_signal(signal.SIGQUIT)
        process.wait(SECONDS)
        assert processes_with(VARIABLE, mark) == []


def test_the_family_ends_when_the_parent_is_killed() -> None:
    mark = uuid.uuid4().hex
    program = (
        "import os, subprocess, sys, time\n"
        "command = sys.argv[1:]\n"
        "command[4] = str(os.getpid())\n"
        "subprocess.Popen(command, stdout=subprocess.DEVNULL)\n"
        "print('started', flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, *guardian_command(f"{ORPHANS} sleep 600", "1")],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {VARIABLE: mark},
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "started\n"
        while len(processes_with(VARIABLE, mark)) < 6:
            time.sleep(0.02)
        parent.kill()
    deadline = time.monotonic() + SECONDS
    while processes_with(VARIABLE, mark):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_shared_memory_of_the_prefix_is_removed_and_no_other() -> None:
    prefix = f"aeolus_test_{uuid.uuid4().hex}_"
    ours, other = SHARED_MEMORY / f"{prefix}0", SHARED_MEMORY / f"other_{prefix}"
    for each in (ours, other):
        each.touch()
    try:
        command = guardian_command("true")
        command[6] = prefix
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        assert not ours.exists()
        assert other.exists()
    finally:
        other.unlink()


def can_unshare() -> bool:
    return (
        shutil.which("unshare") is not None
        and subprocess.run(
            ["unshare", "--pid", "--fork", "--mount-proc", "true"], capture_output=True, check=False
        ).returncode
        == 0
    )


as_pid_1 = pytest.mark.skipif(not can_unshare(), reason="needs a PID namespace of its own (root)")


@as_pid_1
def test_as_pid_1_it_reaps_orphans_and_passes_the_exit_status_on() -> None:
    # The orphan ends while the command runs; were it not reaped, it would stay as a zombie.
    script = "(sleep 0.2 &) ; sleep 1; grep -l '^State:.Z' /proc/[0-9]*/status | wc -l; exit 9"
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", *guardian_command(script, "inf", 0)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 9
    assert done.stdout.strip() == "0"


@as_pid_1
@pytest.mark.server
def test_the_main_program_as_pid_1_serves_and_ends_by_a_signal(tmp_path: Path) -> None:
    with subprocess.Popen(
        [
            "unshare",
            "--pid",
            "--fork",
            "--mount-proc",
            *serve_command(free_ports().http, free_ports()),
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert any(line.startswith("ready: ") for line in process.stdout)
            _, init, main, *_ = family(process.pid)
            assert init.name == "guardian"
            os.kill(init.pid, signal.SIGTERM)
            assert process.wait(120) == 0
            assert not main.is_running
        finally:
            for each in reversed(family(process.pid)):
                each.kill()
