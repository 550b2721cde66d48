"""The backbones of Tables 4 and 5 by name."""

from __future__ import annotations

from dataclasses import dataclass

PATCHES_PER_FRAME = 256
BUDGETS = (512, 1024, 2048, 4096)


@dataclass(frozen=True)
class Family:
    """A row of the tables.

    Attributes:
        title: what the tables call it.
        model_types: `model_type` of the config.json that it may have. The directories of CLIP and MetaCLIP, and of
            SigLIP and SigLIP2 at fixed resolutions, have the same.
        takes: "frames" or "codec".
    """

    title: str
    model_types: tuple[str, ...]
    takes: str = "frames"


# The page gives ViT-L/14 at 224 for DINOv3; its published models have patches of 16, so frames of 256 patches are 256
# samples wide, as those of SigLIP and SigLIP2.
_CLIP = ("clip", "clip_vision_model")
_SIGLIP = ("siglip", "siglip_vision_model")
_OV = ("onevision_encoder", "ove_encoder")

BACKBONES = {
    "clip": Family("CLIP", _CLIP),
    "siglip": Family("SigLIP", _SIGLIP),
    "metaclip": Family("MetaCLIP", _CLIP),
    "metaclip2": Family("MetaCLIP2", ("metaclip_2", "metaclip_2_vision_model")),
    "aimv2": Family("AIMv2", ("aimv2", "aimv2_vision_model")),
    "siglip2": Family("SigLIP2", (*_SIGLIP, "siglip2", "siglip2_vision_model")),
    "dinov3": Family("DINOv3", ("dinov3_vit",)),
    "ov-encoder": Family("OV-Encoder (Frame)", _OV),
    "ov-encoder-codec": Family("OV-Encoder (Codec)", _OV, "codec"),
}


def family(name: str) -> Family:
    """A backbone by its name; ValueError where there is none."""
    if name not in BACKBONES:
        raise ValueError(f"unknown backbone {name!r}; choose from {', '.join(BACKBONES)}")
    return BACKBONES[name]
