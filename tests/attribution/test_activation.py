"""Activation maps, filter visualisation, call sites, and a Keras model."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from vidence.attribution import FeatureVisualisation, GradCAM, activation_maps
from vidence.attribution.activation import in_frames, with_activations
from vidence.attribution.calls import per_call, per_frame
from vidence.attribution.hooks import recorded
from vidence.attribution.own_graph import mark
from vidence.errors import ExplainError, SpecError
from vidence.models import DETECTORS
from vidence.scoring.scores import SquaredError
from vidence.spec import build
from vidence.testing import assert_no_residue


def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 5, 2, 2), nn.ReLU(inplace=True), nn.Conv2d(4, 5, 3, 1, 1), nn.ReLU(inplace=True)
    )


class Frames(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = model()

    def forward(self, x):
        return self.net(x.transpose(1, 2).flatten(0, 1)).mean((2, 3)).unflatten(0, (len(x), -1)).amax(1)


def test_activation_maps_are_those_of_the_layer():
    net, x = Frames(), torch.rand(1, 3, 4, 12, 10)
    with assert_no_residue(net):
        last = activation_maps(net, x)
        inner = activation_maps(net, x, layer="net.0", count=2)
    frames = x[0].transpose(0, 1)
    torch.testing.assert_close(last, net.net(frames).detach())
    expected = net.net[0](frames).detach()
    order = expected.mean((0, 2, 3)).argsort(descending=True)[:2]
    torch.testing.assert_close(inner, expected[:, order])


def test_a_filter_is_driven_harder_by_its_picture_than_by_noise():
    net = Frames()
    with assert_no_residue(net):
        pictures = FeatureVisualisation(layer="net.2", size=24, steps=48, smooth=0.0)(net, [1, 3])
    assert pictures.shape == (2, 3, 1, 24, 24)
    assert 0 <= pictures.min() <= pictures.max() <= 1
    noise = torch.rand(16, 3, 24, 24)
    for picture, channel in zip(pictures, (1, 3), strict=True):
        driven = net.net[:3](picture[:, 0][None])[0, channel].mean()
        assert driven > net.net[:3](noise)[:, channel].mean((1, 2)).max()
    clip = FeatureVisualisation(size=16, steps=2, frames=3)(net, [0, 1])
    assert clip.shape == (2, 3, 3, 16, 16)
    torch.testing.assert_close(FeatureVisualisation(size=16, steps=2, frames=3)(net, [0]), clip[:1])


def test_feature_visualisation_refuses():
    with pytest.raises(SpecError, match=r"0\.\.4"):
        FeatureVisualisation(size=8, steps=1)(Frames(), [5])
    with pytest.raises(SpecError, match="at least 1"):
        FeatureVisualisation(steps=0)


def test_a_mark_survives_in_place_operations_and_a_second_use():
    x = torch.rand(2, 3)
    leaf = mark(x)
    y = x.mul_(2) + x
    torch.testing.assert_close(torch.autograd.grad(y.sum(), leaf)[0], torch.full((2, 3), 4.0))


@pytest.mark.parametrize(
    ("shapes", "t", "rows"),
    [
        ([(4, 2, 3, 3)], 4, 4),  # folded
        ([(3, 2, 3, 3), (1, 2, 3, 3)], 4, 4),  # folded, in two chunks
        ([(1, 2, 3, 3)] * 4, 4, 4),  # a loop over frames
        ([(1, 2, 3, 3)] * 8, 4, 4),  # called twice a frame
        ([(1, 2, 4, 3, 3)], 8, 4),  # three-dimensional
    ],
)
def test_call_sites_to_frames_and_back(shapes, t, rows):
    parts = [torch.rand(shape) for shape in shapes]
    frames = per_frame(parts, t)
    assert frames.shape == (rows, 2, 3, 3)
    back = per_call(frames, parts, t)
    assert [part.shape for part in back] == [part.shape for part in parts]
    torch.testing.assert_close(per_frame(back, t), frames)
    if len(shapes) == 8:
        assert not back[0].any()
        assert torch.equal(frames[0], parts[1][0])


class Staged(nn.Module):
    """Two sizes, in-place activations and a residual block; frames folded or one by one."""

    def __init__(self, loop):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 1, 1)
        self.three, self.four = nn.Conv2d(4, 5, 3, 2, 1), nn.Conv2d(5, 5, 3, 1, 1)
        self.relu, self.loop = nn.ReLU(inplace=True), loop

    def maps(self, x):
        first = self.relu(self.two(self.relu(self.one(x))))
        second = self.relu(self.three(first))
        last = self.four(second)
        last += second
        return first, self.relu(last)

    def forward(self, x):
        frames = x.transpose(1, 2).flatten(0, 1)
        parts = [self.maps(part)[1] for part in (frames.split(1) if self.loop else [frames])]
        return torch.cat(parts).mean((2, 3)).unflatten(0, (len(x), -1)).amax(1)


@pytest.mark.parametrize("loop", [False, True])
def test_the_last_layer_before_each_change_of_size_is_kept(loop):
    net, x = Staged(loop), torch.rand(1, 3, 4, 12, 10)
    with torch.no_grad(), assert_no_residue(net):
        output, found = with_activations(net, 5, 4, lambda: net(x))
        _, named = with_activations(net, ("two", "four"), 4, lambda: net(x))
    first, last = net.maps(x[0].transpose(0, 1))
    assert [part.layer for part in found] == ["two", "four"]
    for part, expected in zip(found, (first, last), strict=True):
        torch.testing.assert_close(part.values, expected.detach())
    torch.testing.assert_close(output, net(x).detach())
    torch.testing.assert_close(named[0].values.clamp(min=0), first.detach())  # before what follows in place
    assert [part.layer for part in with_activations(net, 1, 4, lambda: net(x))[1]] == ["four"]
    torch.testing.assert_close(activation_maps(net, x), last.detach())  # the sum of a residual block belongs to it


def test_layers_that_cannot_serve_are_refused():
    net, x = Staged(False), torch.rand(1, 3, 4, 12, 10)
    net.spare, net.flat = nn.Conv2d(3, 3, 1), nn.Linear(2, 2)
    with pytest.raises(ExplainError, match="not called"):
        with_activations(net, ("spare",), 4, lambda: net(x))
    with pytest.raises(ExplainError, match="must return maps"):
        with_activations(net, ("flat",), 4, lambda: net.flat(x[0, 0, 0, :2, :2]))
    with pytest.raises(ExplainError, match="called none"):
        with_activations(net, 2, 4, lambda: x)


def test_a_recurrent_cells_own_convolution_is_no_stage():
    frames, cell = nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 1, 1)
    both = nn.ModuleList([frames, cell])

    def run():
        state = torch.zeros(1, 4, 6, 6)
        for maps in frames(torch.rand(3, 3, 6, 6)):
            state = cell(state).tanh() + maps
        return state

    assert [part.layer for part in with_activations(both, 5, 3, run)[1]] == ["0"]


def test_coarse_time_is_interpolated():
    maps = torch.tensor([0.0, 4.0])[:, None, None].expand(2, 3, 3)
    torch.testing.assert_close(in_frames(maps, 4)[:, 0, 0], torch.tensor([0.0, 1, 3, 4]))


KERAS = """
import keras, torch
from vidence.attribution import EXPLAINERS, ON_ANY_SCORE, GradCAM, activation_maps, default_for
from vidence.errors import ExplainError
from vidence.models.adapted import Adapted
from vidence.scoring.scores import Logit
keras.utils.set_random_seed(0)
frame = keras.Sequential([keras.Input((12, 10, 3)), keras.layers.Conv2D(4, 3, activation="relu", padding="same"),
                          keras.layers.MaxPool2D(),
                          keras.layers.Conv2D(5, 3, activation="relu", padding="same", name="second"),
                          keras.layers.GlobalAveragePooling2D()])
