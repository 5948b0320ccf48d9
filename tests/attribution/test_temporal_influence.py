"""Which input frame raises which frame's error."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vidence.attribution.perturb.occlusion import FrameOcclusion
from vidence.attribution.temporal_influence import TemporalInfluence
from vidence.errors import ExplainError, SpecError
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork
from vidence.scoring.scores import SCORES, CentreDistance, Logit, SquaredError
from vidence.spec import build
from vidence.testing import counted_passes
from zoo import Autoencoder, Folded, Predictor, made

X = torch.rand(1, 3, 5, 14, 12, generator=torch.Generator().manual_seed(0))


class FrameByFrame(ReconstructionNetwork):
    """Expects the square of what it sees, frame by frame."""

    def forward(self, x: Tensor) -> Reconstruction:
        return Reconstruction(x**2)


class Before(ReconstructionNetwork):
    """Predicts each frame to be the one before."""

    first_frame = 1

    def forward(self, x: Tensor) -> Reconstruction:
        return Reconstruction(x[:, :, :-1], first_frame=1)


class Remembering(ReconstructionNetwork):
    """Reconstructs by a GRU over frames."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.GRU(3 * 14 * 12, 6, batch_first=True), nn.Linear(6, 3 * 14 * 12)

    def forward(self, x: Tensor) -> Reconstruction:
        states, _ = self.rnn(x.transpose(1, 2).flatten(2))
        return Reconstruction(self.out(states).unflatten(2, (3, 14, 12)).transpose(1, 2))


def matrix(model: ReconstructionNetwork, score: Any = None, **settings: Any) -> Tensor:
    return TemporalInfluence(**settings).attribute(model, X, score or SquaredError()).extra["influence"][0]


@pytest.mark.parametrize("how", ["hide", "gradient"])
def test_frame_by_frame_it_is_diagonal_and_behind_a_recurrent_layer_it_is_not(how: str) -> None:
    alone = matrix(FrameByFrame(), how=how)
    assert (alone.diagonal() != 0).all()
    assert torch.equal(alone, alone.diagonal().diag())
    torch.manual_seed(1)
    remembering = matrix(Remembering(), how=how)
    below = torch.ones(5, 5, dtype=torch.bool).tril(-1)
    assert (remembering[below] != 0).all()  # later frames depend on earlier ones
    assert not remembering.triu(1).any()  # and never the other way


