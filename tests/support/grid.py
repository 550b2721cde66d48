"""The grid of coding tools: what libx265 encodes for the tests, each entry about one tool, loop filters off."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support import ffmpeg, scenes


@dataclass(frozen=True)
class Clip:
    """One stream of the grid: a scene, libx265 parameters, and what is known of the result."""

    name: str
    params: str
    size: tuple[int, int] = (208, 120)
    frames: int = 8
    pixel_format: str = "yuv420p"
    suffix: str = "hevc"
    scene: dict[str, Any] = field(default_factory=dict)
    lossless: bool = False
    qp: int | None = None  # the only QP of the stream, where there is one

    @property
    def depth(self) -> int:
        return scenes.split_format(self.pixel_format)[1]

    def raw(self) -> bytes:
        return scenes.moving_scene(self.size, self.frames, self.pixel_format, **self.scene)

    def encode(self, folder: Path) -> Path:
        """Encodes the clip in `folder`, with the loop filters off."""
        params = self.params
        if "scaling-list=custom" in params:
            path = folder / f"{self.name}.scaling"
            path.write_text(scaling_list_file())
            params = params.replace("scaling-list=custom", f"scaling-list={path}")
        params = f"deblock=false:sao=0:{params}"
        return ffmpeg.encode(
            self.raw(),
            self.size,
            self.pixel_format,
            params,
            folder / f"{self.name}.{self.suffix}",
            ("-pix_fmt", self.pixel_format),
        )


def scaling_list_file() -> str:
    """A custom scaling list in libx265's text form: six 4x4, 8x8 and 16x16 lists, two of 32x32, and the DC values."""
    text = []
    for log2_size, size in enumerate((4, 8, 16, 32)):
        for intra in ("INTRA", "INTER"):
            for plane in ("LUMA", "CHROMAU", "CHROMAV"):
                shape = (4, 4) if size == 4 else (8, 8)
                steps = range(shape[0] * shape[1])
                bias = 4 * log2_size + (3 if intra == "INTER" else 0) + len(plane) % 5
                values = [10 + bias + (step % shape[1]) * 2 + (step // shape[1]) * 3 for step in steps]
                text.append(f"{intra}{size}X{size}_{plane} =\n" + ",\n".join(map(str, values)) + ",\n")
                if size >= 16:
                    text.append(f"{intra}{size}X{size}_{plane}_DC =\n{14 + bias},\n")
    return "\n".join(text)


B3 = "bframes=3:b-adapt=0:crf=26"
GRID = [
    Clip("medium", "crf=28", frames=12),
    Clip("ctu64", f"ctu=64:min-cu-size=8:{B3}"),
    Clip("ctu64_min32", f"ctu=64:min-cu-size=32:{B3}"),
    Clip("ctu32_min16", f"ctu=32:min-cu-size=16:{B3}"),
    Clip("ctu32_min32", f"ctu=32:min-cu-size=32:{B3}"),
    Clip("ctu16", f"ctu=16:min-cu-size=8:max-tu-size=16:{B3}"),
    Clip("ctu16_min16", f"ctu=16:min-cu-size=16:max-tu-size=16:{B3}"),
    Clip("max_tu4_ctu16", f"ctu=16:max-tu-size=4:{B3}"),
    Clip("max_tu8", f"ctu=32:max-tu-size=8:tu-inter-depth=2:{B3}"),
    Clip("tu_depths", f"tu-inter-depth=4:tu-intra-depth=4:rd=5:limit-tu=0:{B3}"),
    Clip("rect_amp", f"rect=1:amp=1:limit-modes=0:limit-refs=0:rd=5:{B3}", frames=10),
    Clip("rect_amp_ctu64_min16", f"rect=1:amp=1:limit-modes=0:ctu=64:min-cu-size=16:rd=4:{B3}"),
    Clip("p_only", "bframes=0:crf=24:ref=4", frames=10),
    Clip("p_rect_amp", "bframes=0:crf=24:ref=5:rect=1:amp=1:limit-refs=0:rd=5", frames=10),
    Clip("b8_pyramid", "bframes=8:b-adapt=0:b-pyramid=1:crf=28:ref=4:limit-refs=0", frames=19),
    Clip("b8_flat", "bframes=8:b-adapt=0:b-pyramid=0:crf=28", frames=12),
    Clip("b_intra", "b-intra=1:bframes=4:b-adapt=0:crf=22", frames=10, scene={"cut": 5}),
    Clip("many_refs", "ref=6:bframes=2:b-adapt=0:limit-refs=0:crf=24:rd=4", frames=16),
    Clip("weightp_fade", "weightp=1:bframes=0:crf=22:ref=3", frames=12, scene={"fade": True}),
    Clip("weightb_fade", "weightp=1:weightb=1:bframes=3:b-adapt=0:crf=22", frames=14, scene={"fade": True}),
    Clip(
        "weightb_fade_10",
        "weightp=1:weightb=1:bframes=2:b-adapt=0:crf=22",
        frames=10,
        scene={"fade": True},
        pixel_format="yuv420p10le",
    ),
    Clip("no_tmvp", f"temporal-mvp=0:{B3}"),
    *[Clip(f"max_merge{n}", f"max-merge={n}:rd=5:{B3}") for n in (1, 2, 3, 4, 5)],
    Clip("tskip", "tskip=1:qp=12:bframes=2:rd=4", qp=None),
    Clip("tskip_fast_444", "tskip=1:tskip-fast=1:qp=10:bframes=2", pixel_format="yuv444p"),
    Clip("lossless", "lossless=1:bframes=3", lossless=True, frames=5),
    Clip("lossless_10", "lossless=1:bframes=3", pixel_format="yuv420p10le", lossless=True, frames=4),
    Clip("lossless_444_12", "lossless=1:bframes=3", pixel_format="yuv444p12le", lossless=True, frames=4),
    Clip("cu_lossless", "cu-lossless=1:qp=8:rd=4:bframes=2"),
    Clip("scaling_default", f"scaling-list=default:{B3}"),
    Clip("scaling_custom", "scaling-list=custom:qp=20:bframes=3"),
    Clip("scaling_custom_444", "scaling-list=custom:qp=20:bframes=2", pixel_format="yuv444p"),
    Clip("no_signhide", f"signhide=0:{B3}"),
    *[Clip(f"aq_qg{n}", f"aq-mode=2:aq-strength=3:qg-size={n}:{B3}", scene={"speed": 0.5}) for n in (8, 16, 32, 64)],
    Clip("aq_ctu32_qg16", f"aq-mode=1:aq-strength=3:qg-size=16:ctu=32:{B3}"),
    Clip("vbv_qg32", "aq-mode=3:qg-size=32:bitrate=300:vbv-maxrate=300:vbv-bufsize=100:bframes=2", frames=12),
    Clip("constrained_intra", f"constrained-intra=1:rd=4:{B3}", scene={"cut": 4}),
    Clip("slices", "slices=3:ctu=16:max-tu-size=16:bframes=3:crf=26"),
    Clip("slices_p", "slices=4:ctu=16:max-tu-size=16:bframes=0:crf=26:ref=3", size=(208, 128)),
    Clip("wpp", f"wpp=1:ctu=16:max-tu-size=16:{B3}"),
    Clip("no_wpp", f"wpp=0:ctu=16:max-tu-size=16:{B3}"),
    Clip("wpp_ctu64", f"wpp=1:ctu=64:{B3}", size=(256, 192)),
    Clip("open_gop", "open-gop=1:keyint=6:min-keyint=6:bframes=3:b-adapt=0:crf=28", frames=20),
    Clip("closed_gop_radl", "open-gop=0:radl=2:keyint=6:min-keyint=6:bframes=3:b-adapt=0:crf=28", frames=20),
    Clip("idr_every_5", "open-gop=0:keyint=5:min-keyint=5:bframes=2:crf=28:repeat-headers=1", frames=24),
    Clip("many_idr", "open-gop=0:keyint=12:min-keyint=12:bframes=3:crf=32", frames=60, size=(96, 64)),
    Clip("all_intra", "keyint=1:crf=28", frames=4),
    Clip("intra_refresh", "intra-refresh=1:bframes=0:keyint=8:crf=28", frames=16),
    Clip("temporal_layers", "temporal-layers=1:bframes=3:b-adapt=0:crf=28:aud=1", frames=12),
    Clip("large_range", "merange=250:me=star:subme=5:crf=22:bframes=2", frames=8, scene={"speed": 9.0}),
    Clip("outside", "merange=120:me=full:crf=24:bframes=0", frames=6, size=(72, 72), scene={"speed": 7.0}),
    Clip("odd_210x122", f"{B3}", size=(210, 122)),
    Clip("odd_134x70_422", f"{B3}", size=(134, 70), pixel_format="yuv422p"),
    Clip("tiny_16x16", "ctu=16:max-tu-size=16:bframes=2:crf=26", size=(16, 16)),
    Clip("tiny_24x40", "ctu=16:max-tu-size=16:bframes=2:crf=26", size=(24, 40)),
    Clip("main10", f"{B3}", pixel_format="yuv420p10le"),
    Clip("main12", f"{B3}", pixel_format="yuv420p12le"),
    Clip("gray8", f"{B3}", pixel_format="gray"),
    Clip("gray10", f"{B3}", pixel_format="gray10le"),
    Clip("gray12", f"{B3}", pixel_format="gray12le"),
    Clip("i422_8", f"{B3}", pixel_format="yuv422p"),
    Clip("i422_10", f"{B3}", pixel_format="yuv422p10le"),
    Clip("i422_12", f"{B3}", pixel_format="yuv422p12le"),
    Clip("i444_8", f"{B3}", pixel_format="yuv444p"),
    Clip("i444_10", f"{B3}", pixel_format="yuv444p10le"),
    Clip("i444_12", f"{B3}", pixel_format="yuv444p12le"),
    Clip("zerolatency", "bframes=0:b-adapt=0:rc-lookahead=0:scenecut=0:frame-threads=1:crf=28", frames=10),
    Clip("qp51", "qp=51:ipratio=1:pbratio=1", qp=51),
    Clip("qp30", "qp=30:ipratio=1:pbratio=1:bframes=2", qp=30),
    Clip("qp1", "qp=1:ipratio=1:pbratio=1:bframes=2", qp=1, frames=5),
    Clip("qp0_10", "qp=0:ipratio=1:pbratio=1:bframes=2", pixel_format="yuv420p10le", qp=0, frames=4),
    Clip("low_qp_12", "qp=2:bframes=2", pixel_format="yuv444p12le", frames=4),
    Clip("chroma_offsets", f"cbqpoffs=6:crqpoffs=-6:{B3}"),
    Clip("hme", "hme=1:merange=60:crf=28", size=(320, 192), frames=6, scene={"speed": 3.0}),
    Clip("mp4", f"{B3}", suffix="mp4", frames=12),
    Clip("mkv_open_gop", "open-gop=1:keyint=6:min-keyint=6:bframes=3:crf=28", suffix="mkv", frames=16),
    Clip("ts", f"{B3}:repeat-headers=1", suffix="ts", frames=10),
]
