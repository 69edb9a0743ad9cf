"""GGUF version 3: just enough of a writer and a reader, numpy only, with the Q8_0 block format."""

import struct

import numpy as np

MAGIC = b"GGUF"
VERSION = 3
ALIGNMENT = 32
F32, Q8_0 = 0, 8
BLOCK = 32
U32, I32, FLOAT, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
_SCALAR = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}


def q8_0_encode(x):
    """Rows of 32 values become one f16 scale and 32 signed bytes."""
    blocks = np.ascontiguousarray(x, dtype=np.float32).reshape(-1, BLOCK)
    amax = np.abs(blocks).max(axis=1)
    scale = (amax / 127.0).astype(np.float32)
    inverse = np.where(scale > 0, 1.0 / np.where(scale > 0, scale, 1), 0).astype(np.float32)
    quants = np.rint(blocks * inverse[:, None]).clip(-127, 127).astype(np.int8)
    out = np.empty((blocks.shape[0], 2 + BLOCK), dtype=np.uint8)
    out[:, :2] = scale.astype(np.float16).view(np.uint8).reshape(-1, 2)
    out[:, 2:] = quants.view(np.uint8)
    return out.tobytes()


def q8_0_decode(data, shape):
    raw = np.frombuffer(data, dtype=np.uint8).reshape(-1, 2 + BLOCK)
    scale = raw[:, :2].copy().view(np.float16).astype(np.float32)
    return (raw[:, 2:].view(np.int8).astype(np.float32) * scale).reshape(shape)


def _string(text):
    raw = text.encode("utf-8")
    return struct.pack("<Q", len(raw)) + raw


def _value(kind, value):
    if kind == STRING:
        return _string(value)
    return struct.pack(_SCALAR[kind], value)


def _pair(key, value):
    """`value` is (kind, scalar) or (ARRAY, element kind, list)."""
    head = _string(key) + struct.pack("<I", value[0])
    if value[0] == ARRAY:
        _, kind, items = value
        body = b"".join(_value(kind, item) for item in items)
        return head + struct.pack("<IQ", kind, len(items)) + body
    return head + _value(*value)


def write(path, pairs, tensors):
    """`tensors`: list of (name, numpy array in row-major order, kind)."""
    header = [MAGIC, struct.pack("<IQQ", VERSION, len(tensors), len(pairs))]
    header += [_pair(key, value) for key, value in pairs]
    blobs, offset = [], 0
    for name, array, kind in tensors:
        dims = array.shape[::-1]  # GGUF names the fastest dimension first
        blob = q8_0_encode(array) if kind == Q8_0 else np.ascontiguousarray(array, np.float32).tobytes()
        header.append(_string(name) + struct.pack("<I", len(dims)))
        header.append(struct.pack("<%dQ" % len(dims), *dims) + struct.pack("<IQ", kind, offset))
        blob += b"\0" * (-len(blob) % ALIGNMENT)
        blobs.append(blob)
        offset += len(blob)
    head = b"".join(header)
    with open(path, "wb") as out:
        out.write(head + b"\0" * (-len(head) % ALIGNMENT))
        for blob in blobs:
            out.write(blob)


class _Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        value = struct.unpack_from(form, self.data, self.at)[0]
        self.at += struct.calcsize(form)
        return value

    def string(self):
        size = self.take("<Q")
        self.at += size
        return self.data[self.at - size:self.at].decode("utf-8")

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            inner, count = self.take("<I"), self.take("<Q")
            return [self.value(inner) for _ in range(count)]
        return self.take(_SCALAR[kind])


def read(path, places=False):
    """Returns (metadata, {name: float32 array in row-major order}); with `places`, {name: (offset, bytes)} alone."""
    with open(path, "rb") as source:
        data = source.read()
    cursor = _Cursor(data)
    if data[:4] != MAGIC or struct.unpack_from("<I", data, 4)[0] != VERSION:
        raise ValueError("not a GGUF v3 file: %s" % path)
    cursor.at = 8
    tensor_count, pair_count = cursor.take("<Q"), cursor.take("<Q")
    meta = {}
    for _ in range(pair_count):
        key = cursor.string()
        meta[key] = cursor.value(cursor.take("<I"))
    entries = []
    for _ in range(tensor_count):
        name, ndim = cursor.string(), cursor.take("<I")
        dims = [cursor.take("<Q") for _ in range(ndim)]
        entries.append((name, dims[::-1], cursor.take("<I"), cursor.take("<Q")))
    base = cursor.at + (-cursor.at % ALIGNMENT)
    tensors, found = {}, {}
    for name, shape, kind, offset in entries:
        count = int(np.prod(shape))
        size = count * 4 if kind == F32 else count // BLOCK * (2 + BLOCK)
        found[name] = (base + offset, size)
        blob = data[base + offset:base + offset + size]
        tensors[name] = (np.frombuffer(blob, np.float32).reshape(shape) if kind == F32
                         else q8_0_decode(blob, shape))
    return found if places else (meta, tensors)
