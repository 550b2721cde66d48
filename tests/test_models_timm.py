"""The encoder in timm."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ove_codec.models import OVEncoder, OVEncoderConfig, encode_pixels
from support.timm import import_timm

SMALL = OVEncoderConfig(hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=2)


@pytest.fixture(scope="module")
def timm() -> Iterator[Any]:
    """timm with the encoders, whose sizes are small while the tests run."""
    module = import_timm()
    import ove_codec.models.timm as ours

    named = ours._config
    ours._config = lambda name: replace(SMALL, num_hidden_layers=3 + (name == "large"))
    yield module
    ours._config = named


def test_names_and_sizes(timm: Any) -> None:
    assert timm.list_models("ov_encoder*") == ["ov_encoder_base", "ov_encoder_huge", "ov_encoder_large"]
    model = timm.create_model("ov_encoder_base")
    assert (model.num_classes, model.num_features, model.pretrained_cfg["classifier"]) == (0, 64, "fc")
    assert model.state_dict().keys() == OVEncoder(SMALL).state_dict().keys()
    assert len(timm.create_model("ov_encoder_large").encoder.layers) == 4
    assert "torchvision" not in sys.modules


def test_features_are_those_of_the_plain_model(timm: Any) -> None:
    model = timm.create_model("ov_encoder_base", num_classes=5).eval()
    plain = OVEncoder(SMALL).eval()
    model.load_state_dict(plain.state_dict(), strict=False)
    for pixels in (torch.randn(2, 3, 28, 42), torch.randn(2, 3, 2, 28, 28)):
        with torch.no_grad():
            expected = encode_pixels(plain, pixels)
            tokens = model.forward_features(pixels)
            pooled = model.forward_head(tokens, pre_logits=True)
            torch.testing.assert_close(tokens, expected.last_hidden_state, atol=1e-6, rtol=0)
            torch.testing.assert_close(pooled, expected.pooler_output, atol=1e-6, rtol=0)
            torch.testing.assert_close(model(pixels), model.get_classifier()(pooled), atol=1e-6, rtol=0)
            assert model(pixels).shape == (2, 5)


def test_pooling_and_classifier(timm: Any) -> None:
    model = timm.create_model("ov_encoder_base", num_classes=5, in_chans=1).eval()
    pixels = torch.randn(2, 1, 28, 28)
    with torch.no_grad():
        tokens = model.forward_features(pixels)
        model.reset_classifier(0, "avg")
        torch.testing.assert_close(model(pixels), tokens.mean(1))
        model.reset_classifier(7)
        assert model(pixels).shape == (2, 7) and model.global_pool == "avg"
        model.reset_classifier(0, "")
        assert torch.equal(model(pixels), tokens)
    assert isinstance(model.get_classifier(), torch.nn.Identity)
    with pytest.raises(ValueError, match="global_pool"):
        model.reset_classifier(3, "token")


def test_intermediates(timm: Any) -> None:
    model = timm.create_model("ov_encoder_base").eval()
    pixels = torch.randn(2, 3, 28, 42)
    with torch.no_grad():
        final, maps = model.forward_intermediates(pixels, indices=[0, 2], output_fmt="NLC", norm=True)
        torch.testing.assert_close(maps[1], final)
        last = model.forward_intermediates(pixels, indices=1, intermediates_only=True)
        torch.testing.assert_close(model.layernorm_post(last[0].flatten(2).transpose(1, 2)), final)
        with pytest.raises(ValueError, match="output_fmt"):
            model.forward_intermediates(torch.randn(1, 3, 2, 28, 28))
        features = timm.create_model("ov_encoder_base", features_only=True, out_indices=(0, 1)).eval()
        features.model.load_state_dict(model.state_dict(), strict=False)
        assert [tuple(f.shape) for f in features(pixels)] == [(2, 64, 2, 3)] * 2
        assert features.feature_info.channels() == [64, 64] and features.feature_info.reduction() == [14, 14]
        assert len(features.model.encoder.layers) == 2 and features.model.head is None
        expected = model.forward_intermediates(pixels, indices=[0, 1], intermediates_only=True)
        torch.testing.assert_close(features(pixels), expected)


def test_weights_of_a_file(timm: Any, tmp_path: Path) -> None:
    plain = OVEncoder(SMALL).eval()
    file = tmp_path / "model.safetensors"
    save_file({f"module.{name}": value for name, value in plain.state_dict().items()}, file)
    for classes in (0, 4):
        overlay = {"file": str(file)}
        model = timm.create_model(
            "ov_encoder_base", pretrained=True, pretrained_cfg_overlay=overlay, num_classes=classes
        )
        for name, value in plain.state_dict().items():
            assert torch.equal(model.state_dict()[name], value), name


def test_gradient_checkpointing_and_parameter_groups(timm: Any) -> None:
    from timm.models import group_parameters

    model = timm.create_model("ov_encoder_base", num_classes=2).train()
    pixels = torch.randn(1, 3, 28, 28)
    runs: list[int] = []
    model.encoder.layers[0].mlp.register_forward_pre_hook(lambda *_: runs.append(1))
    model(pixels).sum().backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    model.set_grad_checkpointing()
    model(pixels).sum().backward()
    assert len(runs) == 3
    torch.testing.assert_close([p.grad for p in model.parameters()], expected)
    names = {name for name, _ in model.named_parameters()}
    assert model.no_weight_decay() <= names
    groups = group_parameters(model, model.group_matcher())
    assert {name for group in groups.values() for name in group} == names
    assert len(groups) == 1 + 3 + 1  # stem, blocks (the last with norm and pooling), classifier


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.delitem(sys.modules, "timm.models", raising=False)
    monkeypatch.delitem(sys.modules, "ove_codec.models.timm", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'ove_codec\[timm\]'"):
        import ove_codec.models.timm  # noqa: F401
