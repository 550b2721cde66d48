"""Reference pictures of H.264 in plain Python: numbers, lists and their modification, marking (8.2.4, 8.2.5)."""

from dataclasses import dataclass, field

from support.h264.syntax import B_SLICE, FIELDS, FRAME, Marking, Modification

SHORT, LONG = "short", "long"


@dataclass(eq=False)
class Stored:
    """A frame, a pair of fields or a single field. What is known by field is indexed by TOP and BOTTOM."""

    number: int  # in decoding order
    frame_num: int
    exists: bool = True  # False: inferred for a gap in frame_num
    pocs: dict[int, int] = field(default_factory=dict)  # of the fields that are decoded
    marks: dict[int, str] = field(default_factory=dict)
    long_idx: int = 0

    @property
    def poc(self) -> int:
        return min(self.pocs.values())

    def has(self, mark: str, structure: int) -> bool:
        """Whether a field, or both fields of a frame, are marked so."""
        return all(self.marks.get(f) == mark for f in (FIELDS if structure == FRAME else (structure,)))

    def poc_of(self, structure: int) -> int:
        return self.poc if structure == FRAME else self.pocs[structure]

    def unmark(self, structure: int = FRAME) -> None:
        for f in FIELDS if structure == FRAME else (structure,):
            self.marks.pop(f, None)


Entry = tuple[Stored, int]  # of a reference list: with the structure that it refers to


class References:
    """The pictures that may be referred to."""

    def __init__(self, max_frame_num: int, max_num_ref_frames: int) -> None:
        self.max_frame_num, self.size = max_frame_num, max_num_ref_frames
        self.frames: list[Stored] = []
        self.frame_num = 0  # of the current picture
        self.structure = FRAME  # of the current picture

    def wrapped(self, stored: Stored) -> int:
        """FrameNumWrap (8-27)"""
        return stored.frame_num - (self.max_frame_num if stored.frame_num > self.frame_num else 0)

    def number(self, entry: Entry, mark: str) -> int:
        """PicNum or LongTermPicNum (8-28 to 8-33)"""
        stored, structure = entry
        value = self.wrapped(stored) if mark == SHORT else stored.long_idx
        return value if self.structure == FRAME else 2 * value + (structure == self.structure)

    @property
    def current_number(self) -> int:
        """CurrPicNum"""
        return self.frame_num if self.structure == FRAME else 2 * self.frame_num + 1

    def entries(self, mark: str) -> list[Entry]:
        """All pictures of the current structure's kind with this mark."""
        kinds = (FRAME,) if self.structure == FRAME else FIELDS
        return [(stored, kind) for stored in self.frames for kind in kinds if stored.has(mark, kind)]

    def initial_lists(self, slice_type: int, poc: int) -> list[list[Entry]]:
        """8.2.4.2"""
        short = [stored for stored in self.frames if self._is_candidate(stored, SHORT)]
        long = sorted((s for s in self.frames if self._is_candidate(s, LONG)), key=lambda s: s.long_idx)
        tail = self._alternate(long, LONG)
        if slice_type != B_SLICE:
            return [self._alternate(sorted(short, key=self.wrapped, reverse=True), SHORT) + tail]
        field_pictures = self.structure != FRAME
        before = sorted((s for s in short if s.poc < poc + field_pictures), key=lambda s: -s.poc)
        after = sorted((s for s in short if s.poc >= poc + field_pictures), key=lambda s: s.poc)
        lists = [self._alternate(part, SHORT) + tail for part in (before + after, after + before)]
        if len(lists[1]) > 1 and lists[0] == lists[1]:
            lists[1][:2] = lists[1][1::-1]
        return lists

    def _is_candidate(self, stored: Stored, mark: str) -> bool:
        if self.structure == FRAME:
            return stored.has(mark, FRAME)
        return mark in stored.marks.values()

    def _alternate(self, frames: list[Stored], mark: str) -> list[Entry]:
        """8.2.4.2.5: fields of both parities in turn, then what is left of one of them."""
        if self.structure == FRAME:
            return [(stored, FRAME) for stored in frames]
        own, other = ([(s, f) for s in frames if s.has(mark, f)] for f in (self.structure, 3 - self.structure))
        both = min(len(own), len(other))
        turns = [entry for pair in zip(own, other, strict=False) for entry in pair]
        return turns + (own[both:] or other[both:])

    def modified(self, initial: list[Entry], wanted: list[Entry], size: int) -> tuple[list[Entry], list[Modification]]:
        """The list of `size` entries that begins with `wanted`, and the syntax for it (8.2.4.3)."""
        entries, modifications = initial[:size], []
        predicted = self.current_number
        modulus = self.max_frame_num * (1 if self.structure == FRAME else 2)
        for at, entry in enumerate(wanted):
            mark = LONG if entry[0].has(LONG, entry[1]) else SHORT
            number = self.number(entry, mark)
            if mark == LONG:
                modifications.append((2, number))
            else:
                difference = (number - predicted) % modulus
                # Of a difference of 0 a whole turn is written.
                back = (predicted - number) % modulus or modulus
                modifications.append((1, difference - 1) if 0 < difference < back else (0, back - 1))
                predicted = number % modulus
            entries = (entries[:at] + [entry] + [e for e in entries[at:] if e != entry])[:size]
        return entries, modifications

    def can_slide(self, current: Stored | None) -> bool:
        marked = [s for s in self.frames if s.marks and s is not current]
        return len(marked) < self.size or any(SHORT in s.marks.values() for s in marked)

    def slide(self, current: Stored | None) -> None:
        """8.2.5.3"""
        marked = [s for s in self.frames if s.marks and s is not current]
        if len(marked) >= self.size:
            min((s for s in marked if SHORT in s.marks.values()), key=self.wrapped).unmark()

    def apply(self, operations: list[Marking], current: Stored) -> None:
        """8.2.5.4 but for operation 5"""
        for operation, *values in operations:
            if operation == 1:
                stored, structure = self._find(self.current_number - values[0] - 1, SHORT)
                stored.unmark(structure)
            elif operation == 2:
                stored, structure = self._find(values[0], LONG)
                stored.unmark(structure)
            elif operation == 3:
                stored, structure = self._find(self.current_number - values[0] - 1, SHORT)
                self._take_index(values[1], stored)
                for f in FIELDS if structure == FRAME else (structure,):
                    stored.marks[f] = LONG
            elif operation == 4:
                for stored in self.frames:
                    if stored.long_idx >= values[0]:
                        stored.marks = {f: mark for f, mark in stored.marks.items() if mark != LONG}
            elif operation == 6:
                self._take_index(values[0], current)
                for f in FIELDS if self.structure == FRAME else (self.structure,):
                    current.marks[f] = LONG
        self.frames = [stored for stored in self.frames if stored.marks or stored is current]

    def _find(self, number: int, mark: str) -> Entry:
        (found,) = (entry for entry in self.entries(mark) if self.number(entry, mark) == number)
        return found

    def _take_index(self, index: int, stored: Stored) -> None:
        """Gives a LongTermFrameIdx, which any other frame loses, and the same frame's fields of another index too."""
        for other in self.frames:
            if LONG in other.marks.values() and other.long_idx == index and other is not stored:
                other.marks = {f: mark for f, mark in other.marks.items() if mark != LONG}
        stored.long_idx = index
