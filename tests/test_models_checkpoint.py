"""Saving and loading: names, prefixes, shards, missing heads, damaged files."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ove_codec.models import OVEncoder, OVEncoderConfig

CONFIG = OVEncoderConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=1, patch_size=4)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, dict[str, Tensor]]:
    """A directory with a saved model, and its weights."""
    model = OVEncoder(CONFIG)
    model.save_pretrained(tmp_path / "new" / "model")
    return tmp_path / "new" / "model", model.state_dict()


def assert_weights(model: OVEncoder, expected: dict[str, Tensor]) -> None:
    state = model.state_dict()
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(state[name], value), name


def test_round_trip(saved: tuple[Path, dict[str, Tensor]]) -> None:
    directory, weights = saved
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = OVEncoder.from_pretrained(directory)
    assert model.config == CONFIG
    assert not model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert_weights(model, weights)
    assert set(load_file(directory / "model.safetensors")) == set(weights)
    written = json.loads((directory / "config.json").read_text())
    assert written["model_type"] == "onevision_encoder" and written["hidden_size"] == 32


def test_dtype(saved: tuple[Path, dict[str, Tensor]]) -> None:
    directory, weights = saved
    half = OVEncoder.from_pretrained(directory, dtype=torch.bfloat16)
    assert_weights(half, {name: value.bfloat16() for name, value in weights.items()})
    half.save_pretrained(directory)
    assert all(value.dtype == torch.float32 for value in OVEncoder.from_pretrained(directory).state_dict().values())


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod."])
def test_prefixes_of_wrappers(saved: tuple[Path, dict[str, Tensor]], prefix: str) -> None:
    directory, weights = saved
    save_file({prefix + name: value for name, value in weights.items()}, directory / "model.safetensors")
    assert_weights(OVEncoder.from_pretrained(directory), weights)


def test_other_keys_of_the_config_are_left_aside(saved: tuple[Path, dict[str, Tensor]]) -> None:
    directory, weights = saved
    values = json.loads((directory / "config.json").read_text())
    values |= {"dtype": "bfloat16", "auto_map": {"AutoModel": "x.Y"}, "transformers_version": "4.57.1"}
    del values["rope_layout"]
    (directory / "config.json").write_text(json.dumps(values))
    model = OVEncoder.from_pretrained(directory)
    assert model.config == CONFIG
    assert_weights(model, weights)


def shard(directory: Path, weights: dict[str, Tensor]) -> dict[str, str]:
    names = sorted(weights)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, keys in parts.items():
        save_file({key: weights[key] for key in keys}, directory / file)
    (directory / "model.safetensors").unlink()
    weight_map = {key: file for file, keys in parts.items() for key in keys}
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return weight_map


def test_shards(saved: tuple[Path, dict[str, Tensor]]) -> None:
    directory, weights = saved
    shard(directory, weights)
    assert_weights(OVEncoder.from_pretrained(directory), weights)
    (directory / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="model-00002-of-00002"):
        OVEncoder.from_pretrained(directory)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "sub/model.safetensors", "..", "", 3])
def test_shards_stay_in_the_directory(saved: tuple[Path, dict[str, Tensor]], name: object) -> None:
    directory, weights = saved
    weight_map: dict[str, object] = {**shard(directory, weights)}
    weight_map["head.probe"] = name
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises((ValueError, FileNotFoundError), match="shard"):
        OVEncoder.from_pretrained(directory)


@pytest.mark.parametrize("index", ["{", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": []}}'])
def test_damaged_index(saved: tuple[Path, dict[str, Tensor]], index: str) -> None:
    directory, weights = saved
    shard(directory, weights)
    (directory / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ValueError, match=r"index\.json is not an index"):
        OVEncoder.from_pretrained(directory)


@pytest.mark.parametrize("with_norm", [True, False])
def test_missing_head_is_initialised(saved: tuple[Path, dict[str, Tensor]], with_norm: bool) -> None:
    directory, weights = saved
    dropped = ("head.",) if with_norm else ("head.", "layernorm_post.")
    kept = {name: value for name, value in weights.items() if not name.startswith(dropped)}
    save_file(kept, directory / "model.safetensors")
    with pytest.warns(
        UserWarning, match="no weights for head" if with_norm else "no weights for layernorm_post and head"
    ):
        model = OVEncoder.from_pretrained(directory)
    state = model.state_dict()
    for name, value in kept.items():
        assert torch.equal(state[name], value), name
    assert all(value.isfinite().all() and not value.is_meta for value in state.values())
    assert 0.5 < state["head.probe"].std() < 1.5
    assert (state["layernorm_post.weight"] == 1).all()
    out = model(torch.randn(3, CONFIG.patch_dim), torch.zeros(3, 3))
    assert out.pooler_output.isfinite().all()


def test_part_of_a_head_is_an_error(saved: tuple[Path, dict[str, Tensor]]) -> None:
    directory, weights = saved
    del weights["head.probe"]
    save_file(weights, directory / "model.safetensors")
    with pytest.raises(ValueError, match=r"missing: head\.probe \(1, 1, 32\)"):
        OVEncoder.from_pretrained(directory)


def test_misfits_are_listed_with_shapes(saved: tuple[Path, dict[str, Tensor]]) -> None:
    directory, weights = saved
    del weights["layernorm_pre.bias"]
    weights["layernorm_pre.scale"] = torch.zeros(32)
    weights["encoder.layers.0.mlp.fc1.bias"] = torch.zeros(47)
    save_file(weights, directory / "model.safetensors")
    with pytest.raises(ValueError) as raised:  # noqa: PT011 (the whole message is looked at)
        OVEncoder.from_pretrained(directory)
    message = str(raised.value)
    assert "missing: layernorm_pre.bias (32,)" in message
    assert "unknown: layernorm_pre.scale (32,)" in message
    assert "of another shape: encoder.layers.0.mlp.fc1.bias is (47,), expected (48,)" in message


def test_weights_of_another_size_do_not_fill_the_screen(saved: tuple[Path, dict[str, Tensor]]) -> None:
    directory, _ = saved
    OVEncoderConfig(
        hidden_size=64, intermediate_size=48, num_hidden_layers=2, num_attention_heads=1, patch_size=4
    ).save(directory)
    with pytest.raises(ValueError, match=r"of another shape: .* and \d+ more"):
        OVEncoder.from_pretrained(directory)


def test_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        OVEncoder.from_pretrained("someone/some-model")
    CONFIG.save(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        OVEncoder.from_pretrained(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, (2**60).to_bytes(8, "little") + b"{}"])
def test_damaged_weights(saved: tuple[Path, dict[str, Tensor]], content: bytes) -> None:
    directory, _ = saved
    (directory / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        OVEncoder.from_pretrained(directory)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b'{"hidden_size": "wide"}'])
def test_damaged_config(saved: tuple[Path, dict[str, Tensor]], content: bytes) -> None:
    directory, _ = saved
    (directory / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json"):
        OVEncoder.from_pretrained(directory)
