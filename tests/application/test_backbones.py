"""Backbones of open_clip, and backbones named on the command line; no test uses the network."""

import json
import socket
import sys

import huggingface_hub.constants
import open_clip
import pytest
import torch
from application.helpers import equal, python, refused
from application.tiny_clip import (
    CONFIG,
    MODEL,
    PREPROCESSING,
    register,
    tensors,
    write_local_dir,
    write_tiny_clip,
)
from PIL import Image
from torch import nn
from torch.testing import assert_close
from vlm_adapters.backbones import Pixels, load_backbone
from vlm_adapters.backbones.open_clip import (
    OpenClip,
    find_weights,
    resolve_config,
    take_text_projection,
)
from vlm_adapters.weights import convert_weights

TEXTS = ["a photo of a cat.", "a photo of a sea horse.", "a dog"]
CUSTOM = {**CONFIG, "custom_text": True}
HUGE = "a " * 500


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*_):
        raise RuntimeError("a test wanted the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_tiny_clip(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def clip(files):
    return OpenClip(MODEL, files["safetensors"])


@pytest.fixture(scope="module")
def reference(files):
    """The same model as open_clip itself loads it."""
    model, _, transform = open_clip.create_model_and_transforms(
        MODEL, pretrained=str(files["safetensors"])
    )
    return model.eval(), transform


@pytest.fixture(scope="module")
def images(clip):
    parts = [Image.radial_gradient("L"), Image.linear_gradient("L").resize((50, 90))]
    return torch.stack([clip.preprocess(part) for part in parts])


def variant(folder, **text):
    """A folder with another text tower, and its backbone."""
    config = {**CUSTOM, "text_cfg": {**CONFIG["text_cfg"], **text}}
    return OpenClip(f"local-dir:{write_local_dir(folder, config)}")


class TestEncoders:
    def test_agree_with_open_clip(self, clip, reference, images):
        model, transform = reference
        noise = torch.randint(256, (40, 60, 3), dtype=torch.uint8).numpy()
        image = Image.fromarray(noise)
        equal(clip.preprocess(image), transform(image))
        tokens = open_clip.get_tokenizer(MODEL)(TEXTS)
        with torch.no_grad():
            expected = model.encode_image(images), model.encode_text(tokens)
        equal(clip.encode_image(images), expected[0])
        assert_close(clip.encode_text(TEXTS), expected[1])

    def test_are_frozen_and_in_single_precision(self, clip, images):
        assert clip.name == f"open_clip/{MODEL}/{MODEL}.safetensors"
        assert (clip.dimension, clip.logit_scale) == (32, pytest.approx(1 / 0.07))
        assert not clip._model.training
        for features, count in ((clip.encode_image(images), 2), (clip.encode_text([]), 0)):
            assert (features.shape, features.dtype) == ((count, 32), torch.float32)
            assert not features.requires_grad
        assert not any(part.requires_grad for part in clip._model.parameters())
        assert not clip.text_projection.weight.requires_grad
        first, second = nn.functional.normalize(clip.encode_image(images), dim=1)
        assert float(first @ second) < 0.98

    def test_many_texts_are_encoded_in_parts(self, clip, monkeypatch):
        expected = clip.encode_text(TEXTS)
        monkeypatch.setattr("vlm_adapters.backbones.open_clip.TEXTS_AT_ONCE", 2)
        assert_close(clip.encode_text(TEXTS), expected)

    def test_images_of_any_mode(self, clip):
        image = Image.radial_gradient("L")
        for mode in ("RGB", "RGBA", "P"):
            assert clip.preprocess(image.convert(mode)).shape == (3, 32, 32)


class TestTextProjection:
    def test_is_what_open_clip_has(self, clip, reference):
        assert_close(clip.text_projection.weight, reference[0].text_projection.detach())
        assert_close(clip.text_projection.bias, torch.zeros(32))

    def test_maps_hidden_features_to_text_features(self, clip):
        hidden = clip.encode_text_hidden(TEXTS)
        assert_close(clip.text_projection(hidden), clip.encode_text(TEXTS))
        assert not torch.equal(hidden, clip.encode_text(TEXTS))
        assert hidden.shape == (3, 32)

    @pytest.mark.parametrize("bias", [False, True])
    def test_of_a_custom_text_tower(self, tmp_path, bias):
        backbone = variant(tmp_path, width=48, proj_bias=bias)
        with torch.no_grad():
            backbone.text_projection.bias.add_(0.0 if not bias else 0.5)
        hidden = backbone.encode_text_hidden(TEXTS)
        assert hidden.shape == (3, 48)
        assert_close(backbone.text_projection(hidden), backbone.encode_text(TEXTS))
        model, _ = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path}")
        expected = model.encode_text(open_clip.get_tokenizer(MODEL)(TEXTS)).detach()
        assert_close(backbone.encode_text(TEXTS) - (0.5 if bias else 0.0), expected)

    def test_of_a_transformers_tower(self):
        model = nn.Module()
        model.text = nn.Module()
        model.text.proj = linear = nn.Linear(4, 3, bias=False)
        projection = take_text_projection(model)
        hidden = torch.randn(2, 4)
        assert_close(projection(hidden), linear(hidden).detach())
        assert_close(model.text.proj(hidden), hidden)

    def test_missing(self, tmp_path, images):
        backbone = variant(tmp_path, proj_type="none")
        with refused(r"should have a linear map at the end of its text tower\. Got none\. Use ano"):
            _ = backbone.text_projection
        hidden = backbone.encode_text_hidden(TEXTS)
        assert_close(backbone.encode_text(TEXTS), hidden)
        assert backbone.encode_image(images).shape == (2, 32)


