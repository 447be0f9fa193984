"""The page "How fast is it?" shows what was measured, and nothing else."""

from __future__ import annotations

import json
import re

from benchmarks.speed.cases import CASES
from tools import speeds
from tools.layout import REPO

ENTRY = {
    "case": "als-1m", "peer": "<b> 1.0", "unit": "a fit", "quality": "nDCG@10", "ratio": 1.5, "ours_s": 0.82,
    "peer_s": 1.23, "ours_quality": 0.3328, "peer_quality": 0.3333, "ours_rss_mb": 1436, "peer_rss_mb": 88,
    "rounds": 3, "date": "2030-12-31", "machine": "A machine",
}  # fmt: skip


def page(tmp_path, *entries):
    (tmp_path / speeds.RESULTS).parent.mkdir(parents=True)
    (tmp_path / speeds.RESULTS).write_text(json.dumps(entries))
    return speeds.with_speeds(f"before\n\n{speeds.MARKER}\n\nafter", tmp_path)


def test_a_case_has_a_row_and_the_facts_are_said(tmp_path):
    alone = {key: value for key, value in ENTRY.items() if not key.startswith(("peer_", "ratio"))}
    text = page(tmp_path, ENTRY, ENTRY | {"case": "another", "machine": "A second"}, alone)
    lines = re.findall(r"<tr>(.*?)</tr>", text.split("<tbody>")[1])
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in lines]
    numbers = [
        "&lt;b&gt; 1.0",
        "1.5",
        "820 ms",
        "1.23 s",
        "a fit",
        "nDCG@10",
        "0.333",
        "0.333",
        "1,436",
        "88",
    ]
    assert cells == [[CASES["als-1m"].title, *numbers], ["another", *numbers]]
    assert "**Machine:** A machine; A second" in text
    assert "**Day:** 2030-12-31" in text
    assert "**Runs of each side:** 3" in text
    assert text.startswith("before")
    assert text.endswith("`\n\nafter")


def test_every_result_that_is_kept_is_of_a_case_and_complete():
    entries = json.loads((REPO / speeds.RESULTS).read_text())
    names = [entry["case"] for entry in entries]
    assert len(names) == len(set(names)) > 10
    assert set(names) <= set(CASES)
    assert all(entry.keys() >= ENTRY.keys() for entry in entries)


def test_the_page_has_its_table():
    text = (REPO / "book/speed.md").read_text(encoding="utf-8")
    assert text.count(speeds.MARKER) == 1
    assert speeds.with_speeds(text).count("<tr>") > 10
    assert speeds.with_speeds("text") == "text"
