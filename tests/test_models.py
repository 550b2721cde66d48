"""The encoder against its plain twin, packing, rotary positions and bad arguments."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from models_twin import Array, Twin
from ove_codec.models import OVEncoder, OVEncoderConfig, OVEncoderOutput, encode_pixels
from ove_codec.models.pixels import patchify
from ove_codec.models.rope import apply_rope, rope_tables


def small(**changes: object) -> OVEncoderConfig:
    values = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}
    return OVEncoderConfig.from_dict({**values, "patch_size": 4, "rope_temporal_size": None, **changes})


def randomised(config: OVEncoderConfig, seed: int = 0) -> OVEncoder:
    """A model in which every parameter, biases and norms too, differs from its initial value."""
    generator = torch.Generator().manual_seed(seed)
    model = OVEncoder(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def sequences(config: OVEncoderConfig, lengths: list[int], seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Packed patches, positions far beyond one clip's grid, and the bounds."""
    generator = torch.Generator().manual_seed(seed)
    patches = torch.randn(sum(lengths), config.patch_dim, generator=generator)
    positions = torch.randint(0, 200, (sum(lengths), 3), generator=generator, dtype=torch.int32)
    return patches, positions, torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32)


def assert_same(got: OVEncoderOutput, expected: OVEncoderOutput, tolerance: float = 2e-5) -> None:
    torch.testing.assert_close(got.last_hidden_state, expected.last_hidden_state, atol=tolerance, rtol=0)
    torch.testing.assert_close(got.pooler_output, expected.pooler_output, atol=tolerance, rtol=0)


def assert_near(got: Tensor, expected: Array) -> None:
    np.testing.assert_allclose(got.numpy(), expected, rtol=0, atol=5e-5)


CONFIGS = [
    small(),
    small(rope_layout="interleaved", rope_theta=500.0, num_channels=1),
    small(hidden_size=128, num_hidden_layers=1, layer_norm_type="rms_norm", layer_norm_eps=1e-3),
    small(hidden_size=96, num_attention_heads=1, use_head=False, num_hidden_layers=3),
]


@pytest.mark.parametrize("config", CONFIGS, ids=["default", "interleaved", "rms_norm", "no_head"])
@pytest.mark.parametrize("lengths", [[7], [5, 5, 5], [1, 9, 4]], ids=str)
def test_matches_twin(config: OVEncoderConfig, lengths: list[int]) -> None:
    model = randomised(config)
    twin = Twin(config, {name: value.double().numpy() for name, value in model.state_dict().items()})
    patches, positions, bounds = sequences(config, lengths)
    with torch.no_grad():
        out = model(patches, positions, bounds, output_hidden_states=True, output_attentions=True)
    assert out.hidden_states is not None and len(out.hidden_states) == config.num_hidden_layers + 1
    assert out.attentions is not None and len(out.attentions) == config.num_hidden_layers

    for b, (start, stop) in enumerate(itertools.pairwise(bounds.tolist())):
        rows = slice(start, stop)
        last, pooled, states, attentions = twin(patches[rows].double().numpy(), positions[rows].double().numpy())
        assert_near(out.last_hidden_state[rows], last)
        if pooled is None:
            assert out.pooler_output is None
        else:
            assert_near(out.pooler_output[b], pooled)
        for got, expected in zip(out.hidden_states, states, strict=True):
            assert_near(got[rows], expected)
        for got, expected in zip(out.attentions, attentions, strict=True):
            assert_near(got[b], expected)


@pytest.mark.parametrize("lengths", [[6, 6], [3, 8, 1]], ids=str)
def test_packed_equals_separate(lengths: list[int]) -> None:
    config = small()
    model = randomised(config)
    patches, positions, bounds = sequences(config, lengths)
    with torch.no_grad():
        packed = model(patches, positions, bounds)
        alone = [model(p, q) for p, q in zip(patches.split(lengths), positions.split(lengths), strict=True)]
    assert packed.hidden_states is None and packed.attentions is None
    last, pooled = (torch.cat(parts) for parts in zip(*(out[:2] for out in alone), strict=True))
    assert_same(packed, OVEncoderOutput(last, pooled))


