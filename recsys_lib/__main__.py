"""``python -m recsys_lib``: the same as the command ``recsys-lib``."""

import sys

from recsys_lib.cli import main

if __name__ == "__main__":
    sys.exit(main())
