"""MobileNetV2: its padding, its folded batch norms, its two kinds of file."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vidence.errors import ShapeError, WeightsError
from vidence.models.mobilenet import (
    Conv,
    MobileNetV2,
    fold_batch_norms,
    load_mobilenet_folder,
)

CLASSES = 7
TOP_1 = {
    "cat": "Egyptian cat",
    "parrot": "macaw",
    "hot_dog": "hotdog, hot dog, red hot",
    "dragonfly": "dragonfly, darning needle",
    "grace_hopper": "military uniform",
}


def quantise(folder: Path, *, per_channel: bool) -> MobileNetV2:
    """Write a random network as 8-bit arrays and op list; return the float network that they stand for."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    scale_in, zero_in = 1 / 127.5, 127
    model = MobileNetV2(CLASSES, padding="same", mean=(zero_in / 255,) * 3, std=(1 / (255 * scale_in),) * 3)
    arrays: dict[str, np.ndarray] = {}
    ops: list[dict[str, object]] = []
    for module in (m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)):
        name = f"conv{len(arrays) // 4:02d}"
        shape = tuple(module.weight.shape) if module.weight.ndim == 4 else (*module.weight.shape, 1, 1)
        q = rng.integers(-127, 128, size=shape, dtype=np.int8)
        channels = shape[0] if per_channel else 1
        scale = (rng.uniform(0.5, 1, channels) / 128 / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        zero = rng.integers(-3, 4, channels).astype(np.int16)
        weight = (q.astype(np.float32) - zero.reshape(-1, 1, 1, 1)) * scale.reshape(-1, 1, 1, 1)
        bias = rng.normal(0, 0.1, shape[0]).astype(np.float32)
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(weight).view_as(module.weight))
            module.bias.copy_(torch.from_numpy(bias))
        arrays |= {f"{name}.q": q, f"{name}.scale": scale, f"{name}.zero": zero, f"{name}.bias": bias}
        stride, groups = (module.stride[0], module.groups) if isinstance(module, nn.Conv2d) else (1, 1)
        if isinstance(module, nn.Linear):
            ops.append({"op": "MEAN"})
        ops.append(
            {"op": "CONV_2D" if groups == 1 else "DEPTHWISE_CONV_2D", "name": name, "pad": "SAME"}
            | {"stride": stride, "groups": groups, "shape": list(shape), "act": "RELU6"}
        )
    # from the paper's table: projections have no activation, and ten of them are added to their input
    projections = [2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 32, 35, 38, 41, 44, 47, 50]
    for number in (*projections, 52):
        next(op for op in ops if op.get("name") == f"conv{number:02d}")["act"] = "NONE"
    for number in (8, 14, 17, 23, 26, 29, 35, 38, 44, 47):
        place = next(i for i, op in enumerate(ops) if op.get("name") == f"conv{number:02d}")
        ops.insert(place + 1, {"op": "ADD"})
    np.savez(folder / "mobilenet_v2_tiny_int8.npz", **arrays)
    listing = {"input": {"scale": scale_in, "zero_point": zero_in}, "layers": ops}
    (folder / "mobilenet_v2_tiny.json").write_text(json.dumps(listing))
    return model.eval()


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_quantised_file_loads_as_the_float_network_it_stands_for(tmp_path: Path, per_channel: bool) -> None:
    expected = quantise(tmp_path, per_channel=per_channel)
    loaded = load_mobilenet_folder(tmp_path)
    assert not loaded.training
    x = torch.rand(2, 3, 64, 96)
    torch.testing.assert_close(loaded(x), expected(x))
    torch.testing.assert_close(loaded.logits(x), expected.logits(x))
    assert loaded(x).shape == (2, 1280, 2, 3)
    assert loaded.logits(x).shape == (2, CLASSES)


@pytest.mark.parametrize("size", [8, 9])
def test_same_padding_is_tensorflows(size: int) -> None:
    """An even side is padded after only, an odd one on both sides: out[i] = sum w[a] x[2i + a - before]."""
    conv = Conv(1, 1, kernel=3, stride=2, padding="same")
    x = torch.rand(1, 1, size, size)
    before = 0 if size % 2 == 0 else 1
    padded = F.pad(x, (before, 2, before, 2))
    out = (size + 1) // 2
    expected = torch.stack([
        (padded[0, 0, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] * conv.weight[0, 0]).sum() + conv.bias
        for i in range(out) for j in range(out)
    ]).view(1, 1, out, out)  # fmt: skip
    torch.testing.assert_close(conv(x), expected)


def test_torch_padding_is_symmetric() -> None:
    conv = Conv(3, 4, kernel=3, stride=2, padding="torch")
    x = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight, conv.bias, stride=2, padding=1))


