"""A model's structure as data (tensor name to shape), beside its weights as safetensors. No pickle.

A pruned model is written with `save`, and read with `load` into a fresh module of the full widths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from edgegan import forms
from edgegan.compress.own_numbers import numbers, set_number
from edgegan.compress.parametrization import remove_parametrizations
from edgegan.errors import CheckpointError, StageError
from edgegan.files import atomic_path, storage_errors, write_json
from edgegan.reading import Unreadable, check_plain, read_json, refusing

STRUCTURE = "structure.json"
WEIGHTS = "student.safetensors"
SCHEMA = 1
AGAIN = "delete the stage's folder and run the same edgegan compress command again"
_FORM = forms.record({"schema": forms.count, "shapes": forms.mapping_of(forms.list_of(forms.count))})

Shapes = dict[str, list[int]]


def shapes(module: nn.Module) -> Shapes:
    """Return the shape of each tensor of `module.state_dict()`.

    A norm that holds no tensors adds `<name>.num_features` or `<name>.num_channels`: [number of channels]; a
    module of the network's own adds the whole numbers that it holds, which may be widths.
    """
    return {**{key: list(tensor.shape) for key, tensor in module.state_dict().items()}, **_numbers(module)}


def _numbers(module: nn.Module) -> Shapes:
    found: Shapes = {}
    for name, layer in module.named_modules(remove_duplicate=False):
        prefix = f"{name}." if name else ""
        if isinstance(layer, _NormBase) and not layer.state_dict():
            found[f"{prefix}num_features"] = [layer.num_features]
        if isinstance(layer, nn.GroupNorm) and not layer.affine:
            found[f"{prefix}num_channels"] = [layer.num_channels]
        found.update({f"{prefix}{key}": [value] for key, value in own_numbers(layer).items()})
    return found


def own_numbers(layer: nn.Module) -> dict[str, int]:
    """Return the whole numbers of a module of a network's own, by their keys (see `own_numbers`)."""
    return numbers(layer) if is_own(layer) else {}


def resize(module: nn.Module, shapes: Mapping[str, list[int]]) -> None:
    """Give each layer of `module` the sizes of `shapes`, in place.

    Tensors whose shape changes become zero: load the weights next, by `load_state_dict`. Tied parameters stay
    tied.

    Raises:
        StageError: the tensors are not those of `module`, or a layer that changes is of an unknown kind.
    """
    _check_keys(module, shapes)
    renewed: dict[int, Tensor] = {}
    for name, layer in module.named_modules(remove_duplicate=True):
        prefix = f"{name}." if name else ""
        own = dict([*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)])
        wanted = {key: tuple(shapes[prefix + key]) for key in own if prefix + key in shapes}
        if f"{prefix}num_features" in shapes and isinstance(layer, _NormBase):
            layer.num_features = shapes[f"{prefix}num_features"][0]
        if f"{prefix}num_channels" in shapes and isinstance(layer, nn.GroupNorm):
            for attribute, value in _group_norm(
                layer, {"weight": tuple(shapes[f"{prefix}num_channels"])}
            ).items():
                setattr(layer, attribute, value)
        for key in own_numbers(layer):
            set_number(layer, key, shapes[prefix + key][0])
        changed = {key for key, shape in wanted.items() if tuple(own[key].shape) != shape}
        if not changed:
            continue
        attributes = _attributes(layer, name, wanted)
        for key in changed:
            _replace(layer, key, own[key], wanted[key], renewed)
        for attribute, value in attributes.items():
            setattr(layer, attribute, value)


def save(module: nn.Module, folder: Path) -> None:
    """Write `structure.json` and `student.safetensors` to `folder`, each atomically.

    Raises:
        StorageError: the disk is full, or the folder may not be written.
    """
    tensors = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in module.state_dict().items()}
    with atomic_path(folder / WEIGHTS) as temporary, storage_errors(folder / WEIGHTS):
        try:
            save_file(tensors, temporary)
        except SafetensorError as error:
            raise OSError(str(error)) from error
    write_json(folder / STRUCTURE, {"schema": SCHEMA, "shapes": shapes(module)})


def load(fresh_module: nn.Module, folder: Path) -> nn.Module:
    """Resize `fresh_module` to the structure in `folder`, load its weights and return it, in eval mode.

    Spectral and weight norm are removed from `fresh_module` where the structure was saved without them.

    Raises:
        CheckpointError: a file is missing or damaged.
        StageError: the structure is not of this module.
    """
    structure, file = _read_structure(folder / STRUCTURE), folder / WEIGHTS
    with refusing(CheckpointError, "the weights cannot be read", where=str(file), next=AGAIN):
        check_plain(file)
        weights = load_file(file)
        for name, tensor in weights.items():
            if structure.get(name) != list(tensor.shape):
                raise Unreadable(f"{name} is {list(tensor.shape)}, the structure says {structure.get(name)}")
    structure = {**_numbers(fresh_module), **structure}  # earlier ones hold fewer numbers
    if set(structure) != set(shapes(fresh_module)):
        remove_parametrizations(fresh_module)
    _check_keys(fresh_module, structure)
    for name, tensor in fresh_module.state_dict().items():
        if name not in weights or (weights[name].dim(), weights[name].dtype) != (tensor.dim(), tensor.dtype):
            what = f"the weights lack {name!r}, or it is of another kind"
            raise CheckpointError(what, where=str(file), next=AGAIN)
    with refusing(CheckpointError, "the weights do not fit the structure", where=str(file), next=AGAIN):
        resize(fresh_module, structure)
        fresh_module.load_state_dict(weights)
    return fresh_module.eval()


