"""The loss against an unsharded twin in float64, what it forbids, and the optimiser of the centres."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from ove_codec.training import CentreAdamW, ClusterLoss, Ranks
from ove_codec.training.losses import distinct
from support import loss_checks
from support.workers import Workers


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    group = Workers("support.loss_checks", 4, tmp_path_factory.mktemp("loss"))
    yield group
    group.close()


@pytest.mark.parametrize("check", loss_checks.CHECKS)
def test_ranks(workers: Workers, check: str) -> None:
    if check.startswith("golden") and not loss_checks.GOLDEN.is_file():
        pytest.skip("../shared is not there")
    assert workers.report(check) == ""


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_positives_are_never_negatives(data: st.DataObject) -> None:
    """The slope of a sample's loss by each centre: towards its pulled labels, zero to its others, else away."""
    centres = data.draw(st.integers(3, 60))
    count, width = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 7))
    labels = torch.tensor(
        data.draw(st.lists(st.lists(st.integers(-1, centres - 1), min_size=width, max_size=width), min_size=count,
                           max_size=count))
    )  # fmt: skip
    positives = data.draw(st.one_of(st.none(), st.integers(1, 3)))
    rate, seed = data.draw(st.floats(0.01, 1.0)), data.draw(st.integers(0, 99))
    loss = ClusterLoss(
        centres, centres, sample_rate=rate, positives=positives, seed=seed, ranks=Ranks(), compute_dtype=torch.float64,
        scale=4.0, block_logits=count * 5,
    )  # fmt: skip
    # Orthogonal centres: coordinate c of an embedding's gradient is the slope of centre c, by the same factor.
    loss.weight = torch.nn.Parameter(torch.eye(centres, dtype=torch.float64))
    embeddings = torch.ones(count, centres, dtype=torch.float64, requires_grad=True)
    out = loss(embeddings, labels, draw=seed)
    out.loss.backward()
    assert embeddings.grad is not None and loss.weight.grad is not None
    index, taking = loss._draw(loss._chosen(distinct(labels)[None], seed), seed, 0)
    sampled = set(index[taking].tolist())
    assert not loss.weight.grad.coalesce().values()[~taking].any()
    for row, (own, grad) in enumerate(zip(labels.tolist(), embeddings.grad, strict=True)):
        own_set = {label for label in own if label >= 0}
        if not own_set:
            assert out.rows[row] == 0 and not grad.any()
            continue
        # All cosines are equal, so the pull on the positives and the push from the negatives add up to 0, and the
        # gradient's projection onto the tangent changes nothing.
        for centre in range(centres):
            if centre not in sampled:
                assert abs(grad[centre]) < 1e-9
            elif centre in own_set:
                assert grad[centre] < 1e-9  # pulled, or left alone
            else:
                assert grad[centre] > 0


