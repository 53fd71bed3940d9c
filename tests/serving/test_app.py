"""The Ray Serve application without Ray: what a replica is made of."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from data.settings import Settings
from serving import deploy
from serving.app import app


@pytest.fixture
def replica(monkeypatch: pytest.MonkeyPatch) -> Any:
    from ray.serve._private import replica as ray_replica

    bound: list[str] = []
    monkeypatch.setattr(ray_replica, "add_port_to_grpc_server", lambda _s, a: bound.append(a))
    monkeypatch.setattr("serving.app.get_node_ip_address", lambda: "127.0.0.1")
    deployed: Any = app
    user_class = deployed._bound_deployment.func_or_class.__mro__[1]
    made = user_class()
    ray_replica.add_port_to_grpc_server(None, "[::]:0")
    made.bound = bound
    return made


def test_the_internal_port_is_bound_to_the_nodes_address(replica: Any) -> None:
    assert replica.bound == ["127.0.0.1:0"]


def test_a_replica_answers_before_and_after_it_is_configured(replica: Any, tmp_path: Path) -> None:
    client = TestClient(replica.__serve_build_asgi_app__(), base_url="http://127.0.0.1")
    assert client.get("/v1/health/ready").status_code == 503
    config = {"state_dir": str(tmp_path), "version": "1", "champion": str(tmp_path / "1")}
    asyncio.run(replica.reconfigure(config))
    error = client.get("/v1/model").json()["load_error"]
    assert error["version"] == "1"
    assert "not a complete model folder" in error["error"]
    asyncio.run(replica.reconfigure({**config, "version": None, "champion": None}))
    assert client.get("/v1/model").json()["load_error"] is None


def test_ray_echoes_the_request_id_so_the_replica_does_not(replica: Any) -> None:
    client = TestClient(replica.__serve_build_asgi_app__(), base_url="http://127.0.0.1")
    answer = client.get("/v1/health/ready", headers={"X-Request-ID": "abc"})
    assert "x-request-id" not in answer.headers
    assert answer.json()["request_id"] == "abc"


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")
def test_ray_takes_the_configuration_for_valid(tmp_path: Path) -> None:
    from ray.serve.schema import ServeDeploySchema

    settings = Settings(state_dir=tmp_path, replicas=3, _env_file=None)
    config = ServeDeploySchema.model_validate(deploy.application_config(settings, version="1"))
    application, deployed = config.applications[0], app._bound_deployment
    assert application.import_path == "serving.app:app"
    assert application.deployments[0].name == deployed.name
    assert application.deployments[0].num_replicas == 3
