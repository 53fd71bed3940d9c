"""The four tables of `bench-accuracy-full`, out of the errors of its cells."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from benchmarks.accuracy import judge
from benchmarks.accuracy.plan import DEFAULTS, MONTH, WEEKS, Fits, Origins, histories, without
from benchmarks.rows import Row, plain_row

NO_LOSS = 0.01  # a model that loses no more than this by its age is as good as a new one
AVERAGES = {"mean": judge.HEADLINE, "series": ["series"]}
FRESH = "fitted that week"


@dataclass(frozen=True)
class Found:
    """What was measured: `search` as Lab.search, `errors` of judge.errors with `fitted`, scales.

    The errors of the defaults are there for every weekly fit and every later origin.
    """

    search: pl.DataFrame
    errors: pl.DataFrame
    scales: pl.DataFrame
    seed: int

    def of(self, model: str) -> pl.DataFrame:
        return self.errors.filter(pl.col("model") == model)

    def defaults(self, pairs: Sequence[tuple[date, date]], name: str) -> pl.DataFrame:
        """The defaults' errors by pairs of fit and origin, under another name."""
        asked = pl.DataFrame(pairs, schema=["fitted", "cutoff"], orient="row")
        own = self.of(DEFAULTS.name).join(asked, on=["fitted", "cutoff"], how="semi")
        return own.with_columns(model=pl.lit(name))

    def trained(self, fits: Fits, name: str) -> pl.DataFrame:
        """The defaults' errors of trainings in use, under another name."""
        return self.defaults([(cell[0], o) for cell in fits for o in cell], name)

    def versus(self, table: str, ours: pl.DataFrame, theirs: pl.DataFrame) -> list[Row]:
        """Two models, errors of each, on the origins of both: a row for each of AVERAGES.

        The interval is left out where it would rest on few origins.
        """
        shared = ours.select("cutoff").unique().join(theirs.select("cutoff").unique(), on="cutoff")
        both = pl.concat([ours, theirs]).join(shared, on="cutoff", how="semi")
        nodes = judge.scaled(both, self.scales)
        table_of = judge.figures(nodes).select("model", "level", "wrmsse")
        loss = {(model, level): value for model, level, value in table_of.iter_rows()}
        names = (ours["model"][0], theirs["model"][0])
        rows = []
        for average, levels in AVERAGES.items():
            there = [level for level in levels if (names[0], level) in loss]
            one, other = (sum(loss[n, lv] for lv in there) / len(there) for n in names)
            unit = f"WRMSSE, {len(shared)} origin{'s' * (len(shared) > 1)}"
            row = plain_row(f"{table} {average}: {names[0]}", unit, one)
            row["theirs"], row["ratio"] = round(other, 4), round(one / other, 4)
            if len(shared) >= judge.LEAST_ORIGINS:
                _, low, high = judge.ratio_interval(nodes, there, *names, seed=self.seed)
                row["low"], row["high"] = round(low, 4), round(high, 4)
            rows.append(row)
        return rows


def _in_turn(pairs: Sequence[list[Row]]) -> list[Row]:
    """The rows of the first average, then those of the next."""
    return [pair[k] for k in range(len(AVERAGES)) for pair in pairs]


def tuning(found: Found, plan: Origins) -> list[Row]:
    """The best of the search against the defaults, where it did not search and where it did."""
    base = found.trained(plan.monthly, DEFAULTS.name)
    search = found.search.row(0, named=True)
    best, first = search["best"], search["defaults"]
    row = plain_row("tuning on the folds of the search: tuned", "WRMSSE", best)
    row["theirs"], row["ratio"] = round(first, 4), round(best / first, 4)
    return [
        *found.versus("tuning", found.of("tuned"), base),
        row,
        plain_row("tuning trials", "count", search["trials"]),
        plain_row("tuning trials pruned", "count", search["pruned"]),
    ]


def ablation(found: Found, plan: Origins) -> list[Row]:
    """The defaults without each group against the defaults; the greatest loss comes first."""
    base = found.trained(plan.monthly, DEFAULTS.name)
    pairs = [found.versus("ablation", found.of(v.name), base) for v in without()]
    return _in_turn(sorted(pairs, key=lambda pair: -(pair[0]["ratio"] or 0.0)))


def learning(found: Found, plan: Origins) -> list[Row]:
    """Models that know so many weeks of sales against those that know all."""
    base = found.trained(plan.newest, "all weeks")
    return _in_turn([found.versus("learning", found.of(v.name), base) for v in histories()])


def staleness(found: Found, plan: Origins) -> list[Row]:
    """Models of each age against new ones at the same origins, then policies over all of them."""
    weekly = plan.weekly
    fresh = found.trained(plan.every(1), FRESH)
    pairs = []
    for age in range(1, WEEKS + 1):
        fits = list(zip(weekly, weekly[age:], strict=False))
        name = f"{age} week{'s' * (age > 1)} old"
        pairs.append(found.versus("staleness", found.defaults(fits, name), fresh))
    policies = [
        found.versus("retraining", found.trained(plan.every(weeks), name), fresh)
        for name, weeks in (("every 4 weeks", MONTH), ("never", WEEKS + 1))
    ]
    ages = _in_turn(pairs)
    return [*ages, *_in_turn(policies), advice(ages)]


def advice(ages: Sequence[Row]) -> Row:
    """How often to retrain: the longest age up to which a model is as good as a new one.

    Only ages with an interval count: of the others too few origins are known.
    """
    means = (r for r in ages if r["metric"].startswith("staleness mean: ") and "high" in r)
    lost = [row["ratio"] - 1 for row in means if row["ratio"] is not None]
    weeks = next((k for k, loss in enumerate(lost) if loss > NO_LOSS), len(lost))
    if weeks == 0:
        sentence = f"Retrain every week: a model of one week loses {lost[0]:.1%} already."
    elif weeks < len(lost):
        sentence = (
            f"Retrain every {_weeks(weeks)}: at {_weeks(weeks + 1)} {_loss(lost[weeks])} is lost."
        )
    else:
        sentence = (
            f"Retraining every {_weeks(weeks)} is enough: at that age {_loss(lost[-1])} is lost; "
        )
        sentence += "of older models too few origins are known."
    return plain_row("retrain", sentence, max(weeks, 1))


def _loss(share: float) -> str:
    """A share that is lost; a gain is no loss, nor is what rounds to none."""
    said = f"{share:.1%}"
    return "nothing" if share < 0 or said == "0.0%" else said


def _weeks(n: int) -> str:
    return f"{n} week{'s' * (n > 1)}"
