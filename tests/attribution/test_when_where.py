"""When x where on a recurrent model built by hand to latch: it saturates at the event, as trained ones do."""

import pytest
import torch
from torch import nn

from vidence.attribution import GradCAM, IntegratedCAM, WhenWhere, default_for
from vidence.attribution.hidden_frames import agreement, bridged, hidden_runs, hiding_orders, mean_over_runs, shapley
from vidence.attribution.own_graph import mark
from vidence.attribution.reference import (
    detailed,
    distributed,
    median_over_time,
    reference_features,
    reference_maps,
)
from vidence.errors import ExplainError, SpecError
from vidence.scoring.scores import Logit


class Latch(nn.Module):
    """Seeing red flips the state of an RNN, GRU-like in that it then stays, and its gradient is gone."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, 2, 1)
        self.rnn = nn.RNN(2, 1, batch_first=True)
        self.out = nn.Linear(1, 2)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            self.conv.weight[0] = torch.tensor([1.0, -1.0, -1.0])[:, None, None] / 9
            self.conv.weight[1] = torch.tensor([0.0, 1.0, 0.0])[:, None, None] / 9  # sees the scene, and is not used
            self.rnn.weight_ih_l0[0, 0], self.rnn.weight_hh_l0[:], self.rnn.bias_ih_l0[:] = 300.0, 3.0, -1.0
            self.out.weight[:, 0] = torch.tensor([-4.0, 4.0])
        self.encoded = 0

    def encode(self, x):
        self.encoded += 1
        maps = self.conv(x.transpose(1, 2).flatten(0, 1)).relu()
        return maps.mean((2, 3)).unflatten(0, (len(x), -1))

    def decide(self, features):
        return self.out(self.rnn(features)[0][:, -1])

    def forward(self, x):
        return self.decide(self.encode(x))


class Whole(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


def film(events, seed=0, t=16, side=32):
    """A red square that moves, in the given frames, over a still scene with a green one that moves always."""
    generator = torch.Generator().manual_seed(seed)
    scene = 0.3 + 0.2 * torch.rand(3, 1, side, side, generator=generator)
    x, mask = scene.repeat(1, t, 1, 1), torch.zeros(t, side, side, dtype=torch.bool)
    for i in range(t):
        x[:, i, 2 + i : 8 + i, 22:28] = torch.tensor([0.1, 0.9, 0.1])[:, None, None]
        if i in events:
            x[:, i, 4:10, 1 + i : 8 + i] = torch.tensor([0.9, 0.05, 0.05])[:, None, None]
            mask[i, 4:10, 1 + i : 8 + i] = True
    return x[None], mask


EVENTS = {"one": [5], "four": [6, 7, 8, 9], "all": list(range(16)), "two": [2, 3, 11, 12]}


@pytest.mark.parametrize("wrap", [Latch, lambda: Whole(Latch())], ids=["two stages", "foreign"])
@pytest.mark.parametrize("events", EVENTS.values(), ids=EVENTS)
def test_finds_when_and_where_although_the_gradient_is_gone(events, wrap):
    model = wrap()
    x, mask = film(events)
    values = WhenWhere()(model, x, Logit(1))[0]
    assert values.sum((1, 2)).argmax().item() in events
    assert mask.flatten()[values.argmax()]
    inside = values.clamp(min=0)[mask].sum() / values.clamp(min=0).sum()
    assert inside > 3 * mask.float().mean()
    assert inside > 0.6
    assert GradCAM()(model, x, Logit(1)).abs().max() < 1e-6 * values.abs().max() or len(events) == 16


def test_is_near_zero_where_nothing_happens():
    quiet, event = (WhenWhere().attribute(Latch(), film(events)[0], Logit(1)) for events in ([], [5]))
    assert quiet.values.abs().sum() < 1e-3 * event.values.abs().sum()
    assert "little to explain" in quiet.certificate.flags[0]
    assert not any("little" in flag for flag in event.certificate.flags)
    faded = WhenWhere(weights="fade").attribute(Latch(), film([5])[0], Logit(1))
    assert any("path integral misses" in flag for flag in faded.certificate.flags)  # a latch is steeper than 8 nodes


@pytest.mark.parametrize("wrap", [Latch, lambda: Whole(Latch())], ids=["two stages", "foreign"])
@pytest.mark.parametrize("events", [[6, 7, 8, 9], [2, 3, 11, 12]])
def test_frames_that_say_the_same_are_all_shown(wrap, events):
    x, mask = film(events)
    values = WhenWhere()(wrap(), x, Logit(1))[0]
    peaks = values.amax((1, 2))
    assert sorted(peaks.topk(4).indices.tolist()) == events
    assert peaks[events].min() > 0.2 * peaks.max()  # 16 orders of an OR of four frames: 1 to 8 turns each
    for frame in events:
        assert mask[frame].flatten()[values[frame].argmax()]


def test_a_foreign_model_costs_one_pass_and_gets_the_same_map():
    inner, (x, _) = Latch(), film([6, 7, 8, 9])
    for weights in ("fade", "shapley", "runs"):
        own = WhenWhere(weights=weights).attribute(inner, x, Logit(1))
        inner.encoded = 0
        other = WhenWhere(weights=weights).attribute(Whole(inner), x, Logit(1), certify=False)
        assert inner.encoded == 1
        torch.testing.assert_close(other.values, own.values)
        assert other.certificate.deletion_rank == pytest.approx(own.certificate.deletion_rank, abs=1e-6)


def test_a_frames_values_sum_to_its_weight_and_the_weights_to_the_effect():
    x, _ = film([6, 7, 8, 9])
    found = WhenWhere().attribute(Latch(), x, Logit(1))
    faded = WhenWhere(weights="fade").attribute(Latch(), x, Logit(1))
    torch.testing.assert_close(faded.extra["weights"].sum(1), faded.extra["effect"])
    torch.testing.assert_close(found.values.sum((2, 3)), found.extra["weights"], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.extra["weights"].sum(1), found.extra["effect"], rtol=1e-4, atol=1e-4)
    assert abs(found.gap.item()) < 1e-3


@pytest.mark.parametrize("weights", ["fade", "shapley"])
def test_weights_are_exact_for_a_linear_head(weights):
    torch.manual_seed(0)

    class Linear(Latch):
        def decide(self, features):
            return torch.einsum("ntf,tfk->nk", features, self.head)

    model, (x, _) = Linear(), film([3, 4])
    model.head = torch.randn(16, 2, 2)
    found = WhenWhere(weights=weights, reference="time", detail=1).attribute(model, x, Logit(1))
    features = model.encode(x)
    maps = model.conv(x[0].transpose(0, 1)).relu()
    empty = maps.median(0).values.mean((1, 2))
    torch.testing.assert_close(found.extra["weights"][0], ((features[0] - empty) * model.head[..., 1]).sum(1).detach())
    assert abs(found.certificate.gap) < 1e-3


def test_the_certificate_measures():
    found = WhenWhere().attribute(Latch(), film([5])[0], Logit(1)).certificate
    assert found.deletion_rank > 0.5
    assert found.same_top_frame is True
    assert found.layer == "conv+"
    redundant = WhenWhere().attribute(Latch(), film([2, 3, 11, 12])[0], Logit(1)).certificate
    assert redundant.same_top_frame is None  # no single frame changes anything


def test_means_over_runs_promise_no_sum():
    x, _ = film([6, 7, 8, 9])
    found = WhenWhere(weights="runs").attribute(Latch(), x, Logit(1)).certificate
    assert found.gap is None
    assert not any("path integral" in flag for flag in found.flags)


def test_a_model_without_a_recurrent_call_is_said_to_cost_more():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv3d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveMaxPool3d(1), nn.Flatten(), nn.Linear(4, 2))
    found = WhenWhere().attribute(model, film([5])[0], Logit(1))
    assert "18 forward passes" in found.certificate.flags[0]
    assert found.certificate.flags[0].startswith("no recurrent layer and no encode/decide was found")
    assert found.values.shape[1] == 16


def test_a_model_that_takes_one_clip_at_a_time_has_the_map_of_one_that_takes_several():
    class OneByOne(Stepping):
        def forward(self, x):
            assert len(x) == 1, "one clip, please"
            return super().forward(x)

    torch.manual_seed(0)
    x, several, one = film([2], t=4)[0], Stepping(nn.GRUCell(2, 3)), OneByOne(nn.GRUCell(2, 3))
    one.load_state_dict(several.state_dict())
    found, meant = (WhenWhere().explain_clip(model, x, Logit(1)).extra["weights"] for model in (one, several))
    assert found == pytest.approx(meant, abs=1e-3 * float(meant.abs().max()))
    assert float(meant.abs().max()) > 0


def test_the_default_explainer():
    assert default_for(Latch()) == WhenWhere()
    assert default_for(Whole(nn.LSTM(2, 2))) == WhenWhere()
    assert default_for(nn.Conv3d(3, 4, 3)) == GradCAM()
    assert default_for(Stepping(nn.GRUCell(2, 3))) == WhenWhere()


class Stepping(nn.Module):
    """A loop over frames with a recurrent cell of torch's."""

    def __init__(self, cell):
        super().__init__()
        self.conv, self.cell, self.out = nn.Conv2d(3, 2, 3, 2, 1), cell, nn.Linear(3, 2)

    def forward(self, x):
        state = None
        for frame in x.unbind(2):
            state = self.cell(self.conv(frame).relu().mean((2, 3)), state)
        return self.out(state if isinstance(state, torch.Tensor) else state[0])


