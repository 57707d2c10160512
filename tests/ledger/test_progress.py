"""Progress in plain lines: how much is done, and how long the rest will take at the pace of the last ten seconds."""

from __future__ import annotations

import pytest

from medloom.ledger import Bars, progress


def test_lines_tell_the_time_left_and_what_was_done_before_does_not_count(monkeypatch: pytest.MonkeyPatch,
                                                                         capsys: pytest.CaptureFixture[str]) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with Bars().task("training", total=1000, unit="steps") as task:
        task.advance(500, "going on from step 500")
        for _ in range(30):
            clock[0] += 1
            task.advance(2, "loss 2.000")
    assert capsys.readouterr().err.splitlines() == [
        "  training: 520/1,000 steps loss 2.000",
        "  training: 540/1,000 steps loss 2.000  0:03:50 left",
        "  training: 560/1,000 steps loss 2.000  0:03:40 left",
        "  training: 560/1,000 steps loss 2.000 in 30.0 s"]
