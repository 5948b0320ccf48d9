"""The layer that is taken by itself is one of maps, not a gate of a cell, and its maps lie at the frames it saw."""

import pytest
import torch
from torch import nn

from vidence.attribution import FastCAM, FGVis, GradCAM, PolyCAM
from vidence.attribution.eigen_cam import EigenCAM
from vidence.attribution.families import cells, family_of
from vidence.attribution.score_cam import ScoreCAM
from vidence.errors import ExplainError
from vidence.models.conv_recurrent import CELLS, Geometry, unrolled
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork
from vidence.scoring.scores import Logit, SquaredError
from vidence.testing import assert_no_residue


class Mapped(nn.Module):
    """A model whose convolution sees one frame of one clip, as it is written, and all of them, as it is run."""

    def __init__(self):
        super().__init__()
        self.net = nn.Conv2d(3, 2, 3)

    def forward(self, x):
        return torch.vmap(lambda clip: self.net(clip.transpose(0, 1)).relu().mean((0, 2, 3)))(x)


@pytest.mark.parametrize(
    "explainer", [GradCAM(), GradCAM(layer="net"), EigenCAM(), PolyCAM(layers=1), FastCAM(layers=1), FGVis()]
)
def test_a_layer_inside_vmap_is_refused_in_words(explainer):
    with pytest.raises(ExplainError, match=r"outside torch.vmap.*occlusion"):
        explainer.attribute(Mapped(), torch.rand(1, 3, 4, 8, 8), Logit(0))


class Remembering(nn.Module):
    """Two convolutions a frame, a cell of ours over their maps, and perhaps a convolution of its states."""

    def __init__(self, cell="lstm", *, after=False, before=True):
        super().__init__()
        self.before = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1)) if before else None
        self.memory = CELLS[cell](Geometry(4 if before else 3, 5, kernel=1))
        self.after = nn.Conv2d(5, 5, 3, padding=1) if after else None
        self.out = nn.Linear(5, 2)

    def forward(self, x):
        frames = x.transpose(0, 2).transpose(1, 2).flatten(0, 1)  # (t n) c h w
        states, _ = unrolled(self.memory, frames if self.before is None else self.before(frames), len(x))
        states = states if self.after is None else self.after(states)
        return self.out(states.mean((2, 3)).unflatten(0, (-1, len(x)))[-1])


class ConvLSTMCell(nn.Module):
    """A cell as a user may write one: one convolution of input and state."""

    def __init__(self):
        super().__init__()
        self.gates = nn.Conv2d(8, 16, 3, padding=1)

    def forward(self, x, h, c):
        i, f, o, g = self.gates(torch.cat([x, h], dim=1)).chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class Foreign(nn.Module):
    def __init__(self):
        super().__init__()
        self.seen, self.cell, self.out = nn.Conv2d(3, 4, 3, 2, 1), ConvLSTMCell(), nn.Linear(4, 2)

    def forward(self, x):
        h = c = x.new_zeros(len(x), 4, x.shape[3] // 2, x.shape[4] // 2)
        for frame in x.unbind(2):
            h, c = self.cell(self.seen(frame).relu(), h, c)
        return self.out(h.mean((2, 3)))


def layer_of(explainer, model):
    """The layer that was taken, without the mark of what follows its convolution at once."""
    return explained(explainer, model).layer.replace("+", "")


def explained(explainer, model):
    torch.manual_seed(0)
    with assert_no_residue(model):
        return explainer.attribute(model, torch.rand(1, 3, 4, 16, 16), Logit(0), certify=False)


@pytest.mark.parametrize("cell", CELLS)
def test_a_gate_is_not_the_layer(cell):
    found = explained(GradCAM(), Remembering(cell))
    assert found.certificate.layer.replace("+", "") == "before.2"
    assert found.raw.shape[:3] == (1, 4, 4)
    assert layer_of(GradCAM(), Remembering(cell, after=True)) == "after"


def test_a_users_cell_is_known_by_its_name():
    model = Foreign()
    assert cells(model) == ("cell",)
    assert family_of(model) == "recurrent"
    assert layer_of(GradCAM(), model) == "seen"
    assert layer_of(GradCAM("cell.gates"), model) == "cell.gates"
    assert layer_of(FastCAM(), model) == "seen"


def test_a_model_of_cells_alone_has_nothing_else():
    model = Remembering(before=False)
    assert layer_of(GradCAM(), model) == "memory.w_h"
    assert layer_of(FastCAM(), model) == "memory.w_x"


@pytest.mark.parametrize("explainer", [PolyCAM(channels=2), FastCAM()])
def test_gates_are_no_stages(explainer):
    assert layer_of(explainer, Remembering()) == "before.0, before.2"


def test_a_model_named_as_a_cell_is_none():
    class ConvLSTM(Foreign):
        pass

    assert cells(ConvLSTM()) == ("cell",)
    assert not cells(nn.Sequential(nn.LSTM(2, 2), nn.Conv2d(1, 1, 1)))


class Forecaster(ReconstructionNetwork):
    """Reads two frames with its encoder and makes all that follow from the last of them."""

    first_frame = predicts_from = 2

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Sigmoid())
        self.made = nn.ConvTranspose2d(4, 3, 4, 2, 1)

    def embed(self, x):
        return self.encoder(x[:, :, :2].transpose(1, 2).flatten(0, 1)).flatten(1).unflatten(0, (len(x), 2))

    def forward(self, x):
        read = self.encoder(x[:, :, :2].transpose(1, 2).flatten(0, 1)).unflatten(0, (len(x), 2)).sum(dim=1)
        frames = self.made(read.repeat_interleave(x.shape[2] - 2, dim=0)).sigmoid()
        return Reconstruction(frames.unflatten(0, (len(x), -1)).transpose(1, 2), first_frame=2)


@pytest.mark.parametrize("explainer", [GradCAM(), EigenCAM(), ScoreCAM(fill="mean"), GradCAM("encoder.0")])
def test_what_a_predictor_read_is_shown_where_it_was(explainer):
    model, x = Forecaster(), torch.rand(1, 3, 6, 16, 16, generator=torch.Generator().manual_seed(0))
    found = explainer.attribute(model, x, SquaredError(), certify=False)
    assert found.layer.startswith("encoder.")
    assert found.values.shape[1] == 6
    assert not found.values[:, 2:].any()  # frames that the encoder never saw
    assert (found.values[0, :2].abs().amax((1, 2)) > 0).all()


def test_what_a_predictor_makes_is_shown_where_it_will_be():
    model, x = Forecaster(), torch.rand(1, 3, 6, 16, 16, generator=torch.Generator().manual_seed(0))
    found = GradCAM("made").attribute(model, x, SquaredError(), certify=False)
    assert found.raw.shape[1] == 4
    assert not found.values[:, :2].any()
    assert (found.values[0, 2:].abs().amax((1, 2)) > 0).all()
