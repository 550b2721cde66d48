"""The arithmetic encoder that mirrors 9.3.4.3, and the initial values of the contexts in use (9.3.2.2)."""

from support.hevc.bits import BitWriter

# Table 9-52: rangeTabLps by pStateIdx and qRangeIdx.
RANGE_LPS = [
    (128, 176, 208, 240), (128, 167, 197, 227), (128, 158, 187, 216), (123, 150, 178, 205), (116, 142, 169, 195),
    (111, 135, 160, 185), (105, 128, 152, 175), (100, 122, 144, 166), (95, 116, 137, 158), (90, 110, 130, 150),
    (85, 104, 123, 142), (81, 99, 117, 135), (77, 94, 111, 128), (73, 89, 105, 122), (69, 85, 100, 116),
    (66, 80, 95, 110), (62, 76, 90, 104), (59, 72, 86, 99), (56, 69, 81, 94), (53, 65, 77, 89),
    (51, 62, 73, 85), (48, 59, 69, 80), (46, 56, 66, 76), (43, 53, 63, 72), (41, 50, 59, 69),
    (39, 48, 56, 65), (37, 45, 54, 62), (35, 43, 51, 59), (33, 41, 48, 56), (32, 39, 46, 53),
    (30, 37, 43, 50), (29, 35, 41, 48), (27, 33, 39, 45), (26, 31, 37, 43), (24, 30, 35, 41),
    (23, 28, 33, 39), (22, 27, 32, 37), (21, 26, 30, 35), (20, 24, 29, 33), (19, 23, 27, 31),
    (18, 22, 26, 30), (17, 21, 25, 28), (16, 20, 23, 27), (15, 19, 22, 25), (14, 18, 21, 24),
    (14, 17, 20, 23), (13, 16, 19, 22), (12, 15, 18, 21), (12, 14, 17, 20), (11, 14, 16, 19),
    (11, 13, 15, 18), (10, 12, 15, 17), (10, 12, 14, 16), (9, 11, 13, 15), (9, 11, 12, 14),
    (8, 10, 12, 14), (8, 9, 11, 13), (7, 9, 11, 12), (7, 9, 10, 12), (7, 8, 10, 11),
    (6, 8, 9, 11), (6, 7, 9, 10), (6, 7, 8, 9), (2, 2, 2, 2),
]  # fmt: skip
# Table 9-53: transIdxLps by pStateIdx.
NEXT_LPS = [
    0, 0, 1, 2, 2, 4, 4, 5, 6, 7, 8, 9, 9, 11, 11, 12, 13, 13, 15, 15, 16, 16, 18, 18, 19, 19, 21, 21, 22, 22, 23, 24,
    24, 25, 26, 26, 27, 27, 28, 29, 29, 30, 30, 30, 31, 32, 32, 33, 33, 33, 34, 34, 35, 35, 35, 36, 36, 36, 37, 37, 37,
    38, 38, 63,
]  # fmt: skip

# initValue by initType (Tables 9-5 to 9-37); an empty list where the element does not occur.
INIT_VALUES: dict[str, list[list[int]]] = {
    "split_cu_flag": [[139, 141, 157], [107, 139, 126], [107, 139, 126]],
    "cu_transquant_bypass_flag": [[154]] * 3,
    "cu_skip_flag": [[], [197, 185, 201], [197, 185, 201]],
    "pred_mode_flag": [[], [149], [134]],
    "part_mode": [[184], [154, 139, 154, 154], [154, 139, 154, 154]],
    "rqt_root_cbf": [[], [79], [79]],
    "merge_flag": [[], [110], [154]],
    "merge_idx": [[], [122], [137]],
    "inter_pred_idc": [[], [95, 79, 63, 31, 31], [95, 79, 63, 31, 31]],
    "ref_idx": [[], [153, 153], [153, 153]],
    "abs_mvd_greater0_flag": [[], [140], [169]],
    "abs_mvd_greater1_flag": [[], [198], [198]],
    "mvp_flag": [[], [168], [168]],
    "split_transform_flag": [[153, 138, 138], [124, 138, 94], [224, 167, 122]],
    "cbf_luma": [[111, 141], [153, 111], [153, 111]],
    "cbf_chroma": [[94, 138, 182, 154], [149, 107, 167, 154], [149, 92, 167, 154]],
    "cu_qp_delta_abs": [[154, 154]] * 3,
    "last_sig_coeff_x_prefix": [
        [110, 110, 124, 125, 140, 153, 125, 127, 140, 109, 111, 143, 127, 111, 79, 108, 123, 63],
        [125, 110, 94, 110, 95, 79, 125, 111, 110, 78, 110, 111, 111, 95, 94, 108, 123, 108],
        [125, 110, 124, 110, 95, 94, 125, 111, 111, 79, 125, 126, 111, 111, 79, 108, 123, 93],
    ],
    "last_sig_coeff_y_prefix": [],
    "coeff_abs_level_greater1_flag": [[140, 92, 137, 138], [154, 196, 196, 167], [154, 196, 167, 167]],
    "coeff_abs_level_greater2_flag": [[138], [107], [107]],
}
INIT_VALUES["last_sig_coeff_y_prefix"] = INIT_VALUES["last_sig_coeff_x_prefix"]

