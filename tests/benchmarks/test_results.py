"""Result files: what does not depend on a machine is what it was; each row knows its commit."""

import re
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


@pytest.mark.parametrize("file", sorted(report.RESULTS.glob("*.json")), ids=lambda f: f.stem)
def test_what_was_measured_on_changed_code_is_not_kept(file: Path) -> None:
    found = report.read(file.stem)
    commits = {found["commit"], *(row.get("commit", found["commit"]) for row in found["rows"])}
    assert all(re.fullmatch("[0-9a-f]{40}", commit) for commit in commits), commits
