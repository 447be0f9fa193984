"""Models for a web page: one script with rounded weights, which a page can use without server or network.

The script sets a single variable, ``window.filmModels``, and is otherwise JSON. A weight is one printable
character. It stands for a whole number :math:`q` from -45 to 45, and that for :math:`q |q| / 45^2` times a
scale: the squares keep small weights apart, of which there are many. Scales and biases are plain numbers.

* EASE's matrix is :math:`B_{ij} = -P_{ij} / P_{jj}` with a symmetric :math:`P`. So it is written as
  :math:`B_{ij} = g_i T_{ij} a_j`, and of symmetric :math:`T` only the part above the diagonal, row by row.
* The network is written without its normalisations: after training they only multiply and add, and so do the
  layers that follow them. What is left is three matrices, each row with a scale, and three biases.
* Popularity is the counts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from recsys_lib._files import atomic_write
from recsys_lib._validation import check_integer
from recsys_lib.device import resolve_device
from recsys_lib.errors import DataError, FileFormatError
from recsys_lib.histories import Histories
from recsys_lib.ids import IdMap
from recsys_lib.models import EASE, BottleneckAutoencoder, Popularity
from recsys_lib.models._cooccurrence import co_counts
from recsys_lib.models.history_nets import BottleneckNet

__all__ = ["MAX_BYTES", "read_models", "write_models"]

MAX_BYTES = 3_000_000  # what a page may ask of its readers

_BEFORE, _AFTER = "window.filmModels = ", ";\n"
_LEVELS = 45
# From "#" to "~", and without the backslash: characters that stand for themselves in a string of a script.
_FIRST, _BACKSLASH = 35, 92

Array = npt.NDArray[np.float64]


def write_models(
    path: str | os.PathLike[str],
    net: BottleneckAutoencoder,
    ease: EASE,
    titles: Sequence[str],
    *,
    at_least: int | None = None,
    max_bytes: int = MAX_BYTES,
) -> None:
    """Write an autoencoder, EASE and the counts of Popularity for a page.

    Parameters
    ----------
    path : path-like
        The script to write.
    net, ease : BottleneckAutoencoder, EASE
        Fitted on the same data.
    titles : sequence of str, length n_items
        What the page calls each item, in the order of ``item_ids``.
    at_least : int, optional
        Leave out items that fewer people have in training. That makes the file smaller: EASE takes one
        character for two items, the network one for each item and each number of its first and last layer.
        By default 5, or the smallest number above it with which the file keeps to ``max_bytes``.
    max_bytes : int
        The largest file to write: readers fetch it with the page. By default ``MAX_BYTES``, 3 MB.

    Raises
    ------
    NotFittedError
        If a model is not fitted.
    DataError
        If the models know different items, there is not one title for each, fewer than two are left, or the
        file would be larger than ``max_bytes`` with the ``at_least`` given. Nothing is written then.
    """
    if at_least is not None:
        check_integer("at_least", at_least, 1)
    check_integer("max_bytes", max_bytes, 1)
    net._need_fit()
    ease._need_fit()
    if net.item_ids != ease.item_ids:
        raise DataError("net and ease know different items: fit both on the same training data.")
    if len(titles) != len(net.item_ids):
        raise DataError(
            f"titles must have one entry for each of {len(net.item_ids)} items, got {len(titles)}."
        )
    limit = 5 if at_least is None else at_least
    counts = net.popularity_.cpu().numpy().astype(int)
    while True:
        kept = (counts >= limit).nonzero()[0]
        if len(kept) < 2:
            raise DataError(f"at_least={limit} leaves {len(kept)} items: lower it, or raise max_bytes.")
        script = _script(net, ease, titles, kept)
        if len(script) <= max_bytes:
            break
        if at_least is not None:
            raise DataError(
                f"with at_least={limit} the file for the page would hold {len(kept):,} items in "
                f"{len(script) / 1e6:.2f} MB, and max_bytes allows {max_bytes / 1e6:.2f} MB. Raise at_least, "
                "which leaves rare items out, or raise max_bytes."
            )
        # The size grows with up to the square of the number of items: this cannot leave out too many.
        n_next = int(len(kept) * np.sqrt(max_bytes / len(script)))
        limit = max(limit + 1, int(np.sort(counts)[::-1][min(n_next, len(counts) - 1)]))
    with atomic_write(path) as file:
        file.write(script)


def _script(
    net: BottleneckAutoencoder, ease: EASE, titles: Sequence[str], kept: npt.NDArray[np.int64]
) -> bytes:
    content = {
        "items": net.item_ids.take(kept).tolist(),
        "titles": [str(titles[i]) for i in kept],
        "counts": net.popularity_.cpu().numpy()[kept].astype(int).tolist(),
        "ease": _ease_to_json(ease, kept),
        "net": _net_to_json(net.net_, kept),
    }
    return (_BEFORE + json.dumps(content, separators=(",", ":")) + _AFTER).encode()


def read_models(path: str | os.PathLike[str], device: str = "auto") -> dict[str, Any]:
    """Read the models as the page has them, with rounded weights and over the items that were kept.

    They know no people, so ask them with ``recommend_from_history``.

    Returns
    -------
    dict
        ``"net"``, ``"ease"`` and ``"popularity"``.

    Raises
    ------
    FileFormatError
        If the file was not written by :func:`write_models`.
    """
    text = Path(path).read_text(encoding="utf-8")
    try:
        content = json.loads(text.removeprefix(_BEFORE).removesuffix(_AFTER))
        items, counts = IdMap(content["items"], "item"), torch.tensor(content["counts"])
        # Made-up people, so many that each item has as many as it had.
        people = torch.arange(int(counts.max()))
        rows, columns = (people[:, None] < counts).nonzero().T
        seen = Histories.from_pairs(rows, columns, len(people), len(items)).to(resolve_device(device))
        net = _net_from_json(content["net"])
        widths = (len(net.encoder_bias), len(net.middle.bias))
        models: dict[str, Any] = {
            "net": BottleneckAutoencoder(layers=widths, device=device),
            "ease": EASE(device=device),
            "popularity": Popularity(device=device),
        }
        for model in models.values():
            model._wear(IdMap(people.numpy(), "user"), items, seen)
        models["net"].net_ = net.to(seen.device)
        models["ease"].weights_ = _ease_from_json(content["ease"]).to(seen.device)
    except (KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{path} was not written by write_models: {error}") from error
    return models


# ---------------------------------------------------------------------- weights as characters


def _pack(values: Array) -> str:
    """Write numbers from -1 to 1, each as one character."""
    codes = np.rint(np.sign(values) * np.sqrt(np.abs(values)) * _LEVELS).astype(int) + _LEVELS + _FIRST
    codes[codes >= _BACKSLASH] += 1
    return codes.astype(np.uint8).tobytes().decode("ascii")


def _unpack(characters: str) -> Array:
    codes = np.frombuffer(characters.encode("ascii"), dtype=np.uint8).astype(int)
    q = codes - (codes > _BACKSLASH) - _FIRST - _LEVELS
    return q * np.abs(q) / _LEVELS**2


def _short(values: Array) -> list[float]:
    """Round to six digits, which a float32 has."""
    return [float(f"{value:.6g}") for value in values]


# ---------------------------------------------------------------------- EASE


def _ease_to_json(ease: EASE, kept: npt.NDArray[np.int64]) -> dict[str, Any]:
    weights = ease.weights_.double().cpu()
    # From (X'X + l2 I)(I - B) = diag(1 / P_jj), which is how B was made.
    inverse = ease.popularity_.double().cpu() + ease.l2
    for start, block in co_counts(ease.seen_):
        rows = slice(start, start + len(block))
        inverse[rows] -= (block.double().cpu() * weights.T[rows]).sum(1)
    root = inverse.rsqrt().numpy()[kept]
    symmetric = weights.numpy()[np.ix_(kept, kept)] * root / root[:, None]
    # Divided by the roots of both rows' largest entries, none is above 1.
    largest = np.sqrt(np.abs(symmetric).max(1)).clip(min=1e-12)
    symmetric /= largest * largest[:, None]
    return {
        "given": _short(root * largest),
        "asked": _short(largest / root),
        "weights": _pack(symmetric[np.triu_indices(len(kept), 1)]),
    }


def _ease_from_json(content: dict[str, Any]) -> Tensor:
    given, asked = np.array(content["given"]), np.array(content["asked"])
    upper = np.zeros((len(given), len(given)))
    upper[np.triu_indices(len(given), 1)] = _unpack(content["weights"])
    return torch.from_numpy(given[:, None] * (upper + upper.T) * asked).float()


# ---------------------------------------------------------------------- the network


def _net_to_json(net: BottleneckNet, kept: npt.NDArray[np.int64]) -> dict[str, Any]:
    state = {name: value.double().cpu().numpy() for name, value in net.state_dict().items()}
    middle, last = state["middle.weight"], state["decoder.weight"]
    factors = [
        state[f"norm.{i}.weight"] / np.sqrt(state[f"norm.{i}.running_var"] + norm.eps)
        for i, norm in enumerate(net.norm)
    ]
    shifts = [
        state[f"norm.{i}.bias"] - factor * state[f"norm.{i}.running_mean"] for i, factor in enumerate(factors)
    ]
    tables = {
        "first": (state["encoder.weight"][kept], state["encoder_bias"]),
        "middle": (middle * factors[0], state["middle.bias"] + middle @ shifts[0]),
        "last": ((last * factors[1])[kept], (state["output_bias.weight"] + last @ shifts[1])[kept]),
    }
    return {name: _table_to_json(weights, bias) for name, (weights, bias) in tables.items()}


def _table_to_json(weights: Array, bias: Array) -> dict[str, Any]:
    scales = np.abs(weights).max(1).clip(min=1e-12)
    return {"scales": _short(scales), "bias": _short(bias), "weights": _pack(weights / scales[:, None])}


def _table_from_json(content: dict[str, Any]) -> tuple[Tensor, Tensor]:
    scales = np.array(content["scales"])[:, None]
    weights = scales * _unpack(content["weights"]).reshape(len(scales), -1)
    return torch.from_numpy(weights).float(), torch.tensor(content["bias"])


def _net_from_json(content: dict[str, Any]) -> BottleneckNet:
    tables = [_table_from_json(content[name]) for name in ("first", "middle", "last")]
    (first, first_bias), (middle, middle_bias), (last, last_bias) = tables
    net = BottleneckNet(len(first), (len(first_bias), len(middle_bias)))
    net.norm = nn.ModuleList([nn.Identity(), nn.Identity()])
    state = {"encoder.weight": first, "encoder_bias": first_bias, "middle.weight": middle}
    state |= {"middle.bias": middle_bias, "decoder.weight": last, "output_bias.weight": last_bias}
    net.load_state_dict(state)
    return net.eval()
