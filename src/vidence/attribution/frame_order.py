"""In which order a layer's maps belong to the clip's frames, whatever order the model called it in."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from vidence.attribution.reference import regrouped
from vidence.errors import ExplainError

Place = tuple[int, int]  # (call, row of its output)


@dataclass(frozen=True)
class FrameOrder:
    """The rows of a layer's calls that are shown, in the order of the clip's `t` frames.

    `centres` are the frames that they are of, between two where a row covers several; None where that is not known and
    the rows lie evenly over the clip. Frames that are not `seen` came to the layer never.
    """

    rows: tuple[Place, ...]
    t: int
    centres: tuple[float, ...] | None = None
    seen: tuple[int, ...] = ()
    flags: tuple[str, ...] = ()

    @property
    def even(self) -> bool:
        """Whether the rows lie evenly over the whole clip."""
        return self.centres is None or (len(self.seen) == self.t and _evenly(len(self.rows), self.t, self.centres))

    def placed(self, maps: Float[Tensor, "v s h w"]) -> Float[Tensor, "v t h w"]:
        """Maps of the rows at the clip's frames, linearly in time; zero at frames that were never seen."""
        if self.centres is None or not self.seen:
            raise ValueError("rows of unknown frames have no places in the clip")
        at = torch.tensor(self.centres, dtype=torch.float64)
        frames = torch.tensor(self.seen, dtype=torch.float64)
        after = torch.searchsorted(at, frames).clamp(1, max(1, len(at) - 1))
        first, last = after - 1, after.clamp(max=len(at) - 1)
        part = ((frames - at[first]) / (at[last] - at[first]).clamp(min=1e-9)).clamp(0, 1)
        mixing = torch.zeros(self.t, len(at), dtype=torch.float64)
        index = torch.arange(len(self.seen))
        mixing[torch.tensor(self.seen)] = torch.zeros(len(self.seen), len(at), dtype=torch.float64).index_put(
            (torch.cat([index, index]), torch.cat([first, last])), torch.cat([1 - part, part]), accumulate=True
        )
        return torch.einsum("ts,vshw->vthw", mixing.to(maps), maps)


def assumed(sizes: Sequence[int], folded: bool, t: int, occurrence: int | None, flags: tuple[str, ...]) -> FrameOrder:
    """The order of calls, taken for that of frames; of several calls a frame the last, or the one asked for.

    `sizes` are the rows of each call; `folded`: they are no single frames of a loop.
    """
    calls = len(sizes)
    repeats = 1
    if calls > 1 and not folded and all(size == 1 for size in sizes) and calls % t == 0:
        repeats = calls // t
    elif calls > 1 and folded and (t > 1 or sizes[0] > 1) and len(set(sizes)) == 1 and sizes[0] >= t // 2:
        repeats = calls  # every call saw the whole clip
    asked = _asked(occurrence, repeats) - 1
    chosen = [call for call in range(calls) if repeats == 1 or call % repeats == asked]
    return FrameOrder(tuple((call, row) for call in chosen for row in range(sizes[call])), t, flags=flags)


def traced(
    numbers: Sequence[tuple[float, ...]],
    after: Sequence[set[int]],
    seen: set[int] | None,
    *,
    t: int,
    layer: str,
    occurrence: int | None,
) -> FrameOrder | None:
    """The order by the frame number of every row of every call; None where one frame alone stands for many rows.

    `after` says which earlier calls each call was computed from. Raises `ExplainError` where a layer is called several
    times for each frame, side by side: their maps do not add up to one.
    """
    rows: dict[float, list[Place]] = {}
    for call, line in enumerate(numbers):
        for row, number in enumerate(line):
            rows.setdefault(round(number, 3), []).append((call, row))
    counts = {len(places) for places in rows.values()}
    if len(rows) == 1 and t > 1 and counts != {1}:
        return None
    flags: list[str] = []
    most = max(counts)
    if occurrence is not None:
        _asked(occurrence, most)
        chosen = {number: places[occurrence - 1] for number, places in rows.items() if len(places) >= occurrence}
    else:
        abreast = most > 1 and not all(_serial(places, after) for places in rows.values())
        if abreast and len(counts) == 1:
            raise ExplainError(
                f"the layer {layer!r} is called {most} times for each frame, and their maps do not add up to one. "
                f"Name one of them: layer='{layer}#1' is the first, layer='{layer}#{most}' the last."
            )
        if abreast:
            flags.append(f"some frames came to {layer} up to {most} times; the last time is shown")
        chosen = {number: places[-1] for number, places in rows.items()}
    centres = sorted(chosen)
    known = set(range(t)) if any(centre % 1 for centre in centres) else {round(centre) for centre in centres}
    frames = tuple(sorted(seen if seen is not None else known))
    if len(frames) < t:
        flags.append(f"{layer} saw {len(frames)} of the clip's {t} frames; the map is zero at the others")
    return FrameOrder(tuple(chosen[centre] for centre in centres), t, tuple(centres), frames, tuple(flags))


