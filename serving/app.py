"""The Ray Serve application `serving.app:app`; serving/deploy.py configures it."""

import asyncio
import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import serve
from ray.util import get_node_ip_address

if TYPE_CHECKING:
    from fastapi import FastAPI


@serve.deployment(name="Forecasts")
@serve.ingress()
class Forecasts:
    """A replica: the REST API in front of one model that can be exchanged while it answers."""

    def __init__(self) -> None:
        _bind_to_node_address()
        # Feast and LightGBM take seconds to import; Ray also imports this module where it only
        # wants to know what to deploy.
        if shared := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):  # serving.deploy names it
            Path(shared).mkdir(parents=True, exist_ok=True)
        from serving.metrics import Metrics
        from serving.service import ForecastService

        self.service = ForecastService()
        self.metrics = Metrics(self.service.state, Path(shared) if shared else None)

    def __serve_build_asgi_app__(self) -> "FastAPI":
        from serving.routes.application import create_api

        # Ray's proxy puts the X-Request-ID on the answer; twice would be once too often.
        return create_api(self.service, metrics=self.metrics, echo_request_id=False)

    async def reconfigure(self, config: dict[str, Any]) -> None:
        """Exchanges the model; in a thread, so that requests are answered meanwhile."""
        await asyncio.to_thread(self.service.configure, config)
        self.metrics.note()


def _bind_to_node_address() -> None:
    """Keeps the replica's internal gRPC port off the interfaces of the machine.

    Ray Serve 2.60 opens it on all of them, whatever host is set. Other replicas dial the node's
    address, which is 127.0.0.1 in the local stack. Goes when Ray binds to that address itself.
    """
    replica: Any = import_module("ray.serve._private.replica")
    bind = replica.add_port_to_grpc_server
    address = get_node_ip_address()

    def bind_to_node(server: object, wanted: str) -> object:
        return bind(server, wanted.replace("[::]:", f"{address}:"))

    replica.add_port_to_grpc_server = bind_to_node


app = Forecasts.bind()  # type: ignore[attr-defined]
