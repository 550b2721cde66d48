"""The probe's head and its training: against plain twins, resumed, in several processes, and with bad arguments."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ove_codec.probes import (
    AttentiveHead,
    HeadStack,
    ProbeRecipe,
    Setting,
    TensorFeatures,
    Trained,
    load_heads,
    train_heads,
)
from probe_twin import TwinHead, clusters, train_alone
from support.probe_checks import CHECKS, CLASSES, HIDDEN, RECIPE, SETTINGS, Recording, train_set, val_set
from support.workers import Workers

# The head


def randomised_twin(hidden: int, classes: int, seed: int = 0) -> TwinHead:
    torch.manual_seed(seed)
    twin = TwinHead(hidden, classes)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return twin


@pytest.mark.parametrize(("hidden", "classes"), [(128, 7), (64, 2), (48, 1), (192, 3)])
def test_head_matches_twin(hidden: int, classes: int) -> None:
    twins = [randomised_twin(hidden, classes, seed) for seed in range(3)]
    heads = [AttentiveHead(hidden, classes) for _ in twins]
    for head, twin in zip(heads, twins, strict=True):
        head.load_state_dict(twin.state_dict())
    tokens, labels = clusters(classes, 6, hidden, seed=3)
    batch = TensorFeatures(tokens, labels).batch(range(6))
    spoilt = batch.tokens.clone()
    for row, length in enumerate(batch.lengths):
        spoilt[row, length:] = 1e3  # what lies beyond a clip's tokens must not matter
    stack = HeadStack(heads)
    for logits in (stack(batch.tokens, batch.lengths), stack(spoilt, batch.lengths)):
        for index, (head, twin) in enumerate(zip(heads, twins, strict=True)):
            torch.testing.assert_close(logits[index], twin(tokens), atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(head(batch.tokens, batch.lengths), twin(tokens), atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(
                stack.head(index)(batch.tokens, batch.lengths), head(batch.tokens, batch.lengths)
            )


def test_gradients_match_twin() -> None:
    twin = randomised_twin(128, 4)
    head = AttentiveHead(128, 4)
    head.load_state_dict(twin.state_dict())
    tokens, labels = clusters(4, 8, 128, seed=5, lengths=(6, 7))
    for model, x in ((twin, tokens), (head, torch.stack(tokens))):
        torch.nn.functional.cross_entropy(model(x), torch.tensor(labels)).backward()
    for (name, got), expected in zip(head.named_parameters(), twin.parameters(), strict=True):
        assert got.grad is not None and expected.grad is not None
        torch.testing.assert_close(got.grad, expected.grad, atol=1e-6, rtol=1e-4, msg=name)


def test_head_matches_reference(shared: Path) -> None:
    golden = load_file(shared / "golden_model" / "extra" / "extra.safetensors")
    about = json.loads((shared / "golden_model" / "extra" / "extra.json").read_text())["probe"]
    head = AttentiveHead(about["hidden"], about["classes"])
    prefix = "probe.sd."
    head.load_state_dict({key.removeprefix(prefix): v for key, v in golden.items() if key.startswith(prefix)})
    assert (head(golden["probe.in"]) - golden["probe.logits"]).abs().max() < 5e-6


def test_initial_values() -> None:
    head = AttentiveHead(256, 50, torch.Generator().manual_seed(1)).requires_grad_(False)
    assert float(head.pool.mlp.fc1.weight.std()) == pytest.approx(0.02, rel=0.02)
    assert float(head.fc.weight.std()) == pytest.approx(2e-5, rel=0.05)
    assert float(head.pool.probe.std()) == pytest.approx(1, rel=0.2)
    assert float(head.pool.attention.in_proj_weight.abs().max()) == pytest.approx((6 / 1024) ** 0.5, rel=1e-3)
    assert all(float(p.abs().max()) == 0 for name, p in head.named_parameters() if "bias" in name)
    again = AttentiveHead(256, 50, torch.Generator().manual_seed(1))
    other = AttentiveHead(256, 50, torch.Generator().manual_seed(2))
    assert all(torch.equal(a, b) for a, b in zip(head.parameters(), again.parameters(), strict=True))
    assert not torch.equal(head.pool.mlp.fc2.weight, other.pool.mlp.fc2.weight)


# Training


@pytest.fixture(scope="module")
def trained() -> tuple[Trained, list[list[int]]]:
    """A sweep of four heads, and the batches that it read."""
    features = Recording(train_set())
    return train_heads(features, val_set(), CLASSES, RECIPE, seed=4), features.batches


def test_every_clip_once_an_epoch(trained: tuple[Trained, list[list[int]]]) -> None:
    _, batches = trained
    assert [len(batch) for batch in batches] == [8, 8, 8, 6] * 3
    epochs = [[i for batch in batches[4 * e : 4 * e + 4] for i in batch] for e in range(3)]
    assert all(sorted(epoch) == list(range(30)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_sweep_matches_separate_twins(trained: tuple[Trained, list[list[int]]]) -> None:
    """Each head is what PyTorch's modules, optimiser and schedule make of it alone, and is as often right."""
    result, batches = trained
    tokens, labels = clusters(CLASSES, 30, HIDDEN, seed=1)
    val_tokens, val_labels = clusters(CLASSES, 23, HIDDEN, seed=2)
    changes = []
    for index, setting in enumerate(SETTINGS):
        twin = TwinHead(HIDDEN, CLASSES)
        twin.load_state_dict(AttentiveHead(HIDDEN, CLASSES, torch.Generator().manual_seed(4)).state_dict())
        train_alone(twin, tokens, labels, batches, setting.lr, setting.weight_decay)
        logits = result.heads(*val_set().batch(range(23))[:2])[index]
        expected = twin(val_tokens)
        torch.testing.assert_close(logits, expected, atol=2e-4, rtol=1e-3)
        right = int((expected.argmax(1) == torch.tensor(val_labels)).sum())
        assert result.last(index) == 100 * right / 23
        changes.append(expected)
    assert min(float((a - b).detach().abs().max()) for a, b in itertools.pairwise(changes)) > 1e-3


