"""What a registered version is, in a few sentences for people who look at it in MLflow."""

from models.forecaster import Manifest


def card(made: Manifest, run_url: str) -> str:
    """Markdown: method, data, and how it did on a holdout that it had not seen, beside naive."""
    loss = made.backtest["wrmsse mean"]
    naive = loss / made.backtest["naive ratio"]
    return (
        f"Method {made.method}, trained on sales up to {made.trained_cutoff}, snapshot "
        f"{made.snapshot_id}, features {made.feature_service}.\n\n"
        f"WRMSSE over the {made.horizon} steps of the holdout: {loss:.3f}, of seasonal naive "
        f"{naive:.3f}; bias {made.backtest['bias']:+.1%}.\n\n[The run]({run_url}) has the rest."
    )
