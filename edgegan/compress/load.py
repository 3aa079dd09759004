"""A recipe's module, imported, built and given its trained weights."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import pickle
import re
import shlex
import sys
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from edgegan.compress import torchscript
from edgegan.compress.weights import entries, find, is_average, make_plain
from edgegan.errors import SHOWN, CheckpointError, ModelError, some
from edgegan.measure.metrics import Metric
from edgegan.measure.metrics.own import of_function
from edgegan.reading import Unreadable, check_plain, refusing
from edgegan.recipe import ModelSpec
from edgegan.recipe_source import did_you_mean

WHOLE = "is it there and complete? compare its size or checksum with its source's"
NEEDS_PICKLE = re.compile(
    r"Unsupported (global|class|operand 1(40|47|48|49)\b)|Trying to (load|call)|Can only"
)
"""In what torch says of a checkpoint that is whole, and holds more than plain weights."""


def load_module(spec: ModelSpec, folder: Path, say: Callable[[str], None] = lambda text: None) -> nn.Module:
    """Build the module of `spec` and load its weights; in eval mode, on the CPU, frozen.

    Where the recipe names neither `key` nor `prefix`, they are found. Spectral and weight norm in only one of
    module and checkpoint are resolved.

    Args:
        spec: what to call, its arguments, and the checkpoint.
        folder: what the spec's files are relative to.
        say: told of what was found and resolved.

    Raises:
        ModelError: the module cannot be imported, found, called, or is not an `nn.Module`.
        CheckpointError: the weights are missing, need pickle, do not fit, or are not finite.
    """
    module = build_module(spec, folder)
    file = folder / spec.checkpoint
    _load_weights(module, _chosen(read_checkpoint(file), spec, file, module, say), file)
    return module.eval().requires_grad_(False)


def build_module(spec: ModelSpec, folder: Path) -> nn.Module:
    """Build the module of `spec` without loading its weights: the random ones of its own initialization.

    Raises:
        ModelError: the module cannot be imported, found or called, or is not an `nn.Module`. Only subclasses
            of `nn.Module` and functions of the recipe's own files are ever called.
    """
    make = find_callable(spec, folder)
    try:
        module = make(**spec.arguments)
    except Exception as error:
        raise ModelError(
            f"{spec.callable} cannot be called with the recipe's arguments: {error or type(error).__name__}",
            where=_origin(error),
            next=f"it takes {_signature(make)}; the recipe gives {spec.arguments}",
        ) from error
    if isinstance(module, torch.jit.ScriptModule):
        raise ModelError(
            f"{spec.callable} gave a TorchScript module, which holds compiled code: no stage can change it",
            where=spec.callable,
            next="name the Python class that was scripted; its weights are read from the TorchScript file "
            "too, where that is the checkpoint, without running it",
        )
    if not isinstance(module, nn.Module):
        raise ModelError(f"{spec.callable} gave {type(module).__name__}, not a torch.nn.Module")
    return module.cpu()


def find_callable(spec: ModelSpec, folder: Path) -> Callable[..., Any]:
    """Return what `spec` names: a class of `nn.Module`, or a function of the recipe's own files; not called.

    Raises:
        ModelError: its file cannot be imported, or it is nothing of the kind.
    """
    source, _, name = spec.callable.rpartition(":")
    made, own = _named(source, name, spec.callable, folder)
    if not _makes_networks(made, own):
        raise ModelError(
            f"{spec.callable} is neither a torch.nn.Module's class nor a function of the recipe's own file",
            where=str(folder / source) if source.endswith(".py") else None,
            next="name a class, or a function that a file in the recipe's folder defines, as model.py:make",
        )
    return made


def _named(source: str, name: str, spelled: str, folder: Path) -> tuple[Any, ModuleType | None]:
    """Return what `source`, a file or a module, holds under `name`; and the module where it is a recipe's."""
    if source.partition(".")[0] in sys.stdlib_module_names and not source.endswith(".py"):
        raise ModelError(f"{source} is a module of Python's own, and holds no torch.nn.Module", where=spelled)
    with _on_path(folder), _on_path((folder / source).parent if source.endswith(".py") else folder):
        try:
            module = (
                _import_file(folder / source) if source.endswith(".py") else importlib.import_module(source)
            )
        except FileNotFoundError as error:
            raise ModelError(f"there is no file {folder / source}", where=spelled) from error
        except Exception as error:
            raise ModelError(
                f"{source} cannot be imported: {type(error).__name__}: {error}",
                where=_origin(error) or spelled,
                next="install what it needs, or correct its name in the recipe",
            ) from error
    made: Any = module
    for part in name.split("."):
        if not hasattr(made, part):
            public = [key for key, value in vars(made).items() if callable(value) and not key.startswith("_")]
            raise ModelError(
                f"{source} has no {name!r}{did_you_mean(part, public)}",
                where=getattr(module, "__file__", None),
                next=f"it defines: {', '.join(public[:SHOWN]) or 'nothing that can be called'}",
            )
        made = getattr(made, part)
    own = source.endswith(".py") and folder.resolve() in (folder / source).resolve().parents
    return made, module if own else None