def test_sweep_equals_its_parts(trained: tuple[Trained, list[list[int]]]) -> None:
    result, _ = trained
    for index, setting in enumerate(SETTINGS):
        alone = train_heads(train_set(), val_set(), CLASSES, replace(RECIPE, settings=(setting,)), seed=4)
        assert [a.correct[0] for a in alone.history] == [a.correct[index] for a in result.history]
        torch.testing.assert_close(
            [losses[0] for losses in alone.losses], [losses[index] for losses in result.losses], atol=1e-5, rtol=1e-5
        )


def test_it_learns(trained: tuple[Trained, list[list[int]]]) -> None:
    result = train_heads(train_set(60), val_set(), CLASSES, replace(RECIPE, epochs=8), seed=0)
    assert result.losses[-1][0] < result.losses[0][0] - 0.3
    assert result.last(0) > 60
    assert result.best(0)[0] == max(a.percent(0) for a in result.history) >= result.last(0)
    assert result.history[result.best(0)[1] - 1].percent(0) == result.best(0)[0]


def test_divergence_stays_where_it_is(trained: tuple[Trained, list[list[int]]]) -> None:
    settings = (Setting(1e30), *SETTINGS)
    result = train_heads(train_set(), val_set(), CLASSES, replace(RECIPE, settings=settings, min_lr=0), seed=4)
    plain = train_heads(train_set(), val_set(), CLASSES, replace(RECIPE, min_lr=0), seed=4)
    assert result.last(0) == 0 and not all(v.isfinite().all() for v in result.heads.head(0).state_dict().values())
    assert [a.correct[1:] for a in result.history] == [a.correct for a in plain.history]


