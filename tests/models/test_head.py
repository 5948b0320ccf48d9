"""The head against its definitions: gates written out, differences, read-out, dropout masks."""

from typing import Any

import pytest
import torch

from vidence.models.head import CellPool, Differences, FeatureDropout, FrameNorm, Head, ReadOut

PLAIN: dict[str, Any] = {
    "cells": 1,
    "differences": "none",
    "pool": "none",
    "norm": "none",
    "projection": 0,
    "projector": "learned",
    "rnn": "gru",
    "units": 5,
    "bidirectional": False,
    "readout": "last",
    "dropout": 0.5,
    "blocks": 2,
    "width": 16,
}


def made(**changes: Any) -> Head:
    torch.manual_seed(1)
    return Head(6, 3, **(PLAIN | changes)).eval()


def gru_states(features: torch.Tensor, state: dict[str, torch.Tensor], suffix: str = "l0") -> torch.Tensor:
    """r, z, n gates of Cho et al. with torch's two bias vectors, one frame at a time."""
    w_x, w_h = state[f"rnn.weight_ih_{suffix}"], state[f"rnn.weight_hh_{suffix}"]
    b_x, b_h = state[f"rnn.bias_ih_{suffix}"], state[f"rnn.bias_hh_{suffix}"]
    h = torch.zeros(len(features), w_h.shape[1])
    states = []
    for x in features.unbind(dim=1):
        r_x, z_x, n_x = (x @ w_x.T + b_x).chunk(3, dim=1)
        r_h, z_h, n_h = (h @ w_h.T + b_h).chunk(3, dim=1)
        r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
        h = (1 - z) * torch.tanh(n_x + r * n_h) + z * h
        states.append(h)
    return torch.stack(states, dim=1)


def dense(read: torch.Tensor, state: dict[str, torch.Tensor]) -> torch.Tensor:
    for place in (0, 3):
        read = (read @ state[f"blocks.{place}.weight"].T + state[f"blocks.{place}.bias"]).clamp(min=0)
    return read @ state["output.weight"].T + state["output.bias"]


def test_the_papers_head_is_gru_last_state_dense_blocks() -> None:
    head, features = made(), torch.randn(4, 7, 6)
    state = head.state_dict()
    assert state["blocks.0.weight"].shape == (16, 5)
    assert state["blocks.3.weight"].shape == (8, 16)
    expected = dense(gru_states(features, state)[:, -1], state)
    torch.testing.assert_close(head(features), expected, rtol=1e-5, atol=1e-5)


def test_both_directions_are_read_at_their_own_end() -> None:
    head, features = made(bidirectional=True), torch.randn(2, 7, 6)
    state = head.state_dict()
    there = gru_states(features, state)[:, -1]
    back = gru_states(features.flip(1), state, "l0_reverse")[:, -1]
    torch.testing.assert_close(head(features), dense(torch.cat([there, back], 1), state), rtol=1e-5, atol=1e-5)


def test_without_a_recurrent_layer_the_mean_forgets_the_order_and_with_one_it_does_not() -> None:
    features = torch.randn(2, 7, 6)
    average, lstm = made(rnn="none", readout="mean"), made(rnn="lstm", readout="mean")
    torch.testing.assert_close(average(features), average(features.flip(1)))
    assert (lstm(features) - lstm(features.flip(1))).abs().max() > 1e-4


@pytest.mark.parametrize(("kind", "expected"), [("signed", [0.0, 2.0, -3.0]), ("absolute", [0.0, 2.0, 3.0])])
def test_differences_follow_the_frame_before(kind: Any, expected: list[float]) -> None:
    features = torch.tensor([[[1.0], [3.0], [0.0]]])
    both = Differences(kind)(features)
    assert both[0, :, 0].tolist() == [1.0, 3.0, 0.0]
    assert both[0, :, 1].tolist() == expected
    assert Differences("none")(features) is features


def test_cells_are_pooled_channel_by_channel() -> None:
    features = torch.tensor([[[1.0, 3.0, -2.0, 6.0]]])  # two channels of two cells
    expected = {"none": [1, 3, -2, 6], "mean": [2, 2], "max": [3, 6], "mean-max": [2, 2, 3, 6]}
    for kind, values in expected.items():
        assert CellPool(kind, cells=2)(features)[0, 0].tolist() == values  # type: ignore[arg-type]


def test_motion_between_cells_counts_though_the_frames_mean_stays() -> None:
    there, back = torch.tensor([4.0, 0, 0, 0]), torch.tensor([0, 0, 4.0, 0])
    moving = torch.stack([there, back])[None]  # one channel of four cells
    pooled = CellPool("mean", cells=4)(Differences("absolute")(moving))
    assert pooled[0].tolist() == [[1.0, 0.0], [1.0, 2.0]]


def test_read_outs_on_numbers() -> None:
    states = torch.tensor([[[1.0, 5.0], [3.0, -1.0]]])
    expected = {"last": [3.0, -1.0], "mean": [2.0, 2.0], "max": [3.0, 5.0], "mean-max": [2.0, 2.0, 3.0, 5.0]}
    for kind, values in expected.items():
        assert ReadOut(kind)(states)[0].tolist() == values  # type: ignore[arg-type]
    assert ReadOut("last", backward_from=1)(states)[0].tolist() == [3.0, 5.0]


def test_dropout_hides_a_feature_in_all_frames_of_a_clip_and_scales_the_rest() -> None:
    torch.manual_seed(0)
    drop = FeatureDropout(0.5).train()
    out = drop(torch.ones(64, 9, 32))
    assert set(out.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(out, out[:, :1].expand_as(out))
    assert 0.4 < (out[:, 0] == 0).float().mean() < 0.6
    assert torch.equal(drop.eval()(torch.ones(2, 3, 4)), torch.ones(2, 3, 4))


def test_frame_norm_standardises_over_clips_and_frames_together() -> None:
    torch.manual_seed(0)
    norm = FrameNorm(3).train()
    features = torch.randn(40, 5, 3) * torch.tensor([1.0, 10.0, 0.1]) + 4
    out = norm(features).detach()
    torch.testing.assert_close(out.mean(dim=(0, 1)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(out.std(dim=(0, 1), correction=0), torch.ones(3), rtol=1e-2, atol=0)
    strong = norm.eval()(torch.cat([features, features * 5], dim=0))
    assert strong[40:].std() > 3 * strong[:40].std()  # a stronger movement stays stronger


@pytest.mark.parametrize("rnn", ["gru", "lstm", "none"])
@pytest.mark.parametrize("readout", ["last", "mean", "max", "mean-max"])
@pytest.mark.parametrize("t", [1, 5])
def test_every_combination_takes_any_number_of_frames(rnn: str, readout: str, t: int) -> None:
    rich = {"bidirectional": True, "differences": "signed", "norm": "layer", "projection": 4}
    for changes in ({}, rich, rich | {"cells": 3, "pool": "mean-max"}, {"cells": 2, "pool": "max", "norm": "batch"}):
        head = made(rnn=rnn, readout=readout, **changes)
        logits = head(torch.randn(2, t, 6))
        assert logits.shape == (2, 3)
        assert logits.isfinite().all()


def test_blocks_halve_down_to_eight_and_can_be_none() -> None:
    widths = [layer.out_features for layer in made(blocks=4, width=32).blocks if isinstance(layer, torch.nn.Linear)]
    assert widths == [32, 16, 8, 8]
    assert len(made(blocks=0).blocks) == 0