def picked(parts: Sequence[Tensor], order: FrameOrder) -> Float[Tensor, "s k h w"]:
    """The rows of the calls' outputs, in order."""
    calls = list(dict.fromkeys(call for call, _ in order.rows))
    flat = [rows_of(parts[call]) for call in calls]
    starts, total = {}, 0
    for call, part in zip(calls, flat, strict=True):
        starts[call] = total
        total += len(part)
    index = [starts[call] + row for call, row in order.rows]
    whole = torch.cat(flat) if len(flat) > 1 else flat[0]
    return whole if index == list(range(total)) else whole[index]


def put_back(values: Float[Tensor, "s k h w"], parts: Sequence[Tensor], order: FrameOrder) -> list[Tensor]:
    """The inverse of `picked`: tensors shaped as the calls' outputs, zero in rows that are not shown."""
    found = []
    for call, part in enumerate(parts):
        mine = [(place, row) for place, (other, row) in enumerate(order.rows) if other == call]
        flat = rows_of(torch.zeros_like(part)).clone()
        if mine:
            flat[[row for _, row in mine]] = values[[place for place, _ in mine]]
        found.append(flat if part.ndim == 4 else rearrange(flat, "(n s) k h w -> n k s h w", n=len(part)))
    return found


def rows_of(part: Tensor) -> Float[Tensor, "m k h w"]:
    """One call's output, row by row: frames, or the cells in time of a 3-D convolution."""
    return part if part.ndim == 4 else rearrange(part, "n k s h w -> (n s) k h w")


def in_calling_order(parts: Sequence[Tensor], t: int, occurrence: int | None, flags: tuple[str, ...]) -> FrameOrder:
    """The order of calls for that of frames."""
    folded = parts[0].ndim == 5 or any(len(part) > 1 for part in parts)
    if any(part.ndim not in (4, 5) for part in parts):
        raise ExplainError(
            f"a convolution called {len(parts)} times for one clip must return (frames, k, h, w); got "
            f"{tuple(parts[0].shape)}. Name another layer."
        )
    return assumed([len(rows_of(part)) for part in parts], folded, t, occurrence, flags)


def upstream(activation: Tensor, leaves: Sequence[Tensor]) -> set[int]:
    """Which of the leaves an activation was computed from."""
    if not leaves or activation.grad_fn is None:
        return set()
    places = {id(leaf): place for place, leaf in enumerate(leaves)}
    waiting, seen, found = [activation.grad_fn], {activation.grad_fn}, set[int]()
    while waiting:
        node = waiting.pop()
        place = places.get(id(getattr(node, "variable", None)))
        if place is not None:
            found.add(place)
        new = {parent for parent, _ in node.next_functions if parent is not None} - seen
        seen |= new
        waiting.extend(new)
    return found


def at_frames(weights: Float[Tensor, " s"], frames: Sequence[float] | None, t: int) -> Float[Tensor, " t"]:
    """Weights of features, each of the frame with its number, at the clip's `t` frames, their sum kept.

    Where the numbers are not known, or lie between frames, they are spread over the clip in order.
    """
    if frames is None or len(frames) != len(weights):
        return regrouped(weights, t)
    at = torch.tensor(frames, device=weights.device)
    if bool((at % 1 == 0).all()):
        return weights.new_zeros(t).index_add(0, at.long(), weights)
    return regrouped(weights[at.argsort(stable=True)], t)


def _evenly(s: int, t: int, centres: tuple[float, ...]) -> bool:
    even = F.interpolate(torch.arange(float(t)).view(1, 1, -1), size=s, mode="linear", align_corners=False).flatten()
    return bool((even - torch.tensor(centres)).abs().max() < 1e-2)


def _asked(occurrence: int | None, repeats: int) -> int:
    if occurrence is not None and occurrence > repeats:
        raise ExplainError(
            f"the layer is called {repeats} times for a frame; got #{occurrence}. Take #1 to #{repeats}."
        )
    return repeats if occurrence is None else occurrence


def _serial(places: list[Place], after: Sequence[set[int]]) -> bool:
    """Whether each of a frame's calls was computed from the one before."""
    return all(before in _all_before(call, after) for (before, _), (call, _) in itertools.pairwise(places))


def _all_before(call: int, after: Sequence[set[int]]) -> set[int]:
    found: set[int] = set()
    waiting = [call]
    while waiting:
        new = after[waiting.pop()] - found
        found |= new
        waiting.extend(new)
    return found
