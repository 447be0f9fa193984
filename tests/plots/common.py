"""What the tests of figures share: reading back what was drawn."""

import matplotlib
import numpy as np
from matplotlib.axes import Axes

NAN = float("nan")


def drawn(ax):
    """Render the axes, so that whatever fails or warns while drawing fails here; return them."""
    assert isinstance(ax, Axes)
    ax.figure.canvas.draw()
    return ax


def words(ax):
    return [text.get_text() for text in ax.texts]


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def luminance(color):
    channels = np.array(matplotlib.colors.to_rgb(color))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
