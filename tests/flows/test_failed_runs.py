from datetime import UTC, datetime
from uuid import uuid4

from prefect.client.schemas.objects import FlowRun
from prefect.states import Crashed, Failed

from flows.failed_runs import by_cause

INGEST = uuid4()


def run(state: object) -> FlowRun:
    return FlowRun.model_validate({"flow_id": INGEST, "state": state})


def at(second: int) -> datetime:
    return datetime(2026, 11, 24, 9, 0, second, tzinfo=UTC)


def test_failed_runs_are_counted_by_flow_and_error() -> None:
    said = "Flow run encountered an exception: ContractBreach: the delivery of day"
    runs = [
        run(Failed(message=f"{said} 1: rows", timestamp=at(1))),
        run(Failed(message=f"{said} 2: stores", timestamp=at(9))),
        run(Crashed(message="Flow run process exited with code -9", timestamp=at(5))),
    ]
    breach, crash = by_cause(runs, {INGEST: "ingest"})
    assert (breach.kind, breach.detail, breach.count) == ("flow ingest", "ContractBreach", 2)
    assert (breach.first_seen, breach.last_seen) == (at(1), at(9))
    assert (crash.detail, crash.count) == ("Flow run process exited with code -9", 1)
