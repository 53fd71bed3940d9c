"""May a model that was tried on requests answer them? The limits, and what came of a trial."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

PLAUSIBLE = (0.8, 1.25)  # units over those of the champion for the same days
PLAUSIBLE_AFTER_REPEATS = (0.5, 2.0)  # over those of a champion that only repeats the last week
PLAUSIBLE_REQUEST = (0.5, 2.0)  # of one golden request: a few series may well move more than all
SLOWER = 1.2  # p95 over the champion's
FAST_MS = 250.0  # nobody waits for less, whatever the champion's p95 was
HEAVIER_MB = 200.0  # resident, of loading a version: replicas must not outgrow their machine


@dataclass(frozen=True)
class Tried:
    """What came of requests: `units` are the sums of y_hat of both models over all of them.

    `plausible` bounds units over the champion's; of what serves, over its own by its successor.
    Fewer answers than `least` prove nothing.
    """

    requests: int
    faults: tuple[str, ...]
    units: float
    champion_units: float | None
    p95_ms: float
    champion_p95_ms: float | None
    heavier_mb: float = 0.0
    plausible: tuple[float, float] = PLAUSIBLE
    least: int = 1

    def problems(self) -> list[str]:
        """Reasons not to serve the model; empty when there are none."""
        reasons = list(self.faults)
        if self.requests == 0:
            reasons.append("no request was answered")
        elif self.requests < self.least and not self.faults:
            of = f"only {self.requests:,} of {self.least:,} requests were answered in time"
            reasons.append(f"{of}; run the train deployment again when the machine does less")
        if self.champion_units:
            ratio = self.units / self.champion_units
            low, high = self.plausible
            if not low <= ratio <= high:
                between = f"{low} to {high}"
                reasons.append(f"forecasts are {ratio:.2f} times the champion's, outside {between}")
        limit = max(FAST_MS, SLOWER * (self.champion_p95_ms or 0.0))
        if not self.p95_ms <= limit:
            reasons.append(f"p95 is {self.p95_ms:.0f} ms, limit {limit:.0f}")
        if self.heavier_mb > HEAVIER_MB:
            reasons.append(f"it takes {self.heavier_mb:.0f} MB more, limit {HEAVIER_MB:.0f}")
        return reasons

    def measurements(self) -> dict[str, float | int | None]:
        """What was measured, for the record of a decision; NaN has no place in JSON."""
        found = {
            "requests": self.requests,
            "p95_ms": self.p95_ms,
            "champion_p95_ms": self.champion_p95_ms,
            "heavier_mb": self.heavier_mb,
            "units": self.units,
            "champion_units": self.champion_units,
        }
        return {k: None if v is None or not isfinite(v) else round(v, 1) for k, v in found.items()}


@dataclass(frozen=True)
class Rehearsal:
    """What came of a version's trials before it serves, by their names."""

    trials: Mapping[str, Tried]

    @property
    def faults(self) -> list[str]:
        """Reasons not to serve the version, with the trial that found them."""
        return [
            f"{name}: {said}" for name, tried in self.trials.items() for said in tried.problems()
        ]

    @property
    def measurements(self) -> dict[str, float | int | None]:
        """What each trial measured, for the record of the decision."""
        return {
            f"{name} {measured}": value
            for name, tried in self.trials.items()
            for measured, value in tried.measurements().items()
        }
