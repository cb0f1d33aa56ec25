"""Files that are there whole or not at all, and processes that change nothing."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from application.helpers import equal, refused
from vlm_adapters._files import (
    claimed,
    json_hash,
    read_json,
    read_tensors,
    tensors_hash,
    whole_file,
    write_json,
    write_tensors,
    write_text,
)
from vlm_adapters.cli.inputs import CORES
from vlm_adapters.experiments import run_all


def test_a_file_appears_when_it_is_whole(tmp_path):
    with whole_file(tmp_path / "a") as unfinished:
        unfinished.write_text("text")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").read_text() == "text"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [RuntimeError, OSError])
def test_an_error_leaves_the_old_file_alone(tmp_path, error):
    def break_off():
        with whole_file(tmp_path / "a") as unfinished:
            unfinished.write_text("ne")
            raise error("stop")

    write_text(tmp_path / "a", "old")
    with pytest.raises(error, match="stop"):
        break_off()
    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_claim_of_files_removes_what_a_killed_process_left(tmp_path):
    others = {".b.json.1.2", ".a.json", ".a.json.1.x", ".a.json.old.1.2"}
    for name in (".a.json.1.2", ".c.json.3.4", *others):
        (tmp_path / name).touch()
    (tmp_path / ".c.json.1.2").mkdir()
    text = r"a\.json` should be written by one process at a time\. Got one that .*Wait until it"
    with claimed(tmp_path, "a.json", "c.json"):
        with pytest.raises(RuntimeError, match=text), claimed(tmp_path, "a.json"):
            pass
        assert {*os.listdir(tmp_path)} == {*others, ".c.json.1.2", ".a.json.lock"}
    assert {*os.listdir(tmp_path)} == {*others, ".c.json.1.2"}


def test_threads_that_write_one_file(tmp_path):
    texts = [str(number) * 10_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: write_text(tmp_path / "a", text), texts * 4))
    assert (tmp_path / "a").read_text() in texts
    assert os.listdir(tmp_path) == ["a"]


def test_json(tmp_path):
    write_json(tmp_path / "a", {"ä": [1, 2.5]})
    assert read_json(tmp_path / "a") == {"ä": [1, 2.5]}
    with pytest.raises(ValueError, match="Out of range float values"):
        write_json(tmp_path / "b", float("nan"))
    assert os.listdir(tmp_path) == ["a"]
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: '.*none'"):
        read_json(tmp_path / "none")
    for content in (b"{", b"", b"\xff\xfe", b"\x80", b"[Infinity]", b"[" * 100_000):
        (tmp_path / "bad").write_bytes(content)
        with refused(r"bad` should be JSON\. Got: .*Remove it to have it m"):
            read_json(tmp_path / "bad")


def test_tensors(tmp_path):
    tensors = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor(5), "c": torch.zeros(0, 3)}
    for name in ("x", "y"):
        write_tensors(tmp_path / name, tensors, {"key": "text"})
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()
    metadata, found = read_tensors(tmp_path / "x")
    assert metadata == {"key": "text"}
    for name, tensor in tensors.items():
        equal(found[name], tensor)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o666 & ~_umask()
    write_tensors(tmp_path / "z", {"a": torch.ones(2, requires_grad=True)})
    assert read_tensors(tmp_path / "z")[0] == {}
    with pytest.raises(FileNotFoundError, match=r"should be a safetensors file\. Got no file"):
        read_tensors(tmp_path / "none")
    (tmp_path / "bad").write_bytes((tmp_path / "x").read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"bad` should be a complete safetensors file\. .*Copy it"):
        read_tensors(tmp_path / "bad")


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_hashes_do_not_depend_on_the_order_of_keys():
    assert json_hash({"a": 1, "b": (2,)}) == json_hash({"b": [2], "a": 1})
    assert json_hash({"a": 1}) != json_hash({"a": 2})
    assert len(json_hash(None)) == 64
    zeros = {"a": torch.zeros(2, 3), "b": torch.ones(1)}
    others = [
        {"c": zeros["a"]},
        {"a": torch.zeros(3, 2)},
        {"a": zeros["a"].int()},
        {"b": 2.0 * zeros["b"]},
    ]
    hashes = {tensors_hash(tensors) for tensors in (zeros, *(zeros | other for other in others))}
    assert len(hashes | {tensors_hash(zeros, "start")}) == 6
    assert tensors_hash({"b": zeros["b"], "a": zeros["a"]}) in hashes


def test_results_come_in_order_and_one_at_a_time():
    made = []

    def double(shared, item):
        made.append(item)
        return shared * item, torch.get_num_threads()

    results = run_all(double, 2, iter([3, 1, 2]), threads=3)
    assert next(results) == (6, 3)
    assert made == [3]
    assert list(results) == [(2, 3), (4, 3)]
    assert torch.get_num_threads() == 1


def test_threads_are_given_back_after_an_error():
    def break_off(shared, item):
        assert torch.get_num_threads() == 4
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        list(run_all(break_off, None, [1], threads=4))
    assert torch.get_num_threads() == 1
    assert CORES >= 1
