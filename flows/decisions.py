"""Keeps gate decisions where people find them: a table row and an artifact."""

from prefect import task
from prefect.artifacts import create_markdown_artifact

from checks.account import account
from checks.gates import GateDecision
from data import ledger, publication
from data.settings import Settings
from data.warehouse import connect, query, transaction
from flows.slots import clock, writing


@task
def keep(
    settings: Settings, decision: GateDecision, subject: str, *, corrected: bool = False
) -> None:
    """Writes a decision to the table gate_decisions and shows it in the Prefect UI.

    A `corrected` one takes the place of the one that was kept before about the same subject.
    """
    with writing(), connect(settings) as con:
        with transaction(con):
            if corrected:
                ledger.withdraw_decision(con, decision.gate, subject)
            ledger.append_decision(
                con,
                decided_at=clock(settings, con)[1],
                gate=decision.gate,
                outcome=decision.outcome,
                reasons=decision.reasons,
                measurements={"subject": subject, **decision.measurements},
            )
        publication.write_table(settings.published_dir, "decisions", query(con, "decisions"))
    create_markdown_artifact(
        key=f"gate-{decision.gate}",
        markdown=account(decision, subject),
        description=f"{subject}: {decision.outcome}",
    )
