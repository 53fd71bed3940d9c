"""Flow runs that ended badly, as Prefect knows them; killed ones too, which no hook would see."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun

from data.ledger import Failure

PAGE = 200  # what the API gives at once
RAISED = "Flow run encountered an exception: "
ENDED_BADLY = FlowRunFilter.model_validate({"state": {"type": {"any_": ["FAILED", "CRASHED"]}}})


def failed_runs() -> list[Failure]:
    """All failed and crashed runs that Prefect remembers, counted by flow and cause."""
    with get_client(sync_client=True) as client:
        runs: list[FlowRun] = []
        while page := client.read_flow_runs(
            flow_run_filter=ENDED_BADLY, limit=PAGE, offset=len(runs)
        ):
            runs += page
        names = {flow.id: flow.name for flow in client.read_flows(flow_run_filter=ENDED_BADLY)}
    return by_cause(runs, names)


def by_cause(runs: Sequence[FlowRun], names: Mapping[UUID, str]) -> list[Failure]:
    """Runs counted by flow and by the name of the error that ended them."""
    seen: dict[tuple[str, str], list[datetime]] = defaultdict(list)
    for run in runs:
        ended = run.state.timestamp if run.state else run.expected_start_time
        message = (run.state and run.state.message) or "no message"
        cause = message.removeprefix(RAISED).split("\n")[0].split(":")[0][:80]
        if ended is not None:
            seen[f"flow {names.get(run.flow_id, '?')}", cause].append(ended)
    return [Failure(kind, cause, min(at), max(at), len(at)) for (kind, cause), at in seen.items()]
