"""The feature store: rows are found again, never confused, encoded once and read alone."""

import contextlib
import dataclasses
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from application.helpers import environment, equal
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from vlm_adapters.features.store import FeatureTable

KEYS = [(f"{k}.jpg", f"hash {k}") for k in range(7)]
VALUES = torch.randn(len(KEYS), 2, 3, generator=torch.Generator().manual_seed(0))
RECIPE = {"view": {"kind": "augmented", "seed": 1}, "backbone": {"name": "fake", "bits": "1"}}
BLOCK = 3


class Encoder:
    """Values by path; notes the paths, and fails at a call."""

    def __init__(self, fails_at=-1, values=VALUES):
        self.fails_at, self.values = fails_at, values
        self.calls = []

    def __call__(self, paths, progress):
        if len(self.calls) == self.fails_at:
            raise RuntimeError("no more")
        self.calls.append(paths)
        progress(len(paths), len(paths))
        return self.values[[int(path.removesuffix(".jpg")) for path in paths]]

    @property
    def paths(self):
        return [path for call in self.calls for path in call]


@pytest.fixture
def table(tmp_path):
    return FeatureTable(tmp_path / "store", "dtd", RECIPE, {"torch": "2"})


def extract(table, keys=KEYS, encode=None, **options):
    return table.extract(keys, encode or Encoder(), block=BLOCK, **options)


def read(table, keys=KEYS):
    places = table.places()
    return table.read([places[key] for key in keys])


def content(table):
    return {path.name: path.read_bytes() for path in table.folder.iterdir()}


def test_only_images_without_a_row_are_encoded(table):
    extract(table, KEYS[:4])
    encode = Encoder()
    exchanged = ("1.jpg", "another content")
    extract(table, [*KEYS[2:6], exchanged, *KEYS[:2], KEYS[5]], encode)
    assert encode.paths == ["4.jpg", "5.jpg", "1.jpg"]
    extract(table, [*KEYS[:6], exchanged], never := Encoder())
    assert never.paths == []
    equal(read(table, KEYS[:6]), VALUES[:6])


def test_only_what_changes_the_numbers_makes_another_table(table):
    extract(table)
    seed = RECIPE | {"view": {"kind": "augmented", "seed": 2}}
    bits = RECIPE | {"backbone": {"name": "fake", "bits": "2"}}
    changes = [{"dataset": "dtd2"}, {"recipe": seed}, {"recipe": bits}]
    changes.append({"recipe": RECIPE | {"view": {"kind": "centre"}}})
    others = [dataclasses.replace(table, **change) for change in changes]
    assert [other.places() for other in others] == [{}] * 4
    assert len({table.folder, *(other.folder for other in others)}) == 5
    turned = {name: dict(reversed(value.items())) for name, value in reversed(RECIPE.items())}
    same = dataclasses.replace(table, recipe=turned, libraries={"torch": "3"})
    assert same.folder == table.folder


def test_the_name_of_a_data_set_is_not_a_pattern(table):
    named = dataclasses.replace(table, dataset="photos [2023]")
    extract(named)
    equal(read(named), VALUES)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_interrupted_extraction_goes_on_to_the_same_bytes(table, tmp_path, after):
    whole = dataclasses.replace(table, store=tmp_path / "whole")
    extract(whole)
    with pytest.raises(RuntimeError, match="no more"):
        extract(table, encode=Encoder(fails_at=after))
    extract(table, encode=(rest := Encoder()))
    assert rest.paths == [path for path, _ in KEYS[BLOCK * after :]]
    assert content(table) == content(whole)


SLOW = """
import sys, time
from application.test_store import Encoder, FeatureTable, KEYS, Path, RECIPE
def encode(paths, progress):
    time.sleep(0.2)
    return Encoder()(paths, progress)
FeatureTable(Path(sys.argv[1]), "dtd", RECIPE, {"torch": "2"}).extract(KEYS, encode, block=1)
"""


