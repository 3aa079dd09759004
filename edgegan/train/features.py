"""A small classifier, trained on the user's own images, as the feature extractor for FID and KID."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from edgegan.compress.export import quiet
from edgegan.compress.onnx_graph import tidy
from edgegan.errors import DataError
from edgegan.files import write_bytes
from edgegan.learning import devices
from edgegan.learning.algorithms.classification import Classification
from edgegan.learning.checkpoint import Checkpoint
from edgegan.learning.log import Log
from edgegan.learning.loop import Loop
from edgegan.measure.features import OnnxExtractor, Reference
from edgegan.owned import held
from edgegan.train.data import LabelledImages

WIDTH = 256
KEPT_FEATURES = 10_000


@dataclass(frozen=True)
class TrainedFeatures:
    """What `train_features` wrote, and the classifier's accuracy (0 to 1) on the tenth that was held out."""

    extractor: Path
    reference: Path
    accuracy: float
    features: int


class Classifier(nn.Module):
    """Residual network (He et al. 2016, arXiv:1603.05027) on images (N, C, H, W) in [-1, 1].

    `features` gives the pooled last maps (N, width), `forward` the class scores (N, classes).
    """

    def __init__(self, channels: int, classes: int, width: int = WIDTH) -> None:
        super().__init__()
        widths = [width // 8, width // 4, width // 2, width]
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)]
        for inputs, outputs in pairwise(widths):
            layers += [_Block(inputs, outputs, stride=2), _Block(outputs, outputs, stride=1)]
        layers.pop()
        self.body = nn.Sequential(*layers, nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Linear(width, classes)

    def features(self, x: Tensor) -> Tensor:
        """Return the features (N, width)."""
        return self.body(x).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores (N, classes)."""
        return self.head(self.features(x))


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(x))
        return self.conv2(F.relu(self.norm2(self.conv1(y)))) + self.shortcut(x)


class _Extractor(nn.Module):
    """Images uint8 (N, H, W, C) to features float32 (N, width), with the weights held in half precision."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier.features(images.permute(0, 3, 1, 2).float() / 127.5 - 1)


def train_features(
    data: LabelledImages,
    folder: str | Path,
    *,
    epochs: int = 30,
    width: int = WIDTH,
    mirror: bool = True,
    kept: int = KEPT_FEATURES,
    seed: int = 0,
    description: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> TrainedFeatures:
    """Train a classifier on nine tenths of `data`; write `features.onnx` and `reference.npz` into `folder`.

    The folder is absent, empty, or one that this made. The reference holds the statistics of all of `data`.

    Args:
        data: at least 100 images of at least two classes.
        folder: where to.
        epochs: passes over the images.
        width: how many features, a multiple of 8.
        mirror: whether half of the images are mirrored, which letters and digits do not bear.
        kept: of how many images the reference keeps the features, for KID, precision and recall.
        seed: of the weights and of the order of images.
        description: of the data, for the reference.
        progress: called with (steps done, steps in all).

    Raises:
        DataError: fewer than two classes, fewer than 100 images, or a width that is no multiple of 8.
        StorageError: the folder is in use for something else, or a file cannot be written.
    """
    if len(data.classes) < 2 or len(data) < 100:
        raise DataError(
            f"{len(data)} images of {len(data.classes)} classes are too few to learn features from",
            next="give at least 100 images in at least 2 class folders, or use features: inception",
        )
    if width < 8 or width % 8:
        raise DataError(f"the features cannot be {width}", next="give a multiple of 8, as 256")
    order = np.random.default_rng(seed).permutation(len(data))
    held_out, learnt = order[: len(data) // 10], order[len(data) // 10 :]
    with held(folder, "features"):
        folder = Path(folder)
        settings = _Settings(epochs, width, mirror, seed)
        classifier = _fitted(data, learnt, folder, settings, progress)
        accuracy = _accuracy(classifier, data, held_out)
        return _written(classifier, accuracy, data, folder, kept, seed, description)


@dataclass(frozen=True)
class _Settings:
    """What a classifier rests on beside the images."""

    epochs: int
    width: int
    mirror: bool
    seed: int


def _written(
    classifier: Classifier,
    accuracy: float,
    data: LabelledImages,
    folder: Path,
    kept: int,
    seed: int,
    description: str,
) -> TrainedFeatures:
    path = folder / "features.onnx"
    _export(classifier.cpu(), data.images.shape[1:], path)
    extractor = OnnxExtractor(path)
    features = extractor(data.images)
    chosen = np.random.default_rng(seed).permutation(len(features))[:kept]
    reference = Reference.of(features, extractor=extractor, kept=np.sort(chosen), description=description)
    reference.save(folder / "reference.npz")
    return TrainedFeatures(path, folder / "reference.npz", accuracy, features.shape[1])


def _fitted(
    data: LabelledImages,
    kept: NDArray[np.int64],
    folder: Path,
    settings: _Settings,
    progress: Callable[[int, int], None],
) -> Classifier:
    """Return a classifier trained on the `kept` images; one that was cut off goes on where it was."""
    images = torch.from_numpy(data.images[kept]).permute(0, 3, 1, 2)
    with devices.arithmetic(deterministic=True):
        torch.manual_seed(settings.seed)
        classifier = Classifier(data.images.shape[3], len(data.classes), settings.width)
        fabric = devices.launch("auto", alone=True)
        labels = torch.from_numpy(data.labels[kept])
        algorithm = Classification(
            classifier, images, labels, settings.epochs, fabric, settings.seed, mirror=settings.mirror
        )
        content = "-".join(
            hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
            for array in (data.images, data.labels)
        )
        checkpoint = Checkpoint(folder / "checkpoint", f"{content}-{settings}")
        loop = Loop(
            algorithm,
            fabric,
            steps=algorithm.steps,
            seed=settings.seed,
            checkpoint=checkpoint,
            log=Log(folder / "log.jsonl"),
        )
        loop.run(progress)
    checkpoint.remove()
    return classifier.eval()


@torch.no_grad()
def _accuracy(classifier: Classifier, data: LabelledImages, held: NDArray[np.int64]) -> float:
    device = next(classifier.parameters()).device
    right = 0
    for start in range(0, len(held), 500):
        index = held[start : start + 500]
        x = torch.from_numpy(data.images[index]).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        right += int((classifier(x).argmax(1).cpu().numpy() == data.labels[index]).sum())
    return right / len(held)


def _export(classifier: Classifier, shape: tuple[int, ...], path: Path) -> None:
    with quiet():
        program = torch.onnx.export(
            _Extractor(classifier).eval(),
            (torch.zeros(2, *shape, dtype=torch.uint8),),
            dynamo=True,
            opset_version=20,
            dynamic_shapes={"images": {0: torch.export.Dim("N")}},
            input_names=["images"],
            output_names=["features"],
            verbose=False,
        )
    assert program is not None
    write_bytes(path, _with_half_weights(program.model_proto).SerializeToString(deterministic=True))


def _with_half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return `model` with its large weights in half precision, cast to float32 when it is loaded."""
    halved = tidy(model)
    graph = halved.graph
    casts: list[onnx.NodeProto] = []
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.size >= 1024:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16), f"{name}_half"))
            casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return halved
