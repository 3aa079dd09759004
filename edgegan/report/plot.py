"""The page's plots, as inline SVG that follows the page's colours."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from edgegan.errors import MissingDependency
from edgegan.report import format
from edgegan.report.label_placement import Box, place
from edgegan.report.quality import main_metric, title
from edgegan.report.sensitivity import Sweep
from edgegan.report.table_view import row_label
from edgegan.run.figures import Figures, Row

# Matplotlib knows no CSS variables: it draws in these stand-ins, which are then replaced in the SVG.
INK, MUTED, LINE, ACCENT, SECOND = "#010203", "#010204", "#010205", "#010206", "#010207"
VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", ACCENT: "--accent", SECOND: "--second"}

FONT = 12
LOG_FROM = 4.0
"""A range wider than this factor is drawn on a logarithmic axis."""
MOST_POINTS, MOST_ROWS, MOST_PANELS = 400, 40, 24
"""Of a curve, of a table, of curves: more take minutes to draw, and nobody could read them."""
LONGEST_LABEL = 32
PADDING = 3


@dataclass(frozen=True)
class Size:
    """A plot's size in CSS pixels; the page holds one plot for wide and one for narrow screens."""

    name: str
    width: int
    height: int


WIDE, NARROW = Size("wide", 1080, 440), Size("narrow", 350, 340)


@dataclass(frozen=True)
class Point:
    """A row in the latency-against-quality plot; each coordinate is (value, low, high)."""

    label: str
    full: bool
    stage: bool
    latency: tuple[float, float, float]
    quality: tuple[float, float, float]


@dataclass(frozen=True)
class Tradeoff:
    """What the latency-against-quality plot shows."""

    points: list[Point]
    title: str
    better: str
    """Which way quality is: "higher" or "lower"."""
    left_out: list[str]
    baseline: float | None
    """The full model's latency, where the plot has no point for the full model."""
    more: int
    """How many rows are too many to be drawn."""


def tradeoff(figures: Figures) -> Tradeoff | None:
    """Collect latency against the most telling metric of quality; None where no row has both."""
    rows, found = figures.rows, main_metric(figures)
    if found is None:
        return None
    key, metric = found
    shown = [row for row in rows if row.get("latency_ms_p50") is not None and row.get(key) is not None]
    if not shown:
        return None
    against = " to the full model" if metric.needs == "pair" else ""
    name = title(replace(metric, title=metric.title + against))
    points = [
        Point(row_label(row), row.is_full, bool(row.stage), _latency(row), _bounds(row, key, metric.scale))
        for row in shown[:MOST_ROWS]
    ]
    full = next((row for row in rows if row.is_full and row not in shown), Row())
    baseline = full.number("latency_ms_p50")
    left_out = [row_label(row) for row in rows if row not in shown and (row is not full or baseline is None)]
    return Tradeoff(points, name, metric.better, left_out, baseline, len(shown) - len(points))


def _latency(row: Row) -> tuple[float, float, float]:
    """Return the median, with the interval of the speed-up around it: the interleaved runs bound ratios."""
    p50, speedup = row.number("latency_ms_p50") or 0.0, row.interval("speedup")
    if speedup is None or row.is_full:
        return p50, p50, p50
    return p50, p50 * speedup.value / speedup.high, p50 * speedup.value / speedup.low


def _bounds(row: Row, key: str, scale: float) -> tuple[float, float, float]:
    found = row.interval(key)
    assert found is not None
    return found.value * scale, found.low * scale, found.high * scale


def tradeoff_svg(data: Tradeoff, size: Size) -> str:
    """Draw latency against quality, with error bars in both directions and a label at each point."""
    with _figure(size, f"tradeoff-{size.name}") as figure:
        axes = figure.add_subplot()
        for point in data.points:
            _draw_point(axes, point)
        at = [] if data.baseline is None else [data.baseline]
        for latency in at:
            axes.axvline(latency, color=INK, linewidth=1.2, linestyle="--")
        _scale(axes.xaxis, [*at, *(value for point in data.points for value in point.latency)])
        _scale(axes.yaxis, [value for point in data.points for value in point.quality])
        axes.set_xlabel("latency p50, ms (left is better)")
        axes.set_title(f"{data.title} ({data.better} is better)", loc="left", fontsize=FONT, color=MUTED)
        _dress(axes)
        figure.get_layout_engine().execute(figure)
        figure.set_layout_engine("none")
        _label_points(figure, axes, data.points)
        return _svg(figure, f"tradeoff-{size.name}", _in_words(data))


