"""All modalities by name, and how a contract spells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from typing import Any

from edgegan import plugins
from edgegan.errors import InputError
from edgegan.forms import is_mapping
from edgegan.runtime.modality.audio import Audio
from edgegan.runtime.modality.base import Modality
from edgegan.runtime.modality.class_map import ClassMap
from edgegan.runtime.modality.image import Image
from edgegan.runtime.modality.series import Series
from edgegan.runtime.modality.tensor import Tensor
from edgegan.runtime.modality.tokens import Tokens
from edgegan.runtime.modality.video import Video

GROUP = "edgegan.modalities"
"""Of the entry points that add others."""
OWN: dict[str, type[Modality]] = {
    modality.kind: modality for modality in (Image, Audio, Video, Series, ClassMap, Tokens, Tensor)
}
LAYOUTS: dict[str, Modality] = {"CHW": Image(), "": Tensor()}
"""The older spelling, as `layout`, of the two that there were."""


def read(value: Any) -> Modality:
    """Return the modality that a contract spells as `audio`, or with its parameters as `{kind: audio, ...}`.

    Raises:
        InputError: there is no such modality, or a parameter is unknown, missing or out of range.
    """
    given: Mapping[str, Any] = value if is_mapping(value) else {"kind": value}
    if not isinstance(given.get("kind"), str):
        raise InputError(
            f"a modality must be a name, or {{kind: NAME}} with its parameters, not {value!r:.60}",
            next=f"the names are {', '.join(plugins.names(GROUP, OWN))}",
        )
    made = plugins.find(GROUP, OWN, given["kind"], "modality")
    known = {field.name: field for field in fields(made)}  # pyright: ignore[reportArgumentType]
    parameters = {key: item for key, item in given.items() if key != "kind"}
    spelled = f"modality: {{{', '.join([f'kind: {made.kind}', *(f'{name}: ...' for name in known)])}}}"
    for name in parameters:
        if name not in known:
            raise InputError(f"the modality {made.kind} has no parameter {name!r:.40}", next=spelled)
    for name, field in known.items():
        if name not in parameters and field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"the modality {made.kind} needs {name}", next=spelled)
    return made(**parameters)


def spelled(modality: Modality) -> dict[str, Any]:
    """Return the part of an output's entry in a contract that `read` reads; `layout` where that says it."""
    for layout, named in LAYOUTS.items():
        if modality == named:
            return {"layout": layout}
    return {"modality": {"kind": modality.kind, **asdict(modality)}}  # pyright: ignore[reportArgumentType]
