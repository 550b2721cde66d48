"""Bits, Exp-Golomb codes and NAL units (7.2, 7.3.1, 9.2)."""


class BitWriter:
    """Gathers bits, most significant first."""

    def __init__(self) -> None:
        self._chunks: list[str] = []
        self.length = 0

    def u(self, value: int, bits: int) -> None:
        """Writes `value` as an unsigned number of `bits` bits."""
        if not 0 <= value < 1 << bits:
            raise ValueError(f"{value} does not fit in {bits} bits")
        if bits:
            self._chunks.append(f"{value:0{bits}b}")
            self.length += bits

    def flag(self, value: bool) -> None:
        self.u(int(value), 1)

    def ue(self, value: int) -> None:
        size = (value + 1).bit_length()
        self.u(0, size - 1)
        self.u(value + 1, size)

    def se(self, value: int) -> None:
        self.ue(2 * value - 1 if value > 0 else -2 * value)

    def data(self, payload: bytes) -> None:
        self.u(int.from_bytes(payload, "big"), 8 * len(payload))

    def align_zero(self) -> None:
        self.u(0, -self.length % 8)

    def trailing(self) -> None:
        """rbsp_trailing_bits() and byte_alignment(): a one, then zeros to the byte."""
        self.u(1, 1)
        self.align_zero()

    def to_bytes(self) -> bytes:
        if self.length % 8:
            raise ValueError("the bits do not fill their last byte")
        return int("".join(self._chunks) or "0", 2).to_bytes(self.length // 8, "big")


def escape(rbsp: bytes) -> tuple[bytes, list[int]]:
    """Inserts emulation prevention bytes; returns the payload and the RBSP positions before which one was put."""
    out, positions, zeros = bytearray(), [], 0
    for position, byte in enumerate(rbsp):
        if zeros == 2 and byte <= 3:
            out.append(3)
            positions.append(position)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    if zeros:
        raise ValueError("an RBSP does not end with a zero byte")
    return bytes(out), positions


def nal_unit(nal_type: int, rbsp: bytes, temporal_id: int = 0, layer_id: int = 0) -> bytes:
    """A NAL unit with its start code."""
    header = nal_type << 9 | layer_id << 3 | temporal_id + 1
    return b"\0\0\0\1" + header.to_bytes(2, "big") + escape(rbsp)[0]
