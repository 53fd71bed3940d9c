"""Who looks at a kind of error, and where the runbook says what to do."""

RUNBOOK = "docs/runbook.md"

# The first prefix that fits decides. The owners are roles: operator (the stack and its flows), data
# (what comes in), model (what is forecast), client (who calls the API).
GUIDE = {
    "flow ": ("operator", "a-flow-failed"),
    "quarantined rows": ("data", "rows-are-quarantined"),
    "lost records": ("operator", "the-ledger-lost-records"),
    "retrain hold": ("data", "the-retraining-gate-says-hold"),
    "retrain alert": ("model", "the-retraining-gate-says-alert"),
    "promote hold": ("model", "a-challenger-is-held"),
    "api 500": ("operator", "the-api-answers-5xx"),
    "api 503 no-champion": ("model", "no-model-is-served"),
    "api 503 stale-features": ("operator", "answers-are-stale-or-degraded"),
    "api 503 not-published": ("operator", "nothing-is-published-yet"),
    "api 503": ("operator", "the-api-answers-5xx"),
    "api 200": ("operator", "answers-are-stale-or-degraded"),
    "api 4": ("client", "the-api-answers-4xx"),
}
OTHERWISE = ("operator", "something-else")


def guide(kind: str) -> tuple[str, str]:
    """Owner of a kind of error (see data.ledger.Failure), or of a gate's outcome, and the part of
    the runbook for it."""
    owner, anchor = next((g for prefix, g in GUIDE.items() if kind.startswith(prefix)), OTHERWISE)
    return owner, f"{RUNBOOK}#{anchor}"
