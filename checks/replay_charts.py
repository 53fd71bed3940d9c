"""Charts of a replay as SVG whose colours and type are those of the page around it."""

import io
import re
from datetime import date
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from checks.replay_results import Results

# Written as colours that no page uses, and then replaced by variables of the style sheet.
POLICIES = ["#010001", "#010002", "#010003", "#010004", "#010005", "#010006"]
INK, MUTED, GRID, GOOD, BAD = "#020001", "#020002", "#020003", "#020004", "#020005"
VARIABLES = {
    **{colour: f"var(--policy-{k})" for k, colour in enumerate(POLICIES)},
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    GOOD: "var(--good)",
    BAD: "var(--bad)",
}


def colour(index: int) -> str:
    """Colour of the policy at a position in the table."""
    return POLICIES[index % len(POLICIES)]


def weekly_chart(results: Results, field: str, title: str, *, bands: bool) -> str:
    """A figure by week, one picture a policy, the others behind it; triangles are retrains."""
    names = [str(row["policy"]) for row in results.policies]
    shown = [field, "low", "high"] if bands else [field]
    values = [w[name] for w in results.weeks for name in shown if w[name] is not None]
    room = 0.06 * (max(values) - min(values)) or 0.01
    pictures = []
    for index, name in enumerate(names):
        figure = Figure(figsize=(4.7, 2.3), layout="constrained")
        axes = figure.subplots()
        _panel(axes, title)
        axes.set_ylim(min(values) - 3 * room, max(values) + room)  # the triangles stand below
        axes.yaxis.set_major_formatter(
            FuncFormatter(lambda y, _: f"{y:.3g}" if bands else f"{y:.1%}")
        )
        for other in names:
            style: dict[str, Any] = {"color": GRID, "lw": 1.4, "zorder": 1}
            if other == name:
                style = {"color": colour(index), "lw": 2.2, "zorder": 3}
            axes.plot(*_line(results, other, field), **style)
        if bands:
            week, low = _line(results, name, "low")
            axes.fill_between(
                week, low, _line(results, name, "high")[1], color=colour(index), alpha=0.18, lw=0
            )
        new = [r["cutoff"] for r in results.retrains if r["policy"] == name]
        at = [0.04] * len(new)
        axes.plot(new, at, "^", color=colour(index), ms=6, transform=axes.get_xaxis_transform())
        weeks = sorted({w["week"] for w in results.weeks})[::3]
        axes.set_xticks(weeks, [_day(week) for week in weeks])
        axes.set_title(name, loc="left", fontsize=11, color=colour(index), fontweight="bold")
        pictures.append(_svg(figure))
    return "".join(pictures)


def retrains_chart(results: Results) -> str:
    """Each retrain: loss of the new model over that of the kept one on the days after."""
    names = [str(row["policy"]) for row in results.policies]
    shown = [r for name in reversed(names) for r in results.retrains[::-1] if r["policy"] == name]
    figure = Figure(figsize=(9.4, 0.9 + 0.24 * len(shown)), layout="constrained")
    axes = figure.subplots()
    _panel(axes, "")
    for y, row in enumerate(shown):
        shade = BAD if row["false"] else GOOD
        axes.plot([row["ratio"], row["ratio_upper"]], [y, y], color=shade, lw=2, alpha=0.5)
        axes.plot([row["ratio"]], [y], "o", color=shade, ms=6)
    axes.axvline(1, color=INK, lw=1)
    axes.set_yticks(
        range(len(shown)), [f"{r['policy']}, {_day(r['cutoff'])}" for r in shown], color=INK
    )
    axes.set_xlabel("loss of the new model over that of the kept one; left of 1 it is better")
    axes.xaxis.label.set_color(MUTED)
    return _svg(figure)


def _line(results: Results, name: str, field: str) -> tuple[list[Any], list[float]]:
    rows = [w for w in results.weeks if w["policy"] == name and w[field] is not None]
    return [w["week"] for w in rows], [w[field] for w in rows]


def _panel(axes: Axes, title: str) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.grid(axis="y", color=GRID, lw=0.6)
    axes.tick_params(colors=MUTED, length=0, labelsize=9)
    axes.set_ylabel(title, color=MUTED, fontsize=9)


def _day(day: date) -> str:
    return f"{day:%-d %b}"


def _svg(figure: Figure) -> str:
    """The figure's SVG without its head, in the page's colours and type; the same every time."""
    out = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "shelfcast"}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<svg .*?viewBox="([^"]+)".*?>', r'<svg viewBox="\1">', text, flags=re.DOTALL)
    text = re.sub(r'<g id="\w+">', "<g>", text)
    text = re.sub(r"(\d+px) [^;\"]*?(sans-serif|serif)[^;\"]*", r"\1 var(--type)", text)
    for code, variable in VARIABLES.items():
        text = text.replace(code, variable)
    return text