def test_seeds_differ() -> None:
    first, again, other = (train_heads(train_set(), val_set(), CLASSES, RECIPE, seed=seed) for seed in (1, 1, 2))
    assert first.losses == again.losses != other.losses
    assert same(first, again) and not same(first, other)


def test_views_are_drawn_anew_every_epoch() -> None:
    first, again, other = (Recording(train_set(), views=4) for _ in range(3))
    for features, seed in ((first, 1), (again, 1), (other, 2)):
        train_heads(features, val_set(), CLASSES, RECIPE, seed=seed)
    assert len(first.asked_views) == 90 and set(first.asked_views) == {0, 1, 2, 3}
    assert first.asked_views == again.asked_views != other.asked_views
    epochs = []
    for epoch in range(3):
        numbers = [i for batch in first.batches[4 * epoch : 4 * epoch + 4] for i in batch]
        epochs.append(dict(zip(numbers, first.asked_views[30 * epoch : 30 * epoch + 30], strict=True)))
    assert epochs[0] != epochs[1] != epochs[2]


def test_bfloat16_products() -> None:
    batch = val_set().batch(range(23))
    heads = train_heads(train_set(), val_set(), CLASSES, replace(RECIPE, precision="bfloat16")).heads
    exact, rounded = heads(batch.tokens, batch.lengths), heads(batch.tokens.bfloat16(), batch.lengths)
    assert rounded.dtype == torch.float32
    assert 0 < float((exact - rounded).detach().abs().max()) < 0.05


# Resumption


def same(a: Trained, b: Trained) -> bool:
    state = b.heads.state
    return (a.history, a.losses) == (b.history, b.losses) and all(
        torch.equal(value, state[name]) for name, value in a.heads.state.items()
    )


@pytest.mark.parametrize("batches", [0, 1, 4, 7, 11])
def test_resumes_to_the_bit(batches: int, trained: tuple[Trained, list[list[int]]], tmp_path: Path) -> None:
    checkpoint = tmp_path / "probe.safetensors"
    interrupted = Recording(train_set(), fails_after=batches)
    with pytest.raises(KeyboardInterrupt):
        train_heads(interrupted, val_set(), CLASSES, RECIPE, seed=4, checkpoint=checkpoint, checkpoint_seconds=0)
    assert checkpoint.exists() == (batches > 0)
    rest = Recording(train_set())
    resumed = train_heads(rest, val_set(), CLASSES, RECIPE, seed=4, checkpoint=checkpoint)
    assert same(resumed, trained[0])
    assert len(rest.batches) < 12 or batches == 0
    finished = Recording(train_set())
    assert same(train_heads(finished, val_set(), CLASSES, RECIPE, seed=4, checkpoint=checkpoint), trained[0])
    assert finished.batches == []
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.name]


@pytest.mark.parametrize("batches", [0, 2, 4, 8])
def test_resumes_an_evaluation(batches: int, trained: tuple[Trained, list[list[int]]], tmp_path: Path) -> None:
    """An epoch whose evaluation was broken off is evaluated, not left out."""
    checkpoint = tmp_path / "probe.safetensors"
    interrupted = Recording(val_set(), fails_after=batches)  # three batches an evaluation
    with pytest.raises(KeyboardInterrupt):
        train_heads(train_set(), interrupted, CLASSES, RECIPE, seed=4, checkpoint=checkpoint, checkpoint_seconds=0)
    resumed = train_heads(train_set(), val_set(), CLASSES, RECIPE, seed=4, checkpoint=checkpoint)
    assert same(resumed, trained[0])


