"""What a committed notebook must be, and a cleaner that makes it so: `python -m tools.notebooks [--fix]`."""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

from tools import setup_cell
from tools.layout import REPO, write_atomically
from tools.postprocess import RUN_TIME

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python"}
ABSOLUTE_PATH = re.compile(r"(?<![\w.:/])(/(home|Users|root|tmp|work|mnt|opt)/|~/|[A-Za-z]:\\)")
# A measured number belongs to the run that measured it: {glue:} puts it on the page.
METRIC = re.compile(
    r"\b(ndcg|recall|precision|hit[ -]rate|rmse|mae|map|mrr|auc|average precision|coverage|novelty|gini)\b",
    re.I,
)
NUMBER = re.compile(r"(?<![\w.])(0?\.\d{2,}|\d+(\.\d+)? ?(%|per ?cent))")
NOT_PROSE = re.compile(r"```.*?```|\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|^\s*:\w+:.*$|^\s*\|.*\|\s*$", re.S | re.M)
TYPED = re.compile(r"<!--\s*typed:\s*\S.*?-->", re.S)


def notebook_paths(root: Path = REPO) -> list[Path]:
    """The committed notebooks of the book."""
    return sorted(path for path in (root / "book").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)


def typed_results(source: str) -> Iterator[str]:
    """Sentences of a Markdown cell that give a metric's value as a typed number.

    Formulas, code and tables don't count, nor does a sentence that cites a work. A cell may carry
    ``<!-- typed: why -->`` where a number can't come from the run, such as a sum done by hand.

    >>> list(typed_results("Our NDCG@10 is 0.412. A user rated 0.5 % of the films."))
    ['Our NDCG@10 is 0.412.']
    >>> list(typed_results("The recall is {glue:text}`recall`, in the paper 0.39 {cite:p}`a2019`."))
    []
    """
    if TYPED.search(source):
        return
    prose = NOT_PROSE.sub(lambda match: "{cite" if match[0].startswith("`{cite") else " ", source)
    for sentence in re.split(r"(?<=[.!?:;])\s+(?=[^a-z])|\n\s*\n", prose):
        if METRIC.search(sentence) and NUMBER.search(sentence) and "{cite" not in sentence:
            yield " ".join(sentence.split())


def _metadata_problems(notebook: Any) -> Iterator[str]:
    if dict(notebook.metadata.get("kernelspec", {})) != KERNEL:
        yield f"kernelspec must be {KERNEL}"
    if dict(notebook.metadata.get("language_info", {})) != LANGUAGE:
        yield f"language_info must be {LANGUAGE}: versions would change with every machine"
    extra = sorted(set(notebook.metadata) - {"kernelspec", "language_info", "requires"})
    if extra:
        yield f"metadata has keys of a run or an editor: {', '.join(extra)}"


def _cell_problems(number: int, cell: Any) -> Iterator[str]:
    where = f"cell {number}"
    if not cell.source.strip():
        yield f"{where}: is empty"
    for match in ABSOLUTE_PATH.finditer(cell.source):
        yield f"{where}: absolute path near {cell.source[match.start() : match.start() + 30]!r}"
    if cell.cell_type == "code":
        if cell.outputs or cell.execution_count is not None:
            yield f"{where}: has outputs or an execution count"
    else:
        for sentence in typed_results(cell.source):
            yield f"{where}: a typed result (use glue): {sentence!r}"
    extra = sorted(set(cell.metadata) - {"tags", "mystnb", "slideshow"})
    if extra:
        yield f"{where}: metadata has keys of a run or an editor: {', '.join(extra)}"


def problems(path: Path, root: Path = REPO) -> list[str]:
    """What is wrong with a committed notebook of the book in `root`; an empty list when all is well."""
    try:
        notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
        nbformat.validate(notebook)
    except (ValueError, nbformat.ValidationError) as error:
        return [f"is no valid notebook: {str(error).splitlines()[0]}"]
    if (notebook.nbformat, notebook.nbformat_minor) < (4, 5):
        return ["must be of format 4.5, where cells have stable ids"]
    found = list(_metadata_problems(notebook))
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1 or tagged[0].cell_type != "code":
        found.append(f"exactly one code cell must be tagged 'parameters', {len(tagged)} cells are")
    repeated = [i for i, n in Counter(cell.get("id") for cell in notebook.cells).items() if n > 1]
    if repeated:
        found.append(f"cell ids must be unique: {repeated}")
    first = next((cell.source for cell in notebook.cells if cell.cell_type == "markdown"), "")
    if not RUN_TIME.search(first):
        found.append("the first Markdown cell has no '<!-- run-time -->', where the measured time goes")
    if setup_cell.found(notebook) != setup_cell.wanted(root):
        found.append("the cell that installs the library does not fit repository.url: run `make format`")
    for number, cell in enumerate(notebook.cells, start=1):
        found += _cell_problems(number, cell)
    return found


def cleaned(notebook: Any) -> Any:
    """The notebook without outputs, counts and the metadata of runs and editors; ids stay as they are."""
    requires = {key: notebook.metadata[key] for key in ("requires",) if notebook.metadata.get(key)}
    kept = {"kernelspec": KERNEL, "language_info": LANGUAGE, **requires}
    notebook.metadata = nbformat.from_dict(kept)
    notebook.nbformat_minor = max(5, notebook.nbformat_minor)
    notebook.cells = [cell for cell in notebook.cells if cell.source.strip()]
    for number, cell in enumerate(notebook.cells, start=1):
        of_cell = {key: cell.metadata[key] for key in ("tags", "mystnb") if cell.metadata.get(key)}
        cell.metadata = nbformat.from_dict(of_cell)
        cell.setdefault("id", f"cell-{number}")
        cell.pop("attachments", None)
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
    return notebook


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fix", action="store_true", help="clean the notebooks in place, then check")
    args = parser.parse_args(argv)
    bad = 0
    for path in notebook_paths():
        if args.fix:
            notebook = cleaned(nbformat.read(path, as_version=4))
            setup_cell.put(notebook, setup_cell.wanted(REPO))
            text = nbformat.writes(notebook) + "\n"
            if text != path.read_text(encoding="utf-8"):
                write_atomically(path, text)
                print(f"cleaned {path.relative_to(REPO)}")
        for problem in problems(path):
            bad += 1
            print(f"{path.relative_to(REPO)}: {problem}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
