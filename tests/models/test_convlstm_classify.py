"""The ConvLSTM classifier: what its last state is, the order of frames, explanations."""

import pytest
import torch

from vidence import spec
from vidence.errors import SpecError
from vidence.models import DETECTORS
from vidence.models.convlstm_classify import ConvLSTMClassifier, ConvLSTMClassify
from vidence.models.small import Small
from vidence.pipeline import explain


def network(**settings: int) -> ConvLSTMClassifier:
    torch.manual_seed(0)
    given = {"size": 48, "units": 6, "grid": 4} | settings
    return ConvLSTMClassifier(ConvLSTMClassify(**given), 3, backbone=Small()).eval()


def test_the_last_state_is_classified() -> None:
    model, x = network(), torch.rand(2, 3, 4, 48, 48)
    with torch.no_grad():
        hidden = cell = torch.zeros(2, 6, 2, 2)
        for t in range(4):
            maps = torch.nn.functional.adaptive_avg_pool2d(model.backbone(x[:, :, t]), 4)
            gates = torch.nn.functional.conv2d(maps, model.cell.w_x.weight) + model.cell.w_h(hidden)
            i, f, g, o = (gates + model.cell.b[:, None, None]).chunk(4, dim=1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * cell.tanh()
        torch.testing.assert_close(model(x), model.output(hidden.mean((2, 3))), rtol=1e-4, atol=1e-5)


def test_frames_count_in_their_order_and_gradients_cross_time() -> None:
    model, x = network(), torch.rand(1, 3, 5, 48, 48, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(x)[0, 0], x)
    assert (gradient.abs().sum((0, 1, 3, 4)) > 0).all()
    with torch.no_grad():
        assert not torch.allclose(model(x), model(x.flip(2)))


def test_other_sizes_and_lengths_will_do() -> None:
    with torch.no_grad():
        assert network()(torch.rand(1, 3, 2, 40, 72)).shape == (1, 3)


@pytest.mark.parametrize(
    ("line", "message"),
    [("convlstm(grid=2)", "grid must be 3 or more"), ("convlstm(backbone='resnet')", "backbone must be one of vgg19")],
)
def test_settings_that_cannot_be_are_refused(line: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec.build(line, DETECTORS)


@pytest.mark.parametrize("line", ["grad-cam(layer='backbone.features')", "gradient", "when-where"])
def test_explanations_reach_it(line: str) -> None:
    found = explain(network(), torch.rand(1, 3, 4, 48, 48), explainer=line, certify=False)
    assert found.values.shape[:2] == (1, 4)
    assert found.values.isfinite().all()
    assert found.values.abs().sum() > 0