clip = keras.Input((4, 12, 10, 3))
y = keras.layers.GRU(6)(keras.layers.TimeDistributed(frame)(clip))
model = keras.Model(clip, keras.layers.Dense(3)(keras.layers.Dropout(0.5)(y)))
adapted = Adapted(model, layout="n t h w c")
x = torch.rand(2, 3, 4, 12, 10)
for key in ON_ANY_SCORE:
    made = EXPLAINERS[key].quick()
    try:
        values = made(adapted, x, Logit(1))
    except ExplainError as refused:
        print("refused:", key, refused)
        continue
    assert values.shape == (2, 4, 12, 10) and values.isfinite().all() and values.abs().max() > 0, key
    print(key, made.attribute(adapted, x, Logit(1), certify=False).layer)
found = default_for(adapted).attribute(adapted, x[:1], Logit(1))
print("default:", type(default_for(adapted)).__name__, found.layer)
again = default_for(adapted).__class__(layer=found.layer).attribute(adapted, x[:1], Logit(1))
assert torch.equal(again.values, found.values)
for layer in ("second", "sequential/second"):
    maps = activation_maps(adapted, x, layer=layer)
    half = frame.layers[1](frame.layers[0](x[0].permute(1, 2, 3, 0)))
    kernel = frame.layers[2].kernel.value.permute(3, 2, 0, 1)
    expected = torch.conv2d(half.permute(0, 3, 1, 2), kernel, padding=1)
    torch.testing.assert_close(maps, expected.detach())
print(GradCAM().attribute(adapted, x[:1], Logit(1)).certificate.flags)
"""


def test_a_keras_time_distributed_model_on_torch():
    pytest.importorskip("importlib.metadata").version("keras")
    environment = {**os.environ, "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", KERAS], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    shown = {line.split()[0] for line in done.stdout.splitlines()}
    assert shown >= {"grad-cam", "when-where", "score-cam", "eigen-cam", "fast-cam"}
    assert "default: WhenWhere sequential/second" in done.stdout
    assert "gradients through a recurrent layer" in done.stdout
    assert "refused: cam " in done.stdout  # a GRU follows the pooling


@pytest.mark.parametrize(
    ("line", "layer", "maps"),
    [
        ("bcae1(length=2)", "encoder.4", (96, 4, 4)),
        ("ks-cae(length=2)", "encoder.3", (256, 4, 4)),  # its code is 1 x 1
        ("conv-recurrent(length=2, mode='bidirectional')", "encoder.3", (96, 7, 7)),
        ("conv3d-ae(size=32, length=2)", "encoder.9", None),
    ],
)
def test_of_an_autoencoder_the_encoders_last_layer_with_places_is_shown(line, layer, maps):
    made = build(line, DETECTORS).build()
    network, size = made.network, made.settings.size
    x = torch.rand(1, 3, 2, size, size, generator=torch.Generator().manual_seed(0))
    with assert_no_residue(network):
        found = activation_maps(network, x)
        named = activation_maps(network, x, layer=layer)
    assert torch.equal(found, named)
    assert maps is None or found.shape == (2, *maps)
    assert GradCAM().attribute(network, x, SquaredError()).layer == layer
    with recorded(network, layer) as outputs, torch.no_grad():
        network.eval()(x)
    if maps is not None:
        torch.testing.assert_close(found, outputs[0])
