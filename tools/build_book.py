"""Make the book: execute what changed, render what changed, say where it lies. See `make help`."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import yaml

from tools import children, execute, mathjax
from tools.fingerprints import chapter_fingerprint, files_below, render_fingerprint
from tools.layout import (
    BuildError,
    Chapter,
    Layout,
    read_record,
    read_toc,
    write_atomically,
    write_record,
)
from tools.leaderboard import with_board
from tools.postprocess import for_the_page
from tools.promises import with_promises
from tools.published import with_tables
from tools.speeds import with_speeds
from tools.suite import with_suite
from tools.without_running import is_missing, missing_packages, page_without, without_running

DATASETS = ("ml-100k",)
# jupyter-book has no `python -m`, and scripts of .venv/bin break where their path is too long
JUPYTER_BOOK = (
    "from tools.children import end_with_parent; end_with_parent()\n"
    "from jupyter_book.cli.main import main; main()"
)


def say(message: str) -> None:
    print(message, flush=True)


@contextlib.contextmanager
def alone(layout: Layout) -> Iterator[None]:
    """Let one build at a time into a folder; the system frees the lock if the build is killed."""
    layout.run.mkdir(parents=True, exist_ok=True)
    with (layout.run / ".lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BuildError(
                f"another `make book` is at work in {layout.root}: wait until it ends, or end it"
            ) from None
        except OSError:
            pass  # a file system without locks: two builds at once must not be, and nobody can tell
        yield


def fetch_data(layout: Layout) -> None:
    """Bring the data sets into the user's cache (or RECSYS_LIB_DATA), never into the repository."""
    for name in DATASETS:
        command = [sys.executable, "-m", "recsys_lib", "data", name]
        say(f"data      {name}")
        # its table is for people; what it says of a download goes to stderr and stays visible
        done = subprocess.run(command, check=False, cwd=layout.root, stdout=subprocess.DEVNULL)
        if done.returncode != 0:
            raise BuildError(f"the data set {name} could not be had; the message is above")


# --- executing


def is_executed(chapter: Chapter, layout: Layout, parameters: Mapping[str, Any]) -> bool:
    """Whether the executed copy was made from exactly what lies here now."""
    record = read_record(chapter.record(layout.executed))
    wanted = chapter_fingerprint(chapter, layout, parameters)
    return record.get("fingerprint") == wanted and chapter.notebook(layout.executed).is_file()


def is_complete(chapter: Chapter, layout: Layout) -> bool:
    """Whether there is an executed copy, of whatever state of the sources."""
    recorded = bool(read_record(chapter.record(layout.executed)))
    return recorded and chapter.notebook(layout.executed).is_file()


def execute_chapter(
    chapter: Chapter, layout: Layout, parameters: Mapping[str, Any], jobs: int = 1
) -> str | None:
    """Run one chapter and keep its result.

    Returns
    -------
    str or None
        What went wrong, ready to print; None after a success. The executed copy of an earlier success
        stays until this one has run to its end.
    """
    fingerprint = chapter_fingerprint(chapter, layout, parameters)
    target = chapter.notebook(layout.executed)
    source = nbformat.read(chapter.notebook(layout.root), as_version=4)
    missing = missing_packages(source)
    if missing:
        say(f"SKIPPED   {chapter.name}: {', '.join(missing)} is not installed; its page says so")
        chapter.record(layout.executed).unlink(missing_ok=True)
        write_atomically(target, nbformat.writes(without_running(source, missing)))
        write_record(
            chapter.record(layout.executed),
            {"fingerprint": fingerprint, "seconds": None, "cores": 0, "parameters": dict(parameters)},
        )
        return None
    partial = layout.partial / f"{chapter.name}.ipynb"
    say(f"running   {chapter.name}" + "".join(f" {k}={v}" for k, v in parameters.items()))
    start = time.perf_counter()
    succeeded = execute.run(chapter.notebook(layout.root), partial, layout, parameters, jobs)
    seconds = time.perf_counter() - start
    if not succeeded:
        where = [f"  what ran is kept in {partial}"] if partial.is_file() else []
        where.append(f"  full messages: {partial.with_suffix('.log')}")
        return "\n".join([f"FAILED    {chapter.name}", execute.failure_report(partial), *where])
    target.parent.mkdir(parents=True, exist_ok=True)
    chapter.record(layout.executed).unlink(missing_ok=True)  # it describes what is replaced now
    written = chapter.written(layout.executed)
    shutil.rmtree(written, ignore_errors=True)
    for_pages = execute.working_folder(layout, chapter.name) / execute.FOR_PAGES
    if for_pages.is_dir():
        os.replace(for_pages, written)
    os.replace(partial, target)
    partial.with_suffix(".log").unlink(missing_ok=True)
    record = {"fingerprint": fingerprint, "seconds": round(seconds, 2), "cores": execute.threads(jobs)}
    write_record(chapter.record(layout.executed), {**record, "parameters": dict(parameters)})
    say(f"done      {chapter.name} ({seconds:.0f} s)")
    return None