def own_metric(spelled: str, folder: Path) -> Metric:
    """Return the metric that is a function of a file in a recipe's folder, spelled `my_metrics.py:iou`.

    Raises:
        ModelError: there is no such file or function, the file lies elsewhere, or cannot be imported.
        InputError: the function's attributes say what no metric can be.
    """
    source, _, name = spelled.rpartition(":")
    if folder.resolve() in (folder / source).resolve().parents:
        function, module = _named(source, name, spelled, folder)
    else:
        function, module = None, None
    if module is None or not inspect.isfunction(function) or function.__module__ != module.__name__:
        raise ModelError(
            f"{spelled} is no function that a file in the recipe's folder defines",
            where=str(folder / source),
            next="name one that takes the outputs and the full model's, as my_metrics.py:iou",
        )
    return of_function(function, name, hashlib.sha256((folder / source).read_bytes()).hexdigest()[:16])


def _makes_networks(made: Any, own: ModuleType | None) -> bool:
    """Tell whether `made` is a network's class or a function of the recipe's own file: others may do harm."""
    if inspect.isclass(made):
        return issubclass(made, nn.Module)
    function = getattr(made, "__func__", made)
    return own is not None and inspect.isfunction(function) and function.__module__ == own.__name__


def _import_file(file: Path) -> ModuleType:
    content = file.read_bytes()
    name = f"{file.stem}_{hashlib.sha256(content).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    found = importlib.util.spec_from_file_location(name, file)
    if found is None or found.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, ImportError) and "no known parent package" in str(error):
            return _import_of_package(file.resolve())
        raise
    return module


def _import_of_package(file: Path) -> ModuleType:
    """Import a file that imports its neighbours by a dot, as the module of its package that it is."""
    root, names = file.parent.parent, [file.parent.name, file.stem]
    while (root / "__init__.py").is_file():
        root, names = root.parent, [root.name, *names]
    with _on_path(root):
        module = importlib.import_module(".".join(names))
    if Path(module.__file__ or "").resolve() != file:
        raise ImportError(f"another package is named {names[0]!r} too: {module.__file__}")
    return module


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)


