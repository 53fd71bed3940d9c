"""From features to forecasts with a trained model; no effects but reading its own folder."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl

from data.schema import FORECAST, QUANTILE_COLUMNS, QUANTILES
from feature_repo.calendar import public_holidays
from models import cold_start, conformal, explain, gbm, lagged, levels
from models.conformal import Calibration
from models.dataset import (
    INPUTS,
    Matrix,
    MatrixSpec,
    cutoff_dates,
    design_matrix,
    target_days,
)
from models.day_profile import Profile, averaged, calendar_forecast, unseen
from models.grid import check_grid
from models.paths import Dependence

BOOSTER, MANIFEST, DIGESTS = "booster.txt", "manifest.json", "sha256.json"
BLOCK = 4000  # series at a time: the memory of a matrix is used again, as fresh pages cost time
LIGHTGBM = "lightgbm"  # the method of a model that has a booster; others are models.lagged.METHODS


class NoChampion(LookupError):
    """No model has been promoted yet."""


class Unusable(ValueError):
    """A version whose files can't be loaded: damaged, incomplete, or made by other code."""


class OtherCode(Unusable):
    """A version that code of another time made, with another manifest or other inputs."""


class HorizonTooLong(ValueError):
    """A horizon that the model does not reach."""


@dataclass(frozen=True)
class Manifest:
    """What a model needs to forecast besides a booster, and where it comes from; JSON on disk."""

    version: str
    trained_cutoff: date
    horizon: int
    feature_service: str
    snapshot_id: str
    spec: MatrixSpec
    profile: Profile
    calendar_share: float
    calibration: Calibration
    dependence: Dependence
    backtest: dict[str, float]
    method: str = LIGHTGBM

    def dependence_at(self, cutoff: date) -> Dependence:
        """How errors of the steps after a cutoff move together.

        The chain's days vary more around holidays that history does not hold, see
        models.day_profile.unseen.
        """
        country, steps = self.spec.holiday_country, self.spec.steps
        days = unseen(cutoff, self.horizon, self.profile, country, steps)
        return replace(self.dependence, chain_day=self.dependence.chain_day + days)

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str, indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        raw = json.loads(text)
        version = raw["version"]
        try:
            spec, profile = raw.pop("spec"), raw.pop("profile")
            spec |= {"items": tuple(spec["items"]), "closed_days": tuple(spec["closed_days"])}
            raw["trained_cutoff"] = date.fromisoformat(raw["trained_cutoff"])
            return cls(
                profile=Profile(tuple(map(tuple, profile["coefficients"])), profile["variance"]),
                calibration=Calibration(**raw.pop("calibration")),
                dependence=Dependence(**raw.pop("dependence")),
                spec=MatrixSpec(**spec),
                **raw,
            )
        except (KeyError, TypeError) as error:
            raise OtherCode(
                f"Model version {version} has a manifest of another "
                f"shape ({error}); run the train deployment for a new one."
            ) from error


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _checked(folder: Path, name: str, digests: Mapping[str, str]) -> str:
    """The text of a file that is as it was saved."""
    if _digest(folder / name) != digests[name]:
        raise Unusable(
            f"{folder / name} does not have the SHA-256 that it was saved with; "
            "run the deploy deployment to export the version again."
        )
    return (folder / name).read_text()


