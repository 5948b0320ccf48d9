import torch

from vidence.motion.warping import looked_up, reliable


def flow(rows, columns, size=(6, 8), steps=1):
    return torch.tensor([float(rows), float(columns)]).view(1, 2, 1, 1).expand(steps, 2, *size).clone()


def test_what_moved_is_found_again():
    after = torch.rand(2, 3, 6, 8)
    found = looked_up(after, flow(1, -2, steps=2))
    assert torch.allclose(found[:, :, :5, 2:], after[:, :, 1:, :6], atol=1e-6)
    assert float(found[:, :, 5].abs().max()) < 1e-5, "below the frame"
    assert float(found[:, :, :, :2].abs().max()) < 1e-5, "left of it"


def test_between_pixels_is_the_mean():
    after = torch.rand(1, 1, 6, 8)
    found = looked_up(after, flow(0, 0.5))
    assert torch.allclose(found[..., :7], (after[..., :7] + after[..., 1:]) / 2, atol=1e-6)


def test_a_frame_of_one_row():
    after = torch.rand(1, 1, 1, 8)
    assert torch.allclose(looked_up(after, flow(0, 1, size=(1, 8)))[..., :7], after[..., 1:], atol=1e-6)


def test_pixels_that_do_not_come_back_or_leave_are_not_reliable():
    forward, backward = flow(2, 3), flow(-2, -3)
    seen = reliable(forward, backward)
    assert seen[0, :4, :5].all()
    assert int(seen.sum()) == 20
    backward[:, :, 3, 4] = 5  # the pixel that (1, 1) moves to
    assert reliable(forward, backward)[0].logical_not().logical_and(seen[0]).nonzero().tolist() == [[1, 1]]


def test_small_differences_pass():
    assert reliable(flow(0, 0), flow(0, 0.7)).all()
    assert not reliable(flow(0, 0), flow(0, 0.72)).any(), ".72^2 (1 - .01) is above .5"
