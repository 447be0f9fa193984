"""Children that are copies of this process, with all that it has loaded."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any


def fork(work: Callable[[], Any], *, watch: Callable[[str, tuple[Any, ...]], None] | None = None) -> int:
    """Do some work in a child of this process and return its id."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        if watch is not None:
            sys.addaudithook(watch)
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def end_of(child: int) -> bool:
    """Wait for a child; tell whether it was killed. Anything but that and a good end is an error."""
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    assert status == 0, f"the work failed with status {status}; its error is above"
    return False
