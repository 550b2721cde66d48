"""Attention backends on packed sequences, torch.compile, gradient checkpointing, and where the bounds are read."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from ove_codec.models import OVEncoder, OVEncoderConfig, attention
from ove_codec.models.attention import BACKENDS, PackedAttention
from ove_codec.models.packing import Packing, packing

CONFIG = OVEncoderConfig(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2, patch_size=4)
LENGTHS = [[6, 6, 6], [3, 9, 9, 2], [1], [130, 3, 260, 1]]
CPU = torch.device("cpu")
Qkv = tuple[Tensor, Tensor, Tensor]


def bounds_of(lengths: Sequence[int]) -> Tensor:
    return torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32)


def batch(lengths: Sequence[int], seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    patches = torch.randn(sum(lengths), CONFIG.patch_dim, generator=generator)
    positions = torch.randint(0, 64, (sum(lengths), 3), generator=generator)
    return patches, positions, bounds_of(lengths)


def model_with(backend: str = "auto", layers: int = 2) -> OVEncoder:
    torch.manual_seed(0)
    return OVEncoder(replace(CONFIG, num_hidden_layers=layers), backend)


def expected_attention(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
    """One softmax over all rows, in double precision; `allowed` (queries, keys) tells which may be seen."""
    q, k, v = q.double(), k.double(), v.double()
    scores = torch.einsum("qhd,khd->hqk", q, k) / q.shape[-1] ** 0.5
    weights = scores.masked_fill(~allowed, float("-inf")).softmax(-1)
    return torch.einsum("hqk,khd->qhd", weights, v)


def random_qkv(rows: int, dtype: torch.dtype = torch.float32, device: torch.device = CPU) -> Qkv:
    generator = torch.Generator().manual_seed(rows)
    q, k, v = (torch.randn(rows, 2, 32, generator=generator).to(device, dtype).requires_grad_() for _ in range(3))
    return q, k, v


def as_seen(lengths: Sequence[int], how: str) -> Packing:
    """The bounds with their lengths known to the host, or only to the device that holds the tensor."""
    known = packing(bounds_of(lengths), sum(lengths))
    if how == "host":
        return known
    lengths_known = known.lengths if known.uniform else None
    return Packing(known.rows, known.count, max(lengths) + 2 * (not known.uniform), lengths_known, bounds_of(lengths))


def compare_with_expected(attend: PackedAttention, lengths: list[int], qkv: Qkv, tolerance: float) -> None:
    q, k, v = qkv
    document = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)).to(q.device)
    pool_q = q[: len(lengths)]
    number = torch.arange(len(lengths)).to(q.device)
    for got, expected in (
        (attend(q, k, v), expected_attention(q, k, v, document[:, None] == document)),
        (attend.pool(pool_q, k, v), expected_attention(pool_q, k, v, number[:, None] == document)),
    ):
        torch.testing.assert_close(got.double(), expected, atol=tolerance, rtol=0)
        if got.requires_grad:
            upstream = torch.randn(got.shape, generator=torch.Generator().manual_seed(1)).to(got)
            grads = torch.autograd.grad(got, qkv, upstream)
            for grad, wanted in zip(grads, torch.autograd.grad(expected, qkv, upstream.double()), strict=True):
                torch.testing.assert_close(grad, wanted, atol=4 * tolerance, rtol=0)


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("how", ["host", "device"])
@pytest.mark.parametrize("backend", ["eager", "sdpa"])
def test_forward_and_backward(backend: str, how: str, lengths: list[int]) -> None:
    attend = PackedAttention(as_seen(lengths, how), backend, CPU, torch.float32)
    compare_with_expected(attend, lengths, random_qkv(sum(lengths)), 2e-6)


@pytest.mark.parametrize("lengths", [*LENGTHS, [128, 128, 256], [100, 28, 1, 127, 1]], ids=str)
@pytest.mark.parametrize("how", ["host", "device"])
@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_flex_attention(how: str, lengths: list[int]) -> None:
    attend = PackedAttention(as_seen(lengths, how), "flex_attention", CPU, torch.float32)
    q, k, v = random_qkv(sum(lengths))
    compare_with_expected(attend, lengths, (q.detach(), k.detach(), v.detach()), 2e-6)


@pytest.mark.parametrize("lengths", [[128, 128, 256], [100, 28, 1, 127, 1], [700], [1] * 300, [64, 512, 3]], ids=str)
def test_blocks_of_the_flex_mask(lengths: list[int]) -> None:
    """The blocks derived from interval ends are those found by looking at every pair of rows."""
    flex = pytest.importorskip("torch.nn.attention.flex_attention", reason="needs PyTorch 2.5")
    document = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    rows = len(document)
    expected = flex.create_block_mask(lambda b, h, q, k: document[q] == document[k], None, None, rows, rows, CPU)
    got = attention.document_mask(packing(bounds_of(lengths), rows), CPU)
    assert torch.equal(got.to_dense(), expected.to_dense())
    assert torch.equal(got.full_kv_num_blocks, expected.full_kv_num_blocks)
    assert torch.equal(got.kv_num_blocks, expected.kv_num_blocks)


@pytest.mark.cuda
@pytest.mark.parametrize("lengths", [*LENGTHS, [100, 28, 1, 127, 1]], ids=str)
@pytest.mark.parametrize("how", ["host", "device"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_on_a_gpu(backend: str, how: str, lengths: list[int]) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU that PyTorch can use")
    if backend == "flash_attention_2":
        pytest.importorskip("flash_attn", reason="the package flash-attn is not installed")
    device = torch.device("cuda")
    attend = PackedAttention(as_seen(lengths, how), backend, device, torch.bfloat16)
    compare_with_expected(attend, lengths, random_qkv(sum(lengths), torch.bfloat16, device), 2e-2)


def test_varlen_takes_these_arguments() -> None:
    """The real operator, on tensors without memory: what it is given, it accepts."""
    pytest.importorskip("torch.nn.attention.varlen", reason="needs PyTorch 2.10")
    with torch.device("meta"):
        model = OVEncoder(CONFIG, "varlen").to(torch.bfloat16)
    patches, positions, _ = (tensor.to("meta") for tensor in batch([3, 9, 2]))
    out = model(patches, positions, [0, 3, 12, 14])
    assert out.last_hidden_state.shape == (14, 64) and out.pooler_output.shape == (3, 64)


@pytest.mark.parametrize("how", ["host", "device"])
def test_varlen_and_flash_arguments_mean_the_sequences(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels need a GPU; a stand-in that takes the bounds at their word shows what they are asked for."""
    varlen = pytest.importorskip("torch.nn.attention.varlen", reason="needs PyTorch 2.10")
    lengths = [3, 9, 9, 2]
    packed = as_seen(lengths, how)

    def kernel(
        q: Tensor, k: Tensor, v: Tensor, q_bounds: Tensor, k_bounds: Tensor, max_q: int, max_k: int, **options: Any
    ) -> Tensor:
        assert q_bounds.dtype == k_bounds.dtype == torch.int32
        assert int(q_bounds.diff().max()) <= max_q and int(k_bounds.diff().max()) <= max_k == packed.max_seqlen
        outs = []
        for b in range(len(q_bounds) - 1):
            rows, columns = (slice(int(x[b]), int(x[b + 1])) for x in (q_bounds, k_bounds))
            everything = torch.ones(rows.stop - rows.start, columns.stop - columns.start, dtype=torch.bool)
            outs.append(expected_attention(q[rows], k[columns], v[columns], everything))
        return torch.cat(outs).to(q.dtype)

    monkeypatch.setattr(varlen, "varlen_attn", kernel)
    monkeypatch.setattr(attention, "_resolve", lambda *_: "varlen")
    attend = PackedAttention(packed, "varlen", CPU, torch.float32)
    compare_with_expected(attend, lengths, random_qkv(sum(lengths)), 2e-6)


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
def test_models_agree_whatever_is_known_of_the_bounds(backend: str) -> None:
    model = model_with().eval()
    inputs = batch([3, 9, 2])
    with torch.no_grad():
        expected = model(*inputs)
        model.attention = backend
        for bounds in (inputs[2], inputs[2].tolist(), tuple(inputs[2].tolist()), inputs[2].numpy(), inputs[2].long()):
            for most in (None, 9, 20):
                got = model(inputs[0], inputs[1], bounds, max_seqlen=most)
                torch.testing.assert_close(got.last_hidden_state, expected.last_hidden_state, atol=2e-6, rtol=0)
                torch.testing.assert_close(got.pooler_output, expected.pooler_output, atol=2e-6, rtol=0)


