"""Weights of a pruned model solved in closed form, so that each layer gives what it gave before.

Layer by layer, in the order in which they run, the weights are found by least squares from what the pruned
model gives the layer to what the full model makes of it in the channels that stay (He et al. 2017,
arXiv:1707.06168; ThiNet, Luo et al. 2017, arXiv:1707.06342). Nothing is trained, and no data are needed but
the contract's samples.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from edgegan.compress.cost import count
from edgegan.compress.example_inputs import example
from edgegan.compress.parametrization import plain_copy
from edgegan.compress.prune.linear_form import is_plain, matrix, patches, rows, set_matrix
from edgegan.compress.prune.norm_moments import match_norms, observed
from edgegan.compress.prune.surgery import Kept
from edgegan.runtime.contract import Contract

SAMPLES, FEWEST = 256, 8
"""Samples that are looked at; fewer where the whole would take more multiply-accumulates than `MACS`."""
MACS = 1.5e12
BATCH_VALUES = 2**24
"""Of the largest output of a layer in a batch, about."""
POSITIONS, FEWEST_POSITIONS = 8, 8192
"""Output positions that are looked at: so many for each weight of an output channel, and a least number."""
TARGET_VALUES = 2**28
"""Of all targets together; fewer positions are looked at where they would be more."""
MOST_WEIGHTS = 6144
"""Of an output channel. The work grows with their cube; a larger layer stays as it is."""
RIDGE = 1e-3
"""Pull towards the weights as they were, as a share of the inputs' mean square."""
SEED = 0x9EC0

Batches = list[tuple[Tensor, ...]]
Hook = Callable[[nn.Module, Tensor, Tensor], None]
Progress = Callable[[int, int], None]


def reconstruct(
    student: nn.Module, full: nn.Module, kept: Kept, contract: Contract, seed: int, progress: Progress
) -> tuple[nn.Module, list[str]]:
    """Return a copy of `student` whose layers were solved for, and the names of these.

    `student` is `full` without the channels that `kept` does not name. Layers that are called more than once,
    that have more than 6144 weights an output channel, or whose class has a forward of its own stay as they
    are. Norms are set anew, since least squares leave less variance than there was. `progress` gets (layers
    done, layers in all).
    """
    solved = plain_copy(student)
    sizes = {
        name: size
        for name, size in _sizes(solved, contract).items()
        if matrix(solved.get_submodule(name)).shape[-1] <= MOST_WEIGHTS and _is_told(full, solved, kept, name)
    }
    batches = _batches(solved, full, contract, sizes, seed)
    chosen = _positions(solved, sizes, [len(batch[0]) for batch in batches], seed)
    with observed(full) as moments:
        targets = _targets(full, kept, batches, chosen)
    for done, name in enumerate(sizes):
        _solve(solved, name, batches, chosen.pop(name), targets.pop(name))
        progress(done + 1, len(sizes))
    match_norms(solved, moments, kept, batches)
    return solved, list(sizes)


def _is_told(full: nn.Module, student: nn.Module, kept: Kept, name: str) -> bool:
    """Whether `kept` says which outputs of a layer stay: not of a transposed one in groups without a bias."""
    before, after = (matrix(module.get_submodule(name)).shape[:2].numel() for module in (full, student))
    return before == after or "outputs" in kept.get(name, {})


def _sizes(module: nn.Module, contract: Contract) -> dict[str, torch.Size]:
    """Return the layers that are called once, in order, and the size of the output of each for one sample."""
    calls: list[tuple[str, torch.Size]] = []
    with ExitStack() as stack, torch.no_grad():
        for name, layer in module.named_modules():
            if is_plain(layer):
                stack.enter_context(
                    _hooked(layer, lambda *seen, name=name: calls.append((name, seen[2].shape)))
                )
        module(*example(contract, 1, seed=0))
    names = [name for name, _ in calls]
    return {name: size for name, size in calls if names.count(name) == 1 and size[0] == 1}


