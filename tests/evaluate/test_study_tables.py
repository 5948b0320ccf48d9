"""What a study's tables say of two networks whose rows are made by hand."""

import json
from dataclasses import replace

import pytest

from vidence.errors import DataError
from vidence.evaluate.comparison import clip_seed
from vidence.evaluate.measured_rows import Measured, MeasuredRows
from vidence.evaluate.study_tables import BEGIN, END, Compared, Trained, study_tables, write_study

MEASURES = ("insertion(steps=8)", "mass-ratio")
VALUES = {  # by map: faithfulness rises where localisation falls
    "gradient": (0.9, 1.0),
    "lrp": (0.5, 2.0),
    "occlusion": (0.1, 3.0),
    "random-map": (0.3, 1.5),
}


@pytest.fixture
def network(tmp_path):
    """Two seeds, six clips each, of which one did not learn its clips."""
    for seed in (0, 1):
        rows = MeasuredRows(tmp_path / f"net-{seed}" / "measures.csv")
        facts = {"weights": str(seed), "seed": 0, "score": "logit"}
        rows.path.parent.mkdir()
        (rows.path.parent / "comparison.json").write_text(json.dumps(facts))
        for clip in range(6):
            for name, values in VALUES.items():
                for measure, value in zip(MEASURES, values, strict=True):
                    rows.add([made(f"clip-{clip}", name, measure, value + 0.01 * clip, weights=str(seed))])
    detectors = (Trained(0, 0.97, str(tmp_path / "net-0")), Trained(1, 0.9, str(tmp_path / "net-1")))
    return Compared("net", "a network", "synthetic", "cnn-rnn", ("gradient", "lrp", "occlusion"), MEASURES, detectors)


def made(clip, explainer, measure, value, *, weights):
    return Measured(
        clip=clip,
        first=0,
        source=clip,
        label="cart",
        event=True,
        known="pixels",
        explainer=explainer,
        control=explainer == "random-map",
        measure=measure,
        settings="{}",
        score="logit",
        seed=clip_seed(0, clip, 0),
        weights=weights,
        value=value,
        seconds=0.5,
    )


def test_the_same_clip_counts_once_for_each_detector(network):
    assert len({row.shown for row in network.rows()}) == 12
    assert len({row.window for row in network.rows()}) == 6  # of six sources, which intervals draw
    assert "| 12 | 12 |" in study_tables([network])


def test_rows_of_other_weights_seeds_and_scores_are_not_of_this_comparison(network, tmp_path):
    rows, before = MeasuredRows(tmp_path / "net-0" / "measures.csv"), study_tables([network])
    own = made("clip-7", "lrp", MEASURES[0], 99.0, weights="0")
    rows.add([replace(own, weights="other"), replace(own, seed=5), replace(own, score="contrast")])
    assert study_tables([network]) == before
    rows.add([own])
    assert study_tables([network]) != before
    (tmp_path / "net-1" / "comparison.json").unlink()
    with pytest.raises(DataError, match="Compare again"):
        study_tables([network])


def test_a_classifier_below_the_gate_is_named_and_counts_for_no_finding(network):
    text = study_tables([network])
    assert "0.970, 0.900 (below)" in text
    assert "| mass-ratio | -1.00 [-1.00, -1.00] | 6 |" in text
    assert "| mass-ratio | -1.00 [-1.00, -1.00] | 12 |" in study_tables([replace(network, data="fight-surv")])
    none = study_tables([replace(network, detectors=network.detectors[1:])])
    assert "-1.00" not in none
    assert "| `lrp` | 0.5" in none


def test_a_failure_on_some_clips_is_told_with_their_number(network, tmp_path):
    rows = MeasuredRows(tmp_path / "net-0" / "measures.csv")
    lost = made("clip-9", "lrp", MEASURES[0], None, weights="0")
    rows.add([replace(lost, refused="no memory")])
    assert "Not measured: `lrp`: 1 of 13 clips: no memory" in study_tables([network])


def test_the_reversal_is_over_explainers_without_controls(network):
    assert "| a network | insertion | mass-ratio | -1.00 [-1.00, -1.00] | 6 |" in study_tables([network])


def test_only_maps_better_than_the_best_control_are_named(network):
    text = study_tables([network])
    assert "| a network | insertion | `random-map` | `gradient`, `lrp` |" in text
    assert "| a network | mass-ratio | `random-map` | `lrp`, `occlusion` |" in text


def test_a_leaderboard_begins_with_the_best_and_marks_controls(network):
    text = study_tables([network])
    assert text.index("| `gradient` | 0.92 [") < text.index("| `lrp` | 0.5") < text.index("| *random-map*")
    assert "insertion ↑ | mass-ratio ↑ | s/map |" in text


def test_the_page_keeps_what_stands_around_the_tables(network, tmp_path):
    page = tmp_path / "study.md"
    page.write_text(f"# Before\n{BEGIN}\nold\n{END}\nafter\n")
    write_study(page, [network])
    write_study(page, [network])
    text = page.read_text()
    assert text.startswith(f"# Before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert text.count("## The networks") == 1
    page.write_text("# Nothing\n")
    with pytest.raises(DataError, match="between which tables go"):
        write_study(page, [network])
