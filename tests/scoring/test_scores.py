"""Scores: closed forms, gradients, batching, and that a pinned score does not move."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidence.errors import ShapeError, SpecError
from vidence.scoring.scores import (
    SCORES,
    Anomaly,
    Contrast,
    Logit,
    Output,
    Probability,
    Sum,
    has_places,
    pinned,
    probability_of,
    reads,
)
from vidence.spec import build, line

LOGITS = torch.tensor([[1.0, 3.0, 2.0], [0.5, -1.0, 0.0]])
X = torch.zeros(2, 3, 1, 4, 4)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("logit", [3.0, 0.5]),
        ("logit(class=0)", [1.0, 0.5]),
        ("logit(class=-1)", [2.0, 0.0]),
        ("contrast", [1.0, 0.5]),
        ("contrast(class=0)", [-2.0, 0.5]),
        ("contrast(class=0, against=1)", [-2.0, 1.5]),
    ],
)
def test_class_scores_by_hand(line: str, expected: list[float]) -> None:
    assert build(line, SCORES)(LOGITS, X).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("key", ["logit", "probability", "contrast"])
def test_a_class_is_one_index_or_name(key: str) -> None:
    for target in ([0, 1], 1.5, True, torch.tensor([0, 1])):
        with pytest.raises(SpecError, match="one index or name"):
            SCORES[key](target)
    for whole in (1, np.int64(1)):
        assert SCORES[key](whole)(LOGITS, X).tolist() == SCORES[key](1)(LOGITS, X).tolist()
    with pytest.raises(SpecError, match="one index or name"):
        Contrast(0, against=1.5)


def test_probabilities_follow_softmax_and_sigmoid() -> None:
    softmax = LOGITS.softmax(1)
    torch.testing.assert_close(Probability(1)(LOGITS, X), softmax[:, 1])
    torch.testing.assert_close(Probability(1, log=True)(LOGITS, X), softmax[:, 1].log())
    torch.testing.assert_close(Probability()(LOGITS[:, :1], X), LOGITS[:, 0].sigmoid())
    torch.testing.assert_close(Anomaly((0, 2))(LOGITS, X), softmax[:, 1])


@pytest.mark.parametrize("key", ["logit", "probability", "contrast", "anomaly"])
def test_gradient_flows_and_batching_keeps_order(key: str) -> None:
    logits = LOGITS.clone().requires_grad_()
    score = SCORES[key]()
    (gradient,) = torch.autograd.grad(score(logits, X).sum(), logits)
    assert gradient.abs().sum() > 0
    rows = torch.cat([score(LOGITS[i : i + 1], X[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(score(LOGITS, X), rows)


@pytest.mark.parametrize("score", [Logit(), Probability(), Contrast()])
def test_a_pinned_score_keeps_its_class_when_the_prediction_moves(score: Logit | Probability | Contrast) -> None:
    held = pinned(score, LOGITS[:1], X[:1])
    moved = torch.tensor([[9.0, 1.0, 2.0], [0.0, 0.0, 5.0]])  # one clip's perturbations: class 1 stays the target
    expected = {Logit: [1.0, 0.0], Contrast: [-1.0, -5.0], Probability: moved.softmax(1)[:, 1].tolist()}
    assert held(moved, X).tolist() == pytest.approx(expected[type(score)])


@pytest.mark.parametrize("score", [Logit(), Contrast()])
def test_pinned_scores_can_be_compared_and_kept_in_a_set(score: Logit | Contrast) -> None:
    one, other = pinned(score, LOGITS, X), pinned(score, LOGITS, X)
    assert one != other  # the tensors that they hold are not asked
    assert len({one, other}) == 2


def test_pinning_serves_multiples_of_its_rows_only() -> None:
    held = pinned(Logit(), LOGITS, X)
    assert held(LOGITS.repeat_interleave(2, 0), X).tolist() == [3.0, 3.0, 0.5, 0.5]
    with pytest.raises(ShapeError, match="multiples of 2"):
        held(LOGITS[:1], X)


def test_names_become_indices() -> None:
    classes = ("fight", "nofight", "other")
    assert Logit("nofight").named(classes) == Logit(1)
    assert Contrast("other", "fight").named(classes) == Contrast(2, 0)
    assert Anomaly(("nofight",)).named(classes) == Anomaly((1,))
    with pytest.raises(SpecError, match="one of fight, nofight, other"):
        Logit("no").named(classes)


@pytest.mark.parametrize(
    ("score", "output", "error"),
    [
        (Logit(5), LOGITS, SpecError),
        (Logit("fight"), LOGITS, SpecError),
        (Logit(), {"logits": LOGITS}, ShapeError),
        (Logit(), LOGITS[None], ShapeError),
        (Contrast(), LOGITS[:, :1], ShapeError),
        (Anomaly((7,)), LOGITS, SpecError),
        (Output(), LOGITS, ShapeError),
    ],
)
def test_what_cannot_be_scored_is_refused(score: Logit, output: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        score(output, X)


def test_a_sum_is_its_parts_times_their_weights() -> None:
    score = build("sum(of=[logit(class=0), probability(class=1)], weights=[2, -0.5])", SCORES)
    expected = 2 * LOGITS[:, 0] - 0.5 * LOGITS.softmax(1)[:, 1]
    torch.testing.assert_close(score(LOGITS, X), expected)
    assert build(line(score, SCORES), SCORES) == score
    torch.testing.assert_close(Sum((Logit(0), Logit(1)))(LOGITS, X), LOGITS[:, 0] + LOGITS[:, 1])
    named = Sum((Logit("a"), Output())).named(("b", "a"))
    assert named.of == (Logit(1), Output())
    assert score.mode is None
    assert not has_places(score)
    with pytest.raises(SpecError, match="spread over pixels"):
        score.density(LOGITS, X)


def test_a_pinned_sum_pins_its_parts() -> None:
    held = pinned(Sum((Logit(), Contrast()), (1.0, 2.0)), LOGITS, X)
    moved = LOGITS.flip(1)
    expected = pinned(Logit(), LOGITS, X)(moved, X) + 2 * pinned(Contrast(), LOGITS, X)(moved, X)
    torch.testing.assert_close(held(moved, X), expected)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("sum", "at least one"),
        ("sum(of=[1, 2])", "at least one"),
        ("sum(of=[logit], weights=[1, 2])", "as many weights"),
    ],
)
def test_sums_that_mean_nothing_are_refused(wrong: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build(wrong, SCORES)


def test_a_scalar_output_is_itself() -> None:
    assert Output()(torch.tensor([1.5, 2.5]), X).tolist() == [1.5, 2.5]


def test_probabilities_are_taken_as_they_are_where_that_is_asked() -> None:
    shares = LOGITS.softmax(1)
    torch.testing.assert_close(Probability(1, of="probabilities")(shares, X), shares[:, 1])
    torch.testing.assert_close(Probability(1, log=True, of="probabilities")(shares, X), shares[:, 1].log())
    torch.testing.assert_close(Probability(of="probabilities")(shares[:, :1], X), shares[:, 0])
    torch.testing.assert_close(Anomaly((0, 2), of="probabilities")(shares, X), shares[:, 1])
    named = Anomaly(("a",), of="probabilities").named(("a", "b", "c"))
    assert named == Anomaly((0,), of="probabilities")
    for made in (Probability, Anomaly):
        with pytest.raises(SpecError, match="'logits' or 'probabilities'"):
            made(of="logit")


def test_a_class_is_not_contrasted_with_itself() -> None:
    with pytest.raises(SpecError, match="two classes; got 2 twice"):
        build("contrast(class=2, against=2)", SCORES)
    with pytest.raises(SpecError, match="two classes"):
        Contrast("fight", 0).named(("fight", "nofight"))
    assert Contrast(None, None)(LOGITS, X).tolist() == pytest.approx([1.0, 0.5])


def test_what_a_score_reads_of_the_output() -> None:
    assert [reads(score) for score in (Logit(), Contrast(), Output(), Anomaly())] == ["logits"] * 4
    assert [reads(pinned(score, LOGITS[:1], X[:1])) for score in (Logit(), Contrast())] == ["logits"] * 2
    assert reads(pinned(Probability(of="probabilities"), LOGITS[:1], X[:1])) == "probabilities"
    assert reads(lambda output, x: output) is None


def test_the_probability_of_what_a_score_is_of() -> None:
    shares = LOGITS.softmax(1)
    assert probability_of(Logit(2)) == Probability(2)
    assert probability_of(Probability(1, log=True, of="probabilities")) == Probability(1, of="probabilities")
    assert probability_of(Anomaly((0,))) == Anomaly((0,))
    for score in (Logit(), Contrast(), Probability(log=True)):
        held = probability_of(pinned(score, LOGITS, X))
        assert held is not None
        torch.testing.assert_close(held(LOGITS, X), shares.amax(dim=1))
        torch.testing.assert_close(held(-LOGITS, X), (-LOGITS).softmax(1).gather(1, shares.argmax(1)[:, None])[:, 0])
    assert probability_of(Output()) is None
