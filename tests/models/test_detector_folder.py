"""A detector's folder: whole or not at all, and every damage told in plain words."""

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from vidence.errors import OutputError, WeightsError
from vidence.models import CnnRnn, load_detector
from vidence.models.classifier_detector import ClassifierDetector
from vidence.models.cnn_rnn import CnnRnnNetwork
from vidence.models.detector_folder import FACTS_FILE, WEIGHTS_FILE, add_fact, read_state, serialised, state_digest
from vidence.models.mobilenet import MobileNetV2

THRESHOLD = {"value": 0.7, "rule": "best-f1", "origin": "validation clips", "low": 0.6, "high": 0.8, "warnings": []}


@pytest.fixture(scope="module")
def built() -> ClassifierDetector:
    torch.manual_seed(0)
    made = CnnRnn(backbone="small", size=32, units=8, length=4, rate=5).build(["fight", "nofight"], normal=["nofight"])
    made.threshold = THRESHOLD
    made.facts = {"seed": 0, "metrics": {"auc": 0.9}, "training_data": "0" * 64}
    return made


@pytest.fixture(scope="module")
def pristine(built: ClassifierDetector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detector")
    built.save(folder)
    return folder


@pytest.fixture
def saved(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "detector"))


def change(folder: Path, **entries: Any) -> None:
    facts = json.loads((folder / FACTS_FILE).read_text())
    facts |= entries
    (folder / FACTS_FILE).write_text(json.dumps({name: value for name, value in facts.items() if value != "drop"}))


