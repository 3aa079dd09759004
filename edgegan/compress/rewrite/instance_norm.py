"""A change that does alter the outputs: for use before distillation, which is to win back what it costs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from edgegan.compress.example_inputs import example
from edgegan.compress.psnr import psnr_db
from edgegan.compress.rewrite.change import Change
from edgegan.compress.rewrite.graph import outputs
from edgegan.module_copy import copy_of
from edgegan.runtime.contract import Contract

BATCHES, BATCH, SEED = 8, 16, 0x17B
KINDS: dict[type[nn.Module], type[_BatchNorm]] = {
    nn.InstanceNorm1d: nn.BatchNorm1d,
    nn.InstanceNorm2d: nn.BatchNorm2d,
    nn.InstanceNorm3d: nn.BatchNorm3d,
}


@dataclass(frozen=True)
class Inexact:
    """A module whose outputs are no longer those of the module that it was made from."""

    module: nn.Module
    changes: tuple[Change, ...]
    psnr_db: float
    """Of its outputs against those before, over all values, with the output's range as peak, 200 where equal.

    Of several outputs, the worst; on contract samples other than those that were measured.
    """


def instance_norm_to_batch_norm(module: nn.Module, contract: Contract) -> Inexact:
    """Return a copy of `module` in eval mode, with a BatchNorm in the place of each InstanceNorm layer.

    INEXACT: an InstanceNorm takes mean and variance from each sample, a BatchNorm from what was measured
    before, here over 128 contract samples, each norm behind those already in their place. In return it folds
    into the layer before it, and nothing stands between a Conv and its activation in INT8. Parameters keep
    their names, and are left to be trained. An InstanceNorm called as a function is not seen.
    """
    changed = copy_of(module).eval()
    norms: dict[nn.Module, _BatchNorm] = {}
    changes = []
    for name, layer in list(changed.named_modules()):
        if type(layer) in KINDS and name:
            assert isinstance(layer, _InstanceNorm)
            norms[layer] = _batch_norm(layer)
            detail = f"{type(layer).__name__}, {layer.num_features} channels"
            changes.append(Change("instance_norm_to_batch_norm", name, detail))
    for parent in list(changed.modules()):
        for name, child in parent._modules.items():
            if child in norms:
                parent._modules[name] = norms[child]
    _measure(changed, contract, [new for old, new in norms.items() if not _has_statistics(old)])
    return Inexact(changed, tuple(changes), _psnr_db(copy_of(module).eval(), changed, contract))


def _has_statistics(layer: nn.Module) -> bool:
    return getattr(layer, "running_mean", None) is not None


def _batch_norm(layer: _InstanceNorm) -> _BatchNorm:
    norm = KINDS[type(layer)](layer.num_features, layer.eps, layer.momentum, layer.affine)
    norm.load_state_dict(layer.state_dict(), strict=False)
    weights = next(layer.parameters(), None)
    return (norm if weights is None else norm.to(weights)).eval()


def _measure(module: nn.Module, contract: Contract, norms: list[_BatchNorm]) -> None:
    """Set the statistics of `norms` to their means over batches."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train().momentum = None
    for batch in range(BATCHES if norms else 0):
        outputs(module, example(contract, BATCH, SEED + batch))
    for norm, momentum in zip(norms, momenta):
        norm.eval().momentum = momentum


def _psnr_db(before: nn.Module, after: nn.Module, contract: Contract) -> float:
    samples = example(contract, BATCH, SEED - 1)
    return round(psnr_db(outputs(after, samples), outputs(before, samples), contract), 2)
