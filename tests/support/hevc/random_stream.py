"""Random conforming streams: every syntax choice that the writer knows, drawn at random, as a test of derivations.

All pictures start from PCM noise, so that a wrong vector, list or weight shows in the decoded samples.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from support.hevc.parameter_sets import Pps, ReferencePictureSet, Sps
from support.hevc.slice_data import PARTS, Chooser, CodingUnit, LevelChooser, PictureWriter, Unit
from support.hevc.slice_header import B_SLICE, I_SLICE, IDR_N_LP, P_SLICE, TRAIL_R, LongTermPicture, SliceHeader


@dataclass
class WrittenSlice:
    header: SliceHeader
    lists: list[list[int]]  # POC of the entries of RefPicList0 and 1


@dataclass
class WrittenPicture:
    poc: int
    long_term: set[int]  # POC of the pictures that are long-term references here
    slices: list[WrittenSlice] = field(default_factory=list)
    noise: list[tuple[int, int, NDArray[np.integer]]] = field(default_factory=list)  # x, y, luma of PCM units
    ctb_order: list[int] = field(default_factory=list)  # CTBs in decoding order
    slice_data_bytes: int = 0


def reference_list(sps: Sps, header: SliceHeader, long_term: list[int], x: int) -> list[int]:
    """8.3.4: the POCs of RefPicListX. `long_term`: those of the header's long-term entries in use, in order."""
    rps = header.rps if header.rps_index is None else sps.rps[header.rps_index]
    before = [header.poc + delta for delta, used in rps.before if used]
    after = [header.poc + delta for delta, used in rps.after if used]
    initial = (after + before if x else before + after) + long_term
    entries = header.list_entries[x] or range(header.num_ref_idx[x])
    return [initial[entry % len(initial)] for entry in entries]