def test_choice_of_auto() -> None:
    uniform, mixed = packing([0, 4, 8], 8), packing([0, 3, 8], 8)
    for dtype in (torch.float32, torch.bfloat16):
        assert PackedAttention(mixed, "auto", CPU, dtype).backend == "sdpa"
    meta = torch.device("meta")
    assert PackedAttention(mixed, "auto", meta, torch.float32).backend == "sdpa"
    assert PackedAttention(uniform, "auto", meta, torch.bfloat16).backend == "sdpa"
    pytest.importorskip("torch.nn.attention.varlen", reason="needs PyTorch 2.10")
    assert PackedAttention(mixed, "auto", meta, torch.bfloat16).backend == "varlen"


def test_backends_that_cannot_are_named() -> None:
    one = packing(None, 4)
    for name in ("varlen", "flash_attention_2"):
        with pytest.raises(ValueError, match=f"{name}.*float16 or bfloat16 on CUDA"):
            PackedAttention(one, name, CPU, torch.bfloat16)
    with pytest.raises(ValueError, match="attention_dropout"):
        PackedAttention(one, "flex_attention", CPU, torch.float32, dropout=0.1)
    with pytest.raises(ValueError, match="attention must be one of auto, eager, sdpa"):
        OVEncoder(CONFIG, "fast")
    model = model_with()
    with pytest.raises(ValueError, match="attention must be one of"):
        model.attention = "flash"
    assert model.attention == "auto"