def test_refuses_labels_outside_the_bank() -> None:
    loss = ClusterLoss(10, 4, ranks=Ranks())
    with pytest.raises(ValueError, match=r"row 1 has the label 10, outside the bank of 10 centres"):
        loss(torch.randn(2, 4), torch.tensor([[1, 2], [3, 10]]))
    with pytest.raises(ValueError, match="label -2"):
        loss(torch.randn(1, 4), torch.tensor([[-2]]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "other"}, "mode must be one of multilabel, legacy"),
        ({"sample_rate": 0}, "sample_rate"),
        ({"margin": -1}, "margin"),
        ({"positives": 0}, "positives"),
        ({"ranks": Ranks(0, 4, None)}, "cannot be split over 4 ranks"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClusterLoss(9, 4, **options)


class _NoSync(TorchDispatchMode):
    """Fails on operators that would wait for a device, or whose result's shape depends on values."""

    FORBIDDEN = ("_local_scalar_dense", "nonzero", "_unique2", "masked_select", "is_nonzero", "item")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in self.FORBIDDEN, name
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("mode", ["multilabel", "legacy"])
def test_nothing_waits_for_the_device(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ove_codec.training.losses.check_labels", lambda *_: None)  # on the CPU it looks at them
    loss = ClusterLoss(500, 8, mode=mode, ranks=Ranks(), positives=2)
    embeddings = torch.randn(6, 8, requires_grad=True)
    labels = torch.randint(0, 500, (6, 3))
    with _NoSync():
        loss(embeddings, labels).loss.backward()
    assert loss.weight.grad is not None and loss.weight.grad.is_sparse


class _Largest(TorchDispatchMode):
    """The most elements that any result has."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, list | tuple) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


def test_logits_come_in_blocks() -> None:
    count, centres, dim = 64, 4000, 4
    loss = ClusterLoss(centres, dim, sample_rate=1.0, ranks=Ranks(), block_logits=count * 100)
    embeddings = torch.randn(count, dim, requires_grad=True)
    with _Largest() as seen:
        loss(embeddings, torch.randint(0, centres, (count, 3))).loss.backward()
    assert seen.elements <= max(count * 100, centres * dim)  # all logits would be 256000


def test_compiled_callers() -> None:
    """A compiled function around the loss gives the same."""
    loss = ClusterLoss(100, 8, ranks=Ranks())
    labels = torch.randint(0, 100, (4, 2))
    embeddings = torch.randn(4, 8)
    compiled = torch.compile(lambda x: loss(x * 2.0, labels).loss, backend="eager")
    torch.testing.assert_close(compiled(embeddings), loss(embeddings * 2.0, labels).loss)


def test_bfloat16_is_near() -> None:
    torch.manual_seed(0)
    embeddings, labels = torch.randn(32, 64), torch.randint(0, 1000, (32, 4))
    losses = []
    for dtype in (torch.float32, torch.bfloat16):
        loss = ClusterLoss(1000, 64, sample_rate=0.5, ranks=Ranks(), compute_dtype=dtype)
        losses.append(loss(embeddings, labels).loss)
    assert losses[1].dtype == torch.float32
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-2, atol=1e-2)


def test_rows_go_the_way_of_adamw() -> None:
    """Each row as torch's AdamW moves it when it sees that row's gradients only; a row without gradient rests."""
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(5, 3, dtype=torch.float64))
    twins = [torch.nn.Parameter(row.detach().clone()) for row in weight]
    options: dict[str, Any] = {"lr": 0.1, "betas": (0.8, 0.95), "weight_decay": 0.1}
    ours = CentreAdamW([weight], **options)
    theirs = [torch.optim.AdamW([twin], **options) for twin in twins]
    rest = weight[4].detach().clone()
    for rows in ([0, 1], [1, 3], [1], [0, 2, 3], [2, 1]):
        values = torch.randn(len(rows), 3, dtype=torch.float64)
        weight.grad = torch.sparse_coo_tensor(torch.tensor([rows]), values, weight.shape, check_invariants=True)
        ours.step(factor=0.5)
        for row, value in zip(rows, values, strict=True):
            twins[row].grad = value * 0.5
            theirs[row].step()
    for row in range(4):
        torch.testing.assert_close(weight[row], twins[row], rtol=1e-12, atol=1e-12)
    assert torch.equal(weight[4], rest)


def test_accumulated_gradients_add_up() -> None:
    """Two micro-batches of sparse gradients are their sum."""
    loss = ClusterLoss(50, 4, ranks=Ranks(), sample_rate=0.2)
    embeddings, labels = torch.randn(3, 4), torch.randint(0, 50, (3, 2))
    parts: list[torch.Tensor] = []
    for draw in (0, 1):
        loss.weight.grad = None
        loss(embeddings, labels, draw).loss.backward()
        assert loss.weight.grad is not None
        parts.append(loss.weight.grad.to_dense())
    loss.weight.grad = None
    for draw in (0, 1):
        loss(embeddings, labels, draw).loss.backward()
    assert loss.weight.grad is not None
    torch.testing.assert_close(loss.weight.grad.to_dense(), parts[0] + parts[1])


def test_rows_without_gradient_stay() -> None:
    """Rows that a gradient names, but with zeros, are left alone: by decay, by momentum and in their count."""
    weight = torch.nn.Parameter(torch.randn(4, 3))
    optimizer = CentreAdamW([weight], lr=0.1, weight_decay=0.5)
    rows = torch.tensor([[0, 2, 3]])
    for values in (torch.randn(3, 3), torch.tensor([1.0, 0.0, 1.0])[:, None].expand(3, 3).contiguous()):
        before = [weight.detach().clone(), *(tensor.clone() for tensor in optimizer.state_of(weight).values())]
        weight.grad = torch.sparse_coo_tensor(rows, values, weight.shape, check_invariants=True)
        optimizer.step()
    for old, new in zip(before, (weight.detach(), *optimizer.state_of(weight).values()), strict=True):
        assert torch.equal(old[1:3], new[1:3]) and not torch.equal(old[0], new[0])
    assert optimizer.state_of(weight)["steps"].tolist() == [2, 0, 1, 2]


def test_dense_gradients_are_refused() -> None:
    weight = torch.nn.Parameter(torch.zeros(2, 2))
    weight.grad = torch.ones(2, 2)
    with pytest.raises(TypeError, match="sparse gradients"):
        CentreAdamW([weight]).step()
