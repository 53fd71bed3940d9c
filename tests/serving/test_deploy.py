"""Deploying by HTTP against a small real server that behaves as Ray Serve and the API do."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from data.settings import Settings
from serving import deploy, rollback
from serving.deploy import DeployFailed, RayUnreachable


class Cluster:
    """Ray's dashboard and the forecast API on one port; applies a configuration after a while."""

    def __init__(self) -> None:
        self.model: dict[str, Any] = {"version": None, "load_error": None}
        self.config: dict[str, Any] | None = None
        self.bad: set[str] = set()
        self.seen: list[str | None] = []
        self.tokens: set[str] = set()
        self.apply_seconds = 0.05
        self.second_seconds = 0.0  # by which a second replica is later
        self.refuse: str | None = None
        self.api_down = False
        self.slow_puts = 0

    def put(self, config: dict[str, Any]) -> None:
        if config == self.config:
            return  # as Ray Serve: the same configuration is not applied again
        self.config = config
        user_config = config["applications"][0]["deployments"][0]["user_config"]
        self.seen.append(user_config["version"])
        threading.Timer(self.apply_seconds, self.apply, [user_config["version"]]).start()

    def apply(self, version: str | None) -> None:
        if version in self.bad:
            error = {"version": version, "error": "ValueError: the digest differs."}
            self.model = {**self.model, "load_error": error}
        else:
            before = self.model["version"]
            self.model = {"version": version, "load_error": None}
            if self.second_seconds:
                self.model["versions"] = [before, version]
                whole = {"versions": [version, version]}
                threading.Timer(self.second_seconds, self.model.update, [whole]).start()


def handler_of(cluster: Cluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            cluster.tokens.add(self.headers["Authorization"])
            if cluster.refuse:
                return self.reply(400, cluster.refuse.encode())
            assert self.path == "/api/serve/applications/"
            cluster.put(json.loads(body))
            if cluster.slow_puts:
                cluster.slow_puts -= 1
                time.sleep(0.6)
            self.reply(200, b"")

        def do_GET(self) -> None:
            assert self.path == "/v1/model"
            if cluster.api_down:
                return self.reply(500, b"no replica")
            self.reply(200, json.dumps(cluster.model).encode())

        def reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):
                self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            pass

    return Handler