def noise_unit(rng: np.random.Generator, log2: int) -> CodingUnit:
    """A PCM coding unit of noise."""
    size = 1 << log2
    chroma = np.full((size // 2, size // 2), 128)
    return CodingUnit("pcm", samples=(rng.integers(0, 256, (size, size)), chroma, chroma))


class RandomStream:
    """The stream of a seed: `data`, and what was `written` picture by picture in decoding order.

    `wavefront_in_tiles` uses both, which libavcodec does not decode.
    """

    def __init__(self, seed: int, pictures: int = 9, wavefront_in_tiles: bool = False) -> None:
        self.rng = rng = np.random.default_rng(seed)
        log2_ctb = int(rng.integers(4, 7))
        log2_min_cb = int(rng.integers(3, 5))
        unit = 1 << log2_min_cb
        self.sps = Sps(
            width=unit * int(rng.integers(64 // unit, 104 // unit)),
            height=unit * int(rng.integers(64 // unit, 104 // unit)),
            poc_lsb_bits=4,
            max_dec_pic_buffering=16,
            num_reorder=3,
            log2_min_cb=log2_min_cb,
            log2_ctb=log2_ctb,
            log2_max_tb=int(rng.integers(log2_min_cb, min(log2_ctb, 5) + 1)),
            transform_depth_inter=int(rng.integers(0, 3)),
            amp=self.maybe(),
            rps=[ReferencePictureSet([(-1, True)]), ReferencePictureSet([(-1, True), (-2, True)], predicted=(1, -1))],
            long_term=[(lsb, self.maybe()) for lsb in (0, 1, 3, 4, 6)][: int(rng.integers(0, 6))],
            temporal_mvp=self.maybe(0.9),
        )
        # The same for a whole sequence (7.4.3.3.1), and at most one of both in the Main profiles. Tile
        # sizes might change, but libavcodec looks up a collocated picture's slices with the current picture's tiles.
        tiled = self.sps.ctb_columns > 1 and (wavefront_in_tiles or self.maybe(0.3))
        self.tiles = self._tiles() if tiled else None
        self.wavefront = wavefront_in_tiles or (not tiled and self.maybe(0.3))
        self.available: dict[int, bool] = {}  # POC of each picture in the DPB -> is a long-term reference
        self.decoded: list[int] = []
        self.written: list[WrittenPicture] = []
        self.data = self.sps.vps() + self.sps.nal()
        for poc in self._decoding_order(pictures):
            self._picture(poc)

    def maybe(self, probability: float = 0.5) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, *choices: int) -> int:
        return int(self.rng.choice(choices))

    def _decoding_order(self, count: int) -> list[int]:
        order, base = [0], 0
        while len(order) < count:
            gop = int(self.rng.integers(1, 5))
            order += [base + gop, *map(int, self.rng.permutation(range(base + 1, base + gop)))]
            base += gop
        return order

    def _tiles(self) -> tuple[list[int], list[int]]:
        columns, rows = self.sps.ctb_columns, self.sps.ctb_rows
        x, y = int(self.rng.integers(1, columns)), int(self.rng.integers(0, rows))
        return [x, columns - x], [y, rows - y] if y else [rows]

    def _pps(self) -> Pps:
        rng, sps = self.rng, self.sps
        return Pps(
            dependent_slices=self.maybe(),
            output_flag_present=self.maybe(),
            extra_slice_header_bits=int(rng.integers(0, 4)),
            cabac_init_present=self.maybe(),
            num_ref_idx_default=(self.pick(1, 2, 3), self.pick(1, 2)),
            init_qp=int(rng.integers(16, 38)),
            cu_qp_delta_depth=int(rng.integers(0, sps.log2_ctb - sps.log2_min_cb + 1)) if self.maybe() else None,
            weighted_pred=self.maybe(),
            weighted_bipred=self.maybe(),
            transquant_bypass=self.maybe(0.2),
            tiles=self.tiles,
            wavefront=self.wavefront,
            lists_modification_present=self.maybe(),
            log2_parallel_merge_level=int(rng.integers(2, sps.log2_ctb + 1)),
            header_extension_present=self.maybe(),
        )

    def _references(self, header: SliceHeader) -> list[int]:
        """Chooses the RPS of a picture; returns the POCs of its long-term pictures in use."""
        poc, period = header.poc, 1 << self.sps.poc_lsb_bits
        keep = [p for p in self.available if self.maybe(0.85)] or [max(self.available)]
        keep = sorted(keep, key=lambda p: abs(p - poc))[:5]
        for p in keep:
            if self.sps.long_term is not None and p // period <= poc // period and (poc - p > 6 or self.maybe(0.15)):
                self.available[p] = True
        self.available = {p: is_long for p, is_long in self.available.items() if p in keep}
        used = {p: self.maybe(0.85) for p in keep}
        used[keep[0]] = True
        short = [(p - poc, used[p]) for p in keep if not self.available[p]]
        header.rps = ReferencePictureSet([s for s in short if s[0] < 0], [s for s in short if s[0] > 0])
        for index, rps in enumerate(self.sps.rps):
            if (header.rps.before, header.rps.after) == (rps.before, rps.after):
                header.rps_index = index
        entries = []
        for p in (p for p in keep if self.available[p]):
            lsb, cycle = p % period, poc // period - p // period
            ambiguous = sum(q % period == lsb for q in self.decoded) > 1
            entry = LongTermPicture(lsb, used[p], msb_cycle=cycle if ambiguous or self.maybe() else None)
            if (lsb, used[p]) in (self.sps.long_term or []) and self.maybe():
                entry.sps_index = (self.sps.long_term or []).index((lsb, used[p]))
            entries.append((entry.sps_index is None, cycle, p, entry))
        entries.sort(key=lambda item: item[:3])
        header.long_term = [entry for *_, entry in entries]
        return [p for *_, p, entry in entries if entry.used]

    def _picture(self, poc: int) -> None:
        pps = self._pps()
        self.data += pps.nal()
        base = SliceHeader(nal_type=TRAIL_R if self.decoded else IDR_N_LP, poc=poc)
        long_term = self._references(base) if self.decoded else []
        picture = WrittenPicture(poc, {p for p, is_long in self.available.items() if is_long})
        slices: list[tuple[WrittenSlice, int]] = []
        for address, count, dependent in self._segments(pps):
            header = replace(base, address=address, dependent=dependent, extension=b"\0" * self.pick(0, 1, 5))
            if dependent:
                slices.append((WrittenSlice(header, slices[-1][0].lists), count))
                continue
            if self.decoded:
                header.slice_type = (
                    self.pick(B_SLICE, P_SLICE, I_SLICE) if self.maybe(0.4) else self.pick(B_SLICE, P_SLICE)
                )
            slices.append((self._slice(header, pps, long_term), count))
        self._collocated([part for part, _ in slices if not part.header.dependent])
        writer = PictureWriter(self.sps, pps)
        picture.ctb_order = [address for address, _ in writer.order]
        for part, count in slices:
            header = part.header
            if not header.dependent:
                independent = header
                picture.slices.append(part)
            self.data += writer.segment(header, count, self._chooser(independent, pps, picture))
            picture.slice_data_bytes += writer.slice_data_bytes
        self.available[poc] = False
        self.decoded.append(poc)
        self.written.append(picture)

    def _segments(self, pps: Pps) -> Iterable[tuple[int, int, bool]]:
        """(address, CTUs, dependent) of slice segments that keep the rules of 7.4.7.1 on tiles and wavefronts."""
        order = PictureWriter(self.sps, pps).order
        columns = self.sps.ctb_columns
        cuts: dict[int, bool] = {0: False}  # position in decoding order -> dependent
        inside = self.maybe(0.6)
        middle = False  # the slice started within a CTB row
        for n in range(1, len(order)):
            (address, tile), (_, last_tile) = order[n], order[n - 1]
            row_start = address % columns == tile[1]
            if tile != last_tile:
                if inside and pps.tiles:
                    cuts[n], middle = False, False
                elif self.maybe(0.3) and pps.dependent_slices:
                    cuts[n] = True
            elif pps.tiles and not inside:
                continue
            elif pps.wavefront and row_start and (middle or order[max(cuts)][0] % columns != tile[1]):
                cuts[n] = pps.dependent_slices and not middle and self.maybe()
                middle = False
            elif inside and self.maybe(0.1):
                cuts[n] = pps.dependent_slices and self.maybe(0.6)
                if not cuts[n]:
                    middle = not row_start
        ends = [*list(cuts)[1:], len(order)]
        return [(order[n][0], end - n, dependent) for (n, dependent), end in zip(cuts.items(), ends, strict=True)]

    def _slice(self, header: SliceHeader, pps: Pps, long_term: list[int]) -> WrittenSlice:
        rng = self.rng
        header.qp_delta = int(rng.integers(-4, 5))
        header.max_merge = int(rng.integers(1, 6))
        header.mvd_l1_zero = self.maybe(0.3)
        header.cabac_init = pps.cabac_init_present and self.maybe()
        header.num_ref_idx = (self.pick(1, 2, 3, 4, 6), self.pick(1, 2, 3, 4))
        total = header.total_references(self.sps)
        if pps.lists_modification_present and total > 1:
            header.list_entries = tuple(  # type: ignore[assignment]
                [int(rng.integers(0, total)) for _ in range(size)] if self.maybe() else None
                for size in header.num_ref_idx
            )
        lists = [reference_list(self.sps, header, long_term, x) for x in header.lists()]
        if header.is_weighted(pps):
            header.log2_weight_denom = int(rng.integers(0, 8))
            # Entries for the same picture share a weight, so that (list, POC) tells it.
            weight = [{p: self._weight(header.log2_weight_denom) for p in sorted(set(pocs))} for pocs in lists]
            header.weights = tuple([weight[x][p] for p in lists[x]] for x in header.lists())  # type: ignore[assignment]
        return WrittenSlice(header, lists)

    def _weight(self, log2_denom: int) -> tuple[int, int] | None:
        if self.maybe(0.3):
            return None
        spread = self.pick(127, 1 << log2_denom, 8)
        delta = int(self.rng.integers(-min(spread, 128), min(spread, 127) + 1))
        return (1 << log2_denom) + delta, int(self.rng.integers(-128, 128)) if self.maybe(0.3) else self.pick(-5, 0, 7)

    def _collocated(self, slices: list[WrittenSlice]) -> None:
        """One collocated picture for all slices of the picture (7.4.7.1), or none."""
        inter = [part for part in slices if part.lists]
        common = (
            sorted(set.intersection(*({p for pocs in part.lists for p in pocs} for part in inter))) if inter else []
        )
        enabled = bool(common) and self.maybe(0.9)
        chosen = self.pick(*common) if common else 0
        for part in slices:
            part.header.temporal_mvp = enabled if inter else self.maybe()
        for part in inter if enabled else []:
            places = [(x, i) for x, pocs in enumerate(part.lists) for i, p in enumerate(pocs) if p == chosen]
            x, part.header.collocated_ref_idx = places[int(self.rng.integers(len(places)))]
            part.header.collocated_from_l0 = x == 0

    def _chooser(self, header: SliceHeader, pps: Pps, picture: WrittenPicture) -> Chooser:
        rng, sps = self.rng, self.sps
        busy = float(rng.choice([0.2, 0.5, 0.8]))

        def levels(depth: int, may_split: bool) -> int | Literal["split"]:
            if may_split and self.maybe(0.4):
                return "split"
            return 0 if depth and self.maybe(0.4) else self.pick(-9, -3, -2, -1, 1, 2, 4, 20)

        def choose(x: int, y: int, log2: int, may_split: bool) -> CodingUnit | Literal["split"]:
            too_large = log2 > min(sps.log2_ctb, 5)
            if may_split and (self.maybe(busy) or (too_large and header.slice_type == I_SLICE)):
                return "split"
            if header.slice_type == I_SLICE or (not too_large and self.maybe(0.06)):
                unit = noise_unit(rng, log2)
                picture.noise.append((x, y, unit.samples[0]))
                return unit
            if self.maybe(0.35):
                return CodingUnit("skip", units=[Unit(merge_idx=int(rng.integers(header.max_merge)))])
            return self._inter_unit(header, pps, log2, levels)

        return choose

    def _inter_unit(self, header: SliceHeader, pps: Pps, log2: int, levels: LevelChooser) -> CodingUnit:
        smallest = log2 == self.sps.log2_min_cb
        parts = ["2Nx2N", "2NxN", "Nx2N"]
        parts += ["NxN"] * (smallest and log2 > 3) + list(PARTS)[4:] * (self.sps.amp and not smallest)
        part = str(self.rng.choice(parts))
        units = [self._unit(header, (w << log2 >> 2) + (h << log2 >> 2)) for _, _, w, h in PARTS[part]]
        merged = part == "2Nx2N" and units[0].merge_idx is not None
        coded = merged or self.maybe(0.3)
        return CodingUnit(
            "inter", part, units, levels=levels if coded else None,
            qp_delta=int(self.rng.integers(-8, 9)), bypass=pps.transquant_bypass and self.maybe(0.3),
        )  # fmt: skip

    def _unit(self, header: SliceHeader, extent: int) -> Unit:
        rng = self.rng
        if self.maybe(0.4):
            return Unit(merge_idx=int(rng.integers(header.max_merge)))
        lists: tuple[int, ...] = (0,)
        if header.slice_type == B_SLICE:
            lists = ((0,), (1,), (0, 1))[int(rng.integers(0, 2 if extent == 12 else 3))]

        def mvd() -> tuple[int, int]:
            spread = self.pick(0, 1, 4, 40, 40, 300, 32767)
            x, y = rng.integers(-spread, spread + 1, 2)
            return int(x), int(y)

        return Unit(
            lists=lists,
            ref_idx=(int(rng.integers(header.num_ref_idx[0])), int(rng.integers(header.num_ref_idx[1]))),
            mvd=(mvd(), mvd()),
            mvp=(self.pick(0, 1), self.pick(0, 1)),
        )
