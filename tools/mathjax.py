"""MathJax for pages that must work without a network: fetched once, checked, never committed."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

VERSION = "3.2.2"
NPM_SHA512 = "Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw=="
# The same files in a wheel, for machines without npm.
WHEEL = "sphinx-mathjax-offline==0.0.2"
WHEEL_SHA256 = "206418155b2ff2f57496fb8501fdccae3da978e53031ff296c73729ba16062c4"
# What pages load: the bundle, its fonts, and the macro packages it fetches when a formula asks for one.
NEEDED = ("tex-mml-chtml.js", "output/chtml/fonts/woff-v2/", "input/tex/extensions/")


def _from_npm(folder: Path) -> Iterator[tuple[str, bytes]]:
    npm = shutil.which("npm")
    if npm is None:
        raise OSError("npm is not installed")
    command = [npm, "pack", f"mathjax@{VERSION}", "--silent", "--pack-destination", str(folder)]
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    archive = folder / f"mathjax-{VERSION}.tgz"
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != NPM_SHA512:
        raise ValueError(f"npm's mathjax-{VERSION}.tgz is not the file pinned here (sha512 {digest})")
    with tarfile.open(archive) as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.isfile() else None
            if stream is not None and member.name.startswith("package/es5/"):
                yield member.name.removeprefix("package/es5/"), stream.read()


def _from_pypi(folder: Path) -> Iterator[tuple[str, bytes]]:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--dest", str(folder), WHEEL]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wheel = next(folder.glob("*.whl"))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise ValueError(f"{wheel.name} is not the file pinned here (sha256 {digest})")
    prefix = "sphinx-mathjax-offline/static/mathjax/"
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(prefix) and not name.endswith("/"):
                yield name.removeprefix(prefix), archive.read(name)


def ensure(folder: Path) -> bool:
    """Put MathJax below ``folder/_static/mathjax``; whether it is there.

    npm is asked first, then PyPI. Without either the pages load MathJax from its public address, which a
    message says: such a book shows its formulas only where there is a network.
    """
    ready = folder / "_static" / "mathjax" / f"version-{VERSION}"
    if ready.is_file():
        return True
    troubles = []
    for origin in (_from_npm, _from_pypi):
        with tempfile.TemporaryDirectory(prefix="mathjax-") as name:
            try:
                files = [(path, data) for path, data in origin(Path(name)) if path.startswith(NEEDED)]
            except (OSError, ValueError, subprocess.CalledProcessError, tarfile.TarError) as error:
                troubles.append(f"{origin.__name__.removeprefix('_from_')}: {error}")
                continue
        shutil.rmtree(folder, ignore_errors=True)
        for path, data in files:
            target = folder / "_static" / "mathjax" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        ready.touch()
        return True
    print(f"note: MathJax {VERSION} could not be fetched ({'; '.join(troubles)}).")
    print("note: the pages will load it from the public CDN: formulas need a network there.", flush=True)
    return False