def reweigh(folder: Path, edit: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    """Change the tensors, and the digest with them."""
    state = safetensors.torch.load_file(folder / WEIGHTS_FILE)
    edit(state)
    safetensors.torch.save_file(state, folder / WEIGHTS_FILE)
    change(folder, weights=hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest())


def test_everything_that_was_saved_comes_back(built: ClassifierDetector, saved: Path) -> None:
    loaded = load_detector(saved)
    assert isinstance(loaded, ClassifierDetector)
    assert loaded.spec == built.spec
    assert (loaded.classes, loaded.normal) == (("fight", "nofight"), ("nofight",))
    assert (loaded.threshold, loaded.facts) == (THRESHOLD, built.facts)
    assert (loaded.windows, loaded.fit) == (built.windows, built.fit)
    assert not loaded.network.training
    for name, tensor in built.network.state_dict().items():
        assert torch.equal(tensor, loaded.network.state_dict()[name]), name


def test_the_digest_is_the_files(built: ClassifierDetector, saved: Path) -> None:
    digest = hashlib.sha256((saved / WEIGHTS_FILE).read_bytes()).hexdigest()
    assert digest == built.weights_digest == load_detector(saved).weights_digest
    assert digest == state_digest(built.network) == json.loads((saved / FACTS_FILE).read_text())["weights"]


def test_a_fact_is_added_and_replaced_and_nothing_else_changes(saved: Path) -> None:
    weights, before = (saved / WEIGHTS_FILE).read_bytes(), json.loads((saved / FACTS_FILE).read_text())
    for value in ({"line": "gradient"}, {"line": "grad-cam", "data": "fünf"}):
        add_fact(saved, "chosen", value)
    after = json.loads((saved / FACTS_FILE).read_text())
    assert after == before | {"facts": {**before["facts"], "chosen": {"line": "grad-cam", "data": "fünf"}}}
    assert (saved / WEIGHTS_FILE).read_bytes() == weights
    assert load_detector(saved).facts["chosen"]["line"] == "grad-cam"


def test_the_folder_reads_without_vidence(saved: Path) -> None:
    facts = json.loads((saved / FACTS_FILE).read_text())
    assert facts["preprocessing"] == {
        "size": 32,
        "fit": "stretch",
        "range": [0.0, 1.0],
        "colour": "RGB",
        "length": 4,
        "stride": 8,
        "rate": 5,
        "partial": "shift",
    }
    assert {path.name for path in saved.iterdir()} == {FACTS_FILE, WEIGHTS_FILE}


def test_mobilenets_padding_and_normalisation_are_kept(tmp_path: Path) -> None:
    settings = CnnRnn(backbone="mobilenet-v2", size=32, units=4, length=2).resolved(weights=True)
    backbone = MobileNetV2(padding="same", mean=(0.498, 0.498, 0.498), std=(0.5, 0.51, 0.52))
    network = CnnRnnNetwork(settings, 2, backbone=backbone)
    made = ClassifierDetector(settings, network, classes=("a", "b"), normal=("a",))
    made.save(tmp_path)
    loaded = load_detector(tmp_path)
    assert isinstance(loaded, ClassifierDetector)
    assert isinstance(loaded.network.backbone, MobileNetV2)
    assert loaded.network.backbone.padding == "same"
    assert torch.equal(loaded.network.backbone.std, backbone.std)
    x = torch.rand(1, 3, 2, 32, 32)
    assert torch.equal(loaded.probabilities(x), made.probabilities(x))


FACTS_DAMAGES: list[tuple[dict[str, Any], str]] = [
    ({"schema": 2}, "another version of vidence wrote it"),
    ({"classes": "drop"}, "lacks the entry 'classes'"),
    ({"classes": "fight"}, "'classes' of the wrong type, str"),
    ({"classes": ["fight", "fight"]}, "different class names"),
    ({"normal": ["calm"]}, "normal classes out of fight, nofight"),
    ({"normal": []}, "at least one normal one"),
    ({"threshold": {"value": "high"}}, "finite 'value'"),
    ({"threshold": {}}, "finite 'value'"),
    ({"detector": "cnn-rnn("}, "must hold a spec line"),
    ({"detector": "yolo"}, "of the detector 'yolo'"),
    ({"detector": "cnn-rnn"}, "resolved settings"),
    ({"detector": "cnn-rnn(units=-1)"}, "units must lie"),
    ({"backbone": {"colour": "red"}}, "must describe a cnn-rnn detector"),
    ({"preprocessing": {"size": 64}}, "must say what its spec line says"),
    ({"weights": "0" * 64}, "different trainings"),
]


@pytest.mark.parametrize(("entries", "message"), FACTS_DAMAGES, ids=[message for _, message in FACTS_DAMAGES])
def test_damaged_facts(saved: Path, entries: dict[str, Any], message: str) -> None:
    change(saved, **entries)
    with pytest.raises(WeightsError, match=message):
        load_detector(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff\xfe"])
def test_facts_that_are_no_json_object(saved: Path, text: str) -> None:
    (saved / FACTS_FILE).write_text(text, encoding="latin-1")
    with pytest.raises(WeightsError, match=r"must be JSON|must hold an object"):
        load_detector(saved)


@pytest.mark.parametrize("name", [FACTS_FILE, WEIGHTS_FILE])
def test_missing_files_are_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(WeightsError, match=name):
        load_detector(saved)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="vidence train --out"):
        load_detector(tmp_path / "nowhere")


def test_a_renamed_pickle_is_not_opened(saved: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("the pickle was opened",))

    for payload in (pickle.dumps(Bomb(), protocol=2), pickle.dumps(Bomb(), protocol=4)):
        (saved / WEIGHTS_FILE).write_bytes(payload)
        with pytest.raises(WeightsError, match="it is a pickle under another name"):
            load_detector(saved)
    torch.save({"a": torch.ones(1)}, saved / WEIGHTS_FILE)
    with pytest.raises(WeightsError, match="it is a pickle under another name"):
        load_detector(saved)


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_a_weights_file_cut_short(saved: Path, keep: int) -> None:
    whole = (saved / WEIGHTS_FILE).read_bytes()
    (saved / WEIGHTS_FILE).write_bytes(whole[:keep])
    with pytest.raises(WeightsError, match="must be a whole safetensors file"):
        load_detector(saved)


def test_one_changed_byte_is_seen(saved: Path) -> None:
    damaged = bytearray((saved / WEIGHTS_FILE).read_bytes())
    damaged[-1] ^= 1
    (saved / WEIGHTS_FILE).write_bytes(damaged)
    with pytest.raises(WeightsError, match="must have the SHA-256"):
        load_detector(saved)


def test_a_missing_tensor_is_named(saved: Path) -> None:
    reweigh(saved, lambda state: state.pop("head.output.bias"))
    with pytest.raises(WeightsError, match=r"lacks head\.output\.bias"):
        load_detector(saved)


def test_a_tensor_too_many_is_named(saved: Path) -> None:
    reweigh(saved, lambda state: state.update(extra=torch.ones(1)))
    with pytest.raises(WeightsError, match="has extra, which the network does not"):
        load_detector(saved)


def test_a_tensor_of_another_shape_or_kind_is_named(saved: Path) -> None:
    reweigh(saved, lambda state: state.update({"head.output.bias": torch.ones(3)}))
    with pytest.raises(WeightsError, match=r"head\.output\.bias in .* must be torch\.float32 \(2,\); got .* \(3,\)"):
        load_detector(saved)
    reweigh(saved, lambda state: state.update({"head.output.bias": torch.ones(2, dtype=torch.int64)}))
    with pytest.raises(WeightsError, match=r"got torch\.int64"):
        load_detector(saved)


def test_weights_that_are_not_numbers_are_refused(saved: Path) -> None:
    reweigh(saved, lambda state: state["head.output.bias"].fill_(float("nan")))
    with pytest.raises(WeightsError, match=r"head\.output\.bias in .* must be finite"):
        load_detector(saved)


def test_a_failed_save_leaves_the_old_detector(built: ClassifierDetector, saved: Path, monkeypatch: Any) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"model\.safetensors must be writable; got No space left"):
        built.save(saved)
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_a_normalisation_that_does_not_fit_is_told(tmp_path: Path) -> None:
    settings = CnnRnn(backbone="mobilenet-v2", size=32, units=4, length=2).resolved(weights=True)
    ClassifierDetector(settings, CnnRnnNetwork(settings, 2), classes=("a", "b"), normal=("a",)).save(tmp_path)
    change(tmp_path, backbone={"padding": "torch", "mean": [0.5], "std": [0.5]})
    with pytest.raises(WeightsError, match="must describe a cnn-rnn detector"):
        load_detector(tmp_path)


