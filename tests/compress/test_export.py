from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from edgegan.compress.example_inputs import example
from edgegan.compress.export import Export, ExportSettings, export_onnx, to_onnx
from edgegan.compress.stage import Candidate, Context
from edgegan.errors import InputError, ModelError, ProofError, StageError
from edgegan.models.resnet import Generator
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Contract, Input, Output, Sample
from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine
from edgegan.runtime.modality.image import to_uint8

CONTRACT = Contract(
    (Input("z", (6,)), Input("label", (), "int64", Sample("labels", classes=5))),
    (Output("image", (3, 8, 8)),),
)


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    generator = Generator((8, 4), latent=6, classes=5)
    with torch.no_grad():
        for seed in range(5):
            generator(*example(CONTRACT, 32, seed))
    return generator.eval()


def run(path: Path, n: int) -> np.ndarray:
    with OnnxRuntimeEngine(path, threads=1) as engine:
        return engine(CONTRACT.sample(n, 7))["image"]


def images(module: nn.Module, n: int) -> np.ndarray:
    with torch.no_grad():
        return module(*example(CONTRACT, n, 7)).numpy()


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 2e-6), ("fp16", 5e-3)])
def test_a_file_gives_the_modules_outputs_at_any_batch(module, tmp_path, capfd, precision, bound) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(module, CONTRACT, path, precision=precision)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == [path]
    for n in (1, 5):
        assert np.abs(run(path, n) - images(module, n)).max() < bound


def test_uint8_images_are_those_of_the_runtime(module: nn.Module, tmp_path: Path) -> None:
    export_onnx(module, CONTRACT, tmp_path / "float.onnx")
    export_onnx(module, CONTRACT, tmp_path / "bytes.onnx", uint8_output=True)
    got, expected = run(tmp_path / "bytes.onnx", 5), to_uint8(run(tmp_path / "float.onnx", 5), (-1, 1))
    assert got.dtype == np.uint8
    assert got.shape == (5, 8, 8, 3)
    assert np.array_equal(got, expected)


def test_half_precision_is_half_the_weights_between_float32_ports(module: nn.Module, tmp_path: Path) -> None:
    export_onnx(module, CONTRACT, tmp_path / "half.onnx", precision="fp16")
    model = onnx.load(tmp_path / "half.onnx")
    ports = [value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)]
    assert ports == [onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.FLOAT]
    weights = [
        t for t in model.graph.initializer if len(t.dims) == 4 and t.data_type != onnx.TensorProto.INT64
    ]
    assert {t.data_type for t in weights} == {onnx.TensorProto.FLOAT16}


def test_the_same_module_gives_the_same_bytes_without_traces_of_the_machine(module, tmp_path) -> None:
    for name in ("a", "b"):
        export_onnx(module, CONTRACT, tmp_path / name)
    content = (tmp_path / "a").read_bytes()
    assert content == (tmp_path / "b").read_bytes()
    assert b"forward" not in content
    assert b".py" not in content


def test_the_module_stays_in_its_mode(tmp_path: Path) -> None:
    module = Generator((8, 4), latent=6, classes=5).train()
    export_onnx(module, CONTRACT, tmp_path / "model.onnx")
    assert module.training


class FixedBatch(nn.Module):
    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        return z[:, :3].reshape(2, 3, 1, 1).expand(2, 3, 8, 8)


