"""Closed forms of the area loss, and the core loss against masks that hold together and masks that do not."""

import pytest
import torch

from vidence.attribution.perturb.area_losses import area_loss, core_loss, ellipsoid


@pytest.mark.parametrize(("area", "loss"), [(0.2, 0.0), (0.3, 0.1), (0.1, 0.1)])
def test_a_binary_mask_pays_by_how_far_its_area_is_off(area, loss):
    mask = torch.zeros(1, 4, 5, 5)
    mask.view(-1)[torch.randperm(100)[:20]] = 1
    assert area_loss(mask, torch.tensor([area])) == pytest.approx(loss, abs=1e-6)


def test_each_mask_has_its_own_area():
    masks = torch.zeros(2, 2, 5, 5)
    masks[0, :, :1], masks[1, :, :2] = 1, 1
    assert area_loss(masks, torch.tensor([0.2, 0.4])).tolist() == [0, 0]
    assert area_loss(masks, torch.tensor([0.4, 0.2])) == pytest.approx([0.2, 0.2])


def test_by_frame_every_frame_owes_the_area():
    mask = torch.zeros(1, 2, 5, 5)
    mask[0, 0, :2] = 1  # 10 of 50, all of them in one frame
    areas = torch.tensor([0.2])
    assert area_loss(mask, areas) == 0
    assert area_loss(mask, areas, by_frame=True) == pytest.approx(0.2)


def test_among_equal_voxels_chance_decides():
    mask = torch.ones(1, 1, 5, 4, requires_grad=True)
    pushed = []
    for seed in range(2):
        order = torch.randperm(20, generator=torch.Generator().manual_seed(seed))
        loss = area_loss(mask, torch.tensor([0.25]), order=order)
        assert loss.detach() == pytest.approx(0.75)
        pushed.append(torch.autograd.grad(loss.sum(), mask)[0] > 0)
        assert pushed[-1].sum() == 15
    assert not torch.equal(*pushed)


def test_the_ellipsoid_has_its_volume():
    assert ellipsoid(11, 11).sum() == pytest.approx(11**3 * 0.5236, rel=0.07)
    assert ellipsoid(1, 1).sum() == 1
    assert torch.equal(ellipsoid(4, 6), ellipsoid(4, 6).flip(0).transpose(1, 2))


def test_a_mask_in_one_piece_pays_less_than_a_scattered_one():
    whole, kernel = torch.zeros(1, 8, 15, 15), ellipsoid(4, 5)
    whole[0, :, 5:10, 5:10] = 1
    areas = torch.tensor([1 / 9])
    scattered = whole.flatten()[torch.randperm(whole.numel())].view_as(whole)
    assert core_loss(whole, areas, kernel) < 0.5 * core_loss(scattered, areas, kernel)


def test_frames_in_another_order_have_the_same_area_and_another_core():
    mask, order = torch.rand(1, 8, 10, 10).sort(dim=1).values, torch.tensor([0, 4, 1, 5, 2, 6, 3, 7])
    areas = torch.tensor([0.2])
    assert area_loss(mask, areas) == pytest.approx(float(area_loss(mask[:, order], areas)))
    kernel = ellipsoid(4, 5)
    assert (core_loss(mask, areas, kernel) - core_loss(mask[:, order], areas, kernel)).abs() > 1e-4


def test_more_cores_than_places_are_as_many_as_there_are():
    assert core_loss(torch.ones(1, 2, 3, 3), torch.tensor([0.9]), ellipsoid(2, 3)).isfinite().all()
