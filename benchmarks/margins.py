"""How far from its limit each figure of the retraining gate was, in worlds of known truth.

A limit has to leave room above what clean worlds and the real year reach, and what other layers
have to see, and lie below what its own layer has to see: that is what the table shows.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from math import inf
from typing import Any

import yaml

from benchmarks.worlds import SHIFTS, Layer
from checks import drift, gates, quality
from checks.evidence import Evidence
from checks.report import ContractReport
from data.settings import ROOT
from feature_repo.store_weeks import COVARIATES
from models.decay import log_ratios

CLEAN, REAL_YEAR = "nothing", "2017 as it was"
LAYERS: dict[str, Layer] = {
    "hold": "quality",
    "alert": "drift",
    "retrain": "performance",
    "fall_back": "performance",
}
OF_SHIFT = {shift.name: shift.layer for shift in SHIFTS}
Range = tuple[float, float]


@dataclass(frozen=True)
class Week:
    """One decision in one world; `days` since the shift began, 0 in a clean world.

    `figures` has what was measured by the names of LIMITS, `measured` what the decision keeps.
    """

    seed: int
    shift: str
    size: float
    cutoff: str
    days: int
    outcome: str
    reasons: tuple[str, ...]
    measured: dict[str, float | int | str | None]
    figures: dict[str, float]

    @property
    def layer(self) -> str:
        return LAYERS.get(self.outcome, "none")


@dataclass(frozen=True)
class Margin:
    """One figure with its limits (None: none), and from least to most what was measured of it.

    `own` are shifts of the figure's layer that in the median world went beyond a limit and beyond
    all clean worlds, and how far. `weeks` are those of clean worlds. None where nothing was
    measured.
    """

    metric: str
    limit: tuple[float | None, float]
    real: Range | None
    clean: Range | None
    weeks: int
    others: Range | None
    own: dict[str, float]


@cache
def limits() -> dict[str, tuple[str, Range]]:
    """Layer and limits of every figure, as the code has them."""
    landing = yaml.safe_load((ROOT / "checks" / "contracts" / "landing.yml").read_text())
    found: dict[str, tuple[str, Range]] = {}
    for rule in (check.get("metric", {}) for check in landing["checks"]):
        if "weekday" in rule.get("name", ""):
            bounds = rule["threshold"].get("must_be_between", rule["threshold"])
            low, high = bounds.get("greater_than", -inf), bounds.get("less_than")
            found[rule["name"]] = ("quality", (low, bounds.get("must_be_less_than", high)))
    for check, limit in quality.LIMITS.items():
        found[check] = ("quality", (-limit if check.endswith("z") else -inf, limit))
    for feature in COVARIATES:
        found[f"drift of {feature}, distance"] = ("drift", (-inf, drift.LEAST_DISTANCE))
        found[f"drift of {feature}, z"] = ("drift", (-inf, drift.LEAST_Z))
    for name, low, high in (
        ("loss of a week, logarithm", -inf, gates.LOSS_SLACK),
        ("cumulative sum of losses", -inf, gates.LOSS_CUSUM),
        ("bias of a week", -gates.BIAS_SLACK, gates.BIAS_SLACK),
        ("cumulative sum of biases", -gates.BIAS_CUSUM, gates.BIAS_CUSUM),
        ("coverage of the 80 % interval", *gates.COVERAGE_80),
    ):
        found[name] = ("performance", (low, high))
    return found


def of_delivery(report: ContractReport | None) -> dict[str, float]:
    """What the contract and the source's own history measured."""
    results = report.results if report else ()
    return {r.check: r.measured for r in results if r.measured is not None and r.check in limits()}


def of_evidence(seen: Evidence, backtest: float) -> dict[str, float]:
    """What was measured of drift and of the newest week's forecasts."""
    figures = {f"drift of {d.feature}, distance": d.distance for d in seen.drift}
    figures |= {f"drift of {d.feature}, z": d.z for d in seen.drift}
    decay, newest = seen.decay, seen.decay.weeks.tail(1)
    named = {
        "loss of a week, logarithm": next(iter(log_ratios(newest, backtest)), None),
        "cumulative sum of losses": decay.loss_cusum,
        "bias of a week": next(iter(newest["bias"].to_list()), None),
        "cumulative sum of biases": decay.bias_cusum,
        "coverage of the 80 % interval": decay.coverage.share if decay.coverage else None,
    }
    return figures | {name: value for name, value in named.items() if value is not None}


def rows(weeks: Sequence[Week]) -> list[dict[str, Any]]:
    """The rows of thresholds.json: one for each figure."""
    return [asdict(margin) for name in limits() if (margin := _margin(name, weeks))]


def _margin(name: str, weeks: Sequence[Week]) -> Margin | None:
    layer, (low, high) = limits()[name]
    worlds: dict[tuple[str, float], dict[int, list[float]]] = {}
    for week in weeks:
        if name in week.figures:
            of_shift = worlds.setdefault((week.shift, week.size), {})
            of_shift.setdefault(week.seed, []).append(week.figures[name])
    if not worlds:
        return None
    real, clean = (_range(worlds.get((case, 0.0), {}).values()) for case in (REAL_YEAR, CLEAN))
    least_seen, most_seen = clean or (inf, -inf)
    own: dict[str, float] = {}
    others: list[float] = []
    for (shift, size), by_seed in worlds.items():
        if OF_SHIFT.get(shift) == layer:
            most = statistics.median(max(values) for values in by_seed.values())
            least = statistics.median(min(values) for values in by_seed.values())
            if most > max(high, most_seen):
                own[f"{shift} {size:+g}"] = round(most, 4)
            elif least < min(low, least_seen):
                own[f"{shift} {size:+g}"] = round(least, 4)
        elif shift in OF_SHIFT:
            others += [value for values in by_seed.values() for value in values]
    weeks_seen = sum(map(len, worlds.get((CLEAN, 0.0), {}).values()))
    limit = (None if low == -inf else low, high)
    return Margin(name, limit, real, clean, weeks_seen, _range([others]), own)


def _range(worlds: Iterable[list[float]]) -> Range | None:
    values = [value for world in worlds for value in world]
    return (round(min(values), 4), round(max(values), 4)) if values else None


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a Markdown table."""
    head = (
        *("figure", "limit", "2017 as it was", "clean worlds", "worlds of other layers"),
        "median worlds of its own layer that go beyond",
    )
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in found:
        one_sided = row["limit"][0] is None
        own = "; ".join(f"{shift}: {value:.3g}" for shift, value in row["own"].items())
        cells = [_cell(row[c], one_sided) for c in ("limit", "real", "clean", "others")]
        lines.append(f"| {row['metric']} | {' | '.join(cells)} | {own} |")
    return "\n".join(lines)


def _cell(found: Sequence[Any] | None, one_sided: bool) -> str:
    if found is None:
        return ""
    return f"{found[1]:.3g}" if one_sided else f"{found[0]:.3g} to {found[1]:.3g}"