def test_inputs_may_be_numpy_of_any_integer_and_float_type() -> None:
    config = small()
    model = randomised(config)
    patches, positions, bounds = sequences(config, [4, 3])
    with torch.no_grad():
        expected = model(patches, positions, bounds)
        assert_same(model(patches.numpy(), positions.numpy(), bounds.numpy()), expected, 0)
        assert_same(model(patches.double(), positions.float(), bounds.long()), expected, 0)
        assert_same(model(patches, positions.long(), [0, 4, 7]), expected, 0)


def test_token_order_does_not_matter() -> None:
    config = small()
    model = randomised(config)
    patches, positions, _ = sequences(config, [9])
    order = torch.randperm(9, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected, got = model(patches, positions), model(patches[order], positions[order])
    assert_same(got, expected._replace(last_hidden_state=expected.last_hidden_state[order]))


@pytest.mark.parametrize("layout", ["interleaved", "legacy"])
def test_only_a_rotation_ignores_a_shift_of_all_positions(layout: str) -> None:
    config = small(rope_layout=layout)
    model = randomised(config)
    patches, positions, _ = sequences(config, [8])
    with torch.no_grad():
        here, there = model(patches, positions), model(patches, positions + torch.tensor([5, 3, 7]))
    difference = (here.last_hidden_state - there.last_hidden_state).abs().max()
    assert difference < 2e-4 if layout == "interleaved" else difference > 1e-2


def test_rotation_keeps_lengths() -> None:
    positions = torch.randint(0, 64, (20, 3))
    x = torch.randn(20, 2, 64)
    turned = apply_rope(x, *rope_tables(positions, 64, 10000.0, "interleaved"))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))


def test_bfloat16_keeps_angles_exact() -> None:
    """Time slots around 1000 are apart by less than bfloat16 resolves: rounded angles would confuse them."""
    config = small()
    model = randomised(config)
    patches, _, _ = sequences(config, [6])
    positions = torch.stack([torch.arange(1000, 1006), torch.arange(6), torch.zeros(6, dtype=torch.int64)], dim=1)
    with torch.no_grad():
        expected = model(patches, positions)
        got = model.to(torch.bfloat16)(patches, positions)
    assert got.last_hidden_state.dtype == torch.bfloat16
    error = (got.last_hidden_state.float() - expected.last_hidden_state).abs().mean()
    assert error < 0.03