Contexts = dict[str, list[tuple[int, int]]]  # (pStateIdx, valMps)


def initial_contexts(init_type: int, slice_qp: int) -> Contexts:
    def state(value: int) -> tuple[int, int]:
        m, n = (value >> 4) * 5 - 45, ((value & 15) << 3) - 16
        pre = min(max((m * min(max(slice_qp, 0), 51) >> 4) + n, 1), 126)
        return (pre - 64, 1) if pre > 63 else (63 - pre, 0)

    return {name: [state(value) for value in values[init_type]] for name, values in INIT_VALUES.items()}


class CabacWriter:
    """Encodes bins into `out`; the contexts are replaced from outside at the start of slices, tiles and CTB rows."""

    def __init__(self, out: BitWriter) -> None:
        self.out = out
        self.contexts: Contexts = {}
        self.start()

    def start(self) -> None:
        self._low, self._range, self._first, self._outstanding = 0, 510, True, 0

    def _put(self, bit: int) -> None:
        if self._first:
            self._first = False
        else:
            self.out.u(bit, 1)
        for _ in range(self._outstanding):
            self.out.u(1 - bit, 1)
        self._outstanding = 0

    def _renormalise(self) -> None:
        while self._range < 256:
            if self._low < 256:
                self._put(0)
            elif self._low >= 512:
                self._low -= 512
                self._put(1)
            else:
                self._low -= 256
                self._outstanding += 1
            self._range <<= 1
            self._low <<= 1

    def encode(self, name: str, value: int, index: int = 0) -> None:
        state, mps = self.contexts[name][index]
        lps = RANGE_LPS[state][self._range >> 6 & 3]
        self._range -= lps
        if value != mps:
            self._low += self._range
            self._range = lps
            self.contexts[name][index] = (NEXT_LPS[state], 1 - mps if state == 0 else mps)
        else:
            self.contexts[name][index] = (min(state + 1, 62), mps)
        self._renormalise()

    def bypass(self, value: int, bits: int = 1) -> None:
        for shift in reversed(range(bits)):
            self._low <<= 1
            if value >> shift & 1:
                self._low += self._range
            if self._low >= 1024:
                self._put(1)
                self._low -= 1024
            elif self._low < 512:
                self._put(0)
            else:
                self._low -= 512
                self._outstanding += 1

    def exp_golomb(self, value: int, k: int) -> None:
        """k-th order Exp-Golomb binarization (9.3.3.5), all bins bypass."""
        while value >= 1 << k:
            self.bypass(1)
            value -= 1 << k
            k += 1
        self.bypass(0)
        self.bypass(value, k)

    def terminate(self, value: int) -> None:
        """A terminating bin; 1 ends the arithmetic code word, its stop bit and zeros to the byte included."""
        self._range -= 2
        if not value:
            self._renormalise()
            return
        self._low += self._range
        self._range = 2
        self._renormalise()
        self._put(self._low >> 9 & 1)
        self.out.u((self._low >> 7 & 3) | 1, 2)
        self.out.align_zero()
