"""The 54 configurations: the published parameter counts, the corrected ones, and what each mode may and may not see."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vidence.errors import ShapeError, SpecError
from vidence.models import DETECTORS
from vidence.models.one_class import OneClass, embedding
from vidence.models.reconstruction import frame_errors
from vidence.models.recurrent_autoencoder import (
    ConvRecurrent,
    RecurrentAutoencoder,
    RecurrentPredictor,
)
from vidence.spec import build, line

COLUMNS = [(decoder, layers) for decoder in ("time-distributed", "recurrent") for layers in (1, 2, 3)]
# Table 4.12 of the thesis to the parameter: it prints millions with two decimals, which these round to
PUBLISHED = {
    ("rnn", "plain"): (596361, 761961, 835497, 761961, 1001097, 1148169),
    ("lstm", "plain"): (1011081, 1508457, 1766313, 1591401, 2401929, 2917641),
    ("gru", "plain"): (845193, 1204329, 1388457, 1342569, 1959561, 2364681),
    ("rnn", "bidirectional"): (845193, 1231977, 1416105, 1259625, 1848969, 2217225),
    ("lstm", "bidirectional"): (1674633, 2724969, 3277737, 2918505, 4650633, 5756169),
    ("gru", "bidirectional"): (1342857, 2116713, 2522025, 2420841, 3765897, 4650249),
    ("rnn", "seq2seq"): (742665, 908265, 981801, 908265, 1147401, 1294473),
    ("lstm", "seq2seq"): (1157385, 1654761, 1912617, 1737705, 2548233, 3063945),
    ("gru", "seq2seq"): (991497, 1350633, 1534761, 1488873, 2105865, 2510985),
}
PRINTED = {
    ("rnn", "plain"): (0.6, 0.76, 0.84, 0.76, 1.0, 1.15),
    ("lstm", "plain"): (1.01, 1.51, 1.77, 1.59, 2.4, 2.92),
    ("gru", "plain"): (0.85, 1.2, 1.39, 1.34, 1.96, 2.36),
    ("rnn", "bidirectional"): (0.85, 1.23, 1.42, 1.26, 1.85, 2.22),
    ("lstm", "bidirectional"): (1.67, 2.72, 3.28, 2.92, 4.65, 5.76),
    ("gru", "bidirectional"): (1.34, 2.12, 2.52, 2.42, 3.77, 4.65),
    ("rnn", "seq2seq"): (0.74, 0.91, 0.98, 0.91, 1.15, 1.29),
    ("lstm", "seq2seq"): (1.16, 1.65, 1.91, 1.74, 2.55, 3.06),
    ("gru", "seq2seq"): (0.99, 1.35, 1.53, 1.49, 2.11, 2.51),
}
CELLS_OF_TABLE = [
    pytest.param(cell, mode, decoder, layers, published, printed, id=f"{cell}-{mode}-{decoder}-{layers}")
    for (cell, mode), row in PUBLISHED.items()
    for (decoder, layers), published, printed in zip(COLUMNS, row, PRINTED[cell, mode], strict=True)
]
FILTERS, BACK = (3, 64, 64, 64, 96, 96), (96, 96, 64, 64, 64)
GATES, STATES = {"rnn": 1, "lstm": 4, "gru": 3}, {"rnn": 1, "lstm": 2, "gru": 1}


def corrected(cell: str, mode: str, decoder: str, layers: int) -> int:
    """The parameters of the corrected form: what every layer needs, and nothing else."""

    def alone(i: int, o: int, k: int = 3) -> int:
        return i * o * k * k + o + 2 * o  # weights, bias, batch norm

    def recurrent(i: int, o: int) -> int:
        weights = GATES[cell] * (9 * i * o + 9 * o * o) + (9 * o * o if cell == "rnn" else 0)
        return weights * (2 if mode == "bidirectional" else 1)

    pairs = list(pairwise(FILTERS))
    encoder = [alone(*pair) for pair in pairs[:-layers]] + [recurrent(*pair) for pair in pairs[-layers:]]
    kept = layers if decoder == "recurrent" else 0
    pairs = list(pairwise(BACK))
    back = [recurrent(*pair) for pair in pairs[:kept]] + [alone(*pair) for pair in pairs[kept:]]
    if mode != "seq2seq":
        return sum(encoder) + sum(back) + alone(64, 3, 4)
    handed = sum(STATES[cell] * 9 * i * o for i, o in pairs[:kept])
    return sum(encoder) + sum(back) + alone(64, 64, 6) + alone(64, 3) + handed


def parameters(**named: Any) -> int:
    with torch.device("meta"):
        network = ConvRecurrent(**named).network()
    return sum(parameter.numel() for parameter in network.parameters())


class TestParameters:
    def test_the_table_is_whole(self) -> None:
        assert len(CELLS_OF_TABLE) == 54

    @pytest.mark.parametrize(("cell", "mode", "decoder", "layers", "published", "printed"), CELLS_OF_TABLE)
    def test_legacy_has_the_published_count_and_the_default_the_corrected_one(
        self, cell: str, mode: str, decoder: str, layers: int, published: int, printed: float
    ) -> None:
        named = {"cell": cell, "mode": mode, "decoder": decoder, "layers": layers}
        assert parameters(**named, legacy=True) == published
        assert abs(published / 1e6 - printed) < 0.00501
        assert parameters(**named) == corrected(cell, mode, decoder, layers)

    def test_without_phantom_weights_the_gru_has_as_many_as_its_equations(self) -> None:
        counts = [parameters(cell="gru", layers=layers, decoder="recurrent") for layers in (1, 2, 3)]
        assert counts == [1342569 - 82944, 1959561 - 119808, 2364681 - 156672]

    def test_the_terms_of_the_text_add_theirs(self) -> None:
        plain = parameters(cell="lstm")
        assert parameters(cell="lstm", bias=True) == plain + 4 * 96
        assert parameters(cell="lstm", peephole=True) == plain + 3 * 96 * 5 * 5
        assert parameters(cell="gru", bias=True, peephole=True) == parameters(cell="gru") + 2 * 96
        assert parameters(cell="rnn", bias=True) == parameters(cell="rnn") + 2 * 96


def made(**named: Any) -> Any:
    torch.manual_seed(0)
    return ConvRecurrent(size=64, **named).network().eval()


def clips(t: int = 4, *, n: int = 1, size: int = 64) -> Tensor:
    return torch.rand(n, 3, t, size, size, generator=torch.Generator().manual_seed(1))


def seen(network: Any, x: Tensor, frame: int, *, pick: Any = lambda output: output) -> list[bool]:
    """Which frames of x the frame of an output depends on."""
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(pick(network(x)).x_hat[:, :, frame].sum(), x)
    return [bool(each.abs().sum() > 0) for each in gradient.unbind(dim=2)]


@pytest.mark.parametrize("decoder", ["time-distributed", "recurrent"])
@pytest.mark.parametrize("mode", ["plain", "bidirectional", "seq2seq"])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("legacy", [False, True], ids=["corrected", "legacy"])
@pytest.mark.parametrize("layers", [1, 3])
def test_every_mode_returns_pictures(layers: int, legacy: bool, cell: str, mode: str, decoder: str) -> None:
    network = made(cell=cell, mode=mode, decoder=decoder, legacy=legacy, layers=layers, seeds=2, horizon=2)
    with torch.no_grad():
        output = network(clips(t=4, n=2))
    first = 2 if mode == "seq2seq" else 0
    assert output.first_frame == network.first_frame == first
    assert output.x_hat.shape == (2, 3, 4 - first, 64, 64)
    assert mode == "seq2seq" or output.code.shape == (2, 4, 96)
    assert 0 <= output.x_hat.min() < output.x_hat.max() <= 1


class TestWhatIsSeen:
    @pytest.mark.parametrize("decoder", ["time-distributed", "recurrent"])
    def test_a_plain_one_looks_back_and_never_ahead(self, decoder: str) -> None:
        assert seen(made(decoder=decoder), clips(), 1) == [True, True, False, False]

    def test_a_bidirectional_one_looks_both_ways(self) -> None:
        assert seen(made(mode="bidirectional"), clips(), 1) == [True] * 4

    @pytest.mark.parametrize("decoder", ["time-distributed", "recurrent"])
    def test_a_predictor_sees_its_seeds_only(self, decoder: str) -> None:
        network = made(mode="seq2seq", decoder=decoder, seeds=2, horizon=2)
        assert seen(network, clips(), 1) == [True, True, False, False]

    def test_the_second_head_sees_nothing_of_what_it_predicts(self) -> None:
        network = made(two_heads=True)
        assert seen(network, clips(), 1) == [True, True, False, False]
        assert seen(network, clips(), 0, pick=lambda output: output.prediction) == [True, False, False, False]
        ahead = made(two_heads=True, mode="seq2seq", seeds=2, horizon=2)
        assert seen(ahead, clips(), 0) == [True, False, False, False]
        assert seen(ahead, clips(), 0, pick=lambda output: output.prediction) == [True, True, False, False]


class TestBidirectional:
    @pytest.mark.parametrize("decoder", ["time-distributed", "recurrent"])
    def test_the_released_one_is_two_autoencoders_whose_pictures_are_averaged(self, decoder: str) -> None:
        both = made(mode="bidirectional", decoder=decoder, legacy=True, layers=2)
        x, pictures, codes = clips(), [], []
        for way in (0, 1):
            alone = made(decoder=decoder, legacy=True, layers=2)
            state = {
                name.replace(f"cells.{way}", "cells.0"): value
                for name, value in both.state_dict().items()
                if f"cells.{1 - way}" not in name
            }
            alone.load_state_dict(state)
            output = alone(x.flip(2) if way else x)
            pictures.append(output.x_hat.flip(2) if way else output.x_hat)
            codes.append(output.code.flip(1) if way else output.code)
        found = both(x)
        torch.testing.assert_close(found.x_hat, (pictures[0] + pictures[1]) / 2)
        torch.testing.assert_close(found.code, (codes[0] + codes[1]) / 2)

    def test_the_corrected_one_meets_at_every_layer(self) -> None:
        mean, added = (made(mode="bidirectional", layers=2, combine=each) for each in ("mean", "sum"))
        added.load_state_dict(mean.state_dict())
        x = clips()
        assert (mean(x).code * 2 - added(x).code).abs().max() > 1e-4  # the sum of an earlier layer went through a later
        wide = made(mode="bidirectional", layers=2, decoder="recurrent", combine="concat")
        assert wide(x).code.shape == (1, 4, 2 * 96)


class TestPredictor:
    def test_each_code_is_the_average_of_the_first_decoded_maps(self) -> None:
        network = made(mode="seq2seq", decoder="recurrent", cell="lstm", seeds=2, horizon=3)
        x = clips(t=5)
        code, states = network.encoder(network._folded(x[:, :, :2]), 1)
        state, code = network.handovers[0](states[4]), code[-1:]
        cell, pictures = network.predictor[0].cells[0], []
        for _ in range(3):
            state = cell.step(cell.project(code), state)
            pictures.append(network.predictor(state[0], 1, layers=slice(1, None))[0].sigmoid())
            code = F.avg_pool2d(state[0], 3, stride=1)
        torch.testing.assert_close(network(x).x_hat, torch.stack(pictures, dim=2))

    def test_without_recurrent_decoder_layers_the_encoders_last_layer_runs_on(self) -> None:
        network = made(mode="seq2seq", seeds=2, horizon=3)
        x = clips(t=5)
        code, states = network.encoder(network._folded(x[:, :, :2]), 1)
        state, code = states[4], code[-1:]
        cell, pictures = network.encoder[4].cells[0], []
        for _ in range(3):
            maps = network.predictor[0](code)
            pictures.append(network.predictor(maps, 1, layers=slice(1, None))[0].sigmoid())
            state = cell.step(cell.project(maps), state)
            code = state[0]
        torch.testing.assert_close(network(x).x_hat, torch.stack(pictures, dim=2))

    def test_the_released_decoder_starts_with_zeros_and_knows_the_last_code_only(self) -> None:
        network = made(mode="seq2seq", decoder="recurrent", legacy=True, seeds=2, horizon=2)
        x = clips()
        code = network.encoder(network._folded(x[:, :, :2]), 1)[0][-1:]
        cell = network.predictor[0].cells[0]
        first = cell.step(cell.project(code), None)
        second = cell.step(cell.project(F.avg_pool2d(first[0], 3, stride=1)), first)
        maps = torch.cat([first[0], second[0]])
        expected = network.predictor(maps, 1, layers=slice(1, None))[0].sigmoid()
        torch.testing.assert_close(network(x).x_hat[0].transpose(0, 1), expected)
        assert len(network.handovers) == 0

    def test_every_handed_over_state_arrives(self) -> None:
        network = made(mode="seq2seq", decoder="recurrent", layers=3, cell="lstm", seeds=2, horizon=2)
        output = network(clips())
        weights = [convolution.weight for handover in network.handovers for convolution in handover.maps]
        gradients = torch.autograd.grad(output.x_hat.sum(), weights)
        assert len(weights) == 6
        assert all(gradient.abs().sum() > 0 for gradient in gradients)

    def test_it_predicts_as_far_as_the_clip_goes_and_the_beginning_stays(self) -> None:
        network = made(mode="seq2seq", seeds=2, horizon=2)
        x = clips(t=10)
        far, near = network(x), network(x[:, :, :4])
        assert far.x_hat.shape[2] == 8
        torch.testing.assert_close(far.x_hat[:, :, :2], near.x_hat)
        with pytest.raises(ShapeError, match="longer clips"):
            network(x[:, :, :2])

    def test_errors_of_what_is_predicted_come_last(self) -> None:
        x = clips(t=5, n=2)
        for two_heads, count in ((False, 3), (True, 5)):
            network = made(mode="seq2seq", seeds=2, horizon=3, two_heads=two_heads)
            output = network(x)
            ahead = output.prediction or output
            found = frame_errors(output, x, "squared-error")
            assert found.shape == (2, count)
            expected = (x[:, :, 2:] - ahead.x_hat).square().sum(dim=(1, 3, 4))
            torch.testing.assert_close(found[:, network.predicts_from - network.first_frame :], expected)


class TestSettings:
    def test_a_predictors_window_is_seeds_and_horizon_and_moves_by_the_horizon(self) -> None:
        detector = ConvRecurrent(mode="seq2seq", seeds=4, horizon=8, size=64).build()
        assert (detector.windows.length, detector.windows.stride, detector.windows.partial) == (12, 8, "shift")
        assert build(line(detector.settings, DETECTORS), DETECTORS) == detector.settings
        both = ConvRecurrent(mode="seq2seq", two_heads=True, size=64).build()
        assert (both.windows.length, both.windows.stride) == (8, 8)

    @pytest.mark.parametrize(
        ("named", "message"),
        [
            ({"cell": "elman"}, "cell must be one of rnn, lstm, gru"),
            ({"layers": 4}, "layers must be one of 1, 2, 3"),
            ({"layers": True}, "layers"),
            ({"horizon": 9}, "horizon must be one of 1, 2"),
            ({"seeds": 0}, "seeds must be one of 1 to 64"),
            ({"size": 100}, "size must be a multiple of 16"),
            ({"size": 48}, "at least 64"),
            ({"mode": "seq2seq", "length": 16}, "seeds \\+ horizon, 4 \\+ 4; got 16"),
            ({"mode": "bidirectional", "two_heads": True}, "knows the frames to come"),
            ({"legacy": True, "bias": True}, "released code"),
            ({"legacy": True, "combine": "sum"}, "released code"),
        ],
    )
    def test_what_cannot_be_built_is_refused(self, named: dict[str, Any], message: str) -> None:
        with pytest.raises(SpecError, match=message):
            ConvRecurrent(**named)

    def test_a_frame_that_would_not_come_back_to_its_size_is_refused(self) -> None:
        with pytest.raises(ShapeError, match="multiples of 16"):
            made()(torch.rand(1, 3, 2, 64, 72))

    @pytest.mark.parametrize("size", [64, 96, 128])
    def test_sizes_come_back_and_128_has_codes_of_2400(self, size: int) -> None:
        network = replace(ConvRecurrent(), size=size).network().eval()
        with torch.no_grad():
            output = network(clips(t=1, size=size))
        assert output.x_hat.shape == (1, 3, 1, size, size)
        assert output.code.shape == (1, 1, 96 * (size // 16 - 3) ** 2)

    def test_gray(self) -> None:
        assert made(channels=1)(clips()).x_hat.shape == (1, 1, 4, 64, 64)


class TestEmbedding:
    @pytest.mark.parametrize("named", [{}, {"mode": "bidirectional", "legacy": True}, {"two_heads": True}])
    def test_embed_gives_the_code(self, named: dict[str, Any]) -> None:
        network = made(**named)
        assert isinstance(network, RecurrentAutoencoder)
        assert embedding(network) is network
        torch.testing.assert_close(network.embed(clips()), network(clips()).code)

    def test_a_predictors_are_those_of_the_frames_that_came(self) -> None:
        network = made(mode="seq2seq", seeds=2, horizon=2)
        assert isinstance(network, RecurrentPredictor)
        assert embedding(network) is network
        plain = made()
        plain.encoder.load_state_dict(network.encoder.state_dict())
        torch.testing.assert_close(network.embed(clips()), plain.embed(clips())[:, 2:])

    @pytest.mark.parametrize("two_heads", [False, True])
    def test_a_predictor_has_one_distance_to_a_centre_for_every_scored_frame(self, two_heads: bool) -> None:
        network = OneClass(made(mode="seq2seq", seeds=2, horizon=2, two_heads=two_heads), 96)
        output, x = network(clips()), clips()
        assert output.distance.shape == frame_errors(output, x, "squared-error").shape

    def test_the_encoders_last_child_is_its_last_recurrent_layer(self) -> None:
        *_, last = made(mode="bidirectional").encoder.children()
        assert len(last.cells) == 2


class TestTraining:
    @pytest.mark.parametrize(
        "named", [{"cell": "gru"}, {"cell": "lstm", "peephole": True, "bias": True}, {"mode": "seq2seq", "seeds": 2}]
    )
    def test_bf16_stays_near_float32_and_states_keep_their_type(self, named: dict[str, Any]) -> None:
        network = made(**named)
        x = clips(t=6)
        with torch.no_grad():
            exact = network(x)
            with torch.autocast("cpu", torch.bfloat16):
                rough = network(x)
                _, states = network.encoder(network._folded(x), 1)
        assert {state.dtype for state in states[4]} == {torch.bfloat16}
        assert rough.x_hat.dtype == torch.float32
        assert (rough.x_hat - exact.x_hat).abs().max() < 0.02

    @pytest.mark.parametrize("named", [{}, {"mode": "seq2seq", "seeds": 2, "decoder": "recurrent"}])
    def test_every_kernel_learns(self, named: dict[str, Any]) -> None:
        network = made(**named).train()
        x, optimiser = clips(n=2), torch.optim.Adam(network.parameters(), lr=1e-2)
        losses = []
        for _ in range(4):
            with torch.autocast("cpu", torch.bfloat16):
                errors = frame_errors(network(x), x, "squared-error").mean()
            optimiser.zero_grad()
            errors.backward()
            optimiser.step()
            losses.append(float(errors.detach()))
        kernels = [parameter for parameter in network.parameters() if parameter.ndim == 4]
        assert all(kernel.grad.abs().sum() > 0 for kernel in kernels)
        assert losses[-1] < losses[0]