def test_flash_attn_that_is_not_installed_is_named() -> None:
    if find_spec("flash_attn"):
        pytest.skip("flash-attn is installed")
    with pytest.raises(ImportError, match="pip install flash-attn"):
        PackedAttention(packing(None, 4), "flash_attention_2", torch.device("meta"), torch.bfloat16)


def test_dropout_of_weights() -> None:
    packed = packing([0, 3, 12], 12)
    q, k, _ = random_qkv(12)
    ones = torch.ones(12, 2, 32)
    for backend in ("eager", "sdpa"):
        torch.manual_seed(0)
        out = PackedAttention(packed, backend, CPU, torch.float32, dropout=0.5)(q, k, ones)
        assert out.std() > 0.1  # weights no longer add up to one
        assert abs(out.mean() - 1) < 0.5


@pytest.mark.parametrize(
    ("bounds", "most", "message"),
    [
        (torch.tensor([0, 3, 8]), 4, "sequence of 5 rows, more than max_seqlen 4"),
        ([0, 3, 8], 4, "sequence of 5 rows, more than max_seqlen 4"),
        (None, 7, "sequence of 8 rows, more than max_seqlen 7"),
        ([0, 3, 8], 0, "max_seqlen must be a positive integer"),
        ([0, 3, 8], 5.0, "max_seqlen must be a positive integer"),
        ([], None, "cu_seqlens must be"),
        (torch.tensor([0, 3, 8], device="meta"), 3, "2 sequences of 1 to 3 .*8 rows"),
        (torch.tensor([0] * 10, device="meta"), 3, "9 sequences of 1 to 3 .*8 rows"),
    ],
)
def test_bounds_that_do_not_fit(bounds: Any, most: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        packing(bounds, 8, most)


def test_bounds_on_a_device_are_left_there() -> None:
    """A meta tensor has no values, so anything that reads them would fail."""
    meta = torch.tensor([0, 4, 8], device="meta")
    assert packing(meta, 8, 4).lengths == (4, 4)
    assert packing(meta, 8, 6).lengths is None


# torch.compile -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attend", "backend", "recompute"),
    [("sdpa", "eager", False), ("eager", "aot_eager", True)],
    ids=["sdpa", "eager_recomputed"],
)
def test_compiles_without_graph_breaks(attend: str, backend: str, recompute: bool) -> None:
    """Fixed budgets, and bounds that only a device knows, have one graph each; gradients are those without it."""
    torch._dynamo.reset()
    plain, compiled_model = model_with(attend, 1), model_with(attend, 1)
    if recompute:
        compiled_model.gradient_checkpointing_enable()
    counter = CompileCounterWithBackend(backend)
    compiled = torch.compile(compiled_model, fullgraph=True, backend=counter)
    for most, all_lengths in ((6, ([6, 6, 6], [6, 6, 6])), (9, ([3, 9, 6], [9, 1, 8]))):
        before = counter.frame_count
        for seed, lengths in enumerate(all_lengths):
            inputs = batch(lengths, seed)
            losses = []
            for model in (plain, compiled):
                out = model(*inputs, max_seqlen=most)
                losses.append(out.last_hidden_state.square().mean() + out.pooler_output.square().mean())
            torch.testing.assert_close(losses[1], losses[0], atol=1e-6, rtol=0)
            for loss in losses:
                loss.backward()
        assert counter.frame_count == before + 1
    for a, b in zip(plain.parameters(), compiled_model.parameters(), strict=True):
        assert a.grad is not None and b.grad is not None
        torch.testing.assert_close(a.grad, b.grad, atol=1e-6, rtol=1e-4)