def test_checkpoint_of_another_training(tmp_path: Path) -> None:
    checkpoint = tmp_path / "probe.safetensors"
    short = replace(RECIPE, epochs=1)

    def again(**changes: Any) -> Trained:
        options: dict[str, Any] = {"train": train_set(), "recipe": short, "seed": 1, **changes}
        return train_heads(
            options["train"], val_set(), CLASSES, options["recipe"], seed=options["seed"], checkpoint=checkpoint
        )

    result = again()
    heads, settings = load_heads(checkpoint)
    assert settings == SETTINGS
    batch = val_set().batch(range(23))
    assert torch.equal(heads(batch.tokens, batch.lengths), result.heads(batch.tokens, batch.lengths))
    with pytest.raises(ValueError, match=r"another training: seed is 1, expected 2"):
        again(seed=2)
    with pytest.raises(ValueError, match="another training: recipe"):
        again(recipe=replace(short, label_smoothing=0.2))
    with pytest.raises(ValueError, match="another training: train"):
        again(train=TensorFeatures(*clusters(CLASSES, 30, HIDDEN, seed=7)))
    checkpoint.write_bytes(checkpoint.read_bytes()[:200])
    for use in (again, lambda: load_heads(checkpoint)):
        with pytest.raises(ValueError, match=r"is damaged, or not a checkpoint of a probe.*remove it"):
            use()


# Several processes


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    group = Workers("support.probe_checks", 2, tmp_path_factory.mktemp("probe"))
    yield group
    group.close()


@pytest.mark.parametrize("check", CHECKS)
def test_two_processes(workers: Workers, check: str) -> None:
    assert workers.report(check) == ""


def test_two_processes_are_as_one(workers: Workers, trained: tuple[Trained, list[list[int]]]) -> None:
    assert workers.report("as_one") == ""
    results = [torch.load(workers.folder / "as_one" / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert results[0][:2] == results[1][:2]
    shares = [result[2] for result in results]
    assert sorted(shares[0] + shares[1]) == list(range(23))
    assert len(shares[0]) == 12 and len(shares[1]) == 11
    assert results[0][0] == [a.correct for a in trained[0].history]
    alone = train_heads(train_set(25), val_set(), CLASSES, RECIPE, seed=4)
    torch.testing.assert_close(results[0][1], alone.losses, atol=1e-5, rtol=1e-5)


# Bad arguments


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AttentiveHead(200, 3), "hidden_size must split evenly into 3"),
        (lambda: AttentiveHead(64, 0), "num_classes must be positive"),
        (lambda: AttentiveHead(64, 2)(torch.zeros(2, 3, 32)), r"tokens must be \(B, L, 64\)"),
        (lambda: AttentiveHead(64, 2)(torch.zeros(2, 0, 64)), r"with L > 0"),
        (lambda: AttentiveHead(64, 2)(torch.zeros(2, 3, 64), torch.tensor([1])), r"lengths must be \(2,\)"),
        (lambda: HeadStack([]), "at least one head"),
        (lambda: TensorFeatures(torch.zeros(3, 2, 4), [0, 1]), "as many tokens as labels, got 3"),
        (lambda: TensorFeatures([torch.zeros(2, 4), torch.zeros(2, 5)], [0, 1]), r"tokens\[1\] must be \(L, 4\)"),
        (lambda: ProbeRecipe(settings=()), "at least one setting"),
        (lambda: ProbeRecipe(settings=(Setting(), Setting())), "all must be different"),
        (lambda: ProbeRecipe(settings=(Setting(lr=0),)), "lr must be positive"),
        (lambda: ProbeRecipe(epochs=0), "epochs must be 1"),
        (lambda: ProbeRecipe(label_smoothing=1), "label_smoothing"),
        (lambda: ProbeRecipe(precision="float8"), "precision must be one of"),
        (lambda: train_heads(train_set(), val_set(), 3), "labels of train must be from 0 to 2, got 0 to 4"),
        (
            lambda: train_heads(train_set(), TensorFeatures(*clusters(5, 5, 64, 0)), CLASSES),
            "the same number of channels, got 128 and 64",
        ),
    ],
)
def test_bad_arguments(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_in_memory_there_is_one_view() -> None:
    with pytest.raises(IndexError, match="a single view"):
        train_set().batch([0], [1])
