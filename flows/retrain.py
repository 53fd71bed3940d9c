"""Decides on evidence whether to retrain, and does so only then."""

from prefect import flow, task

from checks import monitoring
from checks.gates import GateDecision
from checks.monitoring import Monitoring
from data.settings import Settings
from flows.decisions import keep
from flows.deploy import deploy
from flows.fall_back import fall_back
from flows.monitor import monitor
from flows.slots import done
from flows.train import train


@task
def decide(seen: Monitoring) -> GateDecision:
    """Hands the measurements to the gate."""
    return monitoring.decide(seen)


@flow(flow_run_name="retrain")
def retrain(reason: str = "scheduled retraining") -> GateDecision:
    """Runs the gate: trains only if it says so, and serves the new model only if it is better.

    An alert trains a challenger in shadow; a fall back serves the version before or what sold last
    week until there is a better model. One that fails still trains, and is raised afterwards. What
    the gate decided is kept with its reasons.

    Args:
        reason: why the gate is asked now; kept with the decision.
    """
    settings = Settings()
    # Without an event: one of its own would start this flow again.
    seen = monitor(publish=False)
    decision = decide(seen)
    keep(settings, decision, reason)
    failed: Exception | None = None
    if decision.outcome == "fall_back":
        try:
            fall_back("; ".join(decision.reasons), seen.evidence.decay.lost)
        except Exception as error:  # raised below: a better model is needed all the more
            failed = error
    promote = decision.outcome != "alert"
    if decision.train and train(promote=promote, by_age=decision.by_age, reason=reason):
        deploy()
    if failed:
        raise failed
    return done(message=f"{decision.outcome}: {'; '.join(decision.reasons)}", data=decision)
