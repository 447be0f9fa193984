"""Environments for the libraries that we compare with, made once from their packages."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# Torch as the library itself has it, so that the frameworks do not differ.
_TORCH = "torch==2.13.0"


@dataclass(frozen=True)
class Peer:
    """A library to compare with.

    Parameters
    ----------
    name : str
        Name and version, as shown.
    packages : tuple of str
        What pip installs with all that it needs.
    alone : tuple of str
        What pip installs without what it asks for, because that can no longer be had.
    """

    name: str
    packages: tuple[str, ...]
    alone: tuple[str, ...] = ()


RECODER = Peer(
    "Recoder 0.4.0",
    (_TORCH, "numpy<2", "scipy", "tqdm", "six", "setuptools<81"),
    ("recsys-recoder==0.4.0", "glog==0.3.1", "annoy", "python-gflags"),
)

# Of what RecBole asks for, ray is left out: it serves the search for settings only, and none of its releases
# that RecBole takes is for newer Pythons. setuptools is for tensorboard.
RECBOLE = Peer(
    "RecBole 1.2.1",
    (
        *(_TORCH, "numpy==1.26.4", "scipy==1.17.1", "pandas==2.3.3", "scikit-learn==1.9.1", "setuptools<81"),
        *("tqdm", "pyyaml", "tensorboard", "thop", "tabulate", "plotly", "texttable", "psutil"),
        *("colorlog==4.7.2", "colorama==0.4.4"),
    ),
    ("recbole==1.2.1",),
)

IMPLICIT = Peer("implicit 0.7.3", ("implicit==0.7.3", "numpy==2.4.6", "scipy==1.17.1"))

# PyTorch's own modules, as a textbook would put them together, in the environment of this library.
PLAIN = Peer("plain PyTorch", ())


def folder_of(peer: Peer) -> Path:
    """Return where the environment of a peer is or will be; another list of packages has another place."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    code = hashlib.sha256(repr((peer, sys.version_info[:2])).encode()).hexdigest()[:12]
    return cache / "recsys_lib-peers" / f"{peer.name.lower().replace(' ', '-')}-{code}"


def python_of(peer: Peer) -> Path:
    """Return the Python of a peer; make its environment first, if need be.

    Raises
    ------
    RuntimeError
        If pip cannot install it; the last of what pip said is in the message.
    """
    if not peer.packages:
        return Path(sys.executable)
    folder = folder_of(peer)
    python = folder / "bin" / "python"
    if (folder / "ready").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    print(f"making an environment for {peer.name}, once", file=sys.stderr, flush=True)
    steps = [[sys.executable, "-m", "venv", str(folder)]]
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    steps.append([*pip, *peer.packages])
    if peer.alone:
        steps.append([*pip, "--no-deps", "--no-build-isolation", *peer.alone])
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stdout + done.stderr).strip()[-2000:]
            raise RuntimeError(f"cannot make the environment of {peer.name}: {' '.join(step)}\n{said}")
    (folder / "ready").touch()
    return python