def test_gradients_reach_every_parameter() -> None:
    config = small()
    model = randomised(config).train()
    out = model(*sequences(config, [3, 5]))
    (out.last_hidden_state.square().mean() + out.pooler_output.square().mean()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_attention_dropout_only_in_training() -> None:
    config = small(attention_dropout=0.5)
    model, batch = randomised(config), sequences(config, [8])
    with torch.no_grad():
        assert_same(model(*batch), model(*batch), 0)
        model.train()
        assert not torch.equal(model(*batch).last_hidden_state, model(*batch).last_hidden_state)


@pytest.mark.parametrize(
    ("name", "parameters", "tensors", "head"),
    [
        ("ov-encoder-base", 92_595_456, 207, 7_086_336),
        ("ov-encoder-large", 315_509_760, 399, 12_594_176),
        ("ov-encoder-huge", 650_110_720, 527, 19_674_880),
    ],
)
def test_named_configurations(name: str, parameters: int, tensors: int, head: int) -> None:
    with torch.device("meta"):
        model = OVEncoder.from_config(name)
    state = model.state_dict()
    assert len(state) == tensors
    assert sum(value.numel() for value in state.values()) == parameters
    assert sum(value.numel() for key, value in state.items() if key.startswith("head.")) == head


def test_state_dict_names_and_shapes() -> None:
    h, m = 64, 96
    expected = {"embeddings.patch_embedding.weight": (h, 3, 4, 4), "head.probe": (1, 1, h), "head.norm.weight": (h,)}
    expected |= {"head.attention.in_proj_weight": (3 * h, h), "head.attention.in_proj_bias": (3 * h,)}
    for norm in ("layernorm_pre", "layernorm_post"):
        expected |= {f"{norm}.weight": (h,), f"{norm}.bias": (h,)}
    linears = {"head.attention.out_proj": (h, h), "head.mlp.fc1": (m, h), "head.mlp.fc2": (h, m)}
    for layer in ("encoder.layers.0", "encoder.layers.1"):
        linears |= {f"{layer}.self_attn.{part}_proj": (h, h) for part in ("q", "k", "v", "out")}
        linears |= {f"{layer}.mlp.fc1": (m, h), f"{layer}.mlp.fc2": (h, m)}
        for norm in ("layer_norm1", "layer_norm2"):
            expected |= {f"{layer}.{norm}.weight": (h,), f"{layer}.{norm}.bias": (h,)}
    for name, shape in linears.items():
        expected |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    assert {name: tuple(value.shape) for name, value in OVEncoder(small()).state_dict().items()} == expected

    plain = OVEncoder(small(layer_norm_type="rms_norm", use_head=False)).state_dict()
    dropped = {name for name in expected if name.startswith(("head.", "layernorm_post."))}
    dropped |= {name for name in expected if "norm" in name and name.endswith(".bias")}
    assert set(plain) == set(expected) - dropped


def test_initial_values() -> None:
    torch.manual_seed(0)
    model = OVEncoder(small(hidden_size=256, intermediate_size=512, num_attention_heads=8, initializer_range=0.05))
    assert model.head is not None
    for name, parameter in model.named_parameters():
        if name == "head.probe":
            assert 0.8 < parameter.std() < 1.2
        elif name == "head.attention.in_proj_weight":
            assert parameter.abs().max() <= (6 / (4 * 256)) ** 0.5
        elif name.endswith("bias"):
            assert not parameter.any(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name
        else:
            assert 0.045 < parameter.std() < 0.055, name


@pytest.mark.parametrize(
    ("patches", "positions", "bounds", "message"),
    [
        ((6, 47), (6, 3), None, "patches"),
        ((2, 3, 48), (6, 3), None, "patches"),
        ((6, 48), (6, 2), None, "positions"),
        ((6, 48), (5, 3), None, "positions"),
        ((6, 48), (6, 3), [0, 5], "cu_seqlens"),
        ((6, 48), (6, 3), [1, 6], "cu_seqlens"),
        ((6, 48), (6, 3), [0, 3, 3, 6], "cu_seqlens"),
        ((6, 48), (6, 3), [0, 4, 2, 6], "cu_seqlens"),
        ((6, 48), (6, 3), [0], "cu_seqlens"),
        ((6, 48), (6, 3), [[0, 6]], "cu_seqlens"),
        ((6, 48), (6, 3), [0.0, 6.0], "cu_seqlens"),
        ((0, 48), (0, 3), None, "cu_seqlens"),
    ],
)
def test_bad_arguments_are_named(
    patches: tuple[int, ...], positions: tuple[int, ...], bounds: object, message: str
) -> None:
    model = OVEncoder(small())
    with pytest.raises(ValueError, match=message):
        model(torch.zeros(patches), torch.zeros(positions), bounds)


def test_pixels_that_are_not_normalised_are_named() -> None:
    model = OVEncoder(small())
    with pytest.raises(ValueError, match=r"patches must be \(N, 48\) floating point, got torch.uint8"):
        model(torch.zeros(6, 48, dtype=torch.uint8), torch.zeros(6, 3))
    with pytest.raises(ValueError, match="pixel_values must be normalised"):
        encode_pixels(model, torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": 0},
        {"hidden_size": 64.0},
        {"num_hidden_layers": 10**9},
        {"num_attention_heads": 3},
        {"num_attention_heads": 4},
        {"patch_size": "14"},
        {"layer_norm_type": "batch_norm"},
        {"hidden_act": "relu"},
        {"rope_layout": "half"},
        {"rope_theta": "10000"},
        {"rope_theta": float("nan")},
        {"layer_norm_eps": -1.0},
        {"use_head": 1},
        {"model_type": "clip"},
    ],
    ids=str,
)
def test_bad_configurations_are_named(changes: dict[str, object]) -> None:
    name = next(iter(changes))
    with pytest.raises(ValueError, match="hidden_size" if name == "num_attention_heads" else name):
        small(**changes)


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="ov-encoder-base, ov-encoder-huge, ov-encoder-large"):
        OVEncoder.from_config("ov-encoder-tiny")