@pytest.mark.parametrize("cell", [nn.GRUCell, nn.LSTMCell])
def test_a_loop_of_cells_is_recurrent_and_hidden_frame_by_frame(cell):
    torch.manual_seed(0)
    model, x = Stepping(cell(2, 3)), film([2], t=4)[0]
    found = default_for(model).attribute(model, x, Logit(1))
    assert isinstance(default_for(model), WhenWhere)
    told = next(flag for flag in found.certificate.flags if "one by one" in flag)
    assert told.startswith("the recurrent layer cannot be run alone")
    with pytest.raises(ExplainError, match=r"the recurrent layer cannot be run alone.*take integrated-gradients"):
        IntegratedCAM().attribute(model, x, Logit(1))
    flags = GradCAM().attribute(model, x, Logit(1), certify=False).certificate.flags
    assert any("may name wrong frames" in flag for flag in flags)
    assert not GradCAM().attribute(model, x[:, :, :1], Logit(1), certify=False).certificate.flags


def test_settings_without_meaning_are_refused():
    for settings in ({"weights": "x"}, {"reference": "x"}, {"steps": 0}, {"orders": 3}, {"detail": 0}):
        with pytest.raises(SpecError):
            WhenWhere(**settings)


def test_runs():
    rows = hidden_runs(5).int().tolist()
    assert rows[:5] == torch.eye(5).int().tolist()
    assert [1, 1, 1, 1, 0] in rows
    assert [0, 1, 1, 1, 1] in rows
    assert max(map(sum, rows)) == 4
    assert hidden_runs(1).shape == (0, 1)
    assert len(hidden_runs(16, growth=4)) == 16 + 4
    assert len(hidden_runs(16, overlap=8)) == 16 + 15 + 13 + 9