def execute_chapters(
    chapters: list[Chapter],
    layout: Layout,
    parameters: Mapping[str, Any],
    *,
    jobs: int = 1,
    force: bool = False,
) -> None:
    """Run the chapters that need it; raise `BuildError` with every failure at the end."""
    todo = [c for c in chapters if force or not is_executed(c, layout, parameters)]
    if not todo:
        return
    for chapter in todo:
        execute.check_parameters(chapter.notebook(layout.root), parameters)
    fetch_data(layout)
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        results = list(pool.map(lambda chapter: execute_chapter(chapter, layout, parameters, jobs), todo))
    failures = [failure for failure in results if failure]
    if failures:
        raise BuildError("\n".join(failures))


# --- staging and rendering


def staged_files(docs: Iterable[str], chapters: list[Chapter], layout: Layout) -> dict[str, bytes]:
    """What jupyter-book is to read, by path: the sources, with executed notebooks in place of clean ones."""
    notebooks = {f"{chapter.doc}.ipynb" for chapter in chapters}
    executed = {c: nbformat.read(c.notebook(layout.executed), as_version=4) for c in chapters}
    files = {"_toc.yml": (layout.root / "_toc.yml").read_bytes(), "_config.yml": staged_config(layout)}
    for path in files_below(layout.root / "book"):
        name = path.relative_to(layout.root).as_posix()
        if path.suffix not in (".ipynb", ".md"):
            files[name] = path.read_bytes()
        elif name.removesuffix(".md") in docs:
            text = with_promises(path.read_text(encoding="utf-8"), layout.root)
            text = with_suite(text, layout.root)
            text = with_tables(text, layout.root)
            text = with_speeds(text, layout.root)
            text = with_board(text, {chapter.doc: notebook for chapter, notebook in executed.items()})
            files[name] = page_without(text).encode()
    for chapter, notebook in executed.items():
        record = read_record(chapter.record(layout.executed))
        page = for_the_page(notebook, seconds=record["seconds"], cores=record["cores"])
        files[f"{chapter.doc}.ipynb"] = nbformat.writes(page).encode()
        written = chapter.written(layout.executed)
        files |= {f"book/_static/{path.name}": path.read_bytes() for path in files_below(written)}
    assert notebooks <= files.keys()
    return files


def staged_config(layout: Layout) -> bytes:
    """`_config.yml` with what these tools add: MathJax beside the pages, our extension, working buttons."""
    config = yaml.safe_load((layout.root / "_config.yml").read_text(encoding="utf-8"))
    options = config["sphinx"]["config"]
    extra = layout.run / "mathjax"
    if mathjax.ensure(extra):
        options["html_extra_path"] = [*options.get("html_extra_path", []), str(extra)]
        options["mathjax_path"] = "mathjax/tex-mml-chtml.js"
    if config["repository"]["url"]:
        for button in ("use_repository_button", "use_issues_button", "use_edit_page_button"):
            config["html"][button] = True
        config["launch_buttons"] |= {
            "colab_url": "https://colab.research.google.com",
            "binderhub_url": "https://mybinder.org",
        }
    # where a part of the library cannot be imported, its reference is not there to be linked to
    if is_missing("mxnet"):
        options["nitpick_ignore_regex"].append(["py:.*", r"recsys_lib\.mx(\..*)?"])
    config["sphinx"]["local_extensions"] = {"book_sphinx": str(layout.root / "tools")}
    text: str = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    return text.encode()


def stage(files: Mapping[str, bytes], layout: Layout) -> None:
    """Make the source folder hold exactly `files`."""
    for path in files_below(layout.source):
        if path.relative_to(layout.source).as_posix() not in files:
            path.unlink()
    for name, content in files.items():
        path = layout.source / name
        if not path.is_file() or path.read_bytes() != content:
            write_atomically(path, content)


def is_staged(files: Mapping[str, bytes], layout: Layout) -> bool:
    """Whether the source folder holds exactly `files`."""
    paths = {path.relative_to(layout.source).as_posix(): path for path in files_below(layout.source)}
    return paths.keys() == files.keys() and all(paths[name].read_bytes() == files[name] for name in files)


def is_rendered(layout: Layout) -> bool:
    """Whether the pages were made from what is staged now."""
    record = read_record(layout.render_record)
    return (layout.html / "index.html").is_file() and record.get("fingerprint") == render_fingerprint(layout)