# Whole images and clips ----------------------------------------------------------------------------------------------


def test_patchify_is_the_convolution() -> None:
    config = small()
    model = randomised(config)
    pixels = torch.randn(2, 3, 3, 11, 17)
    images = pixels.transpose(1, 2).flatten(0, 1)
    weight = model.embeddings.patch_embedding.weight
    convolved = torch.nn.functional.conv2d(images, weight, stride=4).flatten(2).transpose(1, 2)
    tokens = model.embeddings(patchify(pixels, 4))
    torch.testing.assert_close(tokens, convolved.reshape(2, -1, 64))


def test_pixels_subset_is_the_packed_call() -> None:
    """Chosen patches of a clip are the same rows and positions, packed, and keep their order."""
    config = small()
    model = randomised(config)
    pixels = torch.randn(2, 3, 5, 8, 12)
    index = torch.stack([torch.randperm(30)[:7], torch.randperm(30)[:7]])
    positions = torch.stack([index // 6, index % 6 // 3, index % 3], dim=-1)
    with torch.no_grad():
        got = encode_pixels(model, pixels, index, output_hidden_states=True, output_attentions=True)
        explicit = encode_pixels(model, pixels, index, positions)
        rows = patchify(pixels, 4).take_along_dim(index[..., None], dim=1)
        expected = model(rows.flatten(0, 1), positions.flatten(0, 1), [0, 7, 14])
    expected = expected._replace(last_hidden_state=expected.last_hidden_state.unflatten(0, (2, 7)))
    assert_same(got, expected, 1e-6)
    assert_same(explicit, expected, 1e-6)
    assert got.hidden_states is not None and [state.shape for state in got.hidden_states] == [(2, 7, 64)] * 3
    assert got.attentions is not None and [w.shape for layer in got.attentions for w in layer] == [(2, 7, 7)] * 4


def test_as_many_indices_as_patches_give_positions_only() -> None:
    config = small()
    model = randomised(config)
    pixels = torch.randn(1, 3, 2, 8, 8)
    index = torch.tensor([[3, 9, 14, 30, 41, 77, 100, 255]])
    positions = torch.stack([index // 4, index % 4 // 2, index % 2], dim=-1)
    with torch.no_grad():
        with pytest.warns(UserWarning, match="every patch is kept in place"):
            got = encode_pixels(model, pixels, index)
        assert_same(got, encode_pixels(model, pixels, patch_positions=positions), 0)
        assert_same(encode_pixels(model, pixels, torch.arange(8)[None]), encode_pixels(model, pixels), 0)


@pytest.mark.parametrize(
    ("shape", "visible", "positions", "message"),
    [
        ((3, 8, 8), None, None, "pixel_values"),
        ((1, 1, 8, 8), None, None, "pixel_values"),
        ((1, 3, 8, 3), None, None, "no whole patch"),
        ((1, 3, 8, 8), [[0, 4]], None, "0 to 3"),
        ((1, 3, 8, 8), [[-1, 2]], None, "0 to 3"),
        ((1, 3, 8, 8), [0, 1], None, "visible_indices"),
        ((2, 3, 8, 8), [[0, 1]], None, "visible_indices"),
        ((1, 3, 8, 8), [[0, 1]], (1, 4, 3), "patch_positions"),
    ],
)
def test_bad_pixels_are_named(
    shape: tuple[int, ...], visible: list[int] | None, positions: tuple[int, ...] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        encode_pixels(
            OVEncoder(small()),
            torch.zeros(shape),
            None if visible is None else torch.tensor(visible),
            None if positions is None else torch.zeros(positions),
        )
