"""Hyperparameter search with Optuna: the space, and the loop over rolling-origin folds."""

from collections.abc import Sequence
from pathlib import Path

import optuna
import polars as pl
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from models import gbm
from models.backtest import Fold
from models.metrics import wrmsse


def search_space(trial: optuna.Trial) -> dict[str, object]:
    """Parameters of a booster that a trial suggests."""
    return {
        **gbm.DEFAULTS,
        "objective": trial.suggest_categorical("objective", ["poisson", "tweedie"]),
        "learning_rate": trial.suggest_float("learning_rate", 0.03, 0.12, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 8, 63, log=True),
        "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 50, 1000, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.4, 1.0),
        "lambda_l2": trial.suggest_float("lambda_l2", 0.1, 50.0, log=True),
    }


def _tried_first() -> dict[str, object]:
    names = ("objective", "learning_rate", "num_leaves", "min_data_in_leaf")
    return {k: gbm.DEFAULTS[k] for k in (*names, "feature_fraction", "lambda_l2")}


def tune(
    folds: Sequence[Fold], *, storage: Path, name: str, trials: int, seconds: int, seed: int
) -> optuna.Study:
    """Searches for the parameters of least mean WRMSSE over `folds`; returns the study.

    The study is kept in the journal file `storage` under `name`: a search that was cut off goes on
    where it was. The defaults are the first trial. Trials without a chance after a fold are pruned.
    """

    def objective(trial: optuna.Trial) -> float:
        params, scores = search_space(trial), []
        for step, fold in enumerate(folds):
            scores.append(wrmsse(fold.forecast(params, seed), fold.scales)["mean"])
            trial.set_user_attr(f"wrmsse {fold.cutoff}", scores[-1])
            trial.report(sum(scores) / len(scores), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return sum(scores) / len(scores)

    storage.parent.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=name,
        storage=JournalStorage(JournalFileBackend(str(storage))),
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=5),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
    )
    if not study.trials:
        study.enqueue_trial(_tried_first())
    done = sum(t.state.is_finished() for t in study.trials)
    if done < trials:
        study.optimize(objective, n_trials=trials - done, timeout=seconds)
    return study


def best_parameters(study: optuna.Study) -> dict[str, object]:
    """Parameters of the best finished trial, complete enough to fit with."""
    return {**gbm.DEFAULTS, **study.best_params}


def trials_table(study: optuna.Study) -> pl.DataFrame:
    """One row per trial: number, state, mean WRMSSE (of the folds it saw), folds and parameters."""
    return pl.DataFrame(
        [
            {
                "trial": t.number,
                "state": t.state.name,
                "wrmsse": t.value,
                **t.user_attrs,
                **t.params,
            }
            for t in study.trials
        ],
        infer_schema_length=None,
    )


def gain_over_defaults(trials: pl.DataFrame) -> dict[str, float]:
    """Share of WRMSSE by which the best trial is below the defaults, the first trial.

    `mean` over the folds of the search, and the `least` and `most` of one fold: the best of many
    trials is picked on these folds, so it flatters. Empty when nothing was searched.
    """
    complete = trials.filter(pl.col("state") == "COMPLETE") if trials.height else trials
    if complete.is_empty() or complete["trial"][0] != 0:
        return {}
    folds = [c for c in complete.columns if c.startswith("wrmsse ")]
    best, defaults = complete.sort("wrmsse").row(0, named=True), complete.row(0, named=True)
    gains = [1 - best[fold] / defaults[fold] for fold in folds]
    mean = 1 - best["wrmsse"] / defaults["wrmsse"]
    return {"mean": mean, "least": min(gains), "most": max(gains)}
