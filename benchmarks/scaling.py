"""What the measured seconds of a day cost at other sizes: core hours, money, cores.

The daily cycle is taken to cost in proportion to series, which holds as long as memory does; a
training learns from a sample of rows that does not grow. Every core of the machine is counted
for the whole time, so the figures are upper bounds for this code on such cores.
"""

import math
import re
from datetime import timedelta

from data.settings import Settings

SIZES = (("100 stores × 30,000 items", 3_000_000), ("10,000 stores × 30,000 items", 300_000_000))
HOUR = timedelta(hours=1).total_seconds()
DAYS = 30  # of a month
TRAININGS = 4  # of a month, the most that the gate's cap allows


def scaling(rows: dict[str, float], machine: str, commit: str) -> str:
    """A Markdown table from the pipeline's figures by metric."""
    found = re.match(r"(\d+) cores", machine)
    if not found:
        raise LookupError(f"The machine {machine!r} does not say how many cores it has.")
    cores, price = int(found.group(1)), Settings(_env_file=None).cpu_hour_price
    series, cycle = int(rows["demo_series"]), cores * rows["cycle_seconds"]
    training = TRAININGS * cores * rows["training_vs_bare_fit"] / HOUR
    head = (
        *("size", "series", "core hours of a day", "cores, to be done in an hour"),
        "core hours of a month with trainings",
        f"price of a month, {price:g} a core hour",
    )
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, size in (("this demonstration", series), *SIZES):
        day = cycle / series * size / HOUR
        month = DAYS * day + training
        hours = f"{day:,.2g}" if day < 10 else f"{day:,.0f}"
        figures = (f"{math.ceil(day):,}", f"{month:,.1f}", f"{month * price:,.2f}")
        cells = (name, f"{size:,}", hours, *figures)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"From figures of {machine}; commit `{commit[:10]}`", ""])
