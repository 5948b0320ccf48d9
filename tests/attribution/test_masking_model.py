"""A masker trained for seconds on a toy: it finds what each score asks for, and refuses what it was not trained for."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from vidence.attribution import EXPLAINERS, MaskingModel, train_masker
from vidence.attribution.progress import heard_by
from vidence.errors import DataError, ExplainError, SpecError, WeightsError
from vidence.scoring.scores import Contrast, Logit, SquaredError, pinned
from vidence.testing import assert_no_residue, counted_passes
from zoo import Autoencoder, made


class Bright(nn.Module):
    """Class 0 sums what is red, class 1 what is blue."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        red, green, blue = x.unbind(dim=1)
        return self.scale * torch.stack(
            [(one - other - green).relu().sum((1, 2, 3)) for one, other in ((red, blue), (blue, red))], dim=1
        )


def patches(count):
    """Clips of a red and a blue patch in gray noise, and where both are."""
    chance = torch.Generator().manual_seed(0)
    clips, truths = 0.4 + 0.1 * torch.rand(count, 3, 2, 16, 16, generator=chance), torch.zeros(count, 2, 2, 16, 16)
    for clip, truth in zip(clips, truths, strict=True):
        for place, channel in enumerate((0, 2)):
            i, j = torch.randint(0, 11, (2,), generator=chance).tolist()
            clip[:, :, i : i + 5, j : j + 5] = 0.05
            clip[channel, :, i : i + 5, j : j + 5], truth[place, :, i : i + 5, j : j + 5] = 0.95, 1
    return clips, truths


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder, model = tmp_path_factory.mktemp("masker"), Bright()
    clips, truths = patches(24)
    with assert_no_residue(model):
        facts = train_masker(model, clips, [Logit(0), Logit(1)], out=folder, steps=250, rate=1e-2)
    return str(folder), model, facts, clips[-6:], truths[-6:]


def test_hiding_its_maps_takes_more_from_held_out_clips_than_chance(trained):
    folder, _, facts, _, _ = trained
    assert facts["held_out"] == 6
    assert facts["drop"] > 0.8
    assert facts["random_drop"] < 0.5
    assert json.loads((Path(folder) / "masker.json").read_text()) == facts


@pytest.mark.parametrize("target", [0, 1])
def test_each_score_is_answered(trained, target):
    folder, model, _, clips, truths = trained
    maps = MaskingModel(folder)(model, clips, Logit(target))
    inside = [(maps * truth).sum() / truth.sum() for truth in (truths[:, target], truths[:, 1 - target])]
    assert inside[0] > 1.5 * inside[1]
    assert inside[0] > 2 * maps.mean()


def test_it_keeps_the_contract_and_never_asks_the_model(trained):
    folder, model, _, clips, _ = trained
    explainer = MaskingModel(folder)
    with counted_passes(model) as passes:
        explainer(model, clips, Logit(0))
    assert passes.forwards == explainer.price(2, 16, 16).forwards == 0
    one, two = (explainer.attribute(model, clips[:2], Logit(k)).values for k in (0, 1))
    assert not torch.equal(one, two)
    assert torch.allclose(one[1:], explainer.attribute(model, clips[1:2], Logit(0)).values, atol=1e-6)
    held = pinned(Logit(0), model(clips[:2]), clips[:2])
    assert torch.equal(explainer.attribute(model, clips[:2], held).values, one)


def test_what_it_was_not_trained_for_is_refused(trained):
    folder, model, _, clips, _ = trained
    other = Bright()
    with torch.no_grad():
        other.scale.mul_(2)
    for asked, text in (
        ((EXPLAINERS["masking-model"](), model, Logit(0)), "train one with"),
        ((MaskingModel(folder), other, Logit(0)), "trained on others"),
        ((MaskingModel(folder), model, Contrast(0)), "trained for"),
    ):
        with pytest.raises(ExplainError, match=text):
            asked[0](asked[1], clips, asked[2])
    with pytest.raises(ExplainError, match="3 channels"):
        MaskingModel(folder)(model, clips[:, :1], Logit(0))


def test_a_foreign_folder_is_named(trained, tmp_path):
    _, model, _, clips, _ = trained
    with pytest.raises(WeightsError, match=r"masker\.json"):
        MaskingModel(str(tmp_path))(model, clips, Logit(0))


def test_a_masker_for_an_autoencoder(tmp_path):
    model, clips = made(Autoencoder), torch.rand(4, 3, 3, 14, 12)
    facts = train_masker(model, clips, [SquaredError()], out=tmp_path, steps=3, batch=2)
    assert {"drop", "random_drop"} <= facts.keys()
    found = MaskingModel(str(tmp_path)).attribute(model, clips, SquaredError())
    assert found.values.shape == (4, 3, 14, 12)
    assert bool(found.certificate.flags) == (facts["drop"] <= facts["random_drop"])


def test_the_same_seed_gives_the_same_masker(tmp_path):
    clips, _ = patches(4)
    digests = [
        train_masker(Bright(), clips, [Logit(0)], out=tmp_path / str(i), steps=3, seed=seed)["weights"]
        for i, seed in enumerate((0, 0, 1))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_an_interrupted_training_leaves_nothing(tmp_path):
    model = Bright()

    def stop(label, done, total):
        raise KeyboardInterrupt

    with assert_no_residue(model), heard_by(stop), pytest.raises(KeyboardInterrupt):
        train_masker(model, patches(4)[0], [Logit(0)], out=tmp_path / "out", steps=3)
    assert not (tmp_path / "out").exists()


def test_what_it_cannot_train_on_is_refused(tmp_path):
    clips, _ = patches(3)
    with pytest.raises(DataError):
        train_masker(Bright(), clips[:1], [Logit(0)], out=tmp_path)
    with pytest.raises(SpecError, match="differ"):
        train_masker(Bright(), clips, [Logit(0), Logit(0)], out=tmp_path)
    with pytest.raises(SpecError, match="dataclass"):
        train_masker(Bright(), clips, [lambda output, x: output[:, 0]], out=tmp_path)
