"""What each stage did, summarised from its record for the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgegan.report import format
from edgegan.run.folder import StageFolder

Pairs = list[tuple[str, str]]

LONG_LIST = 8
SENSITIVITY = "sensitivity"
"""A list of the proof that has a table and a plot of its own."""
LONG_TABLE = 12
NAMED_LAYERS = 5
"""Layers in float that a sentence names."""
SPELLINGS = {
    "cpu": "CPU", "db": "dB", "fid": "FID", "gib": "GiB", "int8": "INT8", "macs": "MACs", "mib": "MiB",
    "onnx": "ONNX", "os": "OS", "psnr": "PSNR", "ram": "RAM", "ssim": "SSIM",
}  # fmt: skip
BEFORE_AFTER = (("before", "after"), ("from", "to"))


@dataclass(frozen=True)
class Change:
    """One line of what changed; `share` is after / before in percent where both are counts."""

    label: str
    text: str
    share: int | None = None


@dataclass(frozen=True)
class Changes:
    """A titled list of changes; the page folds a long one until it is asked for."""

    title: str
    lines: list[Change]
    folded: bool = False


@dataclass
class StageView:
    """A stage as the page shows it."""

    title: str
    seconds: str
    settings: Pairs = field(default_factory=list)
    facts: Pairs = field(default_factory=list)
    changes: list[Changes] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    """For each INT8 file, in sentences: how much of it runs in INT8, and how near its outputs are."""
    proof: Pairs = field(default_factory=list)
    lists: list[Changes] = field(default_factory=list)
    """The long lists of the proof."""
    finished: bool = True


def lineage(stages: list[StageFolder]) -> list[StageView]:
    """Summarise the stages of a run in their order."""
    return [_view(stage) for stage in stages]


def _view(stage: StageFolder) -> StageView:
    record = stage.record
    if record is None:
        return StageView(stage.folder, format.MISSING, finished=False)
    changed = dict(record.changed)
    if "widths" in changed:
        changed.pop("kept", None)
        changed["widths"] = {layer: _from_pair(pair) for layer, pair in changed["widths"].items()}
    view = StageView(record.stage, format.seconds(record.seconds))
    view.settings = flat(record.settings, str)
    proof, view.lists = _without_lists(_side_by_side(record.proof))
    view.proof = flat(proof)
    view.files = [
        sentence
        for name, found in record.proof.items()
        for look in (_coverage, _closeness)
        if (sentence := look(name, found))
    ]
    for key, value in changed.items():
        if isinstance(value, Mapping) and not _is_step(value) and len(value) > 1:
            view.changes.append(
                _titled(words(key), [_change(str(name), item) for name, item in value.items()])
            )
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            view.changes.append(_titled(words(key), [_entry(item) for item in value]))
        else:
            view.facts.append((words(key), _change(key, value).text))
    return view


def _coverage(name: str, found: Any) -> str | None:
    """Say by an INT8 file's proof how much of it runs in INT8; None where the proof does not hold that."""
    if not isinstance(found, Mapping) or not {"int8_layers", "float_layers", "int8_macs_share"} <= set(found):
        return None
    if not all(isinstance(found[key], list) for key in ("int8_layers", "float_layers")):
        return None
    inside, outside = len(found["int8_layers"]), len(found["float_layers"])
    layers = f"{inside} of its {inside + outside} layers"
    if not inside:
        return f"The {name} file runs no layer in INT8: it is FP32 with conversions around it."
    if not outside:
        return f"The {name} file runs all its multiplications in INT8, in {layers}."
    share = format.percent(found["int8_macs_share"])
    kept = ", ".join(map(str, found["float_layers"][:NAMED_LAYERS]))
    more = f" and {outside - NAMED_LAYERS} more" if outside > NAMED_LAYERS else ""
    return (
        f"The {name} file runs {share} of its multiplications in INT8, in {layers}. In float: {kept}{more}."
    )


def _closeness(name: str, found: Any) -> str | None:
    """Say by an INT8 file's proof how near its outputs are; None where the proof does not hold that."""
    keys = ("psnr_db", "worst_psnr_db")
    if not isinstance(found, Mapping) or not all(isinstance(found.get(key), (int, float)) for key in keys):
        return None
    all_db, worst_db = (format.number(found[key]) for key in keys)
    share = found.get("under_budget_share")
    under = f", and {format.percent(share)} are under its budget" if isinstance(share, (int, float)) else ""
    return f"On other inputs the {name} file is {all_db} dB from float, {worst_db} dB on the worst{under}."


