"""Decides on evidence whether to retrain, and does so only then."""

from prefect import flow, task

from checks import monitoring
from checks.gates import GateDecision
from checks.monitoring import Monitoring
from data.settings import Settings
from flows.decisions import keep
from flows.deploy import deploy
from flows.monitor import monitor
from flows.slots import done
from flows.train import train


@task
def decide(seen: Monitoring) -> GateDecision:
    """Hands the measurements to the gate."""
    return monitoring.decide(seen)


@flow(flow_run_name="retrain")
def retrain() -> GateDecision:
    """Runs the gate: trains only if it says so, and serves the new model only if it is better.

    An alert trains a challenger in shadow. What the gate decided is kept with its reasons.
    """
    settings = Settings()
    decision = decide(monitor())
    keep(settings, decision, "scheduled retraining")
    if decision.outcome == "alert":
        train(promote=False)
    elif decision.outcome in ("retrain", "fall_back") and train():
        deploy()
    return done(message=f"{decision.outcome}: {'; '.join(decision.reasons)}", data=decision)
