"""Settings: what a line may say, and what it leaves to the recipe."""

from dataclasses import fields, replace

import pytest
import torch

from vidence import spec
from vidence.errors import SpecError
from vidence.models import DETECTORS, CnnRnn, CnnRnnNetwork
from vidence.models.resnet import ResNet50

NAMES = [field.name for field in fields(CnnRnn)]


def test_the_bare_line_says_which_backbone_it_took() -> None:
    assert CnnRnn().resolved(weights=False).backbone == "small"
    assert CnnRnn().resolved(weights=True).backbone == "mobilenet-v2"
    assert CnnRnn(backbone="vgg19").resolved(weights=False).backbone == "vgg19"
    assert CnnRnn(recipe="paper").resolved(weights=False).backbone == "vgg19"


def test_the_papers_recipe_is_the_papers_network() -> None:
    paper = CnnRnn(recipe="paper").resolved(weights=True)
    assert (paper.backbone, paper.rnn, paper.units, paper.dropout, paper.blocks) == ("vgg19", "gru", 1024, 0.5, 3)
    assert (paper.features, paper.width, paper.length, paper.size) == ("gap", 512, 16, 224)
    assert (paper.differences, paper.pool, paper.norm, paper.projection) == ("none", "none", "none", 0)
    assert paper.readout == "last"


@pytest.mark.parametrize("text", ["cnn-rnn", "cnn-rnn(recipe='paper', units=8)", "cnn-rnn(backbone='small', rate=5)"])
def test_a_resolved_line_leaves_nothing_open_and_reads_back(text: str) -> None:
    settings = spec.build(text, DETECTORS).resolved(weights=False)
    assert all(getattr(settings, name) is not None for name in NAMES)
    assert settings.resolved(weights=True) == settings
    assert spec.build(spec.line(settings, DETECTORS), DETECTORS) == settings


def test_what_is_given_stays() -> None:
    settings = CnnRnn(recipe="paper", units=8, dropout=0.0, blocks=0, bidirectional=True, frozen=False)
    resolved = settings.resolved(weights=False)
    assert (resolved.units, resolved.dropout, resolved.blocks) == (8, 0.0, 0)
    assert (resolved.bidirectional, resolved.frozen) == (True, False)


def test_the_small_backbone_learns_and_the_others_are_frozen() -> None:
    assert CnnRnn(backbone="small").resolved(weights=False).frozen is False
    assert CnnRnn().resolved(weights=True).frozen is True


def test_the_papers_head_is_the_same_on_any_backbone() -> None:
    paper = CnnRnn(recipe="paper").resolved(weights=False)
    small = CnnRnn(recipe="paper", backbone="small").resolved(weights=False)
    differ = {name for name in NAMES if getattr(paper, name) != getattr(small, name)}
    assert differ == {"backbone", "size", "frozen"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cnn-rnn(backbone='resnet')", "backbone must be one of vgg19, mobilenet-v2, resnet50, small; got 'resnet'"),
        ("cnn-rnn(rnn='GRU')", "rnn must be one of gru, lstm, none"),
        ("cnn-rnn(units=0)", "units must lie between 1 and 8192; got 0"),
        ("cnn-rnn(units=64.0)", "units must be a whole number"),
        ("cnn-rnn(blocks=True)", "blocks must be a whole number"),
        ("cnn-rnn(dropout=1)", "dropout must lie between 0 and 0.99"),
        ("cnn-rnn(dropout='high')", "dropout must be a number"),
        ("cnn-rnn(rate=-1)", "rate must lie between 0 and 1000"),
        ("cnn-rnn(bidirectional=1)", "bidirectional must be True or False"),
        ("cnn-rnn(recipe='good')", "recipe must be one of best, paper"),
        ("cnn-rnn(recipe=None)", "recipe must be one of best, paper"),
        ("cnn-rnn(features=[1, 2])", "features must be one of"),
        ("cnn-rnn(colour='red')", "has no setting 'colour'"),
    ],
)
def test_settings_that_cannot_be_are_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message.replace("(", r"\(")):
        spec.build(text, DETECTORS)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "recipe"])
def test_every_setting_is_checked(name: str) -> None:
    with pytest.raises(SpecError, match=f"{name} must be"):
        CnnRnn(**{name: (object(),)})


def test_r50l_is_a_resnet_and_an_lstm_whose_states_are_not_detached() -> None:
    settings = CnnRnn(recipe="r50l").resolved(weights=False)
    assert (settings.backbone, settings.rnn, settings.units, settings.projection) == ("resnet50", "lstm", 256, 512)
    assert (settings.length, settings.size, settings.readout) == (16, 112, "mean")
    torch.manual_seed(0)
    network = CnnRnnNetwork(replace(settings, readout="last"), 2, backbone=ResNet50()).eval()
    features = torch.rand(1, 4, 2048, requires_grad=True)
    (gradient,) = torch.autograd.grad(network.decide(features)[0, 0], features)
    assert (gradient.abs().sum((0, 2)) > 0).all()


def test_r50ls_mean_of_states_is_the_papers_mean_of_logits() -> None:
    torch.manual_seed(0)
    network = CnnRnnNetwork(CnnRnn(recipe="r50l").resolved(weights=False), 2, backbone=ResNet50()).eval()
    head, features = network.head, torch.rand(2, 5, 2048)
    with torch.no_grad():
        states, _ = head.rnn(head.projection(features))
        torch.testing.assert_close(network.decide(features), head.output(states).mean(dim=1))
