"""Decides on evidence whether to retrain, and does so only then."""

from prefect import flow, task

from checks.gates import GateDecision, decide_retrain
from data.settings import Settings
from flows.decisions import keep
from flows.deploy import deploy
from flows.monitor import Monitoring, monitor
from flows.slots import done
from flows.train import train


@task
def decide(seen: Monitoring) -> GateDecision:
    """Hands the measurements to the gate."""
    performance = seen.performance
    naive = performance.naive_ratio
    return decide_retrain(
        failed_checks=seen.failed_checks,
        drifted=[d.feature for d in seen.drift if d.drifted],
        n_features=len(seen.drift),
        matured_days=performance.matured_days,
        loss_ratio=None if naive is None else naive / seen.backtest_ratio,
        naive_ratio=naive,
        coverage_80=performance.coverage_80,
        model_age_days=seen.model_age_days,
    )


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