def test_compiles_bounds_of_python_integers() -> None:
    torch._dynamo.reset()
    model = model_with(layers=1).eval()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for lengths in ([4, 4], [2, 6]):
        patches, positions, bounds = batch(lengths)
        with torch.no_grad():
            expected, got = model(patches, positions, bounds), compiled(patches, positions, bounds.tolist())
        torch.testing.assert_close(got.last_hidden_state, expected.last_hidden_state, atol=1e-6, rtol=0)


@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_compiles_flex_attention() -> None:
    torch._dynamo.reset()
    model = model_with("flex_attention", 1).eval()
    inputs = batch([100, 28, 60])
    with torch.no_grad():
        got = torch.compile(model, fullgraph=True, backend="eager")(*inputs, max_seqlen=100)
        model.attention = "sdpa"
        expected = model(*inputs)
    torch.testing.assert_close(got.last_hidden_state, expected.last_hidden_state, atol=2e-6, rtol=0)


# Gradient checkpointing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"use_reentrant": True}], ids=["default", "reentrant"])
def test_checkpointing_runs_blocks_again_and_changes_no_gradient(options: dict[str, Any]) -> None:
    model, inputs = model_with().train(), batch([3, 9])
    runs: list[int] = []
    for name, module in model.named_modules():
        if name.endswith(".mlp") and name.startswith("encoder."):
            module.register_forward_pre_hook(lambda *_: runs.append(1))

    def gradients() -> tuple[int, list[Tensor]]:
        runs.clear()
        model.zero_grad()
        model(*inputs).pooler_output.square().mean().backward()
        return len(runs), [p.grad for p in model.parameters() if p.grad is not None]

    once, expected = gradients()
    model.gradient_checkpointing_enable(**options)
    twice, got = gradients()
    assert (once, twice) == (2, 4)
    torch.testing.assert_close(got, expected)
    model.eval()
    assert gradients()[0] == 2
    model.train().gradient_checkpointing_disable()
    assert gradients()[0] == 2


# Positions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "shown"), [(-1.0, r"\(-1.0, 1.0, 1.0\)"), (float("nan"), "nan"), (float("inf"), "inf")]
)
def test_bad_positions_are_named_with_their_row(value: float, shown: str) -> None:
    positions = torch.ones(5, 3)
    positions[3, 0] = value
    with pytest.raises(ValueError, match=f"positions must be finite and not negative, got .*{shown}.* in row 3"):
        model_with()(torch.zeros(5, CONFIG.patch_dim), positions)


def test_slots_beyond_the_trained_ones_are_warned_about() -> None:
    model = model_with().eval()
    patches = torch.zeros(2, CONFIG.patch_dim)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(patches, torch.tensor([[63, 0, 100], [0, 99, 2]]))
    with pytest.warns(UserWarning, match="slot t = 64, beyond the 64 of rope_temporal_size") as warned:
        model(patches, torch.tensor([[64, 0, 0], [0, 0, 0]]))
    assert warned[0].filename == __file__
