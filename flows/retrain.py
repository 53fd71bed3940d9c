"""Decides on evidence whether to retrain, and does so only then."""

from prefect import flow, task

from checks import monitoring
from checks.gates import GateDecision
from checks.monitoring import Monitoring
from data.settings import Settings
from flows.decisions import keep
from flows.deploy import deploy
from flows.monitor import monitor
from flows.rollback import rollback
from flows.slots import done
from flows.train import train
from models import registry


@task
def decide(seen: Monitoring) -> GateDecision:
    """Hands the measurements to the gate."""
    return monitoring.decide(seen)


@task
def version_before(settings: Settings) -> str | None:
    """The version that served before the champion; None for the first one."""
    return registry.version_of(settings, registry.PREVIOUS)


@flow(flow_run_name="retrain")
def retrain(reason: str = "scheduled retraining") -> GateDecision:
    """Runs the gate: trains only if it says so, and serves the new model only if it is better.

    An alert trains a challenger in shadow; a fall back serves the version before until there is a
    better one. What the gate decided is kept with its reasons.

    Args:
        reason: why the gate is asked now; kept with the decision.
    """
    settings = Settings()
    # Without an event: one of its own would start this flow again.
    decision = decide(monitor(publish=False))
    keep(settings, decision, reason)
    if decision.outcome == "fall_back" and (before := version_before(settings)):
        rollback("; ".join(decision.reasons), int(before))
    if decision.train and train(promote=decision.outcome != "alert", by_age=decision.by_age):
        deploy()
    return done(message=f"{decision.outcome}: {'; '.join(decision.reasons)}", data=decision)
