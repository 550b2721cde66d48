"""Picture order counts of H.264, from the counts to the syntax (8.2.1)."""

from support.h264.syntax import BOTTOM, FIELDS, IDR, TOP, SliceHeader, Sps

Counts = dict[int, int]  # by field


class OrderWriter:
    """Writes what gives pictures their order counts; called for every coded picture in decoding order."""

    def __init__(self, sps: Sps) -> None:
        self.sps = sps
        self._prev_msb = self._prev_lsb = self._prev_frame_num = self._offset = 0

    def possible(self, wanted: Counts, frame_num: int, is_reference: bool, idr: bool) -> Counts:
        """The counts of a frame: those wanted, or with type 2 those that decoding order gives."""
        if self.sps.poc_type < 2:
            return wanted
        offset = 0 if idr else self._offset + self._wrap(frame_num)
        return dict.fromkeys(FIELDS, 2 * (offset + frame_num) - (not is_reference))

    def infer(self, frame_num: int) -> None:
        """A frame that is missing."""
        self._offset += self._wrap(frame_num)
        self._prev_frame_num = frame_num

    def write(self, header: SliceHeader, pocs: Counts) -> None:
        """Sets the syntax elements of a header, which are the same in all slices of its picture."""
        if header.nal_type == IDR:
            self._prev_msb = self._prev_lsb = self._prev_frame_num = self._offset = 0
        self._offset += self._wrap(header.frame_num)
        self._prev_frame_num = header.frame_num
        top, bottom = pocs.get(TOP, 0), pocs.get(BOTTOM, 0)
        if self.sps.poc_type == 0:
            count = bottom if header.structure == BOTTOM else top
            header.poc_lsb = count % (1 << self.sps.log2_max_poc_lsb)
            header.deltas = (0, bottom - top)
            assert abs(count - self._prev_msb - self._prev_lsb) < 1 << self.sps.log2_max_poc_lsb - 1
            if header.ref_idc:
                self._prev_msb, self._prev_lsb = count - header.poc_lsb, header.poc_lsb
        elif self.sps.poc_type == 1:
            expected = self._expected(header)
            second = self.sps.offset_for_top_to_bottom
            if header.structure == BOTTOM:
                header.deltas = (bottom - expected - second, 0)
            else:
                header.deltas = (top - expected, bottom - top - second)

    def reset(self, structure: int, pocs: Counts) -> None:
        """Operation 5, which left `pocs`."""
        self._prev_msb = self._prev_frame_num = self._offset = 0
        self._prev_lsb = 0 if structure == BOTTOM else pocs[TOP]

    def _wrap(self, frame_num: int) -> int:
        return self.sps.max_frame_num if frame_num < self._prev_frame_num else 0

    def _expected(self, header: SliceHeader) -> int:
        """expectedDeltaPerPicOrderCntCycle and what follows from it (8-6 to 8-9)"""
        cycle = self.sps.offsets_for_ref_frame
        number = self._offset + header.frame_num if cycle else 0
        if not header.ref_idc and number > 0:
            number -= 1
        count = sum(cycle[i % len(cycle)] for i in range(number))
        return count + (0 if header.ref_idc else self.sps.offset_for_non_ref_pic)
