"""What the demo says of a run that does not end."""

import httpx
import pytest

from data.settings import Settings
from demo import RunFailed, follow
from stack.prefect_api import Prefect


def test_a_run_that_takes_too_long_is_told_to_go_on_and_where(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("demo.RUN_LIMIT_SECONDS", 0)
    state = {"state_type": "RUNNING", "state_name": "Running", "state": {"message": None}}

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        return httpx.Response(200, json=[] if path.endswith("filter") else {"id": "r1", **state})

    prefect = Prefect(Settings(_env_file=None))
    prefect.client = httpx.Client(base_url="http://p/api/", transport=httpx.MockTransport(answer))
    with pytest.raises(RunFailed, match=r"has not ended .*'Running': follow .*/runs/flow-run/r1,"):
        follow(prefect, "pipeline/pipeline", {})
