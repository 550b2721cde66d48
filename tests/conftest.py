"""Fixtures for all tests: folders of made streams, and the material beside the repository where it is there."""

import functools
import os
import sys
from pathlib import Path

import pytest

import ove_codec
from ove_codec import cuda

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda") and (reason := _no_gpu()):
        pytest.skip(reason)


@functools.cache
def _no_gpu() -> str | None:
    return cuda.unavailable_reason()


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    """Weights and inputs that a test leaves to chance are the same in every run, whatever ran before."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def stream_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the streams that the tests make stay for the session; or the folder that OVE_TEST_STREAMS names, which has
    them where no encoder is."""
    if given := os.environ.get("OVE_TEST_STREAMS"):
        Path(given).mkdir(parents=True, exist_ok=True)
        return Path(given)
    return tmp_path_factory.mktemp("streams")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of conformance streams and goldens; a test that wants it is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("../shared is not there")
    return SHARED


@pytest.fixture(params=["twin", pytest.param("gpu", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A GPU, and its twin on the CPU: what to pass as `device`."""
    from support import twin

    return twin.put_in_place(monkeypatch) if request.param == "twin" else "cuda"


@pytest.fixture
def beside_a_clip(stream_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which has a clip.mp4; named encoders are small."""
    from support import clips

    config = ove_codec.models.OVEncoderConfig
    small = config(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2, patch_size=14)
    monkeypatch.setattr(config, "named", classmethod(lambda cls, name: {"ov-encoder-large": small}[name]))
    clip = clips.moving_clip(stream_folder, frames=60, name="readme.mp4")
    (tmp_path / "clip.mp4").write_bytes(clip.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def beside_models(beside_a_clip: Path) -> Path:
    """The same folder with the directories of models that pages name."""
    pytest.importorskip("transformers", reason="the extra 'hf' is not installed")
    from support import lmm, vlm

    ove_codec.models.OVEncoder.from_config("ov-encoder-large").save_pretrained("onevision-encoder-large")
    model = lmm.model()
    model.save_pretrained("my-lmm")
    lmm.processor(model.config).save_pretrained("my-lmm")
    model.language_model.save_pretrained("language-model")
    lmm.tokenizer().save_pretrained("language-model")
    vlm.write(Path("llava-onevision-2"), "llava_onevision2")
    return beside_a_clip
