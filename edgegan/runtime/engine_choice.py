"""Which engine runs a bundle on this machine, and what is said where it is not the one that was asked for."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Iterator

from edgegan.errors import ModelError
from edgegan.runtime.artifact import Artifact, choose
from edgegan.runtime.bundle import Bundle
from edgegan.runtime.engines.base import Engine, EngineKind, Options
from edgegan.runtime.engines.registry import engine_kind, engine_kinds

AUTO = "auto"
_UNTRUSTED = (
    "the bundle's engines are programs, and were not loaded; "
    "where you built them yourself, or trust who did, say trust_engines=True, or --trust-engines"
)


def load_engine(
    bundle: Bundle,
    engine: str = AUTO,
    name: str | None = None,
    threads: int | None = None,
    *,
    trust_engines: bool = False,
) -> tuple[Engine, tuple[str, ...]]:
    """Load a model of the bundle on an engine; return it, and notes on what is not as it was asked for.

    One that is built ahead of time takes the bundle's engine for this machine, or builds one; where it cannot
    run, another engine does. "auto" takes it where the bundle has an engine for this machine, and builds
    none; else the engine that the bundle's default was found on, or what else can run here. The engines in a
    bundle are native code: they are loaded only with `trust_engines`.

    Args:
        bundle: what to run.
        engine: its name, or "auto".
        name: of one of the bundle's artifacts.
        threads: of an engine on the CPU.
        trust_engines: load the bundle's engines.

    Raises:
        InputError: there is no such engine, or the bundle has no such model or none for this engine.
        ModelError: the engine cannot load the model, or cannot build it.
        MissingDependency: the engine is not installed, and it was asked for or is what is left.
    """
    kinds = [kind for kind in engine_kinds() if kind.ahead] if engine == AUTO else [engine_kind(str(engine))]
    if name is not None:
        bundle.artifact(name)
    notes: list[str] = []
    for kind in kinds:
        if not kind.ahead:
            return _opened(bundle, kind, bundle.choose(kind.name, name), threads), ()
        if engine == AUTO and not bundle.manifest.engines:
            continue
        loaded, reason = _ahead(bundle, kind, name, trust_engines, may_build=engine != AUTO)
        if loaded is not None:
            return loaded, (reason,) if reason else ()
        notes.append(reason)
    kept = None if name and engine != AUTO and bundle.artifact(name).engine == engine else name
    kind = _usual(bundle, kept)
    loaded = _opened(bundle, kind, bundle.choose(kind.name, kept), threads)
    instead = ", ".join(other.title for other in kinds)
    return loaded, tuple(f"runs on {kind.title}, not on {instead}: {reason}" for reason in notes)


def _ahead(
    bundle: Bundle, kind: EngineKind, name: str | None, trusted: bool, *, may_build: bool
) -> tuple[Engine | None, str]:
    """Load what was built for this machine, or build it; return it, or None, and what there is to say."""
    if bundle.manifest.engines and not trusted and not may_build:
        return None, _UNTRUSTED
    check = kind.check()
    if not check.runs:
        return None, check.detail
    chosen = bundle.choose(kind.name, name) if may_build or name else None
    stored, reason = _stored(bundle, kind, chosen, trusted)
    if stored is not None:
        return stored, ""
    keep = f"`{shlex.join(['edgegan', 'build', str(bundle.folder)])}` keeps one in the bundle"
    if chosen is None or not may_build:
        return None, f"{reason}; {keep}"
    return _opened(bundle, kind, chosen, None), f"{reason}: built one from {chosen.file}; {keep}"


def _stored(
    bundle: Bundle, kind: EngineKind, artifact: Artifact | None, trusted: bool
) -> tuple[Engine | None, str]:
    """Load the bundle's engine of an artifact, or of the best that has one, or return why there is none."""
    check = kind.check()
    reason = f"the bundle has no engine for {check.version} {check.detail}"
    wanted = bundle.manifest.artifacts if artifact is None else (artifact,)
    fitting = {found: entry for found in wanted for entry in bundle.built_from(found) if kind.fits(entry)}
    while fitting:
        if not trusted:
            return None, _UNTRUSTED
        best = choose(fitting, engine=kind.name, machine=platform.machine()) if artifact is None else artifact
        try:
            return kind.load(bundle.read(fitting.pop(best).file)), ""
        except ModelError as error:
            reason = error.what
    return None, reason


def _opened(bundle: Bundle, kind: EngineKind, artifact: Artifact, threads: int | None) -> Engine:
    shapes = bundle.manifest.contract.bounds()
    return kind.open(artifact, bundle.read(artifact.file), Options(threads, shapes))


def _usual(bundle: Bundle, name: str | None) -> EngineKind:
    """Return what runs a bundle where no engine is asked for: the first that can.

    That which the named artifact was written for comes first, then that which the default was found on.
    """
    order = [*_preferred(bundle, name), *(kind.name for kind in engine_kinds())]
    kinds = [kind for kind in map(engine_kind, dict.fromkeys(order)) if not kind.ahead]
    return next((kind for kind in kinds if kind.check().runs), kinds[0])


def _preferred(bundle: Bundle, name: str | None) -> Iterator[str]:
    known = {kind.name for kind in engine_kinds()}
    wanted = bundle.artifact(name).engine if name else None
    for engine in (wanted, bundle.manifest.default_on.engine):
        if engine in known:
            yield engine
