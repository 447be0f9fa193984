"""Children that end with this process, even when it is killed: they watch a pipe that it alone holds open."""

from __future__ import annotations

import os
import subprocess
import threading
from typing import Any


def run(command: list[str], **options: Any) -> int:
    """Run a command that calls `end_with_parent`, and return its exit status."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, **options) as child:
        try:
            return child.wait()
        except BaseException:
            child.kill()
            raise


def end_with_parent() -> None:
    """End this process as soon as the one that started it with `run` is gone.

    A build that was killed would otherwise go on in its children, beside the next build in the same folders.
    """

    def watch() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
