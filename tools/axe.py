"""axe-core, which finds what shuts readers out of a page: fetched once, checked, never committed."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tools.layout import write_atomically

VERSION = "4.14.1"
NPM_SHA512 = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="


def ensure(folder: Path) -> Path | None:
    """Put axe-core into `folder`, by npm; its script, or None where it could not be had.

    Raises
    ------
    ValueError
        If npm brings another file than the one pinned here.
    """
    script = folder / f"axe-{VERSION}.min.js"
    if script.is_file():
        return script
    npm = shutil.which("npm")
    if npm is None:
        return None
    with tempfile.TemporaryDirectory(prefix="axe-") as name:
        command = [npm, "pack", f"axe-core@{VERSION}", "--silent", "--pack-destination", name]
        done = subprocess.run(
            command, check=False, cwd=name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        archive = Path(name) / f"axe-core-{VERSION}.tgz"
        if done.returncode != 0 or not archive.is_file():
            return None
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if digest != NPM_SHA512:
            raise ValueError(f"npm's axe-core-{VERSION}.tgz is not the file pinned here (sha512 {digest})")
        with tarfile.open(archive) as tar:
            stream = tar.extractfile("package/axe.min.js")
            assert stream is not None, "the archive has the script: its checksum was right"
            write_atomically(script, stream.read())
    return script