def torchvision_state() -> dict[str, torch.Tensor]:
    """Random weights under the names of torchvision's file: `X.0` a convolution, `X.1` its batch norm."""
    torch.manual_seed(0)
    state: dict[str, torch.Tensor] = {}
    for name, tensor in MobileNetV2(CLASSES).state_dict().items():
        layer, _, part = name.rpartition(".")
        if layer.startswith("classifier"):
            state[name] = tensor
        elif part == "weight":
            state[name] = tensor
            before, _, place = layer.rpartition(".")
            norm, channels = f"{before}.{int(place) + 1}", len(tensor)
            state[f"{norm}.weight"], state[f"{norm}.bias"] = (
                torch.rand(channels) + 0.5,
                torch.randn(channels) / 10,
            )
            state[f"{norm}.running_mean"] = torch.randn(channels) / 10
            state[f"{norm}.running_var"] = torch.rand(channels) + 0.5
            state[f"{norm}.num_batches_tracked"] = torch.tensor(1)
    return state


def test_folding_equals_convolution_then_batch_norm() -> None:
    state = torchvision_state()
    folded = fold_batch_norms(state)
    conv, norm = nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False).eval(), nn.BatchNorm2d(32).eval()
    conv.load_state_dict({"weight": state["features.1.conv.0.0.weight"]})
    norm.load_state_dict({key: state[f"features.1.conv.0.1.{key}"] for key in norm.state_dict()})
    x = torch.rand(1, 32, 8, 8)
    got = F.conv2d(x, folded["features.1.conv.0.0.weight"], folded["features.1.conv.0.0.bias"], padding=1, groups=32)
    torch.testing.assert_close(got, norm(conv(x)), rtol=1e-4, atol=1e-5)


def test_torchvisions_names_and_shapes_are_ours() -> None:
    model = MobileNetV2(CLASSES, padding="torch")
    model.load_state_dict(fold_batch_norms(torchvision_state()))
    assert model.logits(torch.rand(1, 3, 64, 64)).shape == (1, CLASSES)


def test_missing_and_damaged_quantised_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="Check the path"):
        load_mobilenet_folder(tmp_path)
    (tmp_path / "mobilenet_v2_x_int8.npz").write_bytes(b"no archive")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_mobilenet_folder(tmp_path)


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    quantise(tmp_path, per_channel=True)
    np.savez(tmp_path / "mobilenet_v2_tiny_int8.npz", **{"conv00.q": np.array([{}], dtype=object)})
    with pytest.raises(WeightsError, match="cannot be read"):
        load_mobilenet_folder(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ops: ops[0].update(stride=1), "op 0"),
        (lambda ops: ops.append({"op": "ADD"}), "must list"),
        (lambda ops: ops.remove({"op": "ADD"}), "op "),
        (lambda ops: ops[3].update(name="conv99"), "conv99.q is missing"),
    ],
)
def test_another_networks_op_list_is_refused(tmp_path: Path, change, message: str) -> None:
    quantise(tmp_path, per_channel=True)
    file = tmp_path / "mobilenet_v2_tiny.json"
    listing = json.loads(file.read_text())
    change(listing["layers"])
    file.write_text(json.dumps(listing))
    with pytest.raises(WeightsError, match=message):
        load_mobilenet_folder(tmp_path)


def test_a_file_without_classifier_gives_features_only(tmp_path: Path) -> None:
    expected = quantise(tmp_path, per_channel=True)
    file = tmp_path / "mobilenet_v2_tiny.json"
    listing = json.loads(file.read_text())
    del listing["layers"][-1]
    file.write_text(json.dumps(listing))
    loaded = load_mobilenet_folder(tmp_path / "mobilenet_v2_tiny_int8.npz")
    assert loaded.classifier is None
    x = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(loaded(x), expected(x))


def test_wrong_input_and_missing_classifier_say_what_to_do() -> None:
    model = MobileNetV2()
    with pytest.raises(ShapeError, match=r"\(n, 3, h, w\)"):
        model(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(WeightsError, match="classes"):
        model.logits(torch.rand(1, 3, 32, 32))


def test_inner_layers_are_plain_modules() -> None:
    model = MobileNetV2().eval()
    shapes: list[tuple[int, ...]] = []
    handle = model.get_submodule("features.13").register_forward_hook(lambda _m, _i, out: shapes.append(out.shape))
    model(torch.rand(1, 3, 64, 64))
    handle.remove()
    assert shapes == [(1, 96, 4, 4)]


@pytest.mark.data
@pytest.mark.parametrize("name", ["mobilenet_v2_tf2_ptq_int8.npz", "mobilenet_v2_qat_int8.npz"])
def test_googles_weights_know_the_test_images(shared_data: Path, name: str) -> None:
    folder = shared_data / "mobilenet_backbones"
    model = load_mobilenet_folder(folder / name)
    labels = (folder / "imagenet_labels.txt").read_text().splitlines()
    images = [cv2.imread(str(folder / "test_images" / f"{image}.jpg")) for image in TOP_1]
    small = [cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), (224, 224)) for image in images]
    x = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        best = model.logits(x).argmax(dim=1)
    named = [labels[k] for k in best]
    assert all(got.startswith(want) for got, want in zip(named, TOP_1.values(), strict=True)), named