def test_hidden_frames_are_bridged():
    features = torch.tensor([[0.0], [5.0], [9.0], [3.0], [7.0]])
    hidden = torch.tensor([[0, 1, 1, 0, 0], [1, 1, 0, 0, 1], [0, 0, 0, 0, 0]]).bool()
    expected = [[0, 1, 2, 3, 7], [9, 9, 9, 3, 3], [0, 5, 9, 3, 7]]
    torch.testing.assert_close(bridged(features, hidden)[..., 0], torch.tensor(expected).float())


def test_shapley_on_every_order_of_a_game_known_by_heart():
    orders = torch.tensor([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])

    def worth(gone):  # frames 0 and 1 say the same, 2 adds one
        return 4.0 * (not {0, 1} <= gone) + 1.0 * (2 not in gone)

    scores = torch.tensor([worth(set(order[: i + 1])) for order in orders.tolist() for i in range(2)])
    weights = shapley(torch.tensor([5.0]), scores, torch.tensor([0.0]), orders)
    torch.testing.assert_close(weights, torch.tensor([2.0, 2.0, 1.0]))
    drawn = hiding_orders(6, 4, 0)
    assert drawn.sort(1).values.tolist() == [list(range(6))] * 4
    assert torch.equal(drawn[:2].flip(1), drawn[2:])