def test_facts_must_be_plain_finite_values(
    built: ClassifierDetector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for value in (float("nan"), torch.ones(1), {1, 2}):
        monkeypatch.setattr(built, "facts", {"auc": value})
        with pytest.raises(WeightsError, match="plain finite JSON values"):
            built.save(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_equal_states_give_equal_bytes(built: ClassifierDetector) -> None:
    before = serialised(built.network)
    shuffled = dict(reversed(built.network.state_dict().items()))
    built.network.load_state_dict(shuffled)
    assert serialised(built.network) == before


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_weights_whose_header_is_as_long_as_a_pickle_begins_are_read(tmp_path: Path, protocol: int) -> None:
    """The file begins with the header's length, which may be the two bytes that a pickle begins with."""
    path, wanted = tmp_path / WEIGHTS_FILE, bytes([0x80, protocol])
    for length in range(1, 1400, 4):
        safetensors.torch.save_file({"x" * length: torch.ones(2)}, path)
        if path.read_bytes().startswith(wanted):
            break
    assert path.read_bytes().startswith(wanted)
    assert next(iter(read_state(path).values())).tolist() == [1, 1]
    path.write_bytes(pickle.dumps({"x": 1}, protocol=protocol))
    with pytest.raises(WeightsError, match="a pickle under another name"):
        read_state(path)
