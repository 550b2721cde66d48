"""The encoder in Hugging Face's transformers: published files, round trips, attention, checkpointing."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ove_codec.models import OVEncoder, OVEncoderConfig
from support.published import SIZES, write, write_weights

transformers = pytest.importorskip("transformers", reason="the extra 'hf' is not installed")

from ove_codec.models.hf import (  # noqa: E402
    LlavaOnevision2Config,
    OneVisionEncoderConfig,
    OneVisionEncoderModel,
)

AutoModel, AutoConfig, AutoImageProcessor = (
    getattr(transformers, name) for name in ("AutoModel", "AutoConfig", "AutoImageProcessor")
)
GOLDEN = Path(__file__).parents[2] / "shared" / "golden_model"
pytestmark = [
    pytest.mark.filterwarnings("ignore:flex_attention called without"),
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*deprecated:FutureWarning"),
]


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, dict[str, Tensor]]:
    """A directory of the published form, and its weights."""
    directory = tmp_path / "onevision-encoder-large"
    return directory, write(directory)


def load(directory: Path, **options: Any) -> OneVisionEncoderModel:
    options.setdefault("dtype", torch.float32)
    model: OneVisionEncoderModel = AutoModel.from_pretrained(directory, **options)
    assert type(model) is OneVisionEncoderModel
    return model


def same_weights(model: torch.nn.Module, weights: dict[str, Tensor]) -> bool:
    state = model.state_dict()
    return state.keys() == weights.keys() and all(
        torch.equal(state[k].cpu(), v.to(state[k])) for k, v in weights.items()
    )


def clips(batch: int = 2, frames: int = 2) -> Tensor:
    return torch.randn(batch, 3, frames, 42, 28, generator=torch.Generator().manual_seed(1))


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "module._orig_mod."])
def test_published_files(published: tuple[Path, dict[str, Tensor]], shards: int, prefix: str, tmp_path: Path) -> None:
    directory, weights = published
    write_weights(directory, {prefix + name: value for name, value in weights.items()}, shards)
    model = load(directory)
    assert same_weights(model, weights) and not model.training
    with torch.no_grad():
        expected = OVEncoder.from_pretrained(directory)
        patches = torch.randn(9, expected.config.patch_dim)
        positions = torch.randint(0, 64, (9, 3))
        got = model(patches=patches, patch_positions=positions, cu_seqlens=[0, 4, 9])
        wanted = expected(patches, positions, [0, 4, 9])
    assert torch.equal(got.last_hidden_state, wanted.last_hidden_state)
    assert torch.equal(got.pooler_output, wanted.pooler_output)

    model.save_pretrained(tmp_path / "again")
    assert load_file(tmp_path / "again" / "model.safetensors").keys() == weights.keys()
    assert same_weights(load(tmp_path / "again"), weights)


def test_dtypes(published: tuple[Path, dict[str, Tensor]]) -> None:
    directory, weights = published
    assert load(directory, dtype="auto").dtype == torch.bfloat16
    half = load(directory, dtype=torch.bfloat16)
    assert same_weights(half, weights) and all(value.dtype == torch.bfloat16 for value in half.state_dict().values())
    with torch.no_grad():
        expected, got = load(directory)(clips()), half(clips())
    assert got.last_hidden_state.dtype == torch.bfloat16
    assert (got.last_hidden_state.float() - expected.last_hidden_state).abs().mean() < 0.05


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rope_layout": "interleaved", "layer_norm_type": "rms_norm"},
        {"use_head": False, "rope_temporal_size": None},
    ],
    ids=["default", "interleaved", "no_head"],
)
def test_round_trip(changes: dict[str, Any], tmp_path: Path) -> None:
    model = OneVisionEncoderModel(OneVisionEncoderConfig(**SIZES, **changes)).eval()
    model.save_pretrained(tmp_path)
    again = load(tmp_path)
    assert same_weights(again, model.state_dict())
    assert again.config.encoder_config() == model.config.encoder_config() == OVEncoderConfig(**SIZES, **changes)
    with torch.no_grad():
        assert torch.equal(again(clips()).last_hidden_state, model(clips()).last_hidden_state)
    ours = OVEncoder.from_pretrained(tmp_path)
    assert ours.config == OVEncoderConfig(**SIZES, **changes) and same_weights(ours, model.state_dict())


def test_files_of_the_plain_model(tmp_path: Path) -> None:
    model = OVEncoder(OVEncoderConfig(**SIZES))
    model.save_pretrained(tmp_path)
    assert same_weights(load(tmp_path), model.state_dict())


def test_bad_configurations_are_named() -> None:
    with pytest.raises(ValueError, match="hidden_act must be one of gelu"):
        OneVisionEncoderConfig(hidden_act="relu")
    with pytest.raises(ValueError, match="hidden_size / num_attention_heads"):
        OneVisionEncoderConfig(hidden_size=100)


def test_missing_head_is_initialised_and_named(published: tuple[Path, dict[str, Tensor]]) -> None:
    directory, weights = published
    kept = {name: value for name, value in weights.items() if not name.startswith("head.")}
    write_weights(directory, kept)
    model, info = AutoModel.from_pretrained(directory, dtype=torch.float32, output_loading_info=True)
    assert set(info["missing_keys"]) == weights.keys() - kept.keys()
    state = model.state_dict()
    assert all(torch.equal(state[name], value.float()) for name, value in kept.items())
    head = {name: value for name, value in state.items() if name.startswith("head.")}
    assert all(value.isfinite().all() for value in head.values())
    assert 0.5 < head["head.probe"].std() < 1.5
    assert 0 < head["head.attention.in_proj_weight"].abs().max() <= (6 / (4 * 64)) ** 0.5
    assert 0.015 < head["head.mlp.fc1.weight"].std() < 0.025
    assert (head["head.norm.weight"] == 1).all() and not head["head.attention.out_proj.bias"].any()


def test_one_missing_tensor_leaves_the_others(published: tuple[Path, dict[str, Tensor]]) -> None:
    directory, weights = published
    missing = "encoder.layers.0.mlp.fc1.bias"
    write_weights(directory, {name: value for name, value in weights.items() if name != missing})
    assert same_weights(load(directory), {**weights, missing: torch.zeros(96)})


def test_tensors_of_another_shape_are_named(published: tuple[Path, dict[str, Tensor]]) -> None:
    directory, weights = published
    write_weights(directory, {**weights, "layernorm_pre.bias": torch.zeros(65)})
    with pytest.raises((RuntimeError, ValueError), match=r"(?s)layernorm_pre\.bias.*65|mismatch"):
        load(directory)


def test_nothing_is_lost_by_building_without_memory(published: tuple[Path, dict[str, Tensor]]) -> None:
    directory, weights = published
    expected = load(directory)
    assert not list(expected.buffers())
    with torch.device("meta"):
        model = OneVisionEncoderModel(AutoConfig.from_pretrained(directory))
    model.load_state_dict({name: value.float() for name, value in weights.items()}, assign=True)
    with torch.no_grad():
        assert torch.equal(model.eval()(clips()).pooler_output, expected(clips()).pooler_output)


def test_weights_elsewhere_until_they_are_used(published: tuple[Path, dict[str, Tensor]], tmp_path: Path) -> None:
    accelerate = pytest.importorskip("accelerate", reason="device_map needs accelerate")
    directory, _ = published
    expected = load(directory)(clips()).pooler_output
    whole = load(directory, device_map="auto")
    places = dict.fromkeys(("embeddings", "layernorm_pre", "layernorm_post"), "cpu")
    places |= {"encoder": "disk", "head": "disk"}
    on_disk = load(directory, device_map=places, offload_folder=tmp_path / "offload")
    moved = accelerate.cpu_offload(load(directory), execution_device=torch.device("cpu"))
    with torch.no_grad():
        for model in (whole, on_disk, moved):
            torch.testing.assert_close(model(clips()).pooler_output, expected, atol=0, rtol=0)


# Results --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "attention"),
    [("tiny_hd32", "sdpa"), ("small_hd64", "sdpa"), ("small_hd64", "eager"), ("opt_rms_nohead", "sdpa")],
)
@pytest.mark.skipif(not GOLDEN.is_dir(), reason="no ../shared/golden_model")
def test_golden(name: str, attention: str) -> None:
    model = load(GOLDEN / name, attn_implementation=attention)
    tensors = load_file(GOLDEN / name / "cases.safetensors")
    compared = 0
    for entry in json.loads((GOLDEN / name / "cases.json").read_text())["cases"].values():
        inputs = {key: tensors[place] for key, (place, *_) in entry["inputs"].items()}
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            out = model(**inputs, output_hidden_states=True, output_attentions=True)
        for key, place in entry["outputs"].items():
            field, _, layer = key.partition(".")
            got = getattr(out, field)
            if place is None:
                assert got is None
                continue
            torch.testing.assert_close(got[int(layer)] if layer else got, tensors[place[0]], atol=5e-5, rtol=0)
            compared += 1
    assert compared > 10


@pytest.mark.parametrize("attention", ["eager", "sdpa", "flex_attention"])
def test_attention_implementations(published: tuple[Path, dict[str, Tensor]], attention: str) -> None:
    directory, _ = published
    model = load(directory, attn_implementation=attention)
    reference = load(directory, attn_implementation="eager")
    rows = torch.randn(12, 3 * 14 * 14)
    packed = {"patches": rows, "patch_positions": torch.randint(0, 64, (12, 3)), "cu_seqlens": [0, 3, 12]}
    for inputs in ({"pixel_values": clips()}, packed):
        with torch.no_grad():
            got, expected = model(**inputs), reference(**inputs)
        torch.testing.assert_close(got.last_hidden_state, expected.last_hidden_state, atol=1e-5, rtol=0)
        torch.testing.assert_close(got.pooler_output, expected.pooler_output, atol=1e-5, rtol=0)
    model.set_attn_implementation("eager")
    assert model.config._attn_implementation == "eager"
    with torch.no_grad():
        assert torch.equal(model(clips()).last_hidden_state, reference(clips()).last_hidden_state)


def test_flash_attention_that_is_not_installed_is_named(published: tuple[Path, dict[str, Tensor]]) -> None:
    if find_spec("flash_attn"):
        pytest.skip("flash-attn is installed")
    with pytest.raises((ImportError, ValueError), match=r"(?i)flash.?att"):
        load(published[0], attn_implementation="flash_attention_2", dtype=torch.bfloat16)


def test_outputs(published: tuple[Path, dict[str, Tensor]]) -> None:
    model = load(published[0])
    with torch.no_grad():
        out = model(clips(), output_hidden_states=True, output_attentions=True)
        plain = model(clips())
        as_tuple = model(clips(), return_dict=False)
        image = model(pixel_values=clips()[:, :, 0])
    assert [tuple(state.shape) for state in out.hidden_states] == [(2, 12, 64)] * 3
    assert [tuple(weights.shape) for weights in out.attentions] == [(2, 2, 12, 12)] * 2
    torch.testing.assert_close(out.attentions[0].sum(-1), torch.ones(2, 2, 12))
    assert model.layernorm_post is not None
    torch.testing.assert_close(model.layernorm_post(out.hidden_states[-1]), out.last_hidden_state)
    assert plain.hidden_states is None and plain.attentions is None
    assert len(as_tuple) == 2 and torch.equal(as_tuple[1], plain.pooler_output)
    assert image.last_hidden_state.shape == (2, 6, 64)


def test_subsets_are_those_of_the_plain_model(published: tuple[Path, dict[str, Tensor]]) -> None:
    from ove_codec.models import encode_pixels

    directory, _ = published
    index = torch.tensor([[5, 0, 11], [1, 2, 3]])
    with torch.no_grad():
        got = load(directory)(clips(), visible_indices=index)
        expected = encode_pixels(OVEncoder.from_pretrained(directory), clips(), index)
    assert torch.equal(got.last_hidden_state, expected.last_hidden_state)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "either pixel_values or patches"),
        ({"pixel_values": torch.zeros(1, 3, 28, 28), "patches": torch.zeros(1, 588)}, "either pixel_values or patches"),
        (
            {"pixel_values": torch.zeros(1, 3, 28, 28), "cu_seqlens": [0, 4]},
            "cu_seqlens and max_seqlen belong to patches",
        ),
        ({"patches": torch.zeros(1, 588)}, "patches need patch_positions"),
        ({"pixel_values": torch.zeros(1, 4, 28, 28)}, "pixel_values must be"),
        ({"patches": torch.zeros(1, 587), "patch_positions": torch.zeros(1, 3)}, "patches must be"),
        ({"pixel_values": torch.zeros(1, 3, 28, 28), "visible_indices": torch.tensor([[0.5]])}, "visible_indices must"),
    ],
)
def test_bad_inputs_are_named(inputs: dict[str, Any], message: str) -> None:
    model = OneVisionEncoderModel(OneVisionEncoderConfig(**SIZES))
    with pytest.raises(ValueError, match=message):
        model(**inputs)


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing(published: tuple[Path, dict[str, Tensor]], reentrant: bool) -> None:
    model = load(published[0]).train()
    runs: list[str] = []
    for name, module in model.named_modules():
        if name.startswith("encoder.") and name.endswith(".mlp"):
            module.register_forward_pre_hook(lambda *_: runs.append("run"))
    model(clips()).pooler_output.square().mean().backward()
    expected = [p.grad.clone() for p in model.parameters()]
    assert len(runs) == 2
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    model.zero_grad()
    runs.clear()
    model(clips()).pooler_output.square().mean().backward()
    assert len(runs) == 4
    torch.testing.assert_close([p.grad for p in model.parameters()], expected)
    model.gradient_checkpointing_disable()
    runs.clear()
    model(clips()).pooler_output.sum().backward()
    assert len(runs) == 2


def test_compiles_without_graph_breaks(published: tuple[Path, dict[str, Tensor]]) -> None:
    torch._dynamo.reset()
    model = load(published[0])
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.no_grad():
        expected, got = model(clips()), compiled(clips())
    torch.testing.assert_close(got.pooler_output, expected.pooler_output, atol=1e-6, rtol=0)


# Imports --------------------------------------------------------------------------------------------------------------


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return done.stdout + done.stderr


def test_transformers_is_imported_only_when_asked_for() -> None:
    code = (
        "import sys, ove_codec.models; print([m for m in ('transformers', 'timm', 'torchvision') if m in sys.modules])"
    )
    assert python(code).strip() == "[]"
    code = "import sys; sys.modules['transformers'] = None; import ove_codec.models.hf"
    assert "pip install 'ove_codec[hf]'" in python(code)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("frame_windows_size", 4),
        ("spatial_merge_size", 2),
        ("temporal_patch_size", 2),
        ("use_patch_position_encoding", True),
    ],
)
def test_towers_of_later_models_are_refused_by_name(key: str, value: object, tmp_path: Path) -> None:
    """They have the same `model_type`, and other attention or positions."""
    values = {**OVEncoderConfig(**SIZES).to_dict(), key: value}
    (tmp_path / "config.json").write_text(json.dumps(values))
    for read in (OVEncoderConfig.from_file, transformers.AutoConfig.from_pretrained):
        with pytest.raises(ValueError, match=f"{key}={value} belongs to a later model"):
            read(tmp_path)


def test_models_that_need_transformers_5_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ove_codec.models.hf.vlm_configuration.transformers.__version__", "4.57.1")
    with pytest.raises(ImportError, match="need transformers 5, but this is 4"):
        LlavaOnevision2Config()