def not_finite(module: nn.Module) -> list[str]:
    """Return the names of tensors that hold NaN or infinity.

    But for minus infinity in a network's own buffers: so masks of attention are written.
    """
    masks = {
        f"{name}.{key}" if name else key
        for name, layer in module.named_modules(remove_duplicate=False)
        if is_own(layer)
        for key in layer._buffers
    }
    return [
        name
        for name, tensor in module.state_dict().items()
        if tensor.is_floating_point()
        and not (tensor.isfinite() | (tensor.isneginf() if name in masks else False)).all()
    ]


def is_own(layer: nn.Module) -> bool:
    """Whether `layer` is of a network's own code, and of none of the kinds that `resize` knows."""
    if isinstance(layer, tuple(KINDS)):
        return False
    return not type(layer).__module__.startswith("torch.") or isinstance(layer, nn.ParameterList)


def _read_structure(path: Path) -> Shapes:
    with refusing(CheckpointError, "the structure cannot be read", where=str(path), next=AGAIN):
        content = read_json(path)
        _FORM(content, "")
        if content["schema"] != SCHEMA:
            raise Unreadable(f"its schema {content['schema']} is not known")
        return content["shapes"]


def _check_keys(module: nn.Module, wanted: Mapping[str, list[int]]) -> None:
    have = shapes(module)
    missing, unknown = sorted(set(have) - set(wanted)), sorted(set(wanted) - set(have))
    if missing or unknown:
        raise StageError(
            f"the structure is not of this model: missing {missing[:5]}, unknown {unknown[:5]}",
            where=type(module).__name__,
            next="build the module with the class and arguments that the structure was saved from",
        )


Size = tuple[int, ...]
Wanted = Mapping[str, Size]


def _conv(layer: nn.Module, wanted: Wanted) -> dict[str, object]:
    assert isinstance(layer, _ConvNd)
    first, second = wanted["weight"][:2]
    transposed = isinstance(layer, _ConvTransposeNd)
    before = layer.in_channels if transposed else layer.out_channels
    groups = first * layer.groups // before if layer.groups > 1 else 1
    if transposed:
        return {"in_channels": first, "out_channels": second * groups, "groups": groups}
    return {"in_channels": second * groups, "out_channels": first, "groups": groups}


def _linear(layer: nn.Module, wanted: Wanted) -> dict[str, object]:
    return {"out_features": wanted["weight"][0], "in_features": wanted["weight"][1]}


def _embedding(layer: nn.Module, wanted: Wanted) -> dict[str, object]:
    return {"num_embeddings": wanted["weight"][0], "embedding_dim": wanted["weight"][1]}


def _norm(layer: nn.Module, wanted: Wanted) -> dict[str, object]:
    return {"num_features": wanted.get("weight", wanted.get("running_mean", (0,)))[0]}


def _layer_norm(layer: nn.Module, wanted: Wanted) -> dict[str, object]:
    return {"normalized_shape": wanted["weight"]}


def _group_norm(layer: nn.Module, wanted: Wanted) -> dict[str, object]:
    assert isinstance(layer, nn.GroupNorm)
    channels = wanted["weight"][0]
    groups = max(1, channels * layer.num_groups // layer.num_channels)  # one group is one of all channels
    return {"num_channels": channels, "num_groups": groups}


def _prelu(layer: nn.Module, wanted: Wanted) -> dict[str, object]:
    return {"num_parameters": wanted["weight"][0]}


def _recurrent(layer: nn.Module, wanted: Wanted) -> dict[str, object]:
    suffix = "_l0" if isinstance(layer, nn.RNNBase) else ""
    sizes: dict[str, object] = {
        "input_size": wanted[f"weight_ih{suffix}"][1],
        "hidden_size": wanted[f"weight_hh{suffix}"][1],
    }
    if projection := wanted.get("weight_hr_l0"):
        sizes |= {"proj_size": projection[0], "hidden_size": projection[1]}
    return sizes


KINDS: dict[type[nn.Module], Callable[[nn.Module, Wanted], dict[str, object]]] = {
    _ConvNd: _conv,
    nn.Linear: _linear,
    nn.Embedding: _embedding,
    _NormBase: _norm,
    nn.LayerNorm: _layer_norm,
    nn.GroupNorm: _group_norm,
    nn.PReLU: _prelu,
    nn.RNNBase: _recurrent,
    nn.RNNCellBase: _recurrent,
}


def _attributes(layer: nn.Module, name: str, wanted: Wanted) -> dict[str, object]:
    for kind, attributes in KINDS.items():
        if isinstance(layer, kind):
            return attributes(layer, wanted)
    if is_own(layer):
        return {}  # a network's own module reads the sizes of its parameters where it uses them
    raise StageError(
        f"a layer of kind {type(layer).__name__} cannot be resized",
        where=name or type(layer).__name__,
        next=f"name it in the prune stage's `skip`: [{name!r}]",
    )


def _replace(
    layer: nn.Module, key: str, old: Tensor, shape: tuple[int, ...], renewed: dict[int, Tensor]
) -> None:
    new = renewed.get(id(old))
    if new is None:
        new = torch.zeros(shape, dtype=old.dtype, device=old.device)
        if isinstance(old, nn.Parameter):
            new = nn.Parameter(new, requires_grad=old.requires_grad)
        renewed[id(old)] = new
    setattr(layer, key, new)