def _draw_point(axes: Any, point: Point) -> None:
    (x, left, right), (y, low, high) = point.latency, point.quality
    colour = INK if point.full else SECOND if point.stage else ACCENT
    axes.errorbar(
        x, y,
        xerr=[[max(0, x - left)], [max(0, right - x)]],
        yerr=[[max(0, y - low)], [max(0, high - y)]],
        fmt="s" if point.full else "o",
        color=colour, markersize=7, markeredgewidth=1.5,
        markerfacecolor="none" if point.stage else colour,
        elinewidth=1.5, capsize=3,
    )  # fmt: skip


def _label_points(figure: Any, axes: Any, points: Sequence[Point]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    at = [tuple(axes.transData.transform((point.latency[0], point.quality[0]))) for point in points]
    texts = [
        figure.text(0, 0, _elided(point.label), fontsize=FONT, color=INK, parse_math=False)
        for point in points
    ]
    extents = [text.get_window_extent(renderer) for text in texts]
    frame = axes.get_window_extent(renderer)
    boxes = place(
        at,
        [(extent.width + 2 * PADDING, extent.height) for extent in extents],
        [box for point in points for box in _obstacles(axes, point)],
        (frame.x0 + 2, frame.y0 + 2, figure.bbox.width - 2, frame.y1 - 2),
    )
    for text, extent, box, point in zip(texts, extents, boxes, at):
        text.set_position(
            ((box[0] + PADDING - extent.x0) / figure.bbox.width, (box[1] - extent.y0) / figure.bbox.height)
        )
        _leader(figure, point, box)


def _elided(label: str, longest: int = LONGEST_LABEL) -> str:
    return label if len(label) <= longest else f"{label[: longest - 1]}…"


def _obstacles(axes: Any, point: Point) -> list[Box]:
    (x, left, right), (y, low, high) = point.latency, point.quality
    (px, py), (px0, py0), (px1, py1) = axes.transData.transform([(x, y), (left, low), (right, high)])
    return [
        (px - 6, py - 6, px + 6, py + 6),
        (px0 - 2, py - 4, px1 + 2, py + 4),
        (px - 4, py0 - 2, px + 4, py1 + 2),
    ]


def _leader(figure: Any, point: tuple[float, float], box: Box) -> None:
    """Draw a thin line to a label that could not stay beside its point."""
    from matplotlib.lines import Line2D

    x = min(max(point[0], box[0]), box[2])
    y = min(max(point[1], box[1]), box[3])
    if (x - point[0]) ** 2 + (y - point[1]) ** 2 > 14**2:
        width, height = figure.bbox.width, figure.bbox.height
        ends = ([point[0] / width, x / width], [point[1] / height, y / height])
        figure.add_artist(Line2D(*ends, color=MUTED, linewidth=0.8))


def _in_words(data: Tradeoff) -> str:
    points = (
        f"{point.label} {format.milliseconds(point.latency[0])}, {format.number(point.quality[0])}"
        for point in data.points
    )
    return f"Latency p50 against {data.title}: {'; '.join(points)}."


def losses_svg(losses: Mapping[str, Sequence[float]], size: Size, name: str) -> str:
    """Draw each column of `losses` over `step`, a panel each; of a long curve every n-th step."""
    names = [column for column in losses if column != "step"][:MOST_PANELS]
    across = min(len(names), 3 if size is WIDE else 1)
    down = -(-len(names) // across)
    size = Size(size.name, size.width, down * (190 if size is WIDE else 170))
    with _figure(size, f"{name}-{size.name}") as figure:
        for index, column in enumerate(names):
            axes = figure.add_subplot(down, across, index + 1)
            every = max(1, len(losses[column]) // MOST_POINTS)
            values = losses[column][::every]
            axes.plot(losses["step"][::every], values, color=ACCENT, linewidth=1.2)
            _scale(axes.yaxis, values)
            axes.xaxis.get_major_locator().set_params(nbins=4)
            axes.set_title(column, loc="left", fontsize=FONT, color=MUTED, parse_math=False)
            _dress(axes)
        last = (f"{column} {format.number(losses[column][-1])}" for column in names)
        return _svg(figure, f"{name}-{size.name}", f"Loss curves; last values: {', '.join(last)}.")


def sensitivity_svg(sweep: Sweep, size: Size, name: str) -> str:
    """Draw a point for each layer, in the order in which they run: its PSNR alone in INT8."""
    layers = sweep.drawn
    size = Size(size.name, size.width, 70 + 20 * len(layers))
    longest = LONGEST_LABEL if size.name == WIDE.name else LONGEST_LABEL // 2
    with _figure(size, f"{name}-{size.name}") as figure:
        axes = figure.add_subplot()
        for index, cost in enumerate(layers):
            axes.plot(
                cost.psnr_db, index, "o", color=SECOND if cost.in_float else ACCENT, markersize=7,
                markeredgewidth=1.5, markerfacecolor="none" if cost.in_float else ACCENT,
            )  # fmt: skip
        _scale(axes.xaxis, [cost.psnr_db for cost in layers])
        axes.set_yticks(range(len(layers)), [_elided(cost.layer, longest) for cost in layers])
        axes.set_ylim(len(layers) - 0.4, -0.6)
        axes.set_xlabel("PSNR to the float outputs with this layer alone in INT8, dB")
        _dress(axes)
        worst = min(layers, key=lambda cost: cost.psnr_db)
        words = (
            f"PSNR of {len(layers)} layers alone in INT8; the worst is {worst.layer}, {worst.psnr_db:.1f} dB."
        )
        return _svg(figure, f"{name}-{size.name}", words)


def _scale(axis: Any, values: Sequence[float]) -> None:
    """Choose a linear or logarithmic axis with room around `values` and short tick labels."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = min(values), max(values)
    if low > 0 and high / low > LOG_FROM:
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 100 else (1, 3)))
        axis.set_minor_formatter(NullFormatter())
        limits = low / (high / low) ** 0.12, high * (high / low) ** 0.2
    else:
        room = (high - low) or abs(high) or 1.0
        limits = low - 0.2 * room, high + 0.25 * room
        limits = (max(0.0, limits[0]) if low >= 0 else limits[0]), limits[1]
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.axes.set(**{"xlim" if axis.axis_name == "x" else "ylim": limits})


def _dress(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(which="both", colors=MUTED, labelsize=FONT - 1, length=0)
    axes.xaxis.label.set(color=MUTED, fontsize=FONT)
    axes.grid(color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)


@contextmanager
def _figure(size: Size, salt: str) -> Iterator[Any]:
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependency("matplotlib", extra="compress", purpose="the page of a run") from error
    style: dict[Any, Any] = {
        **matplotlib.rcParamsDefault,
        "backend": "agg",
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
        "text.parse_math": False,
        "font.family": ["DejaVu Sans"],
        "axes.unicode_minus": True,
    }
    with matplotlib.rc_context(style):
        yield Figure(
            figsize=(size.width / 72, size.height / 72), dpi=72, layout="constrained", facecolor="none"
        )


def _svg(figure: Any, prefix: str, description: str) -> str:
    """Return the figure as an `<svg>` element: no metadata, ids of its own, CSS variables for colours."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    text = text.replace("'DejaVu Sans'", "system-ui, sans-serif")
    return text.replace(
        "<svg ", f'<svg role="img" class="{_size_class(prefix)}" aria-label="{html.escape(description)}" ', 1
    )


def _size_class(prefix: str) -> str:
    return prefix.rsplit("-", 1)[-1]
