"""Which clips an epoch shows: drawn from seed and epoch alone, every frame at most once."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidence.models import DETECTORS
from vidence.spec import build
from vidence.training.clips import STRIDES, ClipBatches, Footage, Place, as_input, clips_of, least_frames


def footage(*lengths: int) -> Footage:
    """Gray frames of 2 x 2 whose every value is the number of the frame."""
    return Footage(
        [np.arange(t, dtype=np.uint8)[:, None, None, None].repeat(4, 1).reshape(t, 2, 2, 1) for t in lengths]
    )


def shown(place: Place) -> list[int]:
    return [place.first + k * place.stride for k in range(place.length)]


@given(t=st.integers(1, 90), length=st.integers(1, 9), seed=st.integers(0, 9))
def test_an_epoch_shows_every_frame_at_most_once_and_most_of_them(t: int, length: int, seed: int) -> None:
    places = footage(t).drawn(length, STRIDES, np.random.default_rng(seed))
    frames = [frame for place in places for frame in shown(place)]
    assert len(set(frames)) == len(frames)
    assert all(0 <= frame < t for frame in frames)
    if t < length:
        assert places == [Place(0, 0, 1, t)]
        return
    (stride,) = {place.stride for place in places}
    assert stride in STRIDES
    assert {place.length for place in places} == {length}
    for start in range(stride):  # of each start, fewer frames than a group are left out
        of_start = [frame for frame in frames if frame % stride == start]
        assert len(range(start, t, stride)) - len(of_start) < length


@given(t=st.integers(1, 90), length=st.integers(1, 9))
def test_the_clips_of_all_strides_are_those_of_the_definition(t: int, length: int) -> None:
    """For each stride and start, consecutive groups that do not overlap; what two strides have in common once."""
    wanted = set()
    for stride in (1, 2, 4, 8, 16):
        for start in range(stride):
            of_start = list(range(start, t, stride))
            wanted |= {tuple(of_start[k : k + length]) for k in range(0, len(of_start) - length + 1, length)}
    found = [tuple(shown(place)) for place in footage(t).every(length, STRIDES)]
    assert len(found) == len(set(found))
    assert set(found) == (wanted or {tuple(range(t))})
    assert footage(t).every(length, STRIDES, least=length) == ([] if t < length else footage(t).every(length, STRIDES))


def test_without_stride_1_a_video_that_is_too_short_for_the_others_is_cut_plainly() -> None:
    held = footage(9, 11)
    clips = held.every(6, (2, 4), least=2)
    assert clips == [Place(0, 0, 1, 6), Place(0, 6, 1, 3), Place(1, 0, 2, 6)]
    assert Counter(frame for place in footage(64).every(8, (2, 4, 8)) for frame in shown(place)) == dict.fromkeys(
        range(64), 3
    )


def test_an_epoch_of_all_strides_shows_every_clip() -> None:
    held = footage(64)
    loader = ClipBatches(held, 16, length=4, strides=(1, 2, 4), all_strides=True, seed=0)
    batches = loader.batches()
    assert {len(places) for places in batches} == {4}
    assert sorted(place for places in batches for place in places) == sorted(held.every(4, (1, 2, 4)))
    assert loader.steps == len(batches) == 12
    loader.epoch = 2
    assert loader.batches() != batches, "shuffled anew"


def test_all_strides_and_offsets_come_up() -> None:
    held = footage(40)
    drawn = [held.drawn(4, STRIDES, np.random.default_rng(seed)) for seed in range(60)]
    strides = Counter(places[0].stride for places in drawn)
    assert set(strides) == {1, 2, 4, 8}, "16 leaves no room for four frames of forty"
    assert {min(shown(place)[0] for place in places) for places in footage_of_stride(drawn, 1)} == {0}
    odd = [footage(43).drawn(4, (1,), np.random.default_rng(seed)) for seed in range(60)]
    assert {places[0].first for places in odd} == {0, 1, 2, 3}


def footage_of_stride(drawn: list[list[Place]], stride: int) -> list[list[Place]]:
    return [places for places in drawn if places[0].stride == stride]


def test_a_source_that_is_too_short_is_left_out_where_clips_must_be_whole() -> None:
    held = footage(3, 9)
    assert {place.source for place in held.drawn(4, STRIDES, np.random.default_rng(0))} == {0, 1}
    assert {place.source for place in held.drawn(4, STRIDES, np.random.default_rng(0), least=4)} == {1}
    assert held.plain(4, least=4) == [Place(1, 0, 1, 4), Place(1, 4, 1, 4)]
    assert held.plain(4) == [Place(0, 0, 1, 3), Place(1, 0, 1, 4), Place(1, 4, 1, 4), Place(1, 8, 1, 1)]


def test_clips_of_a_predictor_share_frames() -> None:
    places = footage(9).plain(4, shared=1, least=2)
    assert [shown(place) for place in places] == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8]]
    assert [shown(place) for place in footage(7).plain(4, shared=1, least=2)] == [[0, 1, 2, 3], [3, 4, 5, 6]]
    assert footage(1).plain(4, shared=1, least=2) == []


@pytest.mark.parametrize(
    ("line", "least", "expected"),
    [
        ("mean-frame(length=4)", 1, [(0, 4), (4, 4), (8, 1)]),
        ("previous-frame(length=4)", 2, [(0, 4), (3, 4), (6, 3)]),
        ("conv-recurrent(length=4, size=64)", 4, [(0, 4), (4, 4)]),
        ("conv-recurrent(mode='seq2seq', seeds=2, horizon=2, size=64)", 4, [(0, 4), (2, 4), (4, 4)]),
    ],
)
def test_clips_are_what_the_network_can_take(line: str, least: int, expected: list[tuple[int, int]]) -> None:
    detector = build(line, DETECTORS).build()
    assert least_frames(detector) == least
    clips = clips_of(detector, footage(9), frames=8)
    assert [(place.first, place.length) for place in clips.places] == expected
    assert clips.frames == 8


def test_seed_and_epoch_alone_decide() -> None:
    def batches(seed: int, epoch: int) -> list[list[Place]]:
        return ClipBatches(footage(40, 33, 50), 8, length=4, seed=seed, epoch=epoch).batches()

    assert batches(1, 1) == batches(1, 1)
    assert batches(1, 1) != batches(2, 1)
    assert batches(1, 1) != batches(1, 2)
    loader = ClipBatches(footage(40, 33, 50), 8, length=4, seed=1)
    loader.epoch = 2
    assert loader.batches() == batches(1, 2), "a resumed fit sets the epoch"


def test_batches_are_full_and_of_one_length() -> None:
    loader = ClipBatches(footage(3, 43, 30, *[1] * 9), 8, length=4, strides=(1,), seed=0)
    batches = loader.batches()
    sizes = Counter((places[0].length, len(places)) for places in batches)
    assert sizes == {(4, 2): 8, (3, 1): 1, (1, 8): 1}, "the odd one of four and of one waits, that of three never could"
    assert all(len({place.length for place in places}) == 1 for places in batches)
    images = ClipBatches(footage(*[1] * 20), 8, length=4, seed=0)
    assert [len(batch) for batch in images] == [8, 8]
    few = ClipBatches(footage(1, 1, 1), 8, length=4, seed=0)
    assert [len(batch) for batch in few] == [3], "nothing would be left"
    long = ClipBatches(footage(40), 2, length=8, strides=(1,), seed=0)
    assert {len(batch) for batch in long} == {1}, "at least one clip"
    assert ClipBatches(footage(40), 8, length=8, seed=0).steps == 5


def test_without_a_seed_all_comes_in_order() -> None:
    held = footage(5, 4)
    batches = list(ClipBatches(held, 4, places=held.plain(2)))
    assert [batch[..., 0, 0, 0].tolist() for batch in batches] == [[[0, 1], [2, 3]], [[0, 1], [2, 3]], [[4]]]


def test_what_is_held_out_is_not_shown() -> None:
    held = footage(16)
    out = frozenset(held.plain(4)[:2])
    places = [
        place
        for batch in ClipBatches(held, 4, length=4, strides=(1,), seed=0, without=out).batches()
        for place in batch
    ]
    assert sorted(place.first for place in places) == [8, 12]


def test_the_input_is_float_with_channels_last() -> None:
    pixels = torch.randint(0, 256, (2, 3, 4, 5, 3), dtype=torch.uint8)
    x = as_input(pixels)
    assert x.shape == (2, 3, 3, 4, 5)
    torch.testing.assert_close(x[1, 2, 0, 3, 4], pixels[1, 0, 3, 4, 2] / 255)
    assert x.stride()[1] == 1


def test_the_mean_frame() -> None:
    held = footage(3, 7)
    frames = np.concatenate(list(held.sources)) / 255
    np.testing.assert_allclose(held.mean().numpy()[0], frames.mean(axis=0)[..., 0], rtol=1e-6)


@pytest.mark.parametrize("stride", STRIDES)
def test_frames_are_those_of_the_place(stride: int) -> None:
    (clip,) = footage(60).at([Place(0, 3, stride, 4)])
    assert clip[:, 0, 0, 0].tolist() == [3, 3 + stride, 3 + 2 * stride, 3 + 3 * stride]