def test_mean_over_runs():
    runs = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]]).bool()
    weights = mean_over_runs(torch.tensor([1.0, 0, 0, 6]), runs)
    torch.testing.assert_close(weights, torch.tensor([2.0, 1.5, 0.0]))


def test_agreement():
    runs = hidden_runs(4)
    weights = torch.tensor([0.0, 3.0, 1.0, 0.5])
    assert agreement(weights, runs.float() @ weights, runs, least=0.1) == (pytest.approx(1), True)
    assert agreement(weights, -(runs.float() @ weights), runs, least=9) == (pytest.approx(-1), None)
    assert agreement(weights, torch.zeros(len(runs)), runs, least=0.1) == (None, None)


@pytest.mark.parametrize("kind", ["time", "space"])
def test_reference_features_are_those_of_the_reference_maps(kind):
    torch.manual_seed(0)
    maps = torch.rand(5, 3, 4, 6)
    leaf = mark(shown := maps.clone())
    features = nn.functional.avg_pool2d(shown, 2).flatten(1)[None] * 2
    expected = nn.functional.avg_pool2d(reference_maps(maps, kind), 2).flatten(1)[None] * 2
    found = reference_features(features, [leaf], [maps - reference_maps(maps, kind)])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("t", [1, 2, 5, 16, 33])
def test_median_over_time(t):
    maps = torch.rand(t, 3, 4).round(decimals=1)
    assert torch.equal(median_over_time(maps), maps.median(0, keepdim=True).values)


def test_distributed_and_detailed_keep_each_frames_sum():
    places = torch.tensor([[[1.0, -2], [3, 0]], [[1.0, -2], [3, 0]], [[0.0, 0], [0, 0]]])
    found = distributed(places, torch.tensor([8.0, -2, 4]))
    assert found.tolist() == [[[2, 0], [6, 0]], [[0, -2], [0, 0]], [[1, 1], [1, 1]]]
    x = torch.zeros(3, 3, 8, 8)
    x[:, 0, 5, 1] = 1
    fine = detailed(found, x, 2)
    assert fine.shape == (3, 4, 4)
    torch.testing.assert_close(fine.sum((1, 2)), torch.tensor([8.0, -2, 4]))
    assert fine[0].argmax() == 2 * 4 + 0  # the cell of the pixel that changed


def test_auto_takes_shapley_values_where_features_are_few():
    x, _ = film([6, 7, 8, 9])
    assert WhenWhere().attribute(Latch(), x, Logit(1), certify=False).extra["by"] == "shapley"

    class Wide(Latch):
        def encode(self, x):
            return super().encode(x).repeat(1, 1, 300)  # 600 features a frame

        def decide(self, features):
            return super().decide(features[..., :2])

    wide = WhenWhere().attribute(Wide(), x, Logit(1), certify=False)
    faded = WhenWhere(weights="fade").attribute(Wide(), x, Logit(1), certify=False)
    assert wide.extra["by"] == faded.extra["by"] == "fade"
    torch.testing.assert_close(wide.values, faded.values)