class TestPixels:
    def test_openais_by_default(self, clip):
        mean, std = (tuple(PREPROCESSING[key]) for key in ("mean", "std"))
        assert clip.pixels == Pixels(32, mean, std, "bicubic")

    @pytest.mark.parametrize(
        ("interpolation", "evaluation"), [("bilinear", "bilinear"), ("random", "bicubic")]
    )
    def test_of_a_folder(self, tmp_path, interpolation, evaluation):
        own = {"mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": interpolation}
        folder = write_local_dir(tmp_path, CONFIG, {**own, "resize_mode": "squash"})
        backbone = OpenClip(f"local-dir:{folder}")
        assert backbone.pixels == Pixels(32, (0.5,) * 3, (0.25,) * 3, evaluation)
        white = backbone.preprocess(Image.new("RGB", (20, 80), "white"))
        assert_close(white, torch.full((3, 32, 32), 2.0))

    def test_not_square(self, tmp_path):
        tower = {"image_size": [32, 64], "layers": 1, "width": 32, "patch_size": 16}
        folder = write_local_dir(tmp_path, {**CONFIG, "vision_cfg": {**tower, "head_width": 32}})
        backbone = OpenClip(f"local-dir:{folder}")
        with refused(r"should take square images\. Got \(32, 64\)\."):
            _ = backbone.pixels


