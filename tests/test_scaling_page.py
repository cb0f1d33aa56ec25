"""The page on scaling is what ``benchmarks/scaling_page.py`` prints."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "scaling_page.py"
PAGE = ROOT / "docs" / "guides" / "scaling.md"


def test_the_page_is_that_of_the_results(tmp_path):
    out = tmp_path / "scaling.md"
    subprocess.run([sys.executable, SCRIPT, "--out", out], check=True)
    assert out.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")


def test_help_writes_nothing():
    before = PAGE.stat().st_mtime_ns
    done = subprocess.run([sys.executable, SCRIPT, "--help"], check=True, capture_output=True)
    assert b"--out" in done.stdout
    assert PAGE.stat().st_mtime_ns == before
