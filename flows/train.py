"""Tunes, trains and judges a model, registers it, and promotes it if the evidence allows."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from checks.gates import GateDecision, decide_promotion
from checks.rollout import Rehearsal, Tried
from data import ledger
from data.schema import KEYS
from data.settings import Settings
from data.warehouse import connect, query
from flows.decisions import keep
from flows.materialize import take_snapshot
from flows.slots import changing, clock, done, writing
from models import registry
from models.assembly import training_data
from models.backtest import TrainingData
from models.promotion import evidence
from models.training import Training
from models.training import train as train_model
from serving import rollout


@task
def note(settings: Settings) -> None:
    """Writes down that a training begins; cooldown and cap count it whatever comes of it."""
    with connect(settings) as con:
        ledger.note_training(con, clock(settings, con)[1])


@task
def collect(settings: Settings, snapshot: Path) -> TrainingData:
    """Reads features through Feast, sales from the snapshot, all versions from the warehouse."""
    with connect(settings) as con:
        versions = query(con, "sales_versions")
        plan = query(con, "plan_versions", since=None, until=None)
    return training_data(settings, snapshot, versions, plan)


@task
def fit(settings: Settings, data: TrainingData, trials: int, seconds: int) -> Training:
    """Runs the search over rolling-origin folds and fits the model."""
    return train_model(
        data,
        storage=settings.state_dir / "optuna.journal",
        name=f"{data.snapshot_id} {data.cutoff}",
        trials=trials,
        seconds=seconds,
        seed=settings.seed,
    )


def left_out(data: TrainingData) -> str:
    """How much the booster did not learn from, in words."""
    marked = data.left_out
    much = f"{marked.height:,} {data.spec.steps.unit}s of {marked.n_unique(KEYS):,} series"
    return f"{much} left out as probable stock-outs"


@task
def show(training: Training, data: TrainingData) -> None:
    """Puts the backtest, the search and what was not learnt from into the Prefect UI."""
    table = training.backtest.pivot(on="model", index="metric", values="value")
    unseen = f"Holdout of {data.horizon} {data.spec.steps.unit}s, not tuned on; {left_out(data)}"
    create_table_artifact(key="backtest", table=table.to_dicts(), description=unseen)
    best = training.trials.sort("wrmsse").head(10)
    create_markdown_artifact(key="trials", markdown=f"```\n{best}\n```")


@task
def register(settings: Settings, training: Training, data: TrainingData) -> str:
    """Logs the run to MLflow and registers its model, which no alias names yet."""
    return registry.register(settings, training, data)


@task
def judge(settings: Settings, training: Training, data: TrainingData, by_age: bool) -> GateDecision:
    """Measures the challenger against the champion and lets the gate decide."""
    return decide_promotion(**evidence(settings, training, data), by_age=by_age)


@task
def try_golden(settings: Settings, version: str, snapshot_id: str) -> Tried:
    """Fixed requests to the new version: plausible beside the champion's answers, or faults."""
    folder = registry.export(settings, version).folder
    champion, _ = registry.opponent(settings)
    return rollout.golden(rollout.Desk(settings), folder, champion, snapshot_id)


@task
def try_shadow(settings: Settings, version: str, snapshot_id: str) -> Tried | None:
    """What the API was asked lately, answered by both versions and shown to nobody."""
    champion, _ = registry.opponent(settings)
    if champion is None:
        return None
    with writing(), connect(settings) as con:
        served = query(con, "served_lately", requests=rollout.SHADOW_REQUESTS)
    folder = registry.export(settings, version).folder
    return rollout.shadow(rollout.Desk(settings), folder, champion, snapshot_id, served)


def rehearse(settings: Settings, version: str, snapshot_id: str) -> Rehearsal:
    """Golden requests, then shadow, which a version that failed the first is spared."""
    golden = Rehearsal({"golden requests": try_golden(settings, version, snapshot_id)})
    if golden.faults:
        return golden
    registry.challenge(settings, version)
    shadowed = try_shadow(settings, version, snapshot_id)
    return Rehearsal({**golden.trials, "shadow": shadowed}) if shadowed else golden


def promote_over(settings: Settings, champion: str | None, version: str, why: str) -> str | None:
    """Makes a version champion if the one that it was compared with still is.

    Returns the champion afterwards: another one when another run promoted or rolled back meanwhile.
    """
    with changing(settings, f"the promotion of version {version}"):
        now = registry.version_of(settings, registry.CHAMPION)
        if now != champion:
            return now
        registry.promote(settings, version, at=datetime.now(UTC), why=why)
        return version


@flow(flow_run_name="train")
def train(
    trials: int | None = None,
    seconds: int | None = None,
    promote: bool = True,
    by_age: bool = False,
    reason: str = "by hand",
) -> str | None:
    """Trains a model on everything known and promotes it if the gate says so.

    Args:
        trials: Optuna trials; empty takes the setting.
        seconds: time limit of the search; empty takes the setting.
        promote: off leaves a new model as challenger whatever the evidence (shadow).
        by_age: the age of the champion alone asked for it: no worse is then good enough.
        reason: why a model is trained now; kept with the decision.
    """
    settings = Settings()
    with writing():
        note(settings)
        data = collect(settings, take_snapshot(settings))
    training = fit(settings, data, trials or settings.trials, seconds or settings.tuning_seconds)
    show(training, data)
    champion = registry.version_of(settings, registry.CHAMPION)
    decision = judge(settings, training, data, by_age)
    version = register(settings, training, data)
    rehearsal = rehearse(settings, version, data.snapshot_id)
    measured = {**decision.measurements, **rehearsal.measurements}
    decision = replace(decision, measurements=measured)
    if faults := rehearsal.faults:
        decision = replace(decision, outcome="hold", reasons=(*faults, *decision.reasons))
    subject = f"promotion of version {version}, trained: {reason}"
    keep(settings, decision, subject)
    promoted = promote and decision.outcome == "pass"
    if promoted:
        now = promote_over(settings, champion, version, "; ".join(decision.reasons))
        promoted = now == version
        if not promoted:
            moved = f"version {now} is champion now, and this one was compared with {champion}"
            reasons = (moved, *decision.reasons)
            held = replace(decision, outcome="hold", reasons=reasons)
            keep(settings, held, subject, corrected=True)
    figures = training.manifest.backtest
    return done(
        message=f"version {version} {'promoted' if promoted else 'not promoted'}: WRMSSE "
        f"{figures['wrmsse mean']:.3f}, {1 - figures['naive ratio']:.0%} below seasonal naive, "
        f"{training.trials.height} trials on {data.grid.height:,} rows, {left_out(data)}",
        data=version if promoted else None,
    )
