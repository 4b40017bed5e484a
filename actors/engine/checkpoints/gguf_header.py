"""What a GGUF file says of itself before its weights, read without loading anything.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. All numbers are little-endian.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from api.errors import InvalidRequest, reason_of

Value = int | float | bool | str
"""Arrays are left out: only a tokenizer's are long, and its reader reads them itself."""

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_VERSIONS = (2, 3)
_MOST_ENTRIES = 1 << 20
_MOST_DIMENSIONS = 4

BLOCKS: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    30: ("BF16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    29: ("IQ1_M", 256, 56),
}
"""The types of weights that can be read, by their numbers: name, weights in a block, bytes of a block."""


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """Where a tensor's weights are.

    Attributes:
        shape: rows first, as torch has it; blocks are along the last dimension.
        start: of the file, bytes.
    """

    shape: tuple[int, ...]
    type: int
    start: int

    @property
    def num_parameters(self) -> int:
        """Weights."""
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """In the file."""
        _, block, size = BLOCKS[self.type]
        return self.num_parameters // block * size


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """The metadata of a file, and its tensors by name."""

    path: Path
    metadata: Mapping[str, Value]
    tensors: Mapping[str, GgufTensor]

    @classmethod
    def read(cls, path: Path) -> GgufHeader:
        """Read a file, which anybody might have made.

        Raises:
            InvalidRequest: one sentence on why its weights cannot be read.
        """
        try:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _read(path, content)
        except OSError as error:
            raise InvalidRequest(f"{path} cannot be read: {error.strerror}") from error
        except (struct.error, ValueError, OverflowError, MemoryError) as error:
            raise InvalidRequest(f"{path} is no GGUF file, or damaged: {reason_of(error)}") from error

    @property
    def num_parameters(self) -> int:
        """Of all tensors."""
        return sum(tensor.num_parameters for tensor in self.tensors.values())

    @property
    def architecture(self) -> str:
        """In llama.cpp's words."""
        return str(self.metadata.get("general.architecture", ""))

    def floats(self, name: str) -> tuple[float, ...]:
        """The numbers of a tensor of type F32."""
        tensor = self.tensors[name]
        if tensor.type != 0:
            raise InvalidRequest(f"{self.path}: {name} is not of the type F32")
        with self.path.open("rb") as file:
            file.seek(tensor.start)
            return struct.unpack(f"<{tensor.num_parameters}f", file.read(tensor.num_bytes))

    def integer(self, key: str) -> int | None:
        """A whole number of the metadata; None where there is none."""
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None


class _Reader:
    """Reads one value after another."""

    def __init__(self, content: mmap.mmap, position: int) -> None:
        self._content = content
        self.position = position

    def number(self, form: str) -> int | float | bool:
        (value,) = struct.unpack_from(form, self._content, self.position)
        self.position += struct.calcsize(form)
        assert isinstance(value, int | float)
        return value

    def count(self, form: str = "<Q", most: int | None = None) -> int:
        """A number of bytes or entries that follow."""
        count = int(self.number(form))
        if count > (len(self._content) if most is None else most):
            raise ValueError(f"it announces {count} entries at byte {self.position}")
        return count

    def skip(self, num_bytes: int) -> None:
        self.position += num_bytes
        if self.position > len(self._content):
            raise ValueError("it ends too soon")

    def string(self) -> str:
        length = self.count()
        self.skip(length)
        return self._content[self.position - length : self.position].decode()

    def value(self) -> Value | None:
        """A value of the type that stands before it; None for an array."""
        kind = int(self.number("<I"))
        if kind == _STRING:
            return self.string()
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind != _ARRAY:
            raise ValueError(f"it has a value of the unknown type {kind}")
        kind, length = int(self.number("<I")), self.count()
        if kind == _STRING:
            for _ in range(length):
                self.skip(self.count())
        elif kind in _SCALARS:
            self.skip(length * struct.calcsize(_SCALARS[kind]))
        else:
            raise ValueError(f"it has an array of the unknown type {kind}")
        return None


def _read(path: Path, content: mmap.mmap) -> GgufHeader:
    if content[:4] != b"GGUF":
        raise ValueError("it does not begin with GGUF")
    reader = _Reader(content, 4)
    version = int(reader.number("<I"))
    if version not in _VERSIONS:
        raise ValueError(f"its version is {version}, and 2 and 3 can be read")
    num_tensors, num_values = reader.count(most=_MOST_ENTRIES), reader.count(most=_MOST_ENTRIES)
    metadata = {}
    for _ in range(num_values):
        key, value = reader.string(), reader.value()
        if value is not None:
            metadata[key] = value
    table = [_entry(path, reader) for _ in range(num_tensors)]
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or alignment < 1:
        raise ValueError(f"its alignment is {alignment!r}")
    data = -(-reader.position // alignment) * alignment
    tensors = {name: GgufTensor(shape, kind, data + offset) for name, shape, kind, offset in table}
    if any(tensor.start + tensor.num_bytes > len(content) for tensor in tensors.values()):
        raise ValueError("it ends before its weights do")
    return GgufHeader(path, metadata, tensors)


def _entry(path: Path, reader: _Reader) -> tuple[str, tuple[int, ...], int, int]:
    """A tensor's name, shape, type and offset within the weights."""
    name = reader.string()
    shape = tuple(int(reader.number("<Q")) for _ in range(reader.count("<I", _MOST_DIMENSIONS)))
    kind, offset = int(reader.number("<I")), int(reader.number("<Q"))
    if kind not in BLOCKS:
        readable = ", ".join(name for name, *_ in BLOCKS.values())
        raise InvalidRequest(f"{path}: {name} has weights of the type {kind}; types that can be read: {readable}")
    if shape and shape[0] % BLOCKS[kind][1]:
        raise ValueError(f"{name} has rows of {shape[0]} weights in blocks of {BLOCKS[kind][1]}")
    return name, shape[::-1], kind, offset