def render(layout: Layout) -> None:
    """Render all pages, warnings as errors; the old pages stay until the new ones are whole.

    Always from nothing: an incremental run would not repeat the warnings of pages it does not read again.
    """
    fingerprint = render_fingerprint(layout)
    fresh = layout.run / "rendering"
    shutil.rmtree(fresh, ignore_errors=True)
    say("rendering the pages")
    start = time.perf_counter()
    command = [sys.executable, "-c", JUPYTER_BOOK, "build", str(layout.source)]
    command += ["--path-output", str(fresh), "-W", "-n", "--keep-going"]
    log = layout.run / "render.log"
    with log.open("w", encoding="utf-8") as stream:
        status = children.run(
            command,
            cwd=layout.root,
            env={**os.environ, "NO_COLOR": "1", "TERM": "dumb", "PYTHONNOUSERSITE": "1"},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    # Sphinx colours what it says even where nobody sees it
    words = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(encoding="utf-8"))
    write_atomically(log, words)
    if status != 0:
        raise BuildError(f"{render_report(words, layout)}\n  full log: {log}")
    target, old = layout.html.parent, fresh / "old"
    if target.is_dir():
        os.replace(target, old)  # pages that are half removed must not lie beside a record of whole ones
    os.replace(fresh / "_build", target)
    shutil.rmtree(fresh, ignore_errors=True)
    write_record(layout.render_record, {"fingerprint": fingerprint})
    say(f"rendered in {time.perf_counter() - start:.0f} s")


def render_report(log: str, layout: Layout) -> str:
    """The lines of a failed rendering that matter, with the paths of the sources."""
    plain = log.replace(f"{layout.source}{os.sep}", "").replace(f"{layout.root}{os.sep}", "")
    found = [line for line in plain.splitlines() if re.search(r"WARNING|ERROR|CRITICAL|Error:", line)]
    lines = found or plain.strip().splitlines()[-20:]
    return "\n".join(["FAILED    rendering (a warning is an error)", *(f"  {line}" for line in lines)])


# --- the command


def pick(name: str, chapters: list[Chapter]) -> list[Chapter]:
    """The chapters a reader means by `name`: the whole name, or its beginning such as ``02``."""
    found = [c for c in chapters if c.name == name] or [c for c in chapters if c.name.startswith(name)]
    if len(found) != 1:
        known = ", ".join(chapter.name for chapter in chapters)
        raise BuildError(f"CHAPTER={name!r} names {len(found)} chapters; the chapters are: {known}")
    return found


def make_book(args: argparse.Namespace, layout: Layout) -> None:
    """Execute, stage, render."""
    docs, chapters = read_toc(layout)
    parameters = {name: yaml.safe_load(value) for name, value in args.parameters}
    if args.chapter:
        execute_chapters(pick(args.chapter, chapters), layout, parameters, force=True)
        # the other chapters stay as they last ran; those that never did, or not to the end, must
        chapters_left = [c for c in chapters if not is_complete(c, layout)]
        execute_chapters(chapters_left, layout, {}, jobs=args.jobs)
    elif parameters:
        raise BuildError("parameters belong to one chapter: add CHAPTER=..., for example CHAPTER=02")
    else:
        execute_chapters(chapters, layout, {}, jobs=args.jobs)
    records = {c.name: read_record(c.record(layout.executed)) for c in chapters}
    timings = {n: {k: r[k] for k in ("seconds", "cores", "parameters")} for n, r in records.items()}
    write_record(layout.timings, timings)
    stage(staged_files(docs, chapters, layout), layout)
    if not is_rendered(layout):
        render(layout)


def is_fresh(layout: Layout) -> bool:
    """Whether every page shows the sources as they are now, run with their own parameters."""
    docs, chapters = read_toc(layout)
    if not is_rendered(layout) or not all(is_executed(chapter, layout, {}) for chapter in chapters):
        return False
    return is_staged(staged_files(docs, chapters, layout), layout)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="build_book", description=__doc__)
    parser.add_argument("--chapter", default="", help="run this chapter only, even if nothing changed")
    parser.add_argument(
        "-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="a parameter of that chapter",
    )  # fmt: skip
    parser.add_argument("-j", "--jobs", type=int, default=1, help="how many notebooks run side by side")
    args = parser.parse_args(argv)
    if args.jobs < 1:
        parser.error(f"-j must be at least 1, got {args.jobs}")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    layout = Layout()
    try:
        with alone(layout):
            make_book(args, layout)
    except BuildError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return 130
    say(f"\nThe book: {Path(layout.html / 'index.html')}\n`make serve` shows it in a browser.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
