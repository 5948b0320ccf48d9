from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vidence.errors import ExplainError
from vidence.models.evaluating import evaluating
from vidence.training.classify import train_classifier
from vidence.training.film import Film, activation_picture, activations, filter_picture, first_convolution, tiles
from vidence.training.schedule import Schedule


def test_every_epoch_is_filmed_and_a_resumed_fit_films_on(
    make_network: Any, make_examples: Any, tmp_path: Path
) -> None:
    data = make_examples(4, 0, pixels=True), make_examples(4, 1, pixels=True)
    x = torch.rand(2, 3, 4, 8, 8)

    def run(epochs: int, resume: bool) -> Film:
        film = Film(tmp_path / "film", x, channels=3)
        schedule = Schedule(epochs=epochs, batch=8, rate=0.05, finetune="all", patience=None)
        train_classifier(
            make_network(), *data, schedule, classes=2, seed=0, folder=tmp_path, resume=resume, callbacks=[film]
        )
        return film

    run(1, resume=False)
    film = run(2, resume=True)
    names = sorted(path.name for path in (tmp_path / "film").glob("filters-*.npy"))
    assert names == ["filters-0001.npy", "filters-0002.npy"], "one of each epoch, by its number"
    written: dict[str, tuple[list[np.ndarray], list[float]]] = {}
    paths = film.written(lambda path, frames, times: written.update({path.name: (list(frames), list(times))}))
    assert [path.name for path in paths] == ["filters.mp4", "activations.mp4"]
    for frames, times in written.values():
        assert times == [0.0, 0.25]
        assert frames[0].shape == frames[1].shape
        assert not [side for side in frames[0].shape[:2] if side % 2], "H.264 needs even sides"
        assert frames[0].dtype == np.uint8
        assert (frames[0] != frames[1]).any(), "a backbone that learns is seen to change"


def test_activations_leave_the_backbone_as_it_was(make_network: Any) -> None:
    backbone = make_network().backbone.train()
    backbone[1].eval()
    x = torch.rand(2, 3, 8, 8)
    seen = activations(backbone, x)
    with evaluating(backbone):
        torch.testing.assert_close(seen, backbone[:4](x))
    assert [part.training for part in backbone] == [True, False, True, True]
    assert not backbone[3]._forward_hooks
    assert int(backbone[1].num_batches_tracked) == 0
    with pytest.raises(RuntimeError):
        activations(backbone, torch.rand(2, 5, 8, 8))
    assert not backbone[3]._forward_hooks
    assert backbone.training


def test_the_first_convolution(make_network: Any) -> None:
    backbone = make_network().backbone
    assert first_convolution(backbone) is backbone[0]
    with pytest.raises(ExplainError, match="Linear has none"):
        first_convolution(torch.nn.Linear(2, 2))


def test_filters_are_grey_at_zero_and_full_at_the_largest() -> None:
    weight = torch.zeros(2, 3, 24, 24)
    weight[1, 0] = 2.0
    weight[1, 2] = -1.0
    picture = filter_picture(weight)
    assert picture.shape == (26, 52, 3)
    np.testing.assert_array_equal(picture[5, 5], [128, 128, 128])
    np.testing.assert_array_equal(picture[5, 30], [255, 128, 64])


def test_each_map_has_its_own_range() -> None:
    maps = torch.stack([torch.arange(576.0).view(24, 24), torch.full((24, 24), 7.0)])[None]
    picture = activation_picture(maps)
    assert (picture[1, 1] == 0).all()
    assert (picture[24, 24] == 255).all()
    assert (picture[1:25, 26:50] == 0).all()


def test_tiles_enlarge_by_whole_pixels() -> None:
    picture = tiles(np.zeros((3, 3, 3, 3)), columns=2)
    assert picture.shape == (52, 52, 3)
    assert (picture[1:25, 1:25] == 0).all()
    assert (picture[26:50, 26:50] == 255).all(), "the fourth place stays empty"
