"""Time this library and its peers on the same work: ``python -m benchmarks.speed [CASE ...]``.

The sides of a case run in turn, ours, the peer, ours, the peer, each in a process of its own. A peer is
installed once, from its package, into an environment of its own in the user's cache. What the seconds are
of, an epoch, a whole fit or a pass over all users, is said with them. Beside them stand the quality of the
lists, mostly their nDCG@10 (full ranking of what is not yet known of a user), and the peak of the memory of
the whole process. Let nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.speed.cases import CASES, Case
from benchmarks.speed.measure import measure
from benchmarks.table import this_machine
from recsys_lib._files import atomic_write
from recsys_lib.errors import RecsysError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the cases and print a line for each."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("cases", metavar="CASE", nargs="*", help=f"of {', '.join(CASES)}; all by default")
    parser.add_argument("--rounds", metavar="N", type=int, default=3, help="how often each side runs")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--no-peers",
        action="store_true",
        help="install nothing: run our side alone, but for the peers that need no environment",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the results there, too")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.cases if name not in CASES]
    if unknown:
        parser.error(f"there is no case {', '.join(unknown)}; there are {', '.join(CASES)}.")
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {options.rounds}.")
    results = []
    for name in options.cases or CASES:
        case = CASES[name]
        if case.needs and importlib.util.find_spec(case.needs) is None:
            print(f"{case.title}: left out, {case.needs} is not installed here", flush=True)
            continue
        with_peer = not (options.no_peers and case.peer.packages)
        try:
            found = measure(case, options.rounds, options.device, with_peer)
        except (RecsysError, RuntimeError, OSError) as error:
            parser.exit(1, f"{name}: {error}\n")
        print(line_of(case, found), flush=True)
        day = f"{datetime.now(UTC):%Y-%m-%d}"
        results.append(found | {"rounds": options.rounds, "date": day, "machine": this_machine()})
        if options.json:
            with atomic_write(options.json, "w") as file:
                json.dump(results, file, indent=1)


def line_of(case: Case, found: dict[str, Any]) -> str:
    """Return the result of a case in words."""

    def side(name: str, prefix: str) -> str:
        seconds, quality, memory = (found[f"{prefix}_{what}"] for what in ("s", "quality", "rss_mb"))
        time = f"{1000 * seconds:.0f} ms" if seconds < 10 else f"{seconds:.1f} s"
        epochs = f" of {found[f'{prefix}_epochs']:g} epochs" if f"{prefix}_epochs" in found else ""
        return f"{name} {time} {case.unit}{epochs}, {case.judge.name} {quality:.4f}, {memory} MB"

    words = f"{case.title}: {side('ours', 'ours')}"
    if "peer_s" in found:
        words += f"; {side(case.peer.name, 'peer')}; ratio {found['ratio']:.2f} (at least {case.least:g})"
    if "samples" in found:
        words += (
            f"; ours {found['ours_samples_per_s']:,.0f} {found['samples']}/s, "
            f"{found['ours_flop_share']:.0%} of {found['limit_gflop_per_s']:,.0f} GFLOP/s, "
            f"{found['ours_bandwidth_share']:.0%} of {found['limit_gb_per_s']:,.0f} GB/s"
        )
    return words


if __name__ == "__main__":
    main()