def test_a_killed_process_loses_no_finished_file(table):
    words = [sys.executable, "-c", SLOW, str(table.store)]
    process = subprocess.Popen(words, env=environment())
    deadline = time.monotonic() + 120
    while len(list(table.folder.glob("*.safetensors"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = len(table.places())
    assert 2 <= done < len(KEYS)
    extract(table, encode=(rest := Encoder()))
    assert rest.paths == [key[0] for key in KEYS[done:]]
    equal(read(table), VALUES)


def together(table, *encoders):
    """What extractions at one time return or raise."""

    def one(encode):
        try:
            return extract(table, encode=encode)
        except RuntimeError as error:
            return str(error)

    with ThreadPoolExecutor(len(encoders)) as pool:
        return list(pool.map(one, encoders))


def test_processes_share_the_files_and_write_the_bytes_of_one(table, tmp_path):
    whole = dataclasses.replace(table, store=tmp_path / "whole")
    extract(whole)
    barrier = threading.Barrier(2)

    class Meeting(Encoder):
        def __call__(self, paths, progress):
            if not self.calls:
                barrier.wait(60)
            return super().__call__(paths, progress)

    encoders = Meeting(), Meeting()
    found = together(table, *encoders)
    assert found[0] == found[1] == table.places()
    assert sorted(encoders[0].paths + encoders[1].paths) == sorted(path for path, _ in KEYS)
    assert all(encode.calls for encode in encoders)
    assert content(table) == content(whole)


def test_the_file_of_a_process_that_failed_is_taken_over(table):
    claimed, others_done = threading.Event(), threading.Event()

    def failing(paths, progress):
        claimed.set()
        assert others_done.wait(60)
        raise RuntimeError("the encoder broke")

    class Other(Encoder):
        def __call__(self, paths, progress):
            assert claimed.wait(60)
            found = super().__call__(paths, progress)
            if len(self.calls) == 2:  # all but the file that is claimed
                others_done.set()
            return found

    other = Other()
    assert together(table, failing, other) == ["the encoder broke", table.places()]
    assert sorted(other.paths) == [path for path, _ in KEYS]
    equal(read(table), VALUES)


class StoreMachine(RuleBasedStateMachine):
    """One table beside the set of the images that it should hold."""

    def __init__(self):
        super().__init__()
        self.store = tempfile.TemporaryDirectory()
        self.table = FeatureTable(Path(self.store.name), "dtd", RECIPE, {})
        self.held = set()
        self.damaged = set()
        self.raced = False  # then which rows are in which file is not known

    def teardown(self):
        self.store.cleanup()

    keys = st.lists(st.sampled_from(KEYS), min_size=1, unique=True)

    @precondition(lambda self: not self.damaged)
    @rule(keys=keys, left=st.integers(0, 3), leftover=st.booleans())
    def extract(self, keys, left, leftover):
        """Some blocks, or all of them."""
        encode = Encoder(fails_at=left)
        with contextlib.suppress(RuntimeError):
            extract(self.table, keys, encode)
        missing = [path for path, content in keys if (path, content) not in self.held]
        assert encode.paths == missing[: BLOCK * left]
        self.held |= {key for key in keys if key[0] in encode.paths}
        if leftover and self.held:  # of a process that was killed while it wrote
            (self.table.folder / ".00000000.safetensors.1.1").write_bytes(b"half")

    @precondition(lambda self: not self.damaged)
    @rule(one=keys, other=keys)
    def two_at_once(self, one, other):
        """Two that know nothing of each other."""
        with ThreadPoolExecutor(2) as pool:
            for keys, places in zip((one, other), pool.map(self.all_of, (one, other)), strict=True):
                assert {*keys} <= set(places)
        self.held |= {*one, *other}
        self.raced = True

    def all_of(self, keys):
        return extract(self.table, keys)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), kept=st.floats(0, 0.95))
    def damage(self, data, kept):
        files = sorted(self.table.folder.glob("*.safetensors"))
        for file in files if self.raced else [data.draw(st.sampled_from(files))]:
            content = file.read_bytes()
            file.write_bytes(content[: int(kept * len(content))])
            self.damaged.add(file)

    @precondition(lambda self: self.damaged)
    @rule()
    def follow_the_advice(self):
        for file in self.damaged:
            file.unlink()
        self.damaged.clear()
        self.held = set(self.table.places())
        self.raced = False

    @rule(keys=st.lists(st.sampled_from(KEYS)))
    def read(self, keys):
        if self.damaged:
            with pytest.raises(ValueError, match=r"`.*` should .*Got.*Remove it"):
                self.table.places()
            return
        places = self.table.places()
        assert set(places) == self.held
        rows = [KEYS.index(key) for key in keys if key in places]
        if rows:
            equal(self.table.read([places[KEYS[row]] for row in rows]), VALUES[rows])


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=max(settings().max_examples // 4, 5), stateful_step_count=15
)


def test_a_row_that_a_shorter_file_does_not_have(table):
    name = extract(table)[KEYS[4]][0]
    with pytest.raises(ValueError, match=r"should hold 10 or more rows .* Got \(3, 2, 3\)\. Rem"):
        table.read([(name, 9)])


def test_rows_that_vanish(table, monkeypatch):
    monkeypatch.setattr(FeatureTable, "places", lambda self: {})
    with pytest.raises(FileNotFoundError, match=r"every row .* Got none of 0\.jpg\. Were files re"):
        extract(table)


def test_features_that_are_not_finite_are_not_kept(table):
    bad = VALUES.clone()
    bad[4, 1, 0] = torch.inf
    with pytest.raises(ValueError, match=r"should be finite\. Got infinity or NaN for '4\.jpg'"):
        extract(table, encode=Encoder(values=bad))
    assert list(table.places()) == KEYS[:3]


def test_progress_counts_the_images_to_be_encoded(table):
    extract(table, KEYS[:1])
    told = []
    extract(table, progress=lambda *numbers: told.append(numbers))
    assert list(dict.fromkeys(told)) == [(0, 6), (3, 6), (6, 6)]
    told.clear()
    extract(table, progress=lambda *numbers: told.append(numbers))
    assert told == []


def peak(reset=False):
    """Greatest resident memory of the process in bytes since it was last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text().split()
    return 1024 * int(status[status.index("VmHWM:") + 1])


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_reading_some_rows_reads_no_others(tmp_path):
    """64 MiB of features in 16 files, of which 16 rows of 32 KiB are read."""
    table = FeatureTable(tmp_path, "big", RECIPE, {})
    keys = [(f"{k}.jpg", "") for k in range(2048)]
    values = torch.arange(2048.0)[:, None, None]
    encode = Encoder(values=values.expand(2048, 8, 1024))
    table.extract(keys, encode, block=128)
    before = peak(reset=True)
    places = table.places()
    found = table.read([places[key] for key in keys[::128]])
    assert peak() - before < 12 * 2**20
    equal(found[:, 7, 1023], values[::128, 0, 0])
