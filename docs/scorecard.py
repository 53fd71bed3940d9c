"""The ML Test Score of this project, counted from the tests that show each of its points.

E. Breck, S. Cai, E. Nielsen, M. Salib, D. Sculley: The ML Test Score: A Rubric for ML Production
Readiness and Technical Debt Reduction, IEEE Big Data 2017. 28 points in four sections: one for
what is tested automatically and again and again, half for what was done by hand and written down;
the score is the least of the sections' sums.

A test says `@pytest.mark.score("data", 1)`. `python -m docs.scorecard` prints the card.
"""

import ast
from collections.abc import Iterator

from data.settings import ROOT

POINTS = {
    "data": (
        "Feature expectations are captured in a schema",
        "All features are beneficial",
        "No feature's cost is too much",
        "Features adhere to meta-level requirements",
        "The data pipeline has appropriate privacy controls",
        "New features can be added quickly",
        "All input feature code is tested",
    ),
    "model": (
        "Model specs are reviewed and submitted",
        "Offline and online metrics correlate",
        "All hyperparameters have been tuned",
        "The impact of model staleness is known",
        "A simpler model is not better",
        "Model quality is sufficient on important data slices",
        "The model is tested for considerations of inclusion",
    ),
    "infrastructure": (
        "Training is reproducible",
        "Model specs are unit tested",
        "The ML pipeline is integration tested",
        "Model quality is validated before serving",
        "The model is debuggable",
        "Models are canaried before serving",
        "Serving models can be rolled back",
    ),
    "monitoring": (
        "Dependency changes result in notification",
        "Data invariants hold for inputs",
        "Training and serving are not skewed",
        "Models are not too stale",
        "Models are numerically stable",
        "Computing performance has not regressed",
        "Prediction quality has not regressed",
    ),
}
# Done by hand and written down: the file in benchmarks/results that has to be there, and the page.
BY_HAND = {
    ("data", 2): (
        "accuracy-full",
        "groups of inputs left out in turn by `make bench-accuracy-full`: [accuracy](accuracy.md)",
    ),
    ("data", 3): ("pipeline", "time of features by hand and by the system: [speed](speed.md)"),
    ("model", 4): ("replay", "policies of retraining, never among them: [replay](replay.md)"),
    ("model", 7): (
        "accuracy",
        "no person is judged; bias of the smallest stores, coverage of the slowest sellers: "
        "[accuracy](accuracy.md)",
    ),
}
MISSING = {
    ("data", 2): "a command leaves groups of inputs out in turn; no result is kept yet",
    ("data", 6): "the steps are written down, the time was not taken",
    ("model", 1): "in the repository, but nobody else has reviewed them",
    ("model", 2): "what an order saved in a shop is not known here",
    ("model", 4): "a replay measures it; no result is kept yet",
}
READS = (  # least of the sections, as the paper reads it
    (0, "more of a research project than a productionized system"),
    (1, "not totally untested, but serious holes in reliability are possible"),
    (2, "a first pass at basic productionization"),
    (3, "reasonably tested"),
    (5, "strong levels of automated testing and monitoring"),
    (7, "exceptional levels of automated testing and monitoring"),
)


def marked() -> Iterator[tuple[tuple[str, int], str]]:
    """Every point that a test shows, with the test's name in words; read without importing."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.score":
                        section, number = (ast.literal_eval(value) for value in mark.args)
                        if not 1 <= number <= len(POINTS[section]):
                            raise ValueError(f"{path}: {section} has no point {number}.")
                        said = node.name.removeprefix("test_").replace("_", " ")
                        yield (section, number), f"{said} (`{path.relative_to(ROOT)}`)"


def card() -> str:
    """The score and its points as Markdown."""
    shown: dict[tuple[str, int], list[str]] = {}
    for point, said in marked():
        shown.setdefault(point, []).append(said)
    sums, lines = {}, []
    for section, points in POINTS.items():
        rows = [_row((section, n), about, shown) for n, about in enumerate(points, start=1)]
        sums[section] = sum(score for score, _ in rows)
        lines += ["", f"## {section.capitalize()}: {sums[section]:g} of {len(points)}", ""]
        lines += ["| | point | score | shown by |", "|---|---|---|---|", *(row for _, row in rows)]
    least = min(sums.values())
    reading = next(words for bound, words in READS if least <= bound)
    parts = ", ".join(f"{section} {total:g}" for section, total in sums.items())
    return "\n".join(
        [f"**Score {least:g}**: {reading}. Sections: {parts}; the least counts.", *lines]
    )


def _row(
    point: tuple[str, int], about: str, shown: dict[tuple[str, int], list[str]]
) -> tuple[float, str]:
    score, by = 0.0, MISSING.get(point, "")
    if point in shown:
        score, by = 1.0, "<br>".join(sorted(shown[point]))
    elif point in BY_HAND and (ROOT / "benchmarks/results" / f"{BY_HAND[point][0]}.json").exists():
        score, by = 0.5, BY_HAND[point][1]
    return score, f"| {point[1]} | {about} | {score:g} | {by} |"


if __name__ == "__main__":
    print(card())