def _origin(error: BaseException) -> str | None:
    """The user's line that raised: the last frame outside this file and Python's import machinery."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in (__file__, importlib.__file__) and not frame.filename.startswith("<")
    ]
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else None


def _signature(make: Callable[..., Any]) -> str:
    try:
        return str(inspect.signature(make))
    except (TypeError, ValueError):
        return "other arguments"


def read_checkpoint(file: Path) -> Any:
    """Return what a checkpoint holds: `.safetensors`, what `torch.save` wrote, or a TorchScript archive.

    Raises:
        CheckpointError: it is absent, damaged, or needs pickle.
    """
    if not file.exists():
        raise CheckpointError("the checkpoint is missing", where=str(file), next=WHOLE)
    with refusing(CheckpointError, "the checkpoint cannot be read", where=str(file), next=WHOLE):
        check_plain(file)
        if file.suffix == ".safetensors":
            return load_file(file)
        _check_archive(file)
        if torchscript.is_archive(file):
            return torchscript.read_weights(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old protocols and types: such files are read all the same
            try:
                return torch.load(file, map_location="cpu", weights_only=True)
            except pickle.UnpicklingError as error:
                if NEEDS_PICKLE.search(str(error)):
                    raise _needs_pickle(file) from error
                raise


def _check_archive(file: Path) -> None:
    """Refuse a zip that says that it holds more than its own bytes: `torch.save` packs nothing."""
    with file.open("rb") as opened:
        if opened.read(4) != b"PK\x03\x04":
            return
        size = opened.seek(0, 2)
        with zipfile.ZipFile(opened) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > size:
                raise Unreadable("it is a compressed or damaged archive, not one that torch.save wrote")


def _needs_pickle(file: Path) -> CheckpointError:
    new = file.with_suffix(".safetensors").name
    code = (
        "import torch, safetensors.torch as s; "
        f"x = torch.load({file.name!r}, weights_only=False, map_location='cpu'); "
        f"s.save_model(x, {new!r}) if hasattr(x, 'state_dict') else s.save_file(x, {new!r})"
    )
    return CheckpointError(
        "the checkpoint needs pickle, which may run any code, so edgegan does not read it",
        where=str(file),
        next="if you trust its source, convert it once, where its classes can be imported:\n    "
        + shlex.join(["python", "-c", code]),
    )


def _chosen(
    content: Any, spec: ModelSpec, file: Path, module: nn.Module, say: Callable[[str], None]
) -> dict[str, Tensor]:
    """Return the weights for `module`; where these are plain and the module is not, it is made so."""
    if spec.key is None and not spec.prefix:
        found = find(content, module)
    else:
        given = _select(content, spec.model_copy(update={"prefix": ""}), file)
        found = find(given, module, prefix=spec.prefix, exact=True)
    best = [one for one in found if is_average(one.entry)] if len(found) > 1 else found
    if not found:
        return _select(content, spec, file)
    if len(best) != 1:
        raise CheckpointError(
            f"{len(found)} entries of the checkpoint fit the module: {some([one.entry for one in found])}",
            where=str(file),
            next=f"name the one to take in the recipe, as in `key: {found[0].entry}`",
        )
    (one,) = best
    if one.plain:
        make_plain(module)
    if one.entry and one.entry != spec.key:
        say(f"of the checkpoint, the entry {one.entry!r} was taken")
    if one.prefix and one.prefix != spec.prefix:
        say(f"the weights' names begin with {one.prefix!r} in the checkpoint, which was left out")
    for text in one.said:
        say(text)
    return one.weights


def _select(content: Any, spec: ModelSpec, file: Path) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        content = {name: value for name, value in content.items() if isinstance(name, str)}
    if spec.key is not None:
        keys = list(content) if isinstance(content, Mapping) else []
        nested = dict(entries(content))
        if spec.key not in keys and spec.key not in nested:
            raise CheckpointError(
                f"the checkpoint has no entry {spec.key!r}{did_you_mean(spec.key, keys)}",
                where=str(file),
                next=f"its entries are: {some(keys)}",
            )
        content = content[spec.key] if spec.key in keys else nested[spec.key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        holding = (
            [str(k) for k, v in content.items() if isinstance(v, Mapping)]
            if isinstance(content, Mapping)
            else []
        )
        raise CheckpointError(
            "the checkpoint holds more than weights" if holding else "the checkpoint holds no named weights",
            where=str(file),
            next=f"name the entry with the weights in the recipe, as in `key: {holding[0]}`"
            if holding
            else "save the module's state_dict(), as in torch.save(module.state_dict(), FILE)",
        )
    weights = {str(name): value for name, value in content.items()}
    stripped = {n.removeprefix(spec.prefix): v for n, v in weights.items() if n.startswith(spec.prefix)}
    if not stripped:
        raise CheckpointError(
            f"no weight's name begins with the prefix {spec.prefix!r}",
            where=str(file),
            next=f"the names are: {some(list(weights))}",
        )
    return stripped


def _load_weights(module: nn.Module, weights: dict[str, Tensor], file: Path) -> None:
    expected = module.state_dict()
    for name, value in weights.items():
        if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
            raise CheckpointError(
                f"the weight {name!r} is no plain tensor of numbers: {value.layout}, {value.dtype}",
                where=str(file),
                next="save a plain state_dict(), of dense tensors on the CPU",
            )
    counters = {n: v for n, v in expected.items() if n.endswith("num_batches_tracked") and n not in weights}
    try:
        with (
            refusing(CheckpointError, "the weights cannot be loaded", where=str(file), next=WHOLE),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("error")  # as of complex numbers whose imaginary part would be lost
            module.load_state_dict({**weights, **counters})
    except CheckpointError as error:
        misfit = _misfit(expected, weights)
        if not misfit:
            raise
        raise CheckpointError(misfit, where=str(file), next=_remedy(expected, weights)) from error
    for name, value in module.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise CheckpointError(
                f"the weight {name!r} holds NaN or infinity",
                where=str(file),
                next="take a checkpoint from before training diverged",
            )


def _misfit(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    shapes = [
        f"{name}: the checkpoint has {tuple(weights[name].shape)}, the module {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    missing = [n for n in expected if n not in weights and not n.endswith("num_batches_tracked")]
    extra = [name for name in weights if name not in expected]
    lines = [
        *shapes[:SHOWN],
        *([f"and {len(shapes) - SHOWN} more shapes that differ"] if len(shapes) > SHOWN else []),
        *([f"not in the checkpoint: {some(missing)}"] if missing else []),
        *([f"not in the module: {some(extra)}"] if extra else []),
    ]
    return "the checkpoint does not fit the module:\n  " + "\n  ".join(lines) if lines else ""


def _remedy(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    wanted = next(iter(expected), "")
    prefixes = {name.removesuffix(wanted) for name in weights if wanted and name.endswith("." + wanted)}
    if len(prefixes) == 1:
        return f"the weights' names begin with a prefix: put `prefix: {prefixes.pop()!r}` in the recipe"
    return (
        "correct `arguments`, `key` or `prefix` in the recipe, so that the module is the one that was trained"
    )
