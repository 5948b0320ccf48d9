"""The demo's verdict: which alarms are right, which are false, which events were missed."""

from __future__ import annotations

from pathlib import Path

from vidence.cli.truth import Case, compared


def test_alarms_beside_events(tmp_path: Path) -> None:
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    one, two = str(scenes / "one.mp4"), str(scenes / "two.mp4")
    (scenes / "events.csv").write_text("file,label,first_s,last_s\none.mp4,cart,2,4\none.mp4,cart,12,14\n")
    rows = [
        (one, 0, 1.9, 0),
        (one, 1, 2.9, 1),  # these two overlap and touch the event: one alarm, right
        (one, 2, 3.9, 1),
        (one, 8, 9.9, 1),  # meets no event: false
        (one, 12, 13.9, 0),
        (two, 2, 3.9, 1),  # another scene: false
    ]
    lines = [f"{source},{first},{last},{odd}" for source, first, last, odd in rows]
    (tmp_path / "scores.csv").write_text("\n".join(["source,first_s,last_s,anomalous", *lines]) + "\n")
    found = compared(tmp_path / "scores.csv", scenes)
    assert list(found.cases) == [
        Case(one, 2, 4, "right"),
        Case(one, 12, 14, "missed"),
        Case(one, 8, 9.9, "false"),
        Case(two, 2, 3.9, "false"),
    ]
    assert [case.kind for case in found.shown] == ["right", "missed", "false"]
    assert str(found) == ("Of 2 events in unseen scenes 1 raised an alarm, 1 did not; 2 alarms had no event.")
