"""`up`, `down`, `status` and `clean` where there is nothing to do, or something in the way."""

import io
import signal
import socket
import sys
from pathlib import Path

import pytest

from data.settings import ROOT, Settings
from stack.__main__ import main
from stack.commands import clean, down, status, up
from stack.processes import Record, identify, read, write
from stack.programs import (
    MLFLOW,
)


def test_up_on_a_taken_port_starts_nothing(settings, capsys):
    with socket.create_server(("127.0.0.1", settings.ray_port)):
        assert up(settings) == 1
    assert f"{settings.ray_port} is taken" in capsys.readouterr().err
    assert read(settings) is None
    assert not list(settings.logs_dir.iterdir())


def test_down_stops_what_a_killed_supervisor_left(settings, capsys, sleeper):
    record = Record((0, 0.0), "/tmp/none", {MLFLOW: identify(sleeper.pid)})
    write(settings, record)
    assert down(settings) == 0
    assert sleeper.wait(5) == -signal.SIGTERM
    assert f"stopped (process {sleeper.pid})" in capsys.readouterr().out
    assert read(settings) is None


def test_down_and_status_without_a_stack_say_so(settings, capsys):
    assert down(settings) == 0
    assert status(settings) == 1
    assert capsys.readouterr().out.count("The stack is not up") == 2


def test_status_fails_when_a_process_is_dead(settings, capsys, sleeper):
    write(settings, Record(identify(sleeper.pid), "/tmp/none"))
    assert status(settings) == 1
    out = capsys.readouterr().out
    assert len([line for line in out.splitlines() if " dead " in line]) == 5


@pytest.mark.parametrize("answer", ["", "y\n", "no\n"])
def test_clean_deletes_nothing_without_a_clear_yes(settings, monkeypatch, answer):
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    assert clean(settings) == 1
    assert settings.state_dir.exists()


def test_clean_deletes_the_state_on_yes(settings, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    assert clean(settings) == 0
    assert not settings.state_dir.exists()


def test_clean_refuses_while_the_stack_is_up(settings, monkeypatch, sleeper, capsys):
    write(settings, Record(identify(sleeper.pid), "/tmp/none"))
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    assert clean(settings) == 1
    assert "make down" in capsys.readouterr().err
    assert settings.state_dir.exists()


@pytest.mark.parametrize("precious", [ROOT, ROOT.parent, Path.home(), Path("/")])
def test_clean_refuses_a_folder_that_holds_more_than_state(precious, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    monkeypatch.setattr("shutil.rmtree", lambda path: pytest.fail(f"would delete {path}"))
    assert clean(Settings(state_dir=precious)) == 1
    assert "holds more than state" in capsys.readouterr().err


def test_an_unknown_command_shows_the_known_ones(capsys):
    assert main(["restart"]) == 2
    assert "up | down | status | clean" in capsys.readouterr().err
