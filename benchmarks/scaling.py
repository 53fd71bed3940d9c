"""What the measured seconds of a day cost at other sizes: core hours, money, cores.

The daily cycle is taken to cost in proportion to series, which holds as long as memory does; every
core of the machine is counted for all of its time. A training, which learns from a sample of rows
that does not grow, costs what the replay's trainings took of all cores: each fits every booster
that production fits but those of a search.
"""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta

from data.settings import Settings

SIZES = (("100 stores × 30,000 items", 3_000_000), ("10,000 stores × 30,000 items", 300_000_000))
HOUR = timedelta(hours=1).total_seconds()
DAYS = 30  # of a month
TRAININGS = 4  # of a month, the most that the gate's cap allows


def scaling(rows: Mapping[str, float], machine: str, commits: Sequence[str]) -> str:
    """A Markdown table from the figures of the pipeline and of the replay by metric."""
    found = re.match(r"(\d+) cores", machine)
    if not found:
        raise LookupError(f"The machine {machine!r} does not say how many cores it has.")
    cores, price = int(found.group(1)), Settings(_env_file=None).cpu_hour_price
    series, cycle = int(rows["demo_series"]), cores * rows["cycle_seconds"]
    training = TRAININGS * rows["training, always"] / rows["retrainings, always"] / HOUR
    head = (
        *("size", "series", "core hours of a day", "cores, to be done in an hour"),
        "core hours of a month with trainings",
        f"price of a month, {price:g} a core hour",
    )
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, size in (("this demonstration", series), *SIZES):
        day = cycle / series * size / HOUR
        month = DAYS * day + training
        figures = (f"{math.ceil(day):,}", _short(month), _short(month * price))
        cells = (name, f"{size:,}", _short(day), *figures)
        lines.append(f"| {' | '.join(cells)} |")
    of = ", ".join(f"`{commit[:10]}`" for commit in commits)
    return "\n".join([*lines, "", f"From figures of {machine}; commits {of}", ""])


def _short(figure: float) -> str:
    """Two digits of what is small, whole numbers of what is not."""
    return f"{figure:,.2g}" if figure < 10 else f"{figure:,.0f}"