def _batches(
    student: nn.Module, full: nn.Module, contract: Contract, sizes: dict[str, torch.Size], seed: int
) -> Batches:
    """Draw as many samples as there is time for, in batches that fit the memory."""
    work = count(full, contract).macs + count(student, contract).macs * len(sizes) / 2
    samples = max(FEWEST, min(SAMPLES, int(MACS / max(work, 1))))
    largest = max((size.numel() for size in sizes.values()), default=1)
    inputs = example(contract, samples, seed + SEED)
    return list(zip(*(tensor.split(max(1, BATCH_VALUES // largest)) for tensor in inputs)))


def _positions(
    module: nn.Module, sizes: dict[str, torch.Size], lengths: list[int], seed: int
) -> dict[str, list[Tensor]]:
    """Choose, for each layer and batch, the rows of its output that are looked at."""
    wanted: dict[str, int] = {}
    channels: dict[str, int] = {}
    for name, size in sizes.items():
        groups, outputs, weights = matrix(module.get_submodule(name)).shape
        channels[name] = groups * outputs
        there = sum(lengths) * size.numel() // channels[name]
        wanted[name] = min(there, max(FEWEST_POSITIONS, POSITIONS * weights))
    share = min(1.0, TARGET_VALUES / max(1, sum(wanted[name] * channels[name] for name in sizes)))
    chosen: dict[str, list[Tensor]] = {}
    for name, size in sizes.items():
        generator = torch.Generator().manual_seed(seed + zlib.crc32(name.encode()))
        each = size.numel() // channels[name]
        part = share * wanted[name] / (sum(lengths) * each)
        chosen[name] = [
            torch.randperm(n * each, generator=generator)[: max(1, round(part * n * each))] for n in lengths
        ]
    return chosen


def _targets(
    full: nn.Module, kept: Kept, batches: Batches, chosen: dict[str, list[Tensor]]
) -> dict[str, list[Tensor]]:
    """Return what the full model's layers give at the chosen positions in the channels that stay."""
    targets: dict[str, list[Tensor]] = {name: [] for name in chosen}

    def keep(name: str) -> Hook:
        stay = kept.get(name, {}).get("outputs")

        def see(layer: nn.Module, _: Tensor, output: Tensor) -> None:
            found = rows(layer, output)[chosen[name][len(targets[name])]]
            targets[name].append(found if stay is None else found[:, stay])

        return see

    with ExitStack() as stack, torch.no_grad():
        for name in chosen:
            stack.enter_context(_hooked(full.get_submodule(name), keep(name)))
        for batch in batches:
            full(*batch)
    return targets


class _Reached(Exception):  # noqa: N818
    """The layer has run: what lies behind it need not."""


def _solve(
    module: nn.Module, name: str, batches: Batches, chosen: list[Tensor], targets: list[Tensor]
) -> None:
    """Change a layer of `module` by what brings it nearest to its targets."""
    layer = module.get_submodule(name)
    weights, bias = matrix(layer), layer.bias
    groups, outputs, inputs = weights.shape
    size = inputs + (bias is not None)
    gram = torch.zeros(groups, size, size, dtype=torch.float64)
    moment = torch.zeros(groups, size, outputs, dtype=torch.float64)
    missing = zip(chosen, targets, strict=True)

    def add(_: nn.Module, x: Tensor, output: Tensor) -> None:
        places, target = next(missing)
        found = patches(layer, x, places).transpose(0, 1)
        if bias is not None:
            found = torch.cat([found, torch.ones_like(found[..., :1])], dim=-1)
        error = (target - rows(layer, output)[places]).unflatten(1, (groups, outputs)).transpose(0, 1)
        gram.add_(found.mT @ found)
        moment.add_(found.mT @ error)
        raise _Reached

    with _hooked(layer, add), torch.no_grad():
        for batch in batches:
            with suppress(_Reached):
                module(*batch)
    diagonal = gram.diagonal(dim1=1, dim2=2)
    pull = RIDGE * diagonal[:, :inputs].mean(dim=1, keepdim=True)
    diagonal += pull.clamp(min=torch.finfo(torch.float32).tiny)
    change = torch.linalg.solve(gram, moment).mT.to(weights.dtype)
    if not change.isfinite().all():
        return
    set_matrix(layer, weights + change[..., :inputs])
    if bias is not None:
        with torch.no_grad():
            bias += change[..., inputs].flatten()


@contextmanager
def _hooked(layer: nn.Module, see: Hook) -> Iterator[None]:
    """Let `see` see (layer, its first argument, its output) at each call."""

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        see(module, args[0] if args else kwargs["input"], output)

    handle = layer.register_forward_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