def _titled(title: str, lines: list[Change]) -> Changes:
    return Changes(title, lines, folded=len(lines) > LONG_TABLE)


def _from_pair(pair: Any) -> Any:
    return {"before": pair[0], "after": pair[1]} if isinstance(pair, list) and len(pair) == 2 else pair


def _side_by_side(proof: Mapping[str, Any]) -> dict[str, Any]:
    """Turn figures before and figures after into figures before and after."""
    before, after = proof.get("before"), proof.get("after")
    if not (isinstance(before, Mapping) and isinstance(after, Mapping) and before.keys() == after.keys()):
        return dict(proof)
    others = {key: value for key, value in proof.items() if key not in ("before", "after")}
    return {**{key: {"before": before[key], "after": after[key]} for key in before}, **others}


def _without_lists(proof: Mapping[str, Any]) -> tuple[dict[str, Any], list[Changes]]:
    """Take out of the figures of each file what is long: lists of entries, of many names, and counts."""
    short: dict[str, Any] = {}
    lists = []
    for key, value in proof.items():
        if not isinstance(value, Mapping) or _is_step(value):
            short[key] = value
            continue
        short[key] = {name: item for name, item in value.items() if not _is_long(item)}
        for name, item in value.items():
            if _is_long(item) and name != SENSITIVITY:
                lists.append(Changes(f"{words(key)} · {words(name)}", _lines(item), folded=True))
    return short, lists


def _is_long(value: Any) -> bool:
    if isinstance(value, Mapping):
        return len(value) > 1 and all(isinstance(item, int) for item in value.values())
    return isinstance(value, list) and (
        len(value) > LONG_LIST or any(isinstance(item, Mapping) for item in value)
    )


def _lines(value: Any) -> list[Change]:
    if isinstance(value, Mapping):
        return [_change(str(name), count) for name, count in value.items()]
    return [_entry(item) if isinstance(item, Mapping) else Change(str(item), "") for item in value]


def _entry(item: Mapping[str, Any]) -> Change:
    """Write one entry of a list of what was done: `layer`, and the rest beside it."""
    others = (
        format.plain(value) for key, value in item.items() if key != "layer" and value not in ("", None)
    )
    return Change(str(item.get("layer", "")), ": ".join(others))


def words(key: str) -> str:
    """Write a key as words: `held_out_psnr_db` becomes `held out PSNR dB`."""
    return " ".join(SPELLINGS.get(word, word) for word in key.split("_"))


def flat(mapping: Mapping[str, Any], spell: Callable[[str], str] = words) -> Pairs:
    """List a nested mapping's leaves as (path, text); long lists by their length."""
    pairs = []
    for key, value in mapping.items():
        name = spell(str(key))
        if isinstance(value, Mapping) and not {"value", "low", "high"} <= set(value) and not _is_step(value):
            joint = "." if spell is str else " · "
            pairs += [(f"{name}{joint}{path}", text) for path, text in flat(value, spell)]
        elif isinstance(value, float) and str(key).endswith("_share"):
            pairs.append((name, f"{100 * value:.1f}%"))
        else:
            pairs.append((name, _change(name, value).text))
    return pairs


def _change(label: str, value: Any) -> Change:
    if not _is_step(value):
        return Change(label, _short(value))
    names = _step_names(value)
    before, after = (value[name] for name in names)
    others = {key: item for key, item in value.items() if key not in names}
    aside = f" ({format.plain(others)})" if others else ""
    return Change(label, f"{_short(before)} → {_short(after)}{aside}", _share(before, after))


def _is_step(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(_step_names(value))


def _step_names(value: Mapping[str, Any]) -> tuple[str, ...]:
    return next((names for names in BEFORE_AFTER if set(names) <= set(value)), ())


def _share(before: Any, after: Any) -> int | None:
    counts = all(isinstance(item, int | float) and not isinstance(item, bool) for item in (before, after))
    return round(100 * after / before) if counts and before > 0 and 0 <= after <= before else None


def _short(value: Any) -> str:
    if isinstance(value, list | tuple) and len(value) > LONG_LIST:
        return f"{len(value)} entries"
    if isinstance(value, Mapping) and len(value) > LONG_LIST:
        return f"{len(value)} entries"
    if isinstance(value, int) and not isinstance(value, bool) and value >= 100_000:
        return format.count(value)
    return format.plain(value)
