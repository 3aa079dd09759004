"""A user's own code: its files imported, and the class or function that a recipe names found in them."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from edgegan.errors import SHOWN, ModelError, did_you_mean
from edgegan.measure.metrics import Metric
from edgegan.measure.metrics.own import of_function
from edgegan.recipe import ModelSpec

FARTHEST_ROOT = 6
"""How many folders above a file the root of its project is looked for in."""


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
                where=origin(error) or spelled,
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
            next="name one that takes the outputs, or those and the full model's, as my_metrics.py:iou",
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
        if isinstance(error, ModuleNotFoundError) and (root := _root_of(error, file.resolve())):
            with _on_path(root):
                return _import_file(file)
        raise
    return module


def _root_of(error: ModuleNotFoundError, file: Path) -> Path | None:
    """Return the folder above `file` that holds what it imports by its full name, as from a project's root.

    None where there is none, or that has been tried.
    """
    name = (error.name or "").partition(".")[0]
    holding = (
        folder
        for folder in file.parents[1:FARTHEST_ROOT]
        if (folder / name).is_dir() or (folder / f"{name}.py").is_file()
    )
    root = next(holding, None) if name else None
    return None if root is None or str(root) in sys.path else root


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


def origin(error: BaseException) -> str | None:
    """Return the user's line that raised: the last frame outside this file and Python's import machinery."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in (__file__, importlib.__file__) and not frame.filename.startswith("<")
    ]
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else None
