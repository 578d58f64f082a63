"""An experiment as a picture: PNG or SVG, by matplotlib, which is asked for only here."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from guest.bench import contestants as who
from guest.bench.experiment import Experiment
from guest.bench.figures import Panel, Series

SUFFIXES = (".png", ".svg")
#: Colour, marker and line of each name, the same in every picture.
STYLES = {who.CLASSIC: ("#c0392b", "o", "-"), who.ODF1: ("#1f77b4", "s", "-"), who.ODF2: ("#2ca02c", "^", "-"),
          who.HOST: ("#7f7f7f", "D", "-"), who.PAPER_CLASSIC: ("#c0392b", "x", ":"),
          who.PAPER_ODF: ("#1f77b4", "x", ":")}
_BAR = 0.14


class PlotError(Exception):
    """There can be no picture; the text says why."""


def prepare(path: str) -> None:
    """Look before anything is measured whether a picture can be made and written.

    Raises:
        PlotError: another kind of file, a folder that cannot be written, or no matplotlib.
    """
    file = Path(path)
    if file.suffix.lower() not in SUFFIXES:
        raise PlotError(f"--plot {path}: a picture is {' or '.join(SUFFIXES)}")
    if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
        raise PlotError(f"--plot {path}: cannot be written")
    if importlib.util.find_spec("matplotlib") is None:
        raise PlotError("--plot needs matplotlib: pip install matplotlib, or -e '.[plot]'")


def draw(experiment: Experiment, path: str) -> None:
    """Write the picture of what has been measured.

    Raises:
        PlotError: see prepare(); or it cannot be written.
    """
    prepare(path)
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = [panel for panel in experiment.panels() if panel.series]
    if not panels or not experiment.times:
        raise PlotError(f"--plot {path}: nothing was measured that it shows")
    # Text stays text and nothing depends on the day: a small file, and the same numbers make the same one.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "forkyard", "font.size": 10}):
        figure, axes = pyplot.subplots(1, len(panels), figsize=(max(7.5, 4.6 * len(panels)), 4.6), squeeze=False,
                                       layout="constrained")
        for panel, one in zip(panels, axes[0], strict=True):
            _draw_panel(panel, one)
        if experiment.title != panels[0].title:
            figure.suptitle(experiment.title)
        try:
            figure.savefig(path, dpi=120, metadata={"Date": None} if path.lower().endswith(".svg") else None)
        except OSError as error:
            raise PlotError(f"--plot {path}: {error.strerror}") from None
        finally:
            pyplot.close(figure)


def _draw_panel(panel: Panel, axes: Any) -> None:
    for number, series in enumerate(panel.series):
        colour, marker, line = STYLES[series.name]
        label = who.HEADINGS.get(series.name, series.name)
        if panel.bars:
            shift = (number - (len(panel.series) - 1) / 2) * _BAR
            axes.bar([x + shift for x in series.xs], series.ys, _BAR, color=colour, label=label,
                     hatch="//" if series.name in who.PAPER else None, edgecolor="white")
        else:
            axes.plot(series.xs, series.ys, color=colour, marker=marker, linestyle=line, label=label)
            if panel.ends:
                _show_end(axes, series)
    axes.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
    if panel.log_x:
        axes.set_xscale("log", base=2)
    if panel.log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if panel.ends:
        axes.margins(x=0.09)
    if panel.ticks:
        axes.set_xticks(list(panel.ticks), list(panel.ticks.values()), fontsize="small")
        axes.minorticks_off()
    if not panel.log_y:
        axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def _show_end(axes: Any, series: Series) -> None:
    """The value of the last point beside it."""
    axes.annotate(f"{series.ys[-1]:.3g}", (series.xs[-1], series.ys[-1]), textcoords="offset points", xytext=(6, 3),
                  fontsize="x-small", color=STYLES[series.name][0])
