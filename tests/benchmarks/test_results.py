"""Result files: what does not depend on a machine is what it was; each row knows its commit."""

from pathlib import Path

import pytest

from benchmarks import data_quality, report
from benchmarks.rows import plain_row


def test_the_data_are_as_dirty_as_the_documents_say() -> None:
    assert data_quality.count() == report.read("data")["rows"]


def test_a_kept_row_says_on_which_commit_it_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "fill_documents", lambda: None)
    for commit, metric in (("a" * 40, "first"), ("b" * 40 + "+changes", "second")):
        monkeypatch.setattr(report, "_commit", lambda commit=commit: commit)
        report.save("some", [plain_row(metric, "s", 1.0)], merge=True)
    assert [row.get("commit") for row in report.read("some")["rows"]] == ["a" * 40, None]
    assert "commit `aaaaaaaaaa`, `bbbbbbbbbb+changes`" in report.table("some")
