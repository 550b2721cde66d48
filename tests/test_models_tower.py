"""Towers of LLaVA-OneVision-2 and Mage-VL against a plain twin, from every kind of checkpoint; what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("safetensors", reason="safetensors is not installed")
pytest.importorskip("tokenizers", reason="ove_codec[hf] is not installed")

from safetensors.torch import save_file

from ove_codec.models import OVEncoder, OVTowerConfig, attention, load_tower
from ove_codec.models.visuals import merge_order
from support import published, vlm
from support.tower_twin import twin

KINDS: dict[str, dict[str, Any]] = {
    "windows": {"patch_size": 14, "frame_windows_size": 4},
    "merge3": {"patch_size": 16, "spatial_merge_size": 3, "num_attention_heads": 1, "num_hidden_layers": 3},
    "rms": {"patch_size": 14, "layer_norm_type": "rms_norm", "frame_windows_size": 0, "rope_theta": 5000.0},
    "head": {"patch_size": 16, "use_head": True, "frame_windows_size": 3, "layer_norm_eps": 1e-3},
    "mage": {
        "model_type": "mage_vl_vision",
        "patch_size": 16,
        "use_patch_position_encoding": True,
        "max_position_embeddings": 9,
        "patch_position_encoding_type": "absolute",
    },
}


def values(kind: str = "windows", **changes: Any) -> dict[str, Any]:
    """The `config.json` of a tower alone."""
    return {"model_type": "onevision_encoder", **vlm.VISION, **KINDS[kind], **changes}


def write(directory: Path, config: dict[str, Any], prefix: str = "", dtype: torch.dtype = torch.float32) -> Any:
    """Makes the directory of a tower; returns its weights by their released names, without the prefix."""
    weights = {k: v.to(dtype) for k, v in vlm.random_weights(vlm.tower_shapes(config)).items()}
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    save_file({prefix + name: value for name, value in weights.items()}, directory / "model.safetensors")
    return weights


def inputs(config: dict[str, Any], grid: list[list[int]] | None = None) -> tuple[Tensor, list[list[int]], Tensor]:
    """Noise with positions: an image, a clip of six frames in one row, canvases with frames far away."""
    m = config["spatial_merge_size"]
    grid = grid or [[1, 2 * m, 3 * m], [6, m, 2 * m], [9, m, m]]
    positions = []
    for row, (t, h, w) in enumerate(grid):
        cells = merge_order(h, w, m)
        for frame in range(t):
            positions.append(np.stack((np.full(h * w, frame * 37 * row), cells // w, cells % w), axis=1))
    places = torch.from_numpy(np.concatenate(positions))
    generator = torch.Generator().manual_seed(3)
    return torch.randn(len(places), 3 * config["patch_size"] ** 2, generator=generator), grid, places


def assert_near(got: Tensor | None, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Equal but for so many parts of the largest value."""
    assert got is not None and got.shape == expected.shape
    assert (got.double() - expected.double()).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("attention", ["eager", "sdpa", "flex_attention"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_its_twin(kind: str, attention: str, tmp_path: Path) -> None:
    config = values(kind)
    weights = write(tmp_path, config)
    tower = load_tower(tmp_path, attention=attention)
    pixels, grid, positions = inputs(config)
    encoder, merged, pooled = twin(config, weights, pixels, grid, positions)
    assert encoder.abs().max() > 0.5 and merged.std() > 0.05  # else a wrong result would be as near
    with torch.no_grad():
        out = tower(pixels, torch.tensor(grid), positions.numpy())
    assert_near(out.encoder, encoder)
    assert_near(out.merged, merged)
    if pooled is None:
        assert out.pooled is None
    else:
        assert_near(out.pooled, pooled)


def test_windows_and_absolute_times_matter(tmp_path: Path) -> None:
    config = values()
    write(tmp_path, config)
    tower = load_tower(tmp_path)
    pixels, _, positions = inputs(config, [[6, 4, 4]])
    with torch.no_grad():
        one, rows = tower(pixels, [[6, 4, 4]], positions), tower(pixels, [[1, 4, 4]] * 6, positions)
        shifted = tower(pixels, [[6, 4, 4]], positions + torch.tensor([500, 0, 0]))
    assert (one.merged - rows.merged).abs().max() > 1e-3
    assert (one.merged - shifted.merged).abs().max() > 1e-3


def test_images_of_a_batch_do_not_see_one_another(tmp_path: Path) -> None:
    config = values()
    write(tmp_path, config)
    tower = load_tower(tmp_path)
    pixels, grid, positions = inputs(config)
    with torch.no_grad():
        whole, alone = tower(pixels, grid, positions), tower(pixels[:24], grid[:1], positions[:24])
    assert_near(whole.encoder[:24], alone.encoder, 1e-5)


def test_patches_may_be_squares(tmp_path: Path) -> None:
    config = values()
    write(tmp_path, config)
    tower = load_tower(tmp_path)
    pixels, grid, positions = inputs(config)
    with torch.no_grad():
        got = tower(pixels.unflatten(1, (3, 14, 14)), grid, positions)
        assert torch.equal(got.merged, tower(pixels, grid, positions).merged)


def test_half_precision(tmp_path: Path) -> None:
    config = values()
    weights = write(tmp_path, config, dtype=torch.bfloat16)
    tower = load_tower(tmp_path, dtype=torch.bfloat16)
    pixels, grid, positions = inputs(config)
    merged = twin(config, weights, pixels, grid, positions)[1]
    with torch.no_grad():
        got = tower(pixels, grid, positions).merged
    assert got.dtype == torch.bfloat16
    assert (got - merged).square().mean().sqrt() < 0.03 * merged.std()


def test_varlen_is_asked_for_the_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel needs a GPU; a stand-in that takes the bounds at their word gives what the tower gives."""
    varlen = pytest.importorskip("torch.nn.attention.varlen", reason="needs PyTorch 2.10")
    config = values("head")
    weights = write(tmp_path, config, dtype=torch.bfloat16)
    pixels, grid, positions = inputs(config)
    asked = []

    def kernel(q: Tensor, k: Tensor, v: Tensor, q_bounds: Tensor, k_bounds: Tensor, *lengths: int) -> Tensor:
        assert q.dtype == k.dtype == v.dtype == torch.bfloat16
        asked.append((q_bounds.tolist(), k_bounds.tolist()))
        queries, keys, values = (
            x.tensor_split(bounds[1:-1].long()) for x, bounds in ((q, q_bounds), (k, k_bounds), (v, k_bounds))
        )
        outs = []
        for part in zip(queries, keys, values, strict=True):
            one_q, one_k, one_v = (x.transpose(0, 1) for x in part)
            outs.append(torch.nn.functional.scaled_dot_product_attention(one_q, one_k, one_v).transpose(0, 1))
        return torch.cat(outs)

    monkeypatch.setattr(varlen, "varlen_attn", kernel)
    monkeypatch.setattr(attention, "_resolve", lambda *_: "varlen")
    tower = load_tower(tmp_path, dtype=torch.bfloat16, attention="varlen")
    _, merged, pooled = twin(config, weights, pixels, grid, positions)
    with torch.no_grad():
        out = tower(pixels, grid, positions)
    assert (out.merged - merged).square().mean().sqrt() < 0.03 * merged.std()
    assert pooled is not None and (out.pooled - pooled).abs().max() < 0.1
    frames = [h * w for t, h, w in grid for _ in range(t)]
    starts = np.concatenate([[0], np.cumsum(frames)])
    windows = [0]  # three frames each, apart by row of the grid
    first = 0
    for t, _, _ in grid:
        windows += [int(starts[min(first + end, first + t)]) for end in range(3, t + 3, 3)]
        first += t
    assert asked[0] == (windows, windows)


@pytest.mark.cuda
@pytest.mark.parametrize("attention", ["varlen", "sdpa", "auto"])
def test_half_precision_on_a_gpu(attention: str, tmp_path: Path) -> None:
    config = values("head")
    weights = write(tmp_path, config, dtype=torch.bfloat16)
    tower = load_tower(tmp_path, dtype=torch.bfloat16, attention=attention).cuda()
    pixels, grid, positions = inputs(config)
    _, merged, pooled = twin(config, weights, pixels, grid, positions)
    with torch.no_grad():
        out = tower(pixels.cuda(), torch.tensor(grid).cuda(), positions.cuda())
    assert (out.merged.cpu() - merged).square().mean().sqrt() < 0.03 * merged.std()
    assert pooled is not None and (out.pooled.cpu() - pooled).abs().max() < 0.1


def test_compiled_as_one_graph(tmp_path: Path) -> None:
    config = values("mage")
    write(tmp_path, config)
    tower = load_tower(tmp_path)
    pixels, grid, positions = inputs(config)
    compiled = torch.compile(tower, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert_near(compiled(pixels, grid, positions).merged, tower(pixels, grid, positions).merged, 1e-6)


def test_gradients_reach_every_parameter(tmp_path: Path) -> None:
    config = values("mage")
    write(tmp_path, config)
    tower = load_tower(tmp_path)
    pixels, grid, positions = inputs(config)
    tower(pixels, grid, positions).merged.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in tower.parameters())


@pytest.mark.parametrize("model_type", vlm.ARCHITECTURES)
@pytest.mark.parametrize("prefix", ["model.visual.", "visual.", "module.model.visual."])
def test_only_the_tower_of_a_whole_model_is_read(model_type: str, prefix: str, tmp_path: Path) -> None:
    """The shards of the language model are not even there."""
    config = vlm.config(model_type)
    vision = config["vision_config"]
    weights = vlm.random_weights(vlm.tower_shapes(vision))
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({prefix + name: value for name, value in weights.items()}, tmp_path / "model-1.safetensors")
    where = dict.fromkeys((prefix + name for name in weights), "model-1.safetensors")
    index = {"weight_map": {**where, "lm_head.weight": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    pixels, grid, positions = inputs(vision)
    with torch.no_grad():
        got = load_tower(tmp_path)(pixels, grid, positions)
    assert_near(got.merged, twin(vision, weights, pixels, grid, positions)[1])


def test_keys_that_are_left_out_have_the_defaults_of_the_model(tmp_path: Path) -> None:
    """LLaVA-OneVision-2 merges 3 x 3 patches where its file does not say, Mage-VL 2 x 2."""
    for model_type, merge in (("onevision_encoder", 3), ("mage_vl_vision", 2)):
        config = values(patch_size=14, model_type=model_type, spatial_merge_size=merge)
        write(tmp_path, config)
        left = {name: value for name, value in config.items() if name != "spatial_merge_size"}
        (tmp_path / "config.json").write_text(json.dumps(left))
        assert load_tower(tmp_path).config.spatial_merge_size == merge


def test_a_onevision_encoder_has_no_merger(tmp_path: Path) -> None:
    published.write(tmp_path / "encoder")
    tower, encoder = load_tower(tmp_path / "encoder"), OVEncoder.from_pretrained(tmp_path / "encoder")
    pixels, grid, positions = inputs(values(spatial_merge_size=1), [[1, 4, 6], [2, 3, 3]])
    with torch.no_grad():
        out, expected = tower(pixels, grid, positions), encoder(pixels, positions, [0, 24, 42])
    assert out.merged is None
    assert torch.equal(out.encoder, expected.last_hidden_state)
    assert expected.pooler_output is not None and torch.equal(out.pooled, expected.pooler_output)


BAD_CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"spatial_merge_size": 0}, "spatial_merge_size must be an integer from 1 to 64, got 0"),
    ({"spatial_merge_size": True}, "spatial_merge_size .* got True"),
    ({"num_attention_heads": 3}, "multiple of 32, got 64 / 3"),
    ({"num_attention_heads": 4}, "multiple of 32, got 64 / 4"),
    ({"frame_windows_size": "4"}, "frame_windows_size must be an integer"),
    ({"temporal_patch_size": 2}, "temporal_patch_size=2"),
    ({"hidden_act": "gelu_pytorch_tanh"}, "hidden_act must be one of gelu, got 'gelu_pytorch_tanh'"),
    ({"patch_position_encoding_type": "relative"}, "patch_position_encoding_type='relative'"),
    ({"register_tokens": 4}, "register_tokens=4 is unknown"),
    ({"attention_pattern": "global"}, "attention_pattern='global' is unknown"),
    ({"model_type": "siglip2_vision_model"}, "model_type must be .* got 'siglip2_vision_model'"),
    ({"model_type": ["onevision_encoder"]}, "model_type must be a string"),
    ({"model_type": "mage_vl", "vision_config": {"model_type": ["a"]}}, "no tensors of a vision tower"),
    ({"layer_norm_eps": "1e-6"}, "layer_norm_eps must be a number"),
    ({"out_hidden_size": 1 << 40}, "out_hidden_size must be"),
    ({"patch_size": 16}, r"patch_embedding.weight is \(64, 3, 14, 14\), expected \(64, 3, 16, 16\)"),
    ({"out_hidden_size": 40}, r"merger.mlp.2.weight is \(48, 256\), expected \(40, 256\)"),
    ({"num_hidden_layers": 3}, "missing: encoder.layers.2"),
    ({"num_hidden_layers": 1}, "unknown: encoder.layers.1"),
    ({"use_patch_position_encoding": True}, "missing: merger.pos_emb_h.weight"),
]


@pytest.mark.parametrize(("change", "message"), BAD_CONFIGS)
def test_configurations_that_are_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write(tmp_path, values())
    (tmp_path / "config.json").write_text(json.dumps({**values(), **change}))
    with pytest.raises(ValueError, match=message):
        load_tower(tmp_path)


def test_keys_without_effect_are_let_through(tmp_path: Path) -> None:
    harmless = {"dtype": "bfloat16", "transformers_version": "5.7.0", "image_size": 336, "new_option": None, "x": False}
    write(tmp_path, {**values(), **harmless})
    assert load_tower(tmp_path).config == OVTowerConfig(**stored_fields(tmp_path))


def stored_fields(directory: Path) -> dict[str, Any]:
    stored = json.loads((directory / "config.json").read_text())
    return {name: stored[name] for name in ("patch_size", "image_size", *vlm.VISION) if name not in NO_FIELDS}


NO_FIELDS = ("temporal_patch_size", "tokens_per_second")


def bad_inputs() -> list[tuple[str, dict[str, Any], str]]:
    pixels, grid, positions = inputs(values())
    off = positions.clone()
    off[5, 0] = -1
    return [
        ("rows", {"grid": [[1, 4, 6]]}, f"24 patches in 1 rows, but pixel_values has {len(pixels)}"),
        ("more", {"grid": [[10**12, 4, 6]]}, f"24000000000000 patches in 1 rows, but pixel_values has {len(pixels)}"),
        (
            "odd",
            {"grid": [[1, 3, 6], *grid[1:]]},
            r"\[1, 3, 6\], whose h and w must be multiples of spatial_merge_size 2",
        ),
        ("zero", {"grid": [[0, 4, 6], *grid]}, "three positive integers"),
        ("empty", {"grid": torch.zeros((0, 3), dtype=torch.int64)}, "0 patches in 0 rows"),
        ("shape", {"grid": torch.ones((3, 2), dtype=torch.int64)}, r"grid_thw must be \(n, 3\) integers"),
        ("float", {"grid": torch.tensor(grid).float()}, r"grid_thw must be \(n, 3\) integers"),
        ("length", {"positions": positions[:-4]}, rf"patch_positions must be \({len(pixels)}, 3\).*{len(pixels) - 4}"),
        ("negative", {"positions": off}, r"not negative, got \(t, h, w\) = \(-1, .* in row 5"),
        ("patch", {"pixels": pixels[:, :-1]}, r"pixel_values must be \(N, 588\)"),
        ("integer", {"pixels": pixels.to(torch.uint8)}, "floating point"),
    ]


@pytest.mark.parametrize(("name", "change", "message"), bad_inputs())
def test_inputs_that_are_refused(name: str, change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write(tmp_path, values())
    pixels, grid, positions = inputs(values())
    given = {"pixels": pixels, "grid": grid, "positions": positions, **change}
    with pytest.raises(ValueError, match=message):
        load_tower(tmp_path)(given["pixels"], given["grid"], given["positions"])


def test_positions_beyond_the_tables_are_refused(tmp_path: Path) -> None:
    config = values("mage")
    write(tmp_path, config)
    pixels, grid, positions = inputs(config)
    with pytest.raises(ValueError, match="merged row or column 10, beyond the 9"):
        load_tower(tmp_path)(pixels, grid, positions + torch.tensor([0, 20, 0]) * (positions[:, 1:2] == 0))


def test_checkpoints_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"not a directory with a config\.json"):
        load_tower(tmp_path)
    write(tmp_path, values())
    (tmp_path / "config.json").write_text(json.dumps(vlm.config("mage_vl")))
    with pytest.raises(ValueError, match="no tensors of a vision tower"):
        load_tower(tmp_path)
    other = {**vlm.config("mage_vl"), "model_type": "qwen2_vl"}
    (tmp_path / "config.json").write_text(json.dumps(other))
    write(tmp_path, values(), "model.visual.")
    (tmp_path / "config.json").write_text(json.dumps(other))
    with pytest.raises(ValueError, match="model_type must be 'llava_onevision2' or 'mage_vl', got 'qwen2_vl'"):
        load_tower(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(ValueError, match="damaged or not a safetensors file"):
        load_tower(tmp_path)


def test_an_encoder_of_windows_pools_over_sequences() -> None:
    """`windows` bound the attention, `cu_seqlens` the pooling."""
    torch.manual_seed(0)
    config = OVTowerConfig(**{k: v for k, v in values("head").items() if k not in (*NO_FIELDS, "model_type")})
    encoder = OVEncoder(config).eval()
    pixels, _, positions = inputs(values("head"), [[4, 2, 2]])
    with torch.no_grad():
        whole = encoder(pixels, positions, [0, 16])
        cut = encoder(pixels, positions, [0, 16], windows=[0, 8, 16])
        parts = encoder(pixels, positions, [0, 8, 16])
    assert torch.equal(cut.last_hidden_state, parts.last_hidden_state)
    assert cut.pooler_output is not None and cut.pooler_output.shape == (1, 64)
    assert (cut.last_hidden_state - whole.last_hidden_state).abs().max() > 1e-4
    with pytest.raises(ValueError, match="windows must increase from 0 to the 16 rows"):
        encoder(pixels, positions, [0, 16], windows=[0, 8])