class Bomb:
    """Says so if a pickle of it is run."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, files):
    """Files and folders of other things, and a model with a QuickGELU twin."""
    folder = tmp_path_factory.mktemp("others")
    register(folder, "twin", CONFIG)
    register(folder, "twin-quickgelu", {**CONFIG, "quick_gelu": True})
    torch.save(tensors(CONFIG), folder / "plain.pt")
    torch.save({"weights": Bomb()}, folder / "bomb.pt")
    torch.save({"a": torch.ones(2)}, folder / "other.pt")
    torch.save({**tensors(CONFIG), "input_resolution": torch.tensor(32)}, folder / "openai.pt")
    convert_weights(folder / "openai.pt", folder / "openai.safetensors")
    (folder / "empty.pt").write_bytes(b"")
    (folder / "note.pt").write_bytes(b"hello world")
    for kind in ("pt", "safetensors"):
        (folder / f"short.{kind}").write_bytes(files[kind].read_bytes()[:1000])
    model = json.dumps({"model_cfg": CONFIG})
    configs = {"cut": "{", "list": "[]", "of 1": '{"model_cfg": 1}', "bare": model}
    for name, config in configs.items():
        (folder / name).mkdir()
        (folder / name / "open_clip_config.json").write_text(config)
    return folder


TAG = rf"a tag of '{MODEL}': it has none\. Got 'openai'\."
TENSORS = rf"should hold the tensors of '{MODEL}'\. Got "
OTHER_THINGS = r"'.*\.pt': it is damaged, empty or holds more"
OTHER_KEYS = r"'other\.pt': RuntimeError: .*Missing key.*\[\.\.\.\]\. Name the model that"
CONVERT = r"Unexpected key.* Run `vlm-adapters weights convert FILE OUT` on it first\."
CONFIGURED = r"`local-dir:` and a folder of weights and `open_clip_config\.json`, .* Got "
BRINGS = r"`weights` should be None for 'local-dir:.*', which brings its own\. Got 'o"
REFUSED = [
    (MODEL, "{}/short.pt", TENSORS + r"'short\.pt': .*or copy the"),
    (MODEL, "{}/short.safetensors", TENSORS + r"'short\.safetensors': .*or copy the"),
    (MODEL, "{}/empty.pt", OTHER_THINGS),
    (MODEL, "{}/note.pt", OTHER_THINGS),
    (MODEL, "{}/bomb.pt", OTHER_THINGS),
    (MODEL, "{}/other.pt", OTHER_KEYS),
    (MODEL, "{}/openai.pt", CONVERT),
    ("local-dir:{}", None, CONFIGURED),
    ("local-dir:{}/cut", None, CONFIGURED),
    ("local-dir:{}/list", None, CONFIGURED),
    ("local-dir:{}/of 1", None, CONFIGURED),
    ("local-dir:{}/bare", None, r"should hold the tensors of 'local-dir:.*Required pr"),
    ("local-dir:{}/bare", "openai", BRINGS),
    ("twin", "{}/plain.pt", r"be given for 'twin' with 'plain\.pt', which does not tell how it wa"),
    ("ViT-B/32", "openai", r"of open_clip.* Got 'ViT-B/32'\. Did you mean ViT-B-32"),
    ("zzzz", "openai", r"Got 'zzzz'\. See its README\."),
    ("RN50", "opnai", r"a file or a tag of 'RN50': openai, .*\. Got 'opnai'\."),
    ("RN50", "nowhere/clip.pt", r"`weights` should be a file or .* Got 'nowhere/clip\.pt'\."),
    (MODEL, "openai", TAG),
    ("RN50", None, r"a file or a tag of 'RN50': openai, .*\. Got None\."),
]


@pytest.mark.parametrize(("model", "weights", "message"), REFUSED)
def test_weights_that_are_refused(folder, model, weights, message):
    with refused(message):
        OpenClip(model.format(folder), weights and weights.format(folder))


class TestFiles:
    @pytest.mark.parametrize("kind", ["safetensors", "pt", "local_dir"])
    def test_by_name(self, files, clip, images, kind):
        name = "local-dir:" if kind == "local_dir" else f"{MODEL}/"
        backbone = load_backbone(f"open_clip/{name}{files[kind]}")
        assert backbone.name == f"open_clip/{name}{files[kind].name}"
        assert_close(backbone.encode_image(images), clip.encode_image(images))
        assert_close(backbone.encode_text(TEXTS), clip.encode_text(TEXTS))

    def test_quick_gelu_can_be_forced(self, files):
        backbone = OpenClip(f"local-dir:{files['local_dir']}", quick_gelu=True)
        assert backbone.fingerprint()["quick_gelu"] == "True"

    def test_home_folder(self, files, clip, monkeypatch):
        monkeypatch.setenv("HOME", str(files["pt"].parent))
        assert OpenClip(MODEL, f"~/{files['pt'].name}").name.endswith("tiny-clip.pt")
        assert OpenClip("local-dir:~/local_dir").dimension == 32


class TestHub:
    UNREACHABLE = (
        r"`weights` should be on this machine or on a hub that it can reach\. Got '{}' and no file "
        r"of it: .* Copy the weights here and name their file, or their folder as `local-dir:FOLD"
    )

    @pytest.mark.parametrize(
        ("spec", "named"),
        [("RN50/openai", "RN50/openai"), ("hf-hub:owner/name", "hf-hub:owner/name")],
    )
    def test_out_of_reach(self, tmp_path, monkeypatch, spec, named):
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(FileNotFoundError, match=self.UNREACHABLE.format(named)) as caught:
            load_backbone(f"open_clip/{spec}")
        assert "\n" not in str(caught.value)

    def test_within_reach(self, files, clip, monkeypatch):
        def download(repo_id, filename, **_):
            assert repo_id == "owner/name"
            return str(files["local_dir"] / filename)

        monkeypatch.setattr(open_clip.pretrained, "hf_hub_download", download)
        backbone = load_backbone("open_clip/hf-hub:owner/name")
        assert backbone.name == "open_clip/hf-hub:owner/name"
        assert_close(backbone.encode_text(TEXTS), clip.encode_text(TEXTS))
        assert len(backbone.fingerprint()["file sha256"]) == 64

    def test_long_errors_are_cut(self, monkeypatch):
        def fail(*_, **__):
            raise OSError(HUGE)

        monkeypatch.setattr(open_clip, "download_pretrained", fail)
        with pytest.raises(FileNotFoundError, match=r"OSError: (a )+\[\.\.\.\]\. Copy") as caught:
            OpenClip("RN50", "openai")
        assert len(str(caught.value)) < 500

    def test_a_tag_has_its_own_preprocessing(self, files, monkeypatch):
        tag = {"file": str(files["pt"]), "mean": (0.5,) * 3, "std": (0.5,) * 3, "quick_gelu": True}
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, MODEL, {"my_tag": tag})
        backbone = OpenClip(MODEL, "My-Tag")
        assert backbone.name == f"open_clip/{MODEL}/my_tag"
        assert backbone.pixels.mean == (0.5,) * 3
        plain = OpenClip(MODEL, files["pt"]).fingerprint()
        assert backbone.fingerprint()["quick_gelu"] == "True" != plain["quick_gelu"]
        assert backbone.fingerprint()["file sha256"] == plain["file sha256"]

    def test_tokenizer_out_of_reach(self, tmp_path):
        config = {**CONFIG, "text_cfg": {**CONFIG["text_cfg"], "hf_tokenizer_name": "owner/name"}}
        with refused(r"`model` should have a tokenizer that this machine can reach\. Got 'local-d"):
            OpenClip(f"local-dir:{write_local_dir(tmp_path, config)}")


class TestQuickGelu:
    @pytest.mark.parametrize(
        ("model", "weights", "quick"),
        [
            ("RN50", "openai", True),
            ("ViT-B-32", "laion2b_e16", False),
            ("twin-quickgelu", "{}/plain.pt", True),
            ("twin", "{}/openai.safetensors", True),
        ],
    )
    def test_weights_know_better(self, folder, model, weights, quick):
        with refused(
            rf"`quick_gelu` should be {quick} or None for '{model}' with '.*Got {not quick}"
        ):
            OpenClip(model, weights.format(folder), quick_gelu=not quick)

    def test_every_tag_gets_its_activation(self):
        for model, tag in open_clip.list_pretrained():
            found = find_weights(model, tag)
            config, forced = resolve_config(found, None)
            if tag == "openai":  # whether the name says it or not
                assert config == model.removesuffix("-quickgelu") + "-quickgelu"
                assert resolve_config(found, True) == (config, False)
            if open_clip.get_pretrained_cfg(model, tag).get("quick_gelu", False):
                assert open_clip.get_model_config(config)["quick_gelu"]
            else:
                assert config == model
            assert not forced

    @pytest.mark.parametrize(
        ("spec", "config", "quick"),
        [
            ("twin/{}?quick_gelu=true", "twin-quickgelu", "True"),
            ("twin/{}?quick_gelu=false", "twin", "False"),
            ("twin-quickgelu/{}", "twin-quickgelu", "True"),
            ("twin-quickgelu/{}?quick_gelu=true", "twin-quickgelu", "True"),
            (MODEL + "/{}?quick_gelu=true", MODEL, "True"),
        ],
    )
    def test_a_file_that_was_told(self, files, folder, spec, config, quick):
        backbone = load_backbone(f"open_clip/{spec.format(folder / 'plain.pt')}")
        assert backbone.config == config
        assert backbone.fingerprint()["quick_gelu"] == quick
        other = OpenClip(MODEL, files["pt"]).encode_text(TEXTS)
        assert torch.allclose(backbone.encode_text(TEXTS), other) == (quick == "False")


class TestFingerprint:
    def test_names_everything(self, clip):
        fingerprint = clip.fingerprint()
        assert fingerprint["config"] == MODEL
        assert json.loads(fingerprint["preprocessing"])["size"] == 32
        assert all(isinstance(value, str) for value in fingerprint.values())

    @pytest.mark.parametrize("kind", ["file", "folder"])
    def test_depends_on_the_weights_only(self, files, tmp_path, kind):
        def load(seed, folder):
            path = write_local_dir(folder / "same", CONFIG, seed=seed)
            if kind == "folder":
                return OpenClip(f"local-dir:{path}").fingerprint()
            return OpenClip(MODEL, path / "open_clip_model.safetensors").fingerprint()

        seeds = {"a": 0, "b": 0, "c": 1}
        first, again, other = (load(seed, tmp_path / name) for name, seed in seeds.items())
        assert first == again
        hashes = "file sha256" if kind == "file" else "tensors sha256"
        assert {name for name in first if first[name] != other[name]} == {hashes}

    def test_depends_on_configuration_and_preprocessing(self, files, tmp_path):
        first = OpenClip(f"local-dir:{files['local_dir']}").fingerprint()
        config = {**CONFIG, "quick_gelu": True}
        folder = write_local_dir(tmp_path / "local_dir", config, {"mean": [0.1] * 3})
        other = OpenClip(f"local-dir:{folder}").fingerprint()
        changed = {name for name in first if first[name] != other[name]}
        assert changed == {"config sha256", "preprocessing", "quick_gelu"}


MODULE = """
class Mine:
    name, dimension, logit_scale, pixels = "mine", 3, 1.0, None
    def fingerprint(self): return {}
    preprocess = encode_image = encode_text = encode_text_hidden = fingerprint
    @property
    def text_projection(self): raise ValueError("it has none")

