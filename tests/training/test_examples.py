import numpy as np
import torch

from vidence.training.entry_store import Entry
from vidence.training.examples import Examples, clip_means


def test_batches_hold_every_window_once(make_examples) -> None:
    data = make_examples(5, 0)
    batches = list(data.batches(3))
    assert [len(batch.x) for batch in batches] == [3, 3, 1]
    clip = torch.cat([batch.clip for batch in batches]).tolist()
    assert clip == [0, 1, 1, 2, 3, 3, 4]
    x = torch.cat([batch.x for batch in batches])
    expected = np.concatenate([entry.x for entry in data.entries[0]]).astype(np.float32)
    np.testing.assert_array_equal(x.numpy(), expected)
    assert torch.cat([batch.label for batch in batches]).tolist() == [0, 1, 1, 0, 1, 1, 0]


def test_in_an_order_each_clip_comes_in_one_version(make_examples) -> None:
    data = make_examples(6, 0)
    drawn = set()
    for seed in range(8):
        (batch,) = data.batches(99, order=np.random.default_rng(seed))
        for clip in range(6):
            rows = batch.x[batch.clip == clip].numpy()
            same = [v for v in range(2) if np.isin(rows, data.entries[v][clip].x.astype(np.float32)).all()]
            assert len(same) == 1
            assert len(rows) == len(data.entries[0][clip].x)
            drawn.add((clip, same[0]))
    assert len(drawn) == 12, "both versions of every clip come up"


def test_pixels_become_floats() -> None:
    entry = Entry(np.full((1, 2, 3, 4, 4), 255, dtype=np.uint8), np.zeros((1, 2)))
    (batch,) = Examples([[entry]], np.array([0])).batches(1)
    assert batch.x.dtype == torch.float32
    assert float(batch.x.max()) == 1.0


def test_clip_means_are_means_over_windows() -> None:
    values = torch.tensor([[0.2, 0.8], [1.0, 0.0], [0.4, 0.6]])
    means = clip_means(values, torch.tensor([1, 0, 1]), 2)
    torch.testing.assert_close(means, torch.tensor([[1.0, 0.0], [0.3, 0.7]]))
