"""The grid of coding tools of H.264: what libx264 encodes for the tests, each entry about one tool."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support import ffmpeg, scenes


@dataclass(frozen=True)
class Clip:
    """One stream of the grid: a scene, libx264 parameters, and what is known of the result."""

    name: str
    params: str
    size: tuple[int, int] = (112, 80)
    frames: int = 7
    pixel_format: str = "yuv420p"
    suffix: str = "h264"
    scene: dict[str, Any] = field(default_factory=dict, hash=False)
    lossless: bool = False

    @property
    def depth(self) -> int:
        return scenes.split_format(self.pixel_format)[1]

    @property
    def interlaced(self) -> bool:
        return "tff=1" in self.params or "bff=1" in self.params

    @property
    def bottom_delta(self) -> int:
        """What the order count of bottom fields has beyond that of top fields."""
        return -1 if "bff=1" in self.params else int(self.interlaced)

    @property
    def implicit(self) -> bool:
        """Whether B pictures weight their references by distance."""
        return "weightb=0" not in self.params

    def encode(self, folder: Path) -> Path:
        """Encodes the clip in `folder`, if it is not there yet."""
        path = folder / f"x264_{self.name}.{self.suffix}"
        if path.exists():
            return path
        options: tuple[str, ...] = ("-pix_fmt", self.pixel_format)
        if self.interlaced:
            bottom_first = self.bottom_delta < 0
            raw = scenes.interlaced_scene(self.size, self.frames, self.pixel_format, bottom_first=bottom_first)
            options += ("-vf", f"setfield={'bff' if bottom_first else 'tff'}")  # overrides the parameter
        else:
            raw = scenes.moving_scene(self.size, self.frames, self.pixel_format, **self.scene)
        return ffmpeg.encode(raw, self.size, self.pixel_format, self.params, path, options, "x264")


ALL = "partitions=all:subme=7:me=umh"  # with blocks down to 4x4
B2 = f"bframes=2:b-adapt=0:{ALL}:crf=22"
FADE = {"fade": True}
GRID = [
    Clip("medium", "crf=26", frames=10),
    Clip("cavlc_p", f"cabac=0:bframes=0:8x8dct=0:ref=1:{ALL}:crf=20"),
    Clip("cabac_p", f"bframes=0:8x8dct=0:ref=3:{ALL}:crf=20"),
    Clip("cavlc_8x8", f"cabac=0:8x8dct=1:{B2}"),
    Clip("cabac_8x8", f"8x8dct=1:{B2}"),
    Clip("baseline", "cabac=0:bframes=0:8x8dct=0:weightp=0:crf=26", scene={"cut": 4}),
    *[
        Clip(f"direct_{mode}_{'cabac' if cabac else 'cavlc'}", f"direct={mode}:cabac={cabac}:ref=3:weightb=1:{B2}")
        for mode in ("none", "spatial", "temporal", "auto")
        for cabac in (0, 1)
    ],
    Clip("direct_temporal_no_weights", f"direct=temporal:weightb=0:{B2}"),
    Clip("pyramid", f"bframes=7:b-pyramid=normal:b-adapt=0:ref=4:direct=temporal:{ALL}:crf=24", frames=17),
    Clip("pyramid_spatial", "bframes=5:b-pyramid=strict:b-adapt=0:ref=4:direct=spatial:crf=24", frames=13),
    *[Clip(f"weightp_{n}", f"weightp={n}:bframes=0:ref=4:{ALL}:crf=20", frames=8, scene=FADE) for n in range(3)],
    Clip("weightp_b", f"weightp=2:weightb=1:ref=3:{B2}", frames=10, scene=FADE),
    Clip("weightp_10", f"weightp=2:weightb=1:ref=3:{B2}", frames=8, scene=FADE, pixel_format="yuv420p10le"),
    Clip("many_refs", f"ref=16:bframes=1:b-adapt=0:mixed-refs=1:{ALL}:crf=20", frames=20, size=(64, 48)),
    Clip("tff", f"tff=1:ref=3:{B2}", frames=8),
    Clip("bff_cavlc", f"bff=1:cabac=0:ref=3:{B2}", frames=8),
    Clip("tff_temporal", f"tff=1:direct=temporal:weightb=1:ref=2:{B2}", frames=8),
    Clip("tff_temporal_cavlc", f"tff=1:direct=temporal:weightb=0:cabac=0:{B2}", frames=7),
    Clip("tff_spatial_4x4", f"tff=1:direct=spatial:8x8dct=0:{B2}", size=(96, 64)),
    Clip("tff_p", f"tff=1:bframes=0:ref=4:weightp=2:{ALL}:crf=20", frames=6),
    Clip("tff_slices", f"tff=1:slices=2:{B2}", size=(96, 96)),
    Clip("tff_422_10", f"tff=1:{B2}", pixel_format="yuv422p10le", frames=5),
    Clip("tff_cropped", f"tff=1:{B2}", size=(90, 52), frames=5),
    Clip("i422", f"{B2}", pixel_format="yuv422p", frames=5),
    Clip("i422_cavlc", f"cabac=0:{B2}", pixel_format="yuv422p", frames=5),
    Clip("i444", f"{B2}", pixel_format="yuv444p", frames=5),
    Clip("i444_cavlc", f"cabac=0:{B2}", pixel_format="yuv444p", frames=5),
    Clip("i444_10", f"8x8dct=0:{B2}", pixel_format="yuv444p10le", frames=5),
    Clip("high10", f"{B2}", pixel_format="yuv420p10le", frames=5),
    Clip("high10_cavlc", f"cabac=0:{B2}", pixel_format="yuv420p10le", frames=5),
    Clip("gray", f"{B2}", pixel_format="gray", frames=5),
    Clip("lossless", f"qp=0:weightp=0:bframes=2:{ALL}", frames=4, lossless=True),
    Clip("lossless_cavlc", f"qp=0:weightp=0:cabac=0:bframes=2:{ALL}", frames=4, lossless=True),
    Clip("lossless_444", f"qp=0:weightp=0:bframes=1:{ALL}", pixel_format="yuv444p", frames=4, lossless=True),
    Clip("slices", f"slices=4:{B2}"),
    Clip("slice_per_row", f"slice-max-mbs=7:cabac=0:{B2}"),
    Clip("scaling_jvt", f"cqm=jvt:{B2}"),
    Clip("constrained_intra", f"constrained-intra=1:{B2}", scene={"cut": 3}),
    Clip("intra_refresh", "intra-refresh=1:keyint=6:bframes=0:crf=24", frames=12),
    Clip("open_gop", "open-gop=1:keyint=6:min-keyint=6:bframes=2:b-adapt=0:scenecut=0:crf=26", frames=18),
    Clip("many_idr", "keyint=5:min-keyint=5:bframes=2:b-adapt=0:scenecut=0:crf=28", frames=18, size=(64, 48)),
    Clip("all_intra", "keyint=1:crf=26", frames=3),
    Clip("cropped", f"{B2}", size=(90, 50)),
    Clip("fast_motion", f"merange=64:bframes=1:{ALL}:crf=22", scene={"speed": 8.0}),
    Clip("low_qp", f"qp=2:bframes=1:{ALL}", frames=4),
    Clip("high_qp", "qp=51:bframes=2:b-adapt=0", size=(64, 48)),  # the last macroblock of a slice may take no bit
    Clip("one_macroblock", "bframes=1:crf=20", size=(16, 16)),
    Clip("mp4", f"{B2}", suffix="mp4", frames=8),
    Clip("mkv", f"{B2}", suffix="mkv", frames=8),
    Clip("ts", f"{B2}", suffix="ts", frames=8),
]
