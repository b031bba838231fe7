"""The operations that the machine knows, and the tables that it is given.

`machine` is compiled with these numbers; its cache on disk watches its own file only, so touch
that one where something here changes (`tests/engine/test_machine.py` fails otherwise).
"""

(
    LOAD, LOAD_BYTES, STORE,
    ADD, SUBTRACT, MULTIPLY, DIVIDE, NEGATIVE, ABSOLUTE, SQRT,
    FLOOR, CEIL, TRUNC, RINT, SIGN, MINIMUM, MAXIMUM, WHERE, NUMBER, CLAMP,
    LESS, LESS_EQUAL, GREATER, GREATER_EQUAL, EQUAL, NOT_EQUAL,
    AND, OR, XOR, NOT, ISNAN, ISFINITE, ISINF, TRUTH, WHERE_TRUTH, LOOK_UP,
    START, FOLD, FINISH, COUNT, PUSH, SORT, PICK, FUNCTION,
    PUSH_RANKED, SORT_RANKED, PICK_RANKED, PICK_POSITION, PICK_THERE,
    PUSH_GAP, FILL, PICK_FILLED, PICK_KNOWN,
) = range(53)  # fmt: skip
"""Codes of the operations."""
SUM, PRODUCT, MEAN, VARIANCE, SD, MIN, MAX, NOTHING = range(8)
"""What START, FOLD and FINISH fold; NOTHING only counts."""
ADDRESS, STRIDE, TYPE, MODE, ROWS, COLUMNS, INDEX, ACROSS, VALID = range(9)
CROP, CROP_STRIDE, NODATA, SCALED, LOOKUP, IN_PLACE = range(9, 15)
LOAD_FACTS = 15
"""Columns of the table of loads; addresses are of the first pixel, strides count pixels;
LOOKUP is 0 for planes that are read in place, and a number for all that are read alike;
IN_PLACE says that the stored numbers serve as a register, without a copy."""
DIRECT, SEPARABLE, INDEXED, MISSING = range(4)
"""Where a pixel is found: at its own place, by row and column, by an index, nowhere."""
NO_NUMBER, A_NUMBER, A_NAN = range(3)
"""What marks no-data among stored numbers."""
PLAIN, IN_FLOAT32, IN_FLOAT64 = range(3)
"""Whether stored numbers are scaled, and in which type."""
TYPES = ("|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<f4", "<f8")
"""Types of stored numbers, by code."""
NUMBERS, TRUTHS, SUMS, COUNTS, STACK = range(5)
"""Banks of registers."""
GIVES = (
    NUMBERS, TRUTHS, -1,
    *(NUMBERS,) * 17,
    *(TRUTHS,) * 16,
    -1, -1, NUMBERS, NUMBERS, -1, -1, NUMBERS, NUMBERS,
    -1, -1, NUMBERS, NUMBERS, TRUTHS,
    -1, -1, NUMBERS, TRUTHS,
)  # fmt: skip
"""By operation, the bank of the register that it writes; -1 for none."""
