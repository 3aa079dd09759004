"""The forms of what a run's files hold, as far as the page and the tables read them."""

from __future__ import annotations

import re
from typing import Any

from edgegan import forms
from edgegan.report.table_view import OF_FEATURES

_FEATURE = re.compile(rf"({'|'.join(OF_FEATURES)})_\d+[km]?")
_DATA = forms.mapping_of(forms.anything)
_NAME = forms.maybe(forms.text)


def _interval_of(form: forms.Form) -> forms.Form:
    return forms.record({"value": form, "low": form, "high": form})


_FIGURE = forms.maybe(forms.either(forms.number, _interval_of(forms.number)))
_ROW = forms.record(
    {},
    {
        **dict.fromkeys(("name", "label", "file", "stage", "precision"), _NAME),
        **dict.fromkeys(("params", "macs", "file_bytes"), forms.maybe(forms.count)),
        **dict.fromkeys(
            ("latency_ms_p50", "latency_ms_p90", "latency_ms_p99", "latency_cv"), forms.maybe(forms.number)
        ),
        **dict.fromkeys(("end_to_end_ms_p50", "peak_rss_mib", "load_ms"), forms.maybe(forms.number)),
        "speedup": forms.maybe(_interval_of(forms.positive)),
        **dict.fromkeys(("psnr_db", "ssim"), _FIGURE),
        "warnings": forms.maybe(forms.list_of(forms.text)),
        "failed": forms.maybe(forms.mapping_of(forms.text)),
    },
)
_LAYER = forms.record({"layer": forms.text, "macs_share": forms.number, "psnr_db": forms.number})


def row(value: Any, place: str) -> None:
    """Take a row of `figures.json`."""
    _ROW(value, place)
    for key, item in value.items():
        if _FEATURE.fullmatch(key):
            _FIGURE(item, f"{place}.{key}")


def rows(value: Any, place: str) -> None:
    """Take one row or more."""
    forms.list_of(row)(value, place)
    forms.at_least_one(value, place)


FIGURES = forms.record(
    {"rows": rows}, {"protocol": forms.maybe(forms.record({}, {"machine": forms.maybe(_DATA)}))}
)
"""Of figures.json, and of a manifest's figures."""


def _layer(value: Any, place: str) -> None:
    _LAYER(value, place)
    for key, item in value.items():
        if key.startswith("fid_"):
            forms.maybe(forms.number)(item, f"{place}.{key}")


def _proof(value: Any, place: str) -> None:
    """Take what is proved of one file: anything, or an object, perhaps with a table of its layers."""
    if isinstance(value, dict):
        forms.record({}, {"sensitivity": forms.list_of(_layer)})(value, place)


def _changed(value: Any, place: str) -> None:
    if isinstance(value, dict):
        forms.record({}, {"precisions": forms.maybe(_DATA)})(value, place)


def _changes(value: Any, place: str) -> None:
    forms.mapping_of(_changed)(value, place)
    forms.record({}, {"widths": _DATA})(value, place)


RECORD = forms.record(
    {},
    {
        "stage": _NAME,
        "settings": forms.maybe(_DATA),
        "changed": forms.maybe(_changes),
        "proof": forms.maybe(forms.mapping_of(_proof)),
        "seconds": forms.maybe(forms.number),
    },
)
"""Of a stage's record.json."""

RUN = forms.record(
    {},
    {
        **dict.fromkeys(("name", "recipe", "description", "profile", "started"), _NAME),
        "command": forms.maybe(forms.either(forms.text, forms.list_of(forms.text))),
        "machine": forms.maybe(_DATA),
    },
)
"""Of run.json."""

_FINDING = forms.record({}, dict.fromkeys(("level", "layer", "what", "why", "next"), _NAME))
LINT = forms.either(
    forms.record({}, {"findings": forms.list_of(_FINDING)}),
    forms.list_of(_FINDING),
)
"""Of lint.json."""

MANIFEST = forms.record({"default": forms.text})
"""Of a bundle's manifest.json, of which the page takes no more."""