class Inverted(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        return 0.9 - self.module(z, label)


class TwoOutputs(nn.Module):
    def forward(self, z: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        return z, z + 1


@pytest.mark.parametrize(("wrong", "match"), [(FixedBatch(), "fixed"), (TwoOutputs(), "2")])
def test_what_cannot_be_exported_is_a_users_error(wrong: nn.Module, match: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=match):
        export_onnx(wrong, CONTRACT, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_the_stage_writes_and_proves_both_files(module: nn.Module, tmp_path: Path) -> None:
    before = Candidate(module, module, CONTRACT)
    stage = Export()
    stage.requires(before)
    after = stage.run(before, Context(tmp_path))
    stage.ensures(before, after)
    assert {precision: path.name for precision, path in after.files.items()} == {
        "fp32": "model.fp32.onnx",
        "fp16": "model.fp16.onnx",
    }
    record = after.lineage[-1]
    assert record.proof["fp32"]["max_difference"] < 1e-5
    assert record.proof["fp16"]["psnr_db"] > 60
    assert record.proof["fp16"]["file_bytes"] < record.proof["fp32"]["file_bytes"]
    assert before.files == {}


def int8(path: Path) -> Artifact:
    return Artifact.of(path, "int8", precision="int8", engine="onnxruntime", arch="x86_64")


def test_the_stage_makes_bytes_of_all_files_alike(module: nn.Module, tmp_path: Path) -> None:
    (tmp_path / "earlier").mkdir()
    earlier = tmp_path / "earlier" / "model.int8.onnx"
    export_onnx(module, CONTRACT, earlier)
    before = Candidate(module, module, CONTRACT, artifacts=(int8(earlier),))
    stage = Export(ExportSettings(precisions=("fp32",), uint8_output=True))
    after = stage.run(before, Context(tmp_path))
    stage.ensures(before, after)
    assert {run(path, 2).dtype for path in after.files.values()} == {np.dtype(np.uint8)}
    assert run(earlier, 2).dtype == np.float32


def test_a_file_that_is_not_the_student_is_found_out(module: nn.Module, tmp_path: Path) -> None:
    export_onnx(Inverted(module), CONTRACT, tmp_path / "other.onnx")
    before = Candidate(module, module, CONTRACT, artifacts=(int8(tmp_path / "other.onnx"),))
    stage = Export(ExportSettings(precisions=("fp32",)))
    with pytest.raises(ProofError, match="int8 file is"):
        stage.ensures(before, stage.run(before, Context(tmp_path)))


def test_weights_that_are_not_finite_are_refused() -> None:
    module = nn.Linear(2, 2)
    with torch.no_grad():
        module.weight[0, 0] = torch.nan
    with pytest.raises(StageError, match="not finite"):
        Export().requires(Candidate(module, module, CONTRACT))


def test_a_class_gets_files_of_its_own_without_the_label(module: nn.Module, tmp_path: Path) -> None:
    stage = Export(ExportSettings(precisions=("fp32",), fixed={"label": (3,)}))
    before = Candidate(module, module, CONTRACT)
    after = stage.run(before, Context(tmp_path))
    stage.ensures(before, after)
    assert set(after.files) == {"fp32"}
    path = tmp_path / "model.fp32.label-3.onnx"
    z = CONTRACT.sample(4, 7)["z"]
    with OnnxRuntimeEngine(path, threads=1) as engine:
        got = engine({"z": z})["image"]
    with torch.no_grad():
        expected = module(torch.from_numpy(z), torch.full((4,), 3)).numpy()
    assert np.abs(got - expected).max() < 2e-6
    assert path.stat().st_size < after.files["fp32"].stat().st_size
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(path).graph.node}
    assert "Gather" not in {node.op_type for node in onnx.load(path).graph.node}


def test_a_class_that_is_not_there_is_refused(module: nn.Module, tmp_path: Path) -> None:
    stage = Export(ExportSettings(fixed={"label": (5,)}))
    with pytest.raises(InputError, match="label"):
        stage.run(Candidate(module, module, CONTRACT), Context(tmp_path))


def test_the_record_says_the_opset_that_each_file_has(module: nn.Module, tmp_path: Path) -> None:
    export_onnx(module, CONTRACT, tmp_path / "other.onnx", opset=21)
    before = Candidate(module, module, CONTRACT, artifacts=(int8(tmp_path / "other.onnx"),))
    after = Export(ExportSettings(opset=19)).run(before, Context(tmp_path))
    assert after.lineage[-1].changed["opset"] == {"int8": 21, "fp32": 19, "fp16": 19}


def test_a_class_gets_files_of_its_own_beside_stored_inputs(tmp_path: Path) -> None:
    class Tinted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tint, self.conv = nn.Embedding(3, 3), nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(self.conv(image) + self.tint(label)[:, :, None, None])

    pictures = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 8), np.uint8)
    np.savez(tmp_path / "inputs.npz", image=pictures)
    contract = Contract(
        (
            Input("image", (3, 8, 8), sample=Sample("stored", 0, 1, file="inputs.npz")),
            Input("label", (), "int64", Sample("labels", classes=3)),
        ),
        (Output("tinted", (3, 8, 8), (0, 1)),),
    ).with_stored(tmp_path)
    module = Tinted().eval()
    stage = Export(ExportSettings(precisions=("fp32",), fixed={"label": (2,)}))
    before = Candidate(module, module, contract)
    after = stage.run(before, Context(tmp_path))
    stage.ensures(before, after)
    image = contract.sample(4, 7)["image"]
    with OnnxRuntimeEngine(tmp_path / "model.fp32.label-2.onnx", threads=1) as engine:
        got = engine({"image": image})["tinted"]
    with torch.no_grad():
        expected = module(torch.from_numpy(image), torch.full((4,), 2)).numpy()
    assert np.abs(got - expected).max() < 2e-6


def test_the_exporters_operators_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    module = nn.Conv2d(3, 3, 1)
    contract = Contract((Input("x", (3, 4, 4)),), (Output("y", (3, 4, 4)),))
    first = to_onnx(module, contract).SerializeToString()
    monkeypatch.setattr(ONNXRegistry, "from_torchlib", None)
    assert to_onnx(module, contract).SerializeToString() == first


class Weighted(nn.Module):
    """Divides by a sum that may be 0, kept from it by a small number."""

    def forward(self, x: Tensor) -> Tensor:
        total = x.sum(1, keepdim=True)
        return x.mean(1, keepdim=True) / (total + 1e-8) + 1 / ((total - 1e-9).abs() + 1)


def test_a_small_number_that_keeps_from_dividing_by_0_stays(tmp_path: Path) -> None:
    contract = Contract((Input("x", (3, 4)),), (Output("y", (1, 4), layout=""),))
    export_onnx(Weighted(), contract, tmp_path / "model.onnx")
    zeros = np.zeros((2, 3, 4), np.float32)
    with OnnxRuntimeEngine(tmp_path / "model.onnx", threads=1) as engine:
        assert engine({"x": zeros})["y"] == pytest.approx(1.0)
