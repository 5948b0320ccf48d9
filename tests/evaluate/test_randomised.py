"""Networks that forget: in what order, how much, and that the user's own does not."""

import pytest
import torch
from torch import nn

from vidence.evaluate.randomised import cascaded, from_output, renew, singled, spread
from vidence.testing import assert_no_residue
from zoo import Autoencoder, BackToFront, Cnn, Folded, Functional, Looped, Transformer

IMAGE, CLIP = torch.rand(1, 3, 1, 14, 12), torch.rand(1, 3, 5, 14, 12)


def changed(model, other):
    """Paths of the modules whose own parameters differ."""
    pairs = zip(model.named_parameters(), other.named_parameters(), strict=True)
    return {name.rpartition(".")[0] for (name, one), (_, two) in pairs if not torch.equal(one, two)}


def test_modules_go_from_the_output_to_the_input():
    assert from_output(Cnn(), IMAGE) == ["out", "three", "norm", "two", "one"]
    assert from_output(BackToFront(), CLIP) == ["out", "late", "early"], "as called, not as defined"
    assert from_output(Folded(), CLIP)[:2] == ["out", "rnn"]
    assert from_output(Folded(), CLIP)[-1] == from_output(Looped(), CLIP)[-1] == "cnn.one"


def test_an_autoencoder_forgets_its_decoder_first():
    order = from_output(Autoencoder(), IMAGE)
    assert order == ["last", "decoder.0", "encoder.3", "encoder.1", "encoder.0"]


def test_a_module_whose_weights_are_only_read_goes_with_its_neighbour():
    order = from_output(Transformer(), CLIP)
    assert order[0] == "out"
    assert order[-1] == "patches"
    assert {"encoder.layers.0.self_attn", "encoder.layers.0.self_attn.out_proj"} <= set(order)
    assert from_output(Functional(), CLIP) == [""]


def test_stages_are_spread():
    assert spread(8, 4) == [2, 4, 6, 8]
    assert spread(5, 2) == [3, 5]
    assert spread(2, 9) == [1, 2]
    assert spread(7, 1) == [7]
    assert spread(0, 3) == []


def test_a_cascade_forgets_ever_more_and_leaves_the_model_alone():
    model = Cnn()
    norm = model.norm
    nn.init.normal_(norm.weight)
    with assert_no_residue(model):
        found = [changed(model, copy) for copy in cascaded(model, IMAGE, stages=5, seed=0)]
    assert found == [
        {"out"},
        {"out", "three"},
        {"out", "three", "norm"},
        {"out", "three", "norm", "two"},
        {"out", "three", "norm", "two", "one"},
    ]
    (whole,) = cascaded(model, IMAGE, stages=1, seed=0)
    assert changed(model, whole) == found[-1]


def test_one_module_forgets_alone():
    model = BackToFront()
    assert [changed(model, copy) for copy in singled(model, CLIP, stages=3, seed=0)] == [{"out"}, {"late"}, {"early"}]
    assert [changed(model, copy) for copy in singled(model, CLIP, stages=1, seed=0)] == [{"early"}]


def test_without_parameters_there_is_nothing_to_forget():
    assert not list(cascaded(nn.Identity(), IMAGE, stages=3, seed=0))
    assert not list(singled(nn.Identity(), IMAGE, stages=3, seed=0))


def test_weights_that_cannot_be_made_anew_are_shuffled():
    model = Functional()
    before = {name: value.clone() for name, value in model.named_parameters()}
    renew(model, [""], seed=0)
    for name, value in model.named_parameters():
        assert not torch.equal(value, before[name])
        assert torch.equal(value.flatten().sort().values, before[name].flatten().sort().values)


def test_a_seed_draws_the_same_weights_and_no_one_elses():
    def drawn(seed):
        (copy,) = cascaded(Cnn(), IMAGE, stages=1, seed=seed)
        return copy.two.weight

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model = Cnn()
    torch.manual_seed(5)
    first, second = (next(cascaded(model, IMAGE, stages=1, seed=1)).two.weight for _ in range(2))
    assert torch.equal(torch.rand(3), expected), "torch's generator is where it was"
    assert torch.equal(first, second)
    assert not torch.equal(first, drawn(2))


def test_the_whole_state_of_a_norm_is_forgotten():
    model = nn.Sequential(nn.BatchNorm3d(3))
    model[0].running_mean.fill_(7)
    (copy,) = cascaded(model, CLIP, stages=1, seed=0)
    assert float(copy[0].running_mean.abs().max()) == 0
    assert float(model[0].running_mean[0]) == pytest.approx(7)
