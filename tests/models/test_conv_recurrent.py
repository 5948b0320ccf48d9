"""Cells against slow twins written from the thesis' equations, one gate, one frame and one convolution at a time."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidence.models.conv_recurrent import (
    CELLS,
    ConvCell,
    Geometry,
    Handover,
    Recurrent,
    Stack,
    time_distributed,
    unrolled,
)

T, N = 5, 2
GEOMETRIES = {
    "encoder": Geometry(3, 4, stride=2),
    "decoder": Geometry(3, 4, stride=2, transposed=True),
    "wide kernel": Geometry(3, 4, kernel=5, transposed=True),
}
SIDE = 7


def made(kind: str, geometry: Geometry, *, text: bool, legacy: bool = False) -> ConvCell:
    """A cell in float64 with every parameter drawn, also those that start at zero."""
    torch.manual_seed(0)
    peephole = geometry.side(SIDE) if text else None
    cell = CELLS[kind](geometry, bias=text, peephole=peephole, legacy=legacy).double()
    for parameter in cell.parameters():
        nn.init.normal_(parameter, std=0.5)
    return cell


def frames() -> Tensor:
    return torch.randn(T, N, 3, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class Twin:
    """Equations 3.15 to 3.17. `text` adds W_c and b."""

    def __init__(self, cell: ConvCell, geometry: Geometry, *, text: bool) -> None:
        self.cell, self.geometry, self.text = cell, geometry, text
        self.inputs = cell.w_x.weight.chunk(cell.gates, dim=1 if geometry.transposed else 0)
        self.hidden = cell.w_h.weight.chunk(cell.gates, dim=0)
        self.b = [] if cell.b is None else [part[None, :, None, None] for part in cell.b.chunk(cell.biased)]

    def x(self, gate: int, frame: Tensor) -> Tensor:
        convolve = F.conv_transpose2d if self.geometry.transposed else F.conv2d
        return convolve(frame, self.inputs[gate], stride=self.geometry.stride)

    def h(self, gate: int, hidden: Tensor) -> Tensor:
        return F.conv2d(hidden, self.hidden[gate], padding=1)

    def bias(self, gate: int) -> Tensor | float:
        return self.b[gate] if self.text else 0.0

    def zeros(self) -> Tensor:
        side = self.geometry.side(SIDE)
        return torch.zeros(N, 4, side, side, dtype=torch.float64)

    def rnn(self, clip: Tensor) -> list[Tensor]:
        hidden, outputs = self.zeros(), []
        for frame in clip:
            hidden = torch.tanh(self.x(0, frame) + self.h(0, hidden) + self.bias(0))
            w_o = self.cell.w_o
            outputs.append(torch.sigmoid(F.conv2d(hidden, w_o.weight, w_o.bias if self.text else None, padding=1)))
        return outputs

    def lstm(self, clip: Tensor) -> list[Tensor]:
        hidden, held, outputs = self.zeros(), self.zeros(), []
        w_ci, w_cf, w_co = self.cell.w_c if self.text else (0.0, 0.0, 0.0)
        for frame in clip:
            i = torch.sigmoid(self.x(0, frame) + self.h(0, hidden) + w_ci * held + self.bias(0))
            f = torch.sigmoid(self.x(1, frame) + self.h(1, hidden) + w_cf * held + self.bias(1))
            new = f * held + i * torch.tanh(self.x(2, frame) + self.h(2, hidden) + self.bias(2))
            o = torch.sigmoid(self.x(3, frame) + self.h(3, hidden) + w_co * new + self.bias(3))
            held, hidden = new, o * torch.tanh(new)
            outputs.append(hidden)
        return outputs

    def gru(self, clip: Tensor) -> list[Tensor]:
        hidden, outputs = self.zeros(), []
        for frame in clip:
            u = torch.sigmoid(self.x(0, frame) + self.h(0, hidden) + self.bias(0))
            r = torch.sigmoid(self.x(1, frame) + self.h(1, hidden) + self.bias(1))
            a = torch.tanh(r * self.h(2, hidden) + self.x(2, frame))
            hidden = a * (1 - u) + u * hidden
            outputs.append(hidden)
        return outputs


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("form", ["text", "released"])
def test_cells_equal_their_equations(kind: str, geometry: Geometry, form: str) -> None:
    text = form == "text"
    cell, clip = made(kind, geometry, text=text, legacy=not text), frames()
    found, state = unrolled(cell, clip.flatten(0, 1), N)
    expected = torch.cat(getattr(Twin(cell, geometry, text=text), kind)(clip))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert len(state) == cell.states


@pytest.mark.parametrize("kind", CELLS)
def test_the_terms_of_the_text_matter(kind: str) -> None:
    cell, clip = made(kind, GEOMETRIES["encoder"], text=True), frames().flatten(0, 1)
    for name in {"b", "w_c"} & {name for name, _ in cell.named_parameters()}:
        before = unrolled(cell, clip, N)[0]
        nn.init.zeros_(getattr(cell, name))
        assert (unrolled(cell, clip, N)[0] - before).abs().max() > 1e-3


def test_the_transposed_gru_of_the_released_code_has_weights_that_do_nothing() -> None:
    def phantom(kind: str, geometry: str) -> int:
        counts = (
            sum(
                parameter.numel()
                for parameter in made(kind, GEOMETRIES[geometry], text=False, legacy=legacy).parameters()
            )
            for legacy in (True, False)
        )
        return next(counts) - next(counts)

    assert phantom("gru", "decoder") == 9 * 4 * 4
    assert [phantom(*each) for each in (("gru", "encoder"), ("lstm", "decoder"), ("rnn", "decoder"))] == [0, 0, 0]
    cell = made("gru", GEOMETRIES["decoder"], text=False, legacy=True)
    unrolled(cell, frames().flatten(0, 1), N)[0].sum().backward()
    assert {name for name, parameter in cell.named_parameters() if parameter.grad is None} == {"w_o.weight"}


@pytest.mark.parametrize("kind", CELLS)
def test_a_state_carries_on(kind: str) -> None:
    cell, clip = made(kind, GEOMETRIES["encoder"], text=True), frames()
    whole, last = unrolled(cell, clip.flatten(0, 1), N)
    before, state = unrolled(cell, clip[:2].flatten(0, 1), N)
    after, end = unrolled(cell, clip[2:].flatten(0, 1), N, state=state)
    torch.testing.assert_close(torch.cat([before, after]), whole)
    torch.testing.assert_close(end, last)


@pytest.mark.parametrize("kind", CELLS)
def test_two_ways_meet(kind: str) -> None:
    geometry, clip = GEOMETRIES["encoder"], frames()
    cells = [made(kind, geometry, text=False), made(kind, geometry, text=False)]
    nn.init.normal_(cells[1].w_x.weight)
    forwards = unrolled(cells[0], clip.flatten(0, 1), N)[0]
    turned = unrolled(cells[1], clip.flip(0).flatten(0, 1), N)[0]
    backwards = turned.unflatten(0, (T, N)).flip(0).flatten(0, 1)
    expected = {
        "mean": (forwards + backwards) / 2,
        "sum": forwards + backwards,
        "concat": torch.cat([forwards, backwards], dim=1),
    }
    for combine, values in expected.items():
        found, state = Recurrent(*cells, combine=combine)(clip.flatten(0, 1), N)
        torch.testing.assert_close(found, values)
        assert state is None
    layer = Recurrent(*cells)
    torch.testing.assert_close(layer(clip.flatten(0, 1), N, way=0)[0], forwards)
    torch.testing.assert_close(layer(clip.flatten(0, 1), N, way=1)[0], backwards)


def test_a_stack_keeps_states_by_place_and_runs_in_parts() -> None:
    torch.manual_seed(0)
    first = time_distributed(Geometry(3, 3))
    cells = [CELLS["gru"](Geometry(3, 4)), CELLS["lstm"](Geometry(4, 2))]
    stack = Stack([first, *map(Recurrent, cells)]).double().eval()
    clip = frames().flatten(0, 1)
    whole, states = stack(clip, N)
    assert {place: len(state) for place, state in states.items()} == {1: 1, 2: 2}
    part, begun = stack(clip, N, layers=slice(2))
    rest, ended = stack(part, N, layers=slice(2, None))
    torch.testing.assert_close(rest, whole)
    torch.testing.assert_close(begun | ended, states)
    started = stack(clip, N, states=states)[0]
    assert (started - whole).abs().max() > 1e-3


def test_a_handed_over_state_has_the_decoders_shape_and_hidden_maps_stay_within_one() -> None:
    torch.manual_seed(0)
    geometry = Geometry(6, 4, stride=2, transposed=True)
    state = (torch.randn(N, 6, 5, 5), 100 * torch.randn(N, 6, 5, 5))
    handover = Handover(geometry, 2)
    h, c = handover(state)
    assert h.shape == c.shape == (N, 4, geometry.side(5), geometry.side(5))
    torch.testing.assert_close(h, torch.tanh(F.conv_transpose2d(state[0], handover.maps[0].weight, stride=2)))
    assert h.abs().max() <= 1 < c.abs().max()


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_geometry_tells_the_side_and_fused_gates_start_like_single_ones(geometry: Geometry) -> None:
    torch.manual_seed(0)
    fused = geometry.convolution(maps=3, bias=False)
    assert fused(torch.zeros(1, 3, SIDE, SIDE)).shape == (1, 12, geometry.side(SIDE), geometry.side(SIDE))
    fan = 4 if geometry.transposed else 3  # torch counts a transposed convolution's outputs
    bound = (fan * geometry.kernel**2) ** -0.5
    assert 0.9 * bound < fused.weight.abs().max() <= bound
