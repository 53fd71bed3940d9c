"""Rows of a result file, from paired measurements."""

import statistics
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import NotRequired, TypedDict


class Row(TypedDict):
    """One metric: medians of ours and of the alternative, and the median of their ratios.

    `low` and `high` are the ends of a 95 % interval of the ratio, where one was taken. `worlds`
    is what the gate said of each seed, where that is what was counted: see benchmarks.recall.
    """

    metric: str
    unit: str
    ours: float
    theirs: float | None
    ratio: float | None
    target: float | None
    met: bool | None
    low: NotRequired[float]
    high: NotRequired[float]
    worlds: NotRequired[str]


def plain_row(
    metric: str,
    unit: str,
    value: float,
    target: float | None = None,
    *,
    more_is_better: bool = True,
) -> Row:
    """A metric without an alternative; the target is the least or the most it may be."""
    met = None if target is None else (value >= target if more_is_better else value <= target)
    return Row(
        metric=metric,
        unit=unit,
        ours=round(value, 4),
        theirs=None,
        ratio=None,
        target=target,
        met=met,
    )


def ratio_row(
    metric: str,
    unit: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    target: float | None = None,
    more_is_better: bool = False,
) -> Row:
    """A metric with its alternative, measured in turn; `ratio` is ours over theirs by pairs."""
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    met = None if target is None else (ratio >= target if more_is_better else ratio <= target)
    return Row(
        metric=metric,
        unit=unit,
        ours=round(statistics.median(ours), 4),
        theirs=round(statistics.median(theirs), 4),
        ratio=round(ratio, 3),
        target=target,
        met=met,
    )


def paired(
    ours: Callable[[], object], theirs: Callable[[], object], *, rounds: int
) -> tuple[list[float], list[float]]:
    """Seconds of both, in turn, after one run of each that is not counted."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for k in range(rounds + 1):
        for side, work in enumerate((ours, theirs)):
            start = perf_counter()
            work()
            if k:
                seconds[side].append(perf_counter() - start)
    return seconds