@pytest.fixture
def champion(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """The alias, which a rollback moves."""
    alias: dict[str, str | None] = {"champion": None}
    monkeypatch.setattr(rollback.registry, "version_of", lambda *_: alias["champion"])
    monkeypatch.setattr(
        rollback.registry, "roll_back", lambda _s, version, **_: alias.update(champion=version)
    )
    return alias


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(deploy, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(deploy, "RESTORE_SECONDS", 2.0)
    return Cluster()


@pytest.fixture
def settings(cluster: Cluster, tmp_path: Path) -> Iterator[Settings]:
    """Settings of the cluster, with versions 1 to 3 exported."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(cluster))
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    port = server.server_address[1]
    made = Settings(state_dir=tmp_path, serve_port=port, ray_dashboard_port=port)
    made.ray_token_path.write_text("t0ken\n")
    for version in "123":
        (made.champions_dir / version).mkdir(parents=True)
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_swap_answers_with_the_model_that_then_serves(
    settings: Settings, cluster: Cluster
) -> None:
    assert deploy.swap(settings, "1")["version"] == "1"
    assert deploy.swap(settings, "2") == {"version": "2", "load_error": None}
    assert cluster.seen == ["1", "2"]
    assert cluster.tokens == {"Bearer t0ken"}
    assert deploy.current_version(settings) == "2"


def test_a_swap_is_over_when_every_replica_has_the_version(
    settings: Settings, cluster: Cluster
) -> None:
    deploy.swap(settings, "1")
    cluster.second_seconds = 0.3
    assert deploy.swap(settings, "2")["versions"] == ["2", "2"]
    cluster.second_seconds = 1.0
    with pytest.raises(DeployFailed, match=r"after 0\.3 s it serves '2' and '3' .* serves on"):
        deploy.swap(settings, "3", timeout_seconds=0.3)


def test_a_version_that_does_not_load_is_taken_back(settings: Settings, cluster: Cluster) -> None:
    deploy.swap(settings, "1")
    cluster.bad = {"2"}
    with pytest.raises(DeployFailed, match=r"'2' .*digest differs\. The previous version '1' serv"):
        deploy.swap(settings, "2")
    assert cluster.seen == ["1", "2", "1"]
    assert cluster.model == {"version": "1", "load_error": None}
    assert deploy.current_version(settings) == "1"


def test_a_version_that_is_not_there_in_time_is_taken_back(
    settings: Settings, cluster: Cluster
) -> None:
    deploy.swap(settings, "1")
    cluster.apply_seconds = 0.5
    with pytest.raises(DeployFailed, match=r"after 0\.1 s it serves '1' .* serves on"):
        deploy.swap(settings, "2", timeout_seconds=0.1)
    assert cluster.seen == ["1", "2", "1"]


def test_the_first_version_that_does_not_load_leaves_no_model_and_no_error(
    settings: Settings, cluster: Cluster
) -> None:
    cluster.bad = {"1"}
    with pytest.raises(DeployFailed, match="The API without a model serves on"):
        deploy.swap(settings, "1")
    assert cluster.model == {"version": None, "load_error": None}
    assert deploy.current_version(settings) is None


def test_a_repaired_version_can_be_tried_again(settings: Settings, cluster: Cluster) -> None:
    cluster.bad = {"1"}
    deploy.put(settings, deploy.application_config(settings, version="1"))
    deadline = time.monotonic() + 30
    while not cluster.model["load_error"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    cluster.bad = set()
    assert deploy.swap(settings, "1", timeout_seconds=30)["version"] == "1"


def test_when_the_api_stays_down_the_last_deployed_version_is_put_back(
    settings: Settings, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy.swap(settings, "1")
    cluster.api_down = True
    monkeypatch.setattr(deploy, "RESTORE_SECONDS", 0.1)
    with pytest.raises(DeployFailed, match=r"does not answer .* was put back, but"):
        deploy.swap(settings, "2", timeout_seconds=0.1)
    assert cluster.seen == ["1", "2", "1"]


def test_the_same_configuration_twice_changes_nothing(settings: Settings, cluster: Cluster) -> None:
    config = deploy.application_config(settings, version=None)
    deploy.put(settings, config)
    deploy.put(settings, deploy.application_config(settings, version=None))
    assert cluster.seen == [None]


def test_a_version_that_was_not_exported_is_refused_before_ray_is_asked(
    settings: Settings, cluster: Cluster
) -> None:
    with pytest.raises(DeployFailed, match="'9' is not exported"):
        deploy.swap(settings, "9")
    assert cluster.seen == []


@pytest.mark.parametrize("version", ["", ".", "..", "../1", "a/b", "/etc"])
def test_a_version_that_is_no_plain_name_is_refused(settings: Settings, version: str) -> None:
    with pytest.raises(ValueError, match="not a plain name"):
        deploy.swap(settings, version)


def test_when_ray_is_not_there_one_sentence_says_so(settings: Settings) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gone = settings.model_copy(update={"ray_dashboard_port": unused.getsockname()[1]})
    with pytest.raises(DeployFailed, match=r"Ray is not reachable at .*make up") as error:
        deploy.put(gone, deploy.application_config(gone, version=None))
    assert "\n" not in str(error.value)


def test_ray_may_take_its_time_to_start(
    settings: Settings, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "NETWORK_SECONDS", 0.3)
    config = deploy.application_config(settings, version=None)
    cluster.slow_puts = 2
    deploy.put(settings, config)
    assert cluster.seen == [None]
    cluster.slow_puts = deploy.PUT_ATTEMPTS
    with pytest.raises(DeployFailed, match=r"gave no answer .*\(timed out\)"):
        deploy.put(settings, config)


def test_a_version_that_ray_took_without_an_answer_is_taken_back(
    settings: Settings, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy.swap(settings, "1")
    monkeypatch.setattr(deploy, "NETWORK_SECONDS", 0.3)
    cluster.slow_puts = deploy.PUT_ATTEMPTS
    said = r"'2' was not deployed: .* gave no answer .* The previous version '1' serves on"
    with pytest.raises(DeployFailed, match=said) as error:
        deploy.swap(settings, "2")
    assert not isinstance(error.value, RayUnreachable)
    assert cluster.seen == ["1", "2", "1"]


def test_without_rays_token_one_sentence_says_so(settings: Settings) -> None:
    settings.ray_token_path.unlink()
    with pytest.raises(DeployFailed, match=r"ray\.token; start the stack"):
        deploy.put(settings, {})


def test_a_refused_configuration_gives_rays_first_line(
    settings: Settings, cluster: Cluster
) -> None:
    cluster.refuse = "1 validation error for ServeDeploySchema\ntraceback"
    with pytest.raises(DeployFailed, match=r"\(400\): 1 validation error for ServeDeploySchema$"):
        deploy.put(settings, {})


def test_the_configuration_binds_where_the_settings_say(settings: Settings) -> None:
    config = deploy.application_config(settings, version="2")
    assert config["http_options"]["host"] == "127.0.0.1"
    assert config["http_options"]["port"] == settings.serve_port
    user_config = config["applications"][0]["deployments"][0]["user_config"]
    assert user_config == {
        "state_dir": str(settings.state_dir),
        "version": "2",
        "champion": str(settings.champions_dir / "2"),
    }


KILLED = """
import sys
from data.settings import Settings
from serving.deploy import swap
state, port, version = sys.argv[1:]
swap(Settings(state_dir=state, serve_port=port, ray_dashboard_port=port), version)
"""


def kill_a_swap(settings: Settings, cluster: Cluster, version: str, when: str) -> None:
    """Swaps in a process that is killed before the version serves, or once it does."""
    cluster.apply_seconds = 1.0
    seen, current = [*cluster.seen, version], deploy.current_version(settings)
    arguments = [str(settings.state_dir), str(settings.serve_port), version]
    child = subprocess.Popen([sys.executable, "-c", KILLED, *arguments])
    deadline = time.monotonic() + 60
    while cluster.seen != seen and time.monotonic() < deadline:
        time.sleep(0.01)
    child.kill()
    assert child.wait() == -9 and deploy.current_version(settings) == current
    while when == "once it serves" and cluster.model["version"] != version:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("when", ["before it serves", "once it serves"])
def test_a_swap_that_was_killed_is_made_whole_by_the_next_one(
    settings: Settings, cluster: Cluster, when: str
) -> None:
    deploy.swap(settings, "1")
    kill_a_swap(settings, cluster, "2", when)
    assert deploy.swap(settings, "2")["version"] == "2"
    assert deploy.current_version(settings) == "2"
    assert deploy.previous_version(settings) == "1"


@pytest.mark.usefixtures("champion")
def test_a_rollback_after_a_swap_that_was_killed_goes_back_one_version(
    settings: Settings, cluster: Cluster
) -> None:
    deploy.swap(settings, "1")
    deploy.swap(settings, "2")
    kill_a_swap(settings, cluster, "3", "once it serves")
    assert rollback.roll_back(settings, at=datetime.now(UTC), why="by hand") == "2"
    assert cluster.model["version"] == "2" == deploy.current_version(settings)
    assert deploy.previous_version(settings) == "1"


def test_a_rollback_before_the_swap_of_a_promoted_version_takes_that_one_back_alone(
    settings: Settings, cluster: Cluster, champion: dict[str, str | None]
) -> None:
    deploy.swap(settings, "1")
    deploy.swap(settings, "2")
    champion["champion"] = "3"
    assert rollback.roll_back(settings, at=datetime.now(UTC), why="by hand") == "2"
    assert champion["champion"] == "2" == cluster.model["version"]
    assert deploy.previous_version(settings) == "1" and cluster.seen == ["1", "2"]


@pytest.mark.usefixtures("champion")
def test_a_rollback_after_one_that_was_killed_does_not_put_the_failed_version_back(
    settings: Settings, cluster: Cluster
) -> None:
    deploy.swap(settings, "1")
    deploy.swap(settings, "2")
    kill_a_swap(settings, cluster, "1", "once it serves")
    assert rollback.roll_back(settings, at=datetime.now(UTC), why="by hand") == "1"
    assert cluster.model["version"] == "1" == deploy.current_version(settings)
    assert deploy.previous_version(settings) is None