def test_the_closed_form_of_the_frame_before() -> None:
    """x_hat_i = x_(i-1): frame j is in its own error and in that of the next frame (live), or in the latter (fixed)."""

    def e(a: Tensor, b: Tensor) -> float:
        return float((a - b).square().sum())

    frames, hidden = X[0].unbind(1), [X.new_full((3, 14, 12), 0.5)] * 5
    live, fixed = torch.zeros(5, 5), torch.zeros(5, 5)
    for i in range(1, 5):
        live[i, i] = e(frames[i], frames[i - 1]) - e(hidden[i], frames[i - 1])
        live[i, i - 1] = fixed[i, i - 1] = e(frames[i], frames[i - 1]) - e(frames[i], hidden[i - 1])
    torch.testing.assert_close(matrix(Before(), fill=0.5), live, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(matrix(Before(), SquaredError(mode="fixed"), fill=0.5), fixed, atol=1e-3, rtol=1e-4)
    size = [2 * e(frames[i], frames[i - 1]) ** 0.5 for i in range(1, 5)]  # |de/dx_i| = |de/dx_(i-1)| = 2 |difference|
    sizes = torch.zeros(5, 5)
    for i, each in enumerate(size, 1):
        sizes[i, i] = sizes[i, i - 1] = each
    torch.testing.assert_close(matrix(Before(), how="gradient"), sizes)


@pytest.mark.parametrize("mode", ["live", "fixed"])
def test_its_columns_sum_to_the_loss_of_the_whole_score(mode: Any) -> None:
    model, score = made(Predictor), SquaredError(mode=mode)
    found = TemporalInfluence(fill="median").attribute(model, X, score)
    torch.testing.assert_close(found.values, FrameOcclusion(fill="median").attribute(model, X, score).values)
    torch.testing.assert_close(found.extra["direct"] + found.extra["contextual"], found.values[:, :, 0, 0])
    one = TemporalInfluence(fill="median").attribute(model, X, SquaredError(frame=3, mode=mode)).extra["influence"][0]
    assert not one[[0, 1, 2, 4]].any()
    torch.testing.assert_close(one[3], found.extra["influence"][0, 3])
    assert found.extra["errors"] == (0, 5)
    single = TemporalInfluence().attribute(model, X, SquaredError(frame=3, mode=mode))
    assert single.extra["errors"] == (3, 4)
    assert "scored" not in single.extra  # nothing of the map may be cut off: other frames raise this one's error
    assert single.values[0, :3].any()


def test_frames_that_are_only_looked_at_are_hidden_by_their_neighbours() -> None:
    """Frame 0 has no prediction, so that 'auto' takes the frame beside it, and frame 1 is predicted without error."""
    found = matrix(Before())
    assert float(found[1, 0]) == pytest.approx(float((X[0, :, 1] - X[0, :, 0]).square().sum()), rel=1e-4)
    beside = TemporalInfluence(fill="neighbour").attribute(Before(), X, SquaredError()).extra["influence"][0]
    middle = (X[0, :, 1] + X[0, :, 3]) / 2
    expected = (X[0, :, 3] - X[0, :, 2]).square().sum() - (X[0, :, 3] - middle).square().sum()
    assert float(beside[3, 2]) == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.parametrize("how", ["hide", "gradient"])
def test_chunks_change_nothing_and_passes_are_as_stated(how: Any) -> None:
    model = made(Predictor)
    whole = TemporalInfluence(how=how).attribute(model, X, SquaredError()).values
    torch.testing.assert_close(TemporalInfluence(how=how, chunk=2).attribute(model, X, SquaredError()).values, whole)
    with counted_passes(model) as passes:
        TemporalInfluence(how=how).attribute(model, X, SquaredError(), certify=False)
    price = TemporalInfluence(how=how).price(5, 14, 12)
    assert (passes.forwards, passes.gradients) == (price.forwards, price.gradients)


@pytest.mark.parametrize("line", ["frame-contrast", "centre-distance", "normalised-error(low=0.0, high=9.0)"])
def test_of_other_scores_with_values_per_frame(line: str) -> None:
    model, score = made(Autoencoder), build(line, SCORES)
    found = TemporalInfluence(fill="median").attribute(model, X, score)
    expected = FrameOcclusion(fill="median").attribute(model, X, score).values
    torch.testing.assert_close(found.values, expected, atol=1e-4, rtol=1e-4)


def test_what_it_cannot_say_is_refused() -> None:
    with pytest.raises(ExplainError, match="recurrent"):
        TemporalInfluence().attribute(made(Folded), X, Logit(0))
    with pytest.raises(ExplainError, match="value per frame"):
        TemporalInfluence().attribute(FrameByFrame(), X, lambda output, x: output.x_hat.sum(dim=(1, 2, 3, 4)))
    with pytest.raises(ExplainError, match="two frames"):
        TemporalInfluence(fill="neighbour").attribute(FrameByFrame(), X[:, :, :1], SquaredError())
    for wrong in ({"how": "both"}, {"fill": "nothing"}):
        with pytest.raises(SpecError):
            TemporalInfluence(**wrong)
    assert not TemporalInfluence().attribute(FrameByFrame(), X[:, :, :1], SquaredError()).values.isnan().any()


def test_a_distance_between_embeddings_has_frames_too() -> None:
    assert matrix(made(Autoencoder), CentreDistance()).count_nonzero() == 5
