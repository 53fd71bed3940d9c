"""The Ray Serve application `serving.app:app`; serving/deploy.py configures it."""

import asyncio
from typing import TYPE_CHECKING, Any

from ray import serve

if TYPE_CHECKING:
    from fastapi import FastAPI


@serve.deployment(name="Forecasts")
@serve.ingress()
class Forecasts:
    """A replica: the REST API in front of one model that can be exchanged while it answers."""

    def __init__(self) -> None:
        # Feast and LightGBM take seconds to import; Ray also imports this module where it only
        # wants to know what to deploy.
        from serving.service import ForecastService

        self.service = ForecastService()

    def __serve_build_asgi_app__(self) -> "FastAPI":
        from serving.routes import create_api

        # Ray's proxy puts the X-Request-ID on the answer; twice would be once too often.
        return create_api(self.service, echo_request_id=False)

    async def reconfigure(self, config: dict[str, Any]) -> None:
        """Exchanges the model; in a thread, so that requests are answered meanwhile."""
        await asyncio.to_thread(self.service.configure, config)


app = Forecasts.bind()  # type: ignore[attr-defined]
