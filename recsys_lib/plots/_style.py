"""One visual language for every chart: colours by model, type sizes, quiet axes.

matplotlib is imported when something is drawn, never before: the library works without it.
"""

from __future__ import annotations

import functools
import sys
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from recsys_lib.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
R = TypeVar("R")

# A hue for each family, several depths within it. All reach a contrast of 3:1 on white and on a dark page;
# any two differ also for readers with red or green colour blindness (found by a search over OKLCH).
PALETTE: dict[str, str] = {
    "Popularity": "#7e7e7e",
    "ItemKNN": "#ba570f",
    "EASE": "#a5890b",
    "BiasedMF": "#46668d",
    "iALS": "#5c8bfd",
    "BPR": "#4198d3",
    "LogisticMF": "#1c67ba",
    "GMF": "#4ba461",
    "MLP": "#619f95",
    "NeuMF": "#0d7163",
    "AutoRec": "#6e40e6",
    "MultDAE": "#c200ac",
    "MultVAE": "#8b62d8",
    "RecVAE": "#e95abf",
    "BottleneckAE": "#fc5f40",
    "Recoder": "#a74043",
}

# The shape says the family once more, for readers who cannot rely on the hue.
_MARKERS = {
    "s": ("Popularity",),
    "D": ("ItemKNN", "EASE"),
    "o": ("BiasedMF", "iALS", "BPR", "LogisticMF"),
    "^": ("GMF", "MLP", "NeuMF"),
    "v": ("AutoRec", "MultDAE", "MultVAE", "RecVAE"),
    "P": ("BottleneckAE", "Recoder"),
}

# Names of classes and of variants, for models that have another name above.
_ALIASES = {
    "ProfilePopularity": "Popularity",
    "LowRankEASE": "EASE",
    "I-AutoRec": "AutoRec",
    "BottleneckAutoencoder": "BottleneckAE",
    "DynamicAutoencoder": "Recoder",
    "MatrixFactorization": "BiasedMF",
}

# For parts of the data and for groups such as genres: Okabe and Ito's colours, the light ones darkened.
GROUPS = ("#0072b2", "#d55e00", "#009e73", "#b8578c", "#a07800", "#3d8fc4", "#6b4fbb", "#7a3b12")
PARTS = {"train": "#6f7d8c", "valid": "#0072b2", "test": "#d55e00", "fold-in": "#009e73"}
INK, MUTED, FAINT, PAPER = "#1f2933", "#5b6673", "#d5dbe1", "#ffffff"
ACCENT = "#0072b2"

# A white sheet of its own: such a figure can be read on any page, a dark one too.
STYLE: dict[str, Any] = {
    "figure.figsize": (6.4, 3.8),
    "figure.facecolor": PAPER,
    "figure.dpi": 100,
    "savefig.facecolor": PAPER,
    "savefig.bbox": "tight",
    "svg.hashsalt": "recsys_lib",  # without it the ids in an SVG differ from run to run
    "svg.fonttype": "path",  # the letters look and measure the same for every reader
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "axes.facecolor": PAPER,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "text.usetex": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


def _key(name: str) -> str:
    return "".join(letter for letter in name.split("(")[0].lower() if letter.isalnum())


_NAMES = {name: name for name in PALETTE} | _ALIASES
_COLORS = {_key(shown): PALETTE[name] for shown, name in _NAMES.items()}
_MARKER_OF = {name: marker for marker, names in _MARKERS.items() for name in names}
_SHAPES = {_key(shown): _MARKER_OF[name] for shown, name in _NAMES.items()}


def _look_up(name: str, table: dict[str, str]) -> str | None:
    key = _key(name)
    known = max((k for k in table if key.startswith(k)), key=len, default=None)
    return None if known is None else table[known]


def model_color(name: str) -> str:
    """Return the colour of a model, the same one in every figure.

    Parameters
    ----------
    name : str
        Name of the model. Case, spaces, hyphens and what follows the name do not matter: ``"Mult-VAE"`` and
        ``"ItemKNN(k=50)"`` are found. A name that is not in ``PALETTE`` always gets the same colour too.

    Returns
    -------
    str
        A hex colour.

    Examples
    --------
    >>> model_color("EASE") == model_color("ease (l2=500)") == PALETTE["EASE"]
    True
    """
    return _look_up(name, _COLORS) or GROUPS[zlib.crc32(_key(name).encode()) % len(GROUPS)]


def model_marker(name: str) -> str:
    """Return the marker of a model's family; ``"X"`` for a model that is not in ``PALETTE``.

    Examples
    --------
    >>> model_marker("GMF") == model_marker("NeuMF") == "^"
    True
    """
    return _look_up(name, _SHAPES) or "X"


def pyplot() -> Any:
    """Import matplotlib now, or say what is missing."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "drawing needs matplotlib, and it cannot be imported. Install it: pip install recsys_lib[plots]"
        ) from error
    return plt


def use_style() -> None:
    """Set the book's look for all figures of this process; in a notebook, show them as SVG.

    The functions of :mod:`recsys_lib.plots` always draw in this look. Call it once at the top of a notebook
    for sharp, reproducible figures, and for figures of your own beside them. To have the look in one place
    only, use ``matplotlib.rc_context(plots.STYLE)``.
    """
    plt = pyplot()
    plt.rcParams.update(STYLE)
    ipython = sys.modules.get("IPython")
    if ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        # The date would make every build of a notebook differ from the one before.
        set_matplotlib_formats("svg", metadata={"Date": None})


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Make a drawing function draw in the book's look, whatever the reader's settings are."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with pyplot().rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapper


def plain(text: Any) -> str:
    """Return text that matplotlib draws as it stands: a ``$`` does not start a formula.

    Examples
    --------
    >>> plain("$5 a Day")
    '\\\\$5 a Day'
    """
    return str(text).replace("$", r"\$")


def shorten(text: Any, limit: int = 28) -> str:
    """Cut a long title at ``limit`` characters, with an ellipsis, and make it plain."""
    words = " ".join(str(text).split())
    return plain(words if len(words) <= limit else words[: limit - 1].rstrip(" ,:;") + "…")


def new_axes(ax: Axes | None, width: float = 6.4, height: float = 3.8) -> Axes:
    """Return ``ax``, or the axes of a new figure of this size in inches."""
    if ax is not None:
        return ax
    axes: Axes = pyplot().subplots(figsize=(width, height))[1]
    return axes


def whole_figure(ax: Axes) -> Figure:
    """Return the figure that the axes are in, be it nested in others."""
    figure: Figure = ax.get_figure(root=True)  # type: ignore[call-arg, assignment, unused-ignore]
    return figure


def plain_log(ax: Axes, which: str) -> None:
    """Make the ``"x"`` or ``"y"`` axis logarithmic, with ticks written as 1, 2, 5, 10 to 1,000."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis = ax.xaxis if which == "x" else ax.yaxis
    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    axis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5), numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def need(condition: bool, message: str) -> None:
    """Raise a :class:`DataError` with this message unless the condition holds."""
    if not condition:
        raise DataError(message)


def to_array(values: Any) -> npt.NDArray[Any]:
    """Return an array, a tensor on any device or nested lists as a numpy array."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def thousands(axis: Any) -> None:
    """Write the numbers of an axis with a comma at the thousands."""
    axis.set_major_formatter("{x:,.10g}")