def save(folder: Path, booster_text: str | None, manifest: Manifest) -> Path:
    """Writes a version's folder whole: under another name first, renamed when complete.

    A method without a booster (None) has no file of one.
    """
    part = folder.with_name(f"{folder.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    texts = {MANIFEST: manifest.to_json()}
    if booster_text is not None:
        texts[BOOSTER] = booster_text
    for name, text in texts.items():
        (part / name).write_text(text)
    digests = {name: _digest(part / name) for name in texts}
    (part / DIGESTS).write_text(json.dumps(digests, indent=1))
    if folder.exists():
        for file in part.iterdir():
            file.rename(folder / file.name)
        part.rmdir()
        return folder
    return part.rename(folder)


class Forecaster:
    """A manifest with its booster; without one the method is one of models.lagged."""

    def __init__(self, booster: lgb.Booster | None, manifest: Manifest) -> None:
        self.booster, self.manifest = booster, manifest
        self.version, self.horizon = manifest.version, manifest.horizon
        self.trained_cutoff, self.snapshot_id = manifest.trained_cutoff, manifest.snapshot_id
        self.feature_service, self.quantiles = manifest.feature_service, QUANTILES
        self.method = manifest.method
        self._judged: tuple[pl.DataFrame, Calibration] | None = None

    @property
    def repeats(self) -> bool:
        """Whether it has learnt nothing and only repeats the last week (models.lagged)."""
        return self.booster is None

    def has_seen(self, day: date) -> bool:
        """Whether it has learnt from sales after a day; one that repeats has learnt from none."""
        return not self.repeats and self.trained_cutoff > day

    @classmethod
    def load(cls, folder: Path) -> "Forecaster":
        """Reads a version's folder. Raises Unusable when a file is not the one that was saved.

        That is OtherCode when code of another time made it. The digests are checked before manifest
        and booster are parsed.
        """
        try:
            digests = json.loads((folder / DIGESTS).read_text())
            manifest = _checked(folder, MANIFEST, digests)
            boosted = BOOSTER in digests
            text = _checked(folder, BOOSTER, digests) if boosted else None
        except (FileNotFoundError, json.JSONDecodeError, KeyError) as error:
            raise Unusable(
                f"{folder} is not a complete model folder ({error}); "
                "run the deploy deployment to export the version again."
            ) from error
        made = Manifest.from_json(manifest)
        if made.method not in ((LIGHTGBM,) if boosted else lagged.METHODS):
            raise Unusable(
                f"{folder} holds a model of the method {made.method!r} "
                f"{'with' if boosted else 'without'} a booster; "
                "run the deploy deployment to export the version again."
            )
        booster = None if text is None else lgb.Booster(model_str=text)
        if booster is not None and booster.feature_name() != INPUTS:
            raise OtherCode(
                f"{folder} holds a model of other inputs than today's {len(INPUTS)}; "
                "run the train deployment for a new one."
            )
        # The first look imports the holidays of all countries: here rather than at a first request.
        public_holidays(made.spec.holiday_country, made.trained_cutoff.year)
        return cls(booster, made)

    def forecast(self, features: pl.DataFrame, plan: pl.DataFrame, horizon: int) -> pl.DataFrame:
        """Forecasts of the `horizon` steps after each row's cutoff, columns FORECAST, in units.

        `features` has one row per series with the fields of the feature service; `plan` the
        promotion plan of the target days. Raises HorizonTooLong outside 1 … the model's horizon
        and BadGrid for a row that is there twice or a planned cell that is no count.
        """
        return self._forecast(features, plan, horizon, self.manifest.calibration)

    def _forecast(
        self, features: pl.DataFrame, plan: pl.DataFrame, horizon: int, calibration: Calibration
    ) -> pl.DataFrame:
        if not 1 <= horizon <= self.horizon:
            raise HorizonTooLong(
                f"horizon is {horizon}; model {self.version} forecasts 1 to {self.horizon} steps."
            )
        check_grid(features, plan)
        y_hat = self.expected(features, plan, horizon)
        days = target_days(features, horizon, self.manifest.spec.steps)
        step = days["step"].to_numpy()
        times = calibration.times(features).repeat(horizon)
        bands = conformal.apply(y_hat, step, times, calibration, QUANTILES)
        columns = [pl.Series(c, bands[:, i]) for i, c in enumerate(QUANTILE_COLUMNS)]
        return days.hstack([pl.Series("y_hat", y_hat), *columns])[FORECAST]

    def expected(self, features: pl.DataFrame, plan: pl.DataFrame, horizon: int) -> Matrix:
        """Units expected (features.height * horizon,), by series, then by step: y_hat alone."""
        if features.height > BLOCK:
            blocks = features.iter_slices(BLOCK)
            return np.concatenate([self.expected(block, plan, horizon) for block in blocks])
        m, spec = self.manifest, self.manifest.spec
        x, closed = design_matrix(features, plan, horizon, spec)
        if self.booster is None:
            return lagged.last_units(x, closed)
        calendar = calendar_forecast(features, horizon, m.profile, spec, closed)
        return averaged(gbm.predict(self.booster, x, closed), calendar, m.calendar_share)

    def level_forecast(
        self, features: pl.DataFrame, plan: pl.DataFrame, horizon: int, level: str
    ) -> pl.DataFrame:
        """Forecasts of every node of a level: node, the level's keys, cutoff, ds, step, y_hat, q….

        A node is the sum of the series in `features`, of one cutoff: give all series of the nodes
        that are asked for, the whole chain's for `total`. `level` is a key of
        models.metrics.LEVELS. Means are sums of means; the quantiles of all levels come from the
        same sample paths, those of a series are its own. Raises HorizonTooLong or ValueError for an
        unknown level.
        """
        forecasts = self.forecast(features, plan, horizon)
        shared = self._dependence(features)
        return levels.level_forecast(forecasts, self.manifest.calibration, shared, level)

    def sum_quantiles(
        self,
        features: pl.DataFrame,
        plan: pl.DataFrame,
        lead_time: int,
        service_levels: Sequence[float],
        *,
        first_step: int = 1,
    ) -> pl.DataFrame:
        """Units of each series over the steps first_step … lead_time: mean and quantiles.

        What stock has to cover: the quantile of the sum, not the sum of quantiles, at any one-sided
        service level between 0 and 1. One row per series: store_id, item_id, cutoff, first_ds,
        last_ds, y_hat and a column per service level, `q0.95`. Raises HorizonTooLong.
        """
        forecasts = self.forecast(features, plan, lead_time)
        own, shared = self.manifest.calibration, self._dependence(features)
        return levels.sum_quantiles(forecasts, own, shared, service_levels, first_step=first_step)

    def drivers(self, features: pl.DataFrame, plan: pl.DataFrame, horizon: int) -> pl.DataFrame:
        """What makes each forecast: target day, `base` and a column of units per input.

        Base and inputs sum to y_hat (models.explain.drivers); `calendar units` is what the chain's
        calendar adds to the base, the other inputs are the booster's.
        Without a booster there is one input, what was sold last.
        """
        m, spec = self.manifest, self.manifest.spec
        x, closed = design_matrix(features, plan, horizon, spec)
        if self.booster is None:
            sold = pl.Series(f"{explain.LAST} units", lagged.last_units(x, closed))
            return target_days(features, horizon, spec.steps).with_columns(sold, base=pl.lit(0.0))
        base, units = explain.drivers(self.booster, x, closed)
        calendar = calendar_forecast(features, horizon, m.profile, spec, closed)
        units *= 1 - m.calendar_share
        calendar = averaged(base, calendar, m.calendar_share) - base
        return target_days(features, horizon, spec.steps).with_columns(
            pl.Series("base", base),
            pl.Series("calendar units", calendar),
            *(pl.Series(f"{name} units", units[:, i]) for i, name in enumerate(INPUTS)),
        )

    def cold_forecast(
        self, known: pl.DataFrame, features: pl.DataFrame, plan: pl.DataFrame, horizon: int
    ) -> pl.DataFrame:
        """Forecasts of series with no or a short history, columns FORECAST.

        `known` holds the features of all series at one cutoff, `features` what new ones were lent
        (models.cold_start.analogue_features). The intervals are wider by the error that guessed
        levels have among the known series. Raises HorizonTooLong.
        """
        return self._forecast(features, plan, horizon, self._widened(known))

    def cold_sum_quantiles(
        self,
        known: pl.DataFrame,
        features: pl.DataFrame,
        plan: pl.DataFrame,
        lead_time: int,
        service_levels: Sequence[float],
    ) -> pl.DataFrame:
        """The columns of `sum_quantiles`, of series as `cold_forecast` takes them.

        Raises HorizonTooLong.
        """
        forecasts = self.cold_forecast(known, features, plan, lead_time)
        wider, shared = self._widened(known), self._dependence(features)
        return levels.sum_quantiles(forecasts, wider, shared, service_levels)

    def _dependence(self, features: pl.DataFrame) -> Dependence:
        """That of the one cutoff that the features are of."""
        (cutoff,) = cutoff_dates(features).unique()
        return self.manifest.dependence_at(cutoff)

    def _widened(self, known: pl.DataFrame) -> Calibration:
        # Kept for the frame that Source.newest hands out again; two threads only do it twice.
        if self._judged is None or self._judged[0] is not known:
            own = self.manifest.calibration
            wider = cold_start.widened(own, cold_start.level_error(known, own))
            self._judged = (known, wider)
        return self._judged[1]
