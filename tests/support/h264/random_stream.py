"""Random conforming H.264 streams of what encoders at hand do not make, and what must be found in them.

Frames, MBAFF frames and field pictures with all of the reference marking, list modification, weights, order count types
and gaps in frame_num. Pictures start from PCM noise, so that a wrong vector, list or weight shows in samples.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from support.h264.expected import Expected, Reference
from support.h264.macroblocks import PATTERNS_420, Macroblock, MacroblockWriter, Vector
from support.h264.order import OrderWriter
from support.h264.references import LONG, SHORT, Entry, References, Stored
from support.h264.syntax import (
    B_SLICE,
    BOTTOM,
    FIELDS,
    FRAME,
    I_SLICE,
    IDR,
    P_SLICE,
    SLICE,
    TOP,
    Marking,
    Pps,
    SliceHeader,
    Sps,
    Weight,
    nal_unit,
)
from support.hevc.bits import BitWriter


def predict(mb: Macroblock, above: Macroblock | None = None) -> None:
    """Adds to vector differences what they differ from. `above`: the upper macroblock of a frame pair (8.4.1.3).

    Both partitions have the same reference, so the first predicts the second. Below another one there is no partition.
    """
    if mb.partitions == 2:
        mb.mvd[1] = (added(mb.mvd[1][0], mb.mvd[0][0]), (0, 0))
    elif mb.kind == "16x16" and above is not None and above.kind not in ("pcm", "intra"):
        part = 1 if above.kind == "16x8" else 0
        for side in set(above.lists) & set(mb.lists):
            if above.ref_idx[part][side] == mb.ref_idx[0][side]:
                vectors = list(mb.mvd[0])
                vectors[side] = added(vectors[side], above.mvd[part][side])
                mb.mvd = [(vectors[0], vectors[1])]


def added(one: Vector, other: Vector) -> Vector:
    return one[0] + other[0], one[1] + other[1]


class RandomStream:
    """The stream of a seed: `data`, and the `frames` in decoding order.

    `for_libavcodec` leaves out what libavcodec decodes wrongly: both fields of a pair that make themselves long-term
    references, of which it keeps the second alone; B pictures behind one with operation 5, whose order counts it does
    not reset; and frames while a single field is a reference, which it takes for the whole frame.
    """

    def __init__(
        self,
        seed: int,
        interlaced: bool,
        poc_type: int = 0,
        chroma_format_idc: int = 1,
        for_libavcodec: bool = True,
        frames: int = 14,
    ) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self.for_libavcodec = for_libavcodec
        self.sps = Sps(
            width_in_mbs=3,
            height_in_mbs=4,
            profile_idc=244 if chroma_format_idc == 3 else 100,
            chroma_format_idc=chroma_format_idc,
            poc_type=poc_type,
            offset_for_non_ref_pic=-1,
            offset_for_top_to_bottom=1,
            offsets_for_ref_frame=[2, 3],
            max_num_ref_frames=int(rng.integers(2, 6)),
            gaps_allowed=not interlaced and self.maybe(),
            interlaced=interlaced,
            mbaff=interlaced and self.maybe(0.7),
            num_reorder=0 if poc_type == 2 else 2,
        )
        self.pps = Pps(
            weighted_pred=self.maybe(0.6),
            weighted_bipred_idc=int(rng.integers(0, 3)),
            redundant_pic_cnt_present=self.maybe(0.3),
        )
        self.references = References(self.sps.max_frame_num, self.sps.max_num_ref_frames)
        self.order = OrderWriter(self.sps)
        self.frames: list[Expected] = []
        self.prev_ref_frame_num = self.epoch = self.base = 0
        self.data = self.primary_data = self.sps.nal() + self.pps.nal()  # with and without redundant pictures
        while len(self.frames) < frames:
            self._group()

    def maybe(self, probability: float = 0.5) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def _group(self) -> None:
        """A picture, and up to two that are shown before it."""
        start = not self.frames or self.maybe(0.08)
        if start:
            self.after_reset = False
            self.epoch += 1
            self.base = 0
            self._frame(0, idr=True)
        only_p = self.sps.poc_type == 2 or self.sps.gaps_allowed or (self.after_reset and self.for_libavcodec)
        before = 0 if only_p else self.pick(0, 2)
        resets = not start and before == 0 and self.maybe(0.2)
        self.after_reset |= resets
        last = self.base + 2 * (before + 1)
        self._frame(last, resets=resets)
        for i in map(int, self.rng.permutation(before)):
            self._frame(self.base + 2 * (i + 1), b=self.maybe(0.8), ref=self.maybe(0.3))
        self.base = 0 if resets else last

    def _frame(self, poc: int, idr: bool = False, resets: bool = False, b: bool = False, ref: bool = True) -> None:
        """A frame, or two fields, whose lower order count is `poc`. `resets`: by operation 5."""
        sps, dpb = self.sps, self.references
        frame_num = 0 if idr else (self.prev_ref_frame_num + 1) % sps.max_frame_num
        if idr:
            dpb.frames = []
        elif sps.gaps_allowed and self.maybe(0.2):
            frame_num = self._gap(frame_num, self.pick(1, 3))
        stored = Stored(len(self.frames), frame_num)
        single = any(len(s.marks) == 1 for s in dpb.frames)
        fields = sps.interlaced and (self.maybe(0.6) or (single and self.for_libavcodec))
        first = self.pick(TOP, BOTTOM) if sps.interlaced else TOP
        wanted = {first: poc, 3 - first: poc + sps.interlaced}
        pocs = self.order.possible(wanted, frame_num, ref, idr)
        expected = Expected(stored, self.epoch, (4 * sps.height_in_mbs, 4 * sps.width_in_mbs), pocs)
        expected.mbaff = sps.mbaff and not fields
        self.frames.append(expected)
        may_be_long = ref and not resets and not (fields and self.for_libavcodec)
        index = self.pick(0, sps.max_num_ref_frames - 1) if may_be_long and self.maybe(0.25) else None
        for structure in (first, 3 - first) if fields else (FRAME,):
            second = fields and structure != first
            header = SliceHeader(
                B_SLICE if b else P_SLICE, SLICE, int(ref), 0, stored.frame_num, structure, idr_pic_id=self.epoch % 2
            )
            if idr and not second:
                header.slice_type, header.nal_type = I_SLICE, IDR
            if second and resets:  # the first field left counts of 0
                expected.field_pocs[structure] = 1
            own = {f: expected.field_pocs[f] for f in (FIELDS if structure == FRAME else (structure,))}
            self.order.write(header, own)
            dpb.frame_num, dpb.structure = stored.frame_num, structure
            lists = self._lists(header, min(own.values()), stored)
            stored.pocs |= own
            self._mark(header, stored, second, resets and not second, 0 if idr and index is not None else index)
            expected.coded.append((structure if fields else 3 if expected.mbaff else FRAME, min(own.values())))
            self._slices(header, expected, lists)
            if resets and not second:
                lowest = min(stored.pocs.values())
                stored.pocs = {f: count - lowest for f, count in stored.pocs.items()}
                stored.frame_num = 0
                self.order.reset(structure, stored.pocs)
                self.epoch += 1
                expected.epoch, expected.output_poc = self.epoch, 0
        if ref:
            self.prev_ref_frame_num = stored.frame_num

    def _gap(self, frame_num: int, count: int) -> int:
        """Frames that are missing from `frame_num` on; returns what follows them (8.2.5.2)."""
        dpb = self.references
        for _ in range(count):
            dpb.frame_num = frame_num
            if not dpb.can_slide(None):
                break
            dpb.slide(None)
            dpb.frames.append(Stored(-1, frame_num, exists=False, marks=dict.fromkeys(FIELDS, SHORT)))
            self.order.infer(frame_num)
            frame_num = (frame_num + 1) % self.sps.max_frame_num
        return frame_num

    def _lists(self, header: SliceHeader, poc: int, stored: Stored) -> list[list[Reference]]:
        """Reference lists, and in the header the syntax that makes them."""
        if header.slice_type == I_SLICE:
            return []
        known = [e for mark in (SHORT, LONG) for e in self.references.entries(mark) if e[0].exists]
        if not known:  # single fields are no reference of a frame
            header.slice_type = I_SLICE
            return []
        lists = self.references.initial_lists(header.slice_type, poc)
        sizes, modifications = [], []
        for x, initial in enumerate(lists):
            size = self.pick(1, max(len(initial), 1))
            wanted: list[Entry] = []
            if self.maybe() or not any(stored.exists for stored, _ in initial[:size]):
                wanted = [known[self.pick(0, len(known) - 1)] for _ in range(self.pick(1, size))]
            lists[x], syntax = self.references.modified(initial, wanted, size)
            sizes.append(size)
            modifications.append(syntax)
        header.num_ref_idx, header.modifications = tuple(sizes), tuple(modifications)
        return [[Reference(s, f, s.poc_of(f) if s.exists else 0, dict(s.pocs)) for s, f in x] for x in lists]

    def _mark(self, header: SliceHeader, stored: Stored, second: bool, resets: bool, index: int | None) -> None:
        """Marks the pictures after this one, with operations that the header gets. `index`: of operation 6."""
        dpb = self.references
        # Operations of frames cannot name those of which one field is left.
        single = header.structure == FRAME and any(len(s.marks) == 1 for s in dpb.frames)
        if single:
            index = None
        own = FIELDS if header.structure == FRAME else (header.structure,)
        if not header.ref_idc:
            return
        if header.nal_type == IDR:
            header.long_term_reference = index is not None
        elif resets:
            header.marking = [(5,)]
            dpb.frames = []
        elif index is None and (single or self.maybe()) and (second or dpb.can_slide(stored)):
            if not second:
                dpb.slide(stored)
        else:
            header.marking = self._operations(stored, second, index)
            return
        if stored not in dpb.frames:
            dpb.frames.append(stored)
        stored.marks |= dict.fromkeys(own, SHORT if index is None else LONG)
        stored.long_idx = index or 0

    def _operations(self, stored: Stored, second: bool, index: int | None) -> list[Marking]:
        """Operations that leave room for the current picture, applied as they are made."""
        dpb = self.references
        made: list[Marking] = []

        def add(operation: Marking) -> None:
            made.append(operation)
            dpb.apply([operation], stored)

        def difference(entry: Entry) -> int:
            return dpb.current_number - dpb.number(entry, SHORT) - 1

        def others(mark: str) -> list[Entry]:
            return [entry for entry in dpb.entries(mark) if entry[0] is not stored]

        if others(SHORT) and self.maybe():
            target = others(SHORT)[self.pick(0, len(others(SHORT)) - 1)]
            if self.maybe(0.3):
                add((1, difference(target)))  # a single field may stay
            add((4, dpb.size))
            taken = self.pick(0, dpb.size - 1)
            if taken != index and LONG not in target[0].marks.values():
                for entry in [e for e in others(SHORT) if e[0] is target[0]]:
                    add((3, difference(entry), taken))
        if others(LONG) and self.maybe(0.2):
            target = others(LONG)[self.pick(0, len(others(LONG)) - 1)]
            add((2, dpb.number(target, LONG)))
        if self.maybe(0.1):
            add((4, self.pick(0 if index is None else index + 1, dpb.size)))
        if index is not None:
            add((4, dpb.size))
            if stored not in dpb.frames:
                dpb.frames.append(stored)
            add((6, index))
        while not second and len([s for s in dpb.frames if s.marks and s is not stored]) >= dpb.size:
            mark = SHORT if others(SHORT) and (self.maybe() or not others(LONG)) else LONG
            if not others(mark):  # only single fields, of long-term frames
                add((4, 0))
                continue
            target = others(mark)[self.pick(0, len(others(mark)) - 1)]
            add((1, difference(target)) if mark == SHORT else (2, dpb.number(target, LONG)))
        if index is None:
            if stored not in dpb.frames:
                dpb.frames.append(stored)
            stored.marks |= dict.fromkeys(FIELDS if dpb.structure == FRAME else (dpb.structure,), SHORT)
        return made

    def _slices(self, header: SliceHeader, expected: Expected, lists: list[list[Reference]]) -> None:
        """One slice for every macroblock or pair, and perhaps the same once more as a redundant picture."""
        sps = self.sps
        pairs = expected.mbaff
        for entry in (entry for entries in lists for entry in entries if entry.stored.exists):
            if entry.structure == FRAME:
                expected.references.setdefault(entry.poc, entry.stored)
            else:
                key = header.structure, entry.poc
                expected.field_references.setdefault(key, (entry.stored, entry.structure))
        in_rows = header.slice_type == B_SLICE and not pairs and self.for_libavcodec and self.maybe()
        count = sps.width_in_mbs if in_rows else 1
        rows = sps.height_in_mbs // (2 if pairs or header.structure != FRAME else 1)
        primary, redundant = b"", b""
        for first_mb in range(0, rows * sps.width_in_mbs, count):
            part = replace(header, first_mb=first_mb)
            if lists and self.maybe(0.1):
                part.slice_type = I_SLICE
            weighted = self.pps.weighted_pred if part.slice_type == P_SLICE else self.pps.weighted_bipred_idc == 1
            if weighted and part.slice_type != I_SLICE:
                part.log2_weight_denom = self.pick(0, 5)
                part.weights = tuple([self._weight(part.log2_weight_denom) for _ in x] for x in lists)
            known = lists if part.slice_type != I_SLICE else []
            y, x = divmod(first_mb, sps.width_in_mbs)
            out = BitWriter()
            part.write(out, sps, self.pps)
            expected.slice_data_bits -= out.length
            writer = MacroblockWriter(out, sps, part.slice_type, part.num_ref_idx)
            if pairs:
                self._pair(writer, x, y, expected, known)
            elif in_rows:
                row = [self._predicted(known) for _ in range(count)]
                self._write(writer, row, None)
                for n, mb in enumerate(row):
                    expected.add_unknown(header.structure, n, y, mb)
            else:
                mb = self._macroblock(known, header.structure)
                self._write(writer, [mb], None)
                predict(mb)
                expected.add(header.structure, x, y, mb, known)
            expected.slice_data_bits += out.length
            out.trailing()
            primary += nal_unit(part.nal_type, part.ref_idc, out.to_bytes())
            if self.pps.redundant_pic_cnt_present:
                out = BitWriter()
                replace(part, redundant_pic_cnt=1, slice_type=I_SLICE, weights=None).write(out, sps, self.pps)
                writer = MacroblockWriter(out, sps, I_SLICE, ())
                noise = [Macroblock("pcm", samples=self._noise()) for _ in range(2 if pairs else count)]
                self._write(writer, noise, False if pairs else None)
                out.trailing()
                redundant += nal_unit(part.nal_type, part.ref_idc, out.to_bytes())
        self.data += primary + redundant
        self.primary_data += primary

    def _write(self, writer: MacroblockWriter, macroblocks: list[Macroblock], field_pair: bool | None) -> None:
        """The slice data (7.3.4) of a macroblock, or of a pair of an MBAFF frame."""
        out, skipped, told = writer.out, 0, field_pair is None
        for mb in macroblocks:
            if mb.kind == "skip":
                skipped += 1
                continue
            if writer.slice_type != I_SLICE:
                out.ue(skipped)
            if not told:
                out.flag(bool(field_pair))
                told = True
            skipped = 0
            writer.write(mb, bool(field_pair))
        if skipped:
            out.ue(skipped)

    def _pair(self, writer: MacroblockWriter, x: int, y: int, expected: Expected, lists: list[list[Reference]]) -> None:
        as_fields = self.maybe()
        top = self._macroblock(lists, TOP if as_fields else FRAME)
        bottom = self._macroblock(lists, BOTTOM if as_fields else FRAME, None if as_fields else top)
        if top.kind == bottom.kind == "skip":
            as_fields = False  # which is inferred
        structures = (TOP, BOTTOM) if as_fields else (FRAME, FRAME)
        self._write(writer, [top, bottom], as_fields)
        predict(top)
        predict(bottom, None if as_fields else top)
        for n, (mb, structure) in enumerate(zip((top, bottom), structures, strict=True)):
            expected.add(structure, x, y if as_fields else 2 * y + n, mb, lists)

    def _macroblock(self, lists: list[list[Reference]], structure: int, above: Macroblock | None = None) -> Macroblock:
        """Any macroblock. `above`: the upper one of a frame pair, by which this one may be predicted."""
        if not lists:
            if above is None and self.maybe(0.2):
                return Macroblock("intra", dc=(self.pick(-8, 8), self.pick(0, 15)))
            return Macroblock("pcm", samples=self._noise())
        b = len(lists) == 2
        can_skip = all(x[0].stored.exists for x in lists) and not (b and above is not None and above.kind != "skip")
        if can_skip and self.maybe(0.15):
            return Macroblock("skip", (0, 1) if b else (0,))
        if self.maybe(0.08):
            return Macroblock("pcm", samples=self._noise())
        kind = "16x16" if b or above is not None else ("16x16", "16x8", "8x16")[self.pick(0, 2)]
        mb = Macroblock(kind, ((0,), (1,), (0, 1))[self.pick(0, 2)] if b else (0,))
        field_macroblock = structure != FRAME and lists[0][0].structure == FRAME
        if kind == "16x16":
            mb.ref_idx, mb.mvd = [self._references(lists, field_macroblock)], [(self._vector(), self._vector())]
        else:  # one reference for both parts, so that the first predicts the second
            same = self._references(lists, field_macroblock)
            mb.ref_idx, mb.mvd = [same, same], [(self._vector(), (0, 0)) for _ in range(2)]
        after_pcm = above is not None and above.kind == "pcm"  # whose blocks count as full
        if not after_pcm and self.maybe():
            mb.pattern = list(PATTERNS_420)[self.pick(0, 9)]
            mb.levels = self.rng.integers(-8, 9, (3, 16)) * self.rng.integers(0, 2, (3, 16))
            mb.positions = self.rng.integers(0, 16, (3, 16))
        return mb

    def _predicted(self, lists: list[list[Reference]]) -> Macroblock:
        """A macroblock that its neighbours predict, with vectors so small that those of direct ones may be 0."""
        if not lists:
            return Macroblock("pcm", samples=self._noise())
        if self.maybe():
            return Macroblock("skip", (0, 1))
        mb = Macroblock("16x16", ((0,), (1,), (0, 1))[self.pick(0, 2)])
        mb.ref_idx = [(0, 0) if self.maybe(0.7) else self._references(lists, False)]
        mb.mvd = [((self.pick(-2, 2), self.pick(-2, 2)), (self.pick(-2, 2), self.pick(-2, 2)))]
        return mb

    def _references(self, lists: list[list[Reference]], field_macroblock: bool) -> tuple[int, int]:
        choices = [[i for i, entry in enumerate(x) if entry.stored.exists] for x in lists]
        chosen = [x[self.pick(0, len(x) - 1)] for x in choices]
        if field_macroblock:
            chosen = [2 * i + self.pick(0, 1) for i in chosen]
        return chosen[0], chosen[-1]

    def _vector(self) -> Vector:
        spread = (0, 3, 20, 90)[self.pick(0, 3)]
        return self.pick(-spread, spread), self.pick(-spread, spread)

    def _weight(self, log2_denom: int) -> Weight:
        return None if self.maybe(0.3) else ((1 << log2_denom) + self.pick(-8, 8), self.pick(-20, 20))

    def _noise(self) -> NDArray[np.uint8]:
        """Noise of 2x2 samples."""
        return np.kron(self.rng.integers(0, 256, (8, 8)), np.ones((2, 2))).astype(np.uint8)