class Wrapper:
    def __getattr__(self, name): return getattr(Mine(), name)

class Half:
    name = dimension = logit_scale = preprocess = encode_image = encode_text = fingerprint = None

class Needy(Mine):
    def __init__(self, needed): pass
"""


class TestFactories:
    @pytest.fixture(autouse=True)
    def _here(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "users_backbone.py").write_text(MODULE)
        (tmp_path / "broken_backbone.py").write_text("import no_such_package")
        path = list(sys.path)
        yield
        assert sys.path == path
        sys.modules.pop("users_backbone", None)

    def test_of_a_module_or_a_file(self):
        for spec in ("users_backbone:Mine", "users_backbone.py:Mine", "users_backbone:Wrapper"):
            assert load_backbone(spec).name == "mine"

    def test_incomplete(self):
        with refused(r"`users_backbone:Half` should return a backbone\. Got Half without `pixels`"):
            load_backbone("users_backbone:Half")

    @pytest.mark.parametrize(
        ("spec", "got"),
        [
            ("no_such_module:f", "ModuleNotFoundError: No module named 'no_such_module'"),
            ("broken_backbone:f", "ModuleNotFoundError: No module named 'no_such_package'"),
            ("nowhere.py:f", "FileNotFoundError: .*No such file or directory"),
            ("users_backbone:nothing", "AttributeError: .* has no attribute 'nothing'"),
        ],
    )
    def test_nothing_to_load(self, spec, got):
        with refused(rf"`--backbone` should be `file\.py:Name` .*Got '{spec}': {got}"):
            load_backbone(spec)

    def test_an_error_of_the_factory_is_its_own(self):
        with pytest.raises(TypeError, match="needed"):
            load_backbone("users_backbone:Needy")


SPECS = ["", "clip", "devise-", "devise-x", "open_clip/", "open_clip/RN50", "a:b:c", "sys:path"]
KNOWN = r"`--backbone` should be `devise`, `devise-N`, .* or `FILE\.py:FACTORY` with a fun"
YES = ("open_clip/RN50/openai?quick_gelu=yes", r"`\?quick_gelu=` should be followed by true or fal")


@pytest.mark.parametrize(("spec", "message"), [*((spec, KNOWN) for spec in SPECS), YES])
def test_unknown_specifications(spec, message):
    with refused(message):
        load_backbone(spec)


def test_importing_is_light():
    code = (
        "import sys, vlm_adapters.backbones\n"
        "print({'open_clip', 'torchvision', 'transformers', 'timm', 'PIL'} & set(sys.modules))"
    )
    assert python("-c", code).stdout == "set()\n"
