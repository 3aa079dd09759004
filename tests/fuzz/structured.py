"""Changes that keep a format's form: its parser gets past the frame, and meets what the frame says."""

from __future__ import annotations

import copy
import io
import json
import pickletools
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

Change = Callable[[bytes, random.Random], bytes]

OUTSIDE = (
    "../../../etc/passwd",
    "/etc/passwd",
    "/dev/zero",
    "manifest.json",
    "a\x00b",
    "",
    "x" * 5000,
    "‮txt.a",
)
DIMENSIONS = (0, -1, 2, 3, 2**15, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63))
CELLS = ("", "nan", "inf", "-1", "1e999", "9" * 5000, "x", "\x00", "‮", "1_0", "٣", " 1 ")
SWOLLEN, MOST_ADDED = 1 << 28, 1 << 20


def twice(content: bytes, rng: random.Random) -> bytes:
    """Give a JSON object a key twice, or write the text as it is not allowed to be written."""
    text = content.decode(errors="replace")
    keys = [*re.finditer(r'"[^"\\]{1,80}"\s*:', text)]
    kind = rng.randrange(5)
    if kind == 0 or not keys:
        return rng.choice((b"\xef\xbb\xbf" + content, text.encode("utf-16"), content + b"\x00", content * 2))
    key = rng.choice(keys)
    odd = rng.choice(
        ("NaN", "-Infinity", "1e999", "-0", "01", "1.", "0x1", "'a'", "[1,]", "/**/1", "1" * 400)
    )
    odd = rng.choice((odd, '"\\ud800"', '"\\u0000"', '"\\u202e\\u2066"', "{" + '"a":{' * 90 + "}" * 91))
    if kind == 1:
        return (text[: key.start()] + f"{key[0]} {odd}, " + text[key.start() :]).encode()
    if kind == 2:
        return (text[: key.end()] + odd + "," + text[key.end() :]).encode()
    value = re.escape(key[0]) + r'\s*("[^"]*"|[-\d.e+]+|true|false|null)'
    return re.sub(value, lambda _: f"{key[0]} {odd}", text).encode()


def cells(content: bytes, rng: random.Random) -> bytes:
    """Change cells, rows and the width of a table of values that are parted by commas."""
    rows = [line.split(",") for line in content.decode(errors="replace").splitlines()] or [[""]]
    for _ in range(rng.choice((1, 2, 5))):
        row = rng.choice(rows)
        at, kind = rng.randrange(len(row)), rng.randrange(4)
        if kind == 0:
            row.append(row[at])
        elif kind == 1 and len(row) > 1:
            del row[at]
        else:
            row[at] = rng.choice(CELLS)
    if rng.random() < 0.1:
        rows += rng.choice(([rng.choice(rows)] * 20_000, [['"' + "a\n" * 200_000]]))
    return "\n".join(map(",".join, rows)).encode()


def protobuf(content: bytes, rng: random.Random) -> bytes:
    """Change fields of an ONNX model, anywhere in it; now and then point its weights out of the file."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception:
        return content
    for _ in range(rng.choice((1, 1, 2, 4))):
        messages = [*_messages(model)]
        tensors = [each for each in messages if isinstance(each, onnx.TensorProto)]
        if tensors and rng.random() < 0.2:
            _outside(rng.choice(tensors), rng)
        else:
            _change_field(rng.choice(messages), messages, rng)
    return model.SerializeToString()


def _messages(message: Message) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                yield from _messages(part)


def _outside(tensor: onnx.TensorProto, rng: random.Random) -> None:
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    for key, value in (
        ("location", rng.choice(OUTSIDE)),
        ("offset", str(rng.choice(DIMENSIONS))),
        ("length", str(rng.choice(DIMENSIONS))),
    ):
        if key == "location" or rng.random() < 0.5:
            tensor.external_data.add(key=key, value=value)


def _change_field(message: Message, messages: Sequence[Message], rng: random.Random) -> None:
    field = rng.choice(message.DESCRIPTOR.fields)
    value = getattr(message, field.name)
    if not _repeats(field):
        if field.message_type is not None:
            like = [each for each in messages if each.DESCRIPTOR is field.message_type]
            value.CopyFrom(copy.deepcopy(rng.choice(like))) if like else message.ClearField(field.name)
        else:
            setattr(message, field.name, _scalar(field, value, rng))
        return
    kind = rng.randrange(4)
    if kind == 0 and len(value):
        del value[rng.randrange(len(value))]
    elif field.message_type is not None:
        like = [each for each in messages if each.DESCRIPTOR is field.message_type]
        if like:
            one, times = copy.deepcopy(rng.choice(like)), rng.choice((1, 1, 3, 1000))
            value.extend([one] * min(times, 1 + MOST_ADDED // max(1, one.ByteSize())))
    elif kind == 1 or not len(value):
        value.extend([_scalar(field, None, rng)] * rng.choice((1, 1, 2, 9, 2000)))
    else:
        value[rng.randrange(len(value))] = _scalar(field, None, rng)


def _repeats(field: Any) -> bool:
    repeated = getattr(field, "is_repeated", None)
    return field.label == FieldDescriptor.LABEL_REPEATED if repeated is None else bool(repeated)


def _scalar(field: Any, value: Any, rng: random.Random) -> Any:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return rng.choice((b"", b"\xff" * 7, bytes(100), (value or b"")[:-1], (value or b"") * 2))
        return rng.choice((*OUTSIDE, "Conv", "Reshape", "Loop", "If", "Resize", "z", "image", value or "a"))
    if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return rng.choice((0.0, -1.0, 1e38, float("nan"), float("inf"), 1e-45))
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return not value
    if kind in (FieldDescriptor.CPPTYPE_UINT64, FieldDescriptor.CPPTYPE_UINT32):
        return rng.choice((0, 1, 2**31, 2**32 - 1))
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return rng.choice(field.enum_type.values).number
    small = kind != FieldDescriptor.CPPTYPE_INT64
    return rng.choice([n for n in (*DIMENSIONS, *range(24)) if not small or abs(n) < 2**31])


def opcodes(content: bytes, rng: random.Random) -> bytes:
    """Drop, double, swap or put in opcodes of the pickle in a checkpoint of torch."""

    def changed(inner: bytes) -> bytes:
        try:
            starts = [place or 0 for _, _, place in pickletools.genops(inner)]
        except Exception:
            return inner
        parts = [inner[a:b] for a, b in zip(starts, [*starts[1:], len(inner)])]
        for _ in range(rng.choice((1, 1, 2, 5))):
            at, other = rng.randrange(len(parts)), rng.randrange(len(parts))
            kind = rng.randrange(5)
            if kind == 0:
                parts[at] = b""
            elif kind == 1:
                parts[at] = parts[other]
            elif kind == 2:
                parts[at] *= rng.choice((2, 3, 50_000))
            else:
                parts[at] = rng.choice(OPCODES) + (parts[at] if kind == 3 else b"")
        return b"".join(parts)

    return _with_member(content, rng, lambda name, inner: changed(inner) if name.endswith(".pkl") else inner)


OPCODES = (
    *(
        b"cos\nsystem\n",
        b"cbuiltins\neval\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"(",
        b"]",
        b"}",
        b")",
        b".",
    ),
    *(
        b"K\x00",
        b"J\xff\xff\xff\x7f",
        b"\x8b\x00\x01\x00\x00" + b"\xff" * 256,
        b"R",
        b"b",
        b"o",
        b"Q",
        b"0",
        b"N",
    ),
    *(
        b"\x8d" + struct.pack("<Q", 2**62),
        b"T\xff\xff\xff\x7f",
        b"r\xff\xff\xff\xff",
        b"j\xff\xff\xff\xff",
        b"\x96",
    ),
    *(
        b"ccollections\nOrderedDict\n",
        b"\x85",
        b"\x86",
        b"\x81",
        b"2",
        b"I-1\n",
        b"F1e999\n",
        b"X\x02\x00\x00\x00\xed\xa0",
    ),
)


def _with_member(content: bytes, rng: random.Random, change: Callable[[str, bytes], bytes]) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    except Exception:
        return content
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, inner in members:
            archive.writestr(name, change(name, inner))
    return packed.getvalue()


def lying_zip(content: bytes, rng: random.Random) -> bytes:
    """Change fields of a zip's own records: sizes, methods, flags, places, names; or swell a member."""
    if rng.random() < 0.1:
        return swollen(content, rng)
    data = bytearray(content)
    record, fields = rng.choice(
        (
            (
                b"PK\x01\x02",
                (
                    (4, "H"),
                    (6, "H"),
                    (8, "H"),
                    (10, "H"),
                    (16, "I"),
                    (20, "I"),
                    (24, "I"),
                    (28, "H"),
                    (30, "H"),
                    (42, "I"),
                ),
            ),
            (b"PK\x03\x04", ((6, "H"), (8, "H"), (14, "I"), (18, "I"), (22, "I"), (26, "H"), (28, "H"))),
            (b"PK\x05\x06", ((4, "H"), (8, "H"), (10, "H"), (12, "I"), (16, "I"), (20, "H"))),
        )
    )
    places = [found.start() for found in re.finditer(re.escape(record), content)]
    for _ in range(rng.choice((1, 1, 2, 3))):
        if not places:
            break
        offset, form = rng.choice(fields)
        most = 2 ** (16 if form == "H" else 32) - 1
        value = rng.choice((0, 1, 2, 8, 9, 12, 14, 93, 99, 2048, most // 2, most - 1, most))
        struct.pack_into("<" + form, data, min(rng.choice(places) + offset, len(data) - 4), value)
    return bytes(data)


def swollen(content: bytes, rng: random.Random) -> bytes:
    """Let a member, or one more, unpack to a quarter of a GiB."""
    extra = rng.choice(("x.npy", "a/x.png", "archive/data/0", "z"))
    packed = io.BytesIO(content)
    try:
        with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            names = archive.namelist()
            name = rng.choice([*names, extra])
            with archive.open(
                f"{name}" if name not in names else f"b/{name}", "w", force_zip64=True
            ) as member:
                for _ in range(SWOLLEN >> 24):
                    member.write(bytes(1 << 24))
    except Exception:
        return content
    return packed.getvalue()


def tensors(content: bytes, rng: random.Random) -> bytes:
    """Let the header of safetensors lie about dtypes, shapes and places, each in a form that is right."""
    size = struct.unpack("<Q", content[:8])[0]
    try:
        header: dict[str, Any] = json.loads(content[8 : 8 + size])
        names = [name for name in header if name != "__metadata__"]
        for _ in range(rng.choice((1, 1, 3))):
            entry, other = header[rng.choice(names)], header[rng.choice(names)]
            kind = rng.randrange(6)
            if kind == 0:
                entry["dtype"] = rng.choice(
                    ("F64", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "C64", "F4", "x")
                )
            elif kind == 1:
                entry["shape"] = [rng.choice(DIMENSIONS) for _ in range(rng.choice((0, 1, 2, 5, 70)))]
            elif kind == 2:
                entry["shape"] = [*entry["shape"], 1] if rng.random() < 0.5 else entry["shape"][::-1]
            elif kind == 3:
                entry["data_offsets"] = [rng.choice(DIMENSIONS), rng.choice(DIMENSIONS)]
            elif kind == 4:
                entry["data_offsets"] = list(other["data_offsets"])
            else:
                header["__metadata__"] = rng.choice(
                    ({"step": "-1"}, {"a": 1}, {"": "\x00"}, {"format": "x" * 9999}, [])
                )
    except (ValueError, KeyError, TypeError, IndexError):
        return content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


def chunks(content: bytes, rng: random.Random) -> bytes:
    """Change chunks of a PNG, with sums that are right: sizes, palettes, and texts that swell."""
    parts, at = [], 8
    while at + 12 <= len(content):
        size = struct.unpack(">I", content[at : at + 4])[0]
        parts.append((content[at + 4 : at + 8], bytearray(content[at + 8 : at + 8 + size])))
        at += 12 + size
    if not parts:
        return content
    kind = rng.randrange(5)
    name, body = rng.choice(parts)
    if kind == 0:
        struct.pack_into(
            ">I", parts[0][1], rng.choice((0, 4)), rng.choice((0, 1, 2**15, 2**20, 2**31 - 1, 2**32 - 1))
        )
    elif kind == 1:
        parts[0][1][rng.choice((8, 9, 10, 11, 12))] = rng.choice((0, 1, 2, 3, 4, 6, 7, 8, 16, 255))
    elif kind == 2:
        swell = zlib.compress(bytes(1 << 27), 1)
        extra = rng.choice(
            ((b"zTXt", b"a\0\0"), (b"iCCP", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0"), (b"IDAT", b""))
        )
        parts.insert(rng.randrange(1, len(parts) + 1), (extra[0], bytearray(extra[1] + swell)))
    elif kind == 3 and len(body):
        body[rng.randrange(len(body))] = rng.randrange(256)
    else:
        parts.insert(
            rng.randrange(len(parts) + 1), (rng.choice((name, b"acTL", b"fcTL", b"eXIf", b"tRNS")), body)
        )
    packed = [content[:8]]
    for name, body in parts:
        sum_ = zlib.crc32(name + body)
        packed.append(struct.pack(">I", len(body)) + name + body + struct.pack(">I", sum_))
    return b"".join(packed)


def ways(name: str, content: bytes) -> list[Change]:
    """Return the changes that keep the form of such a file."""
    found: list[Change] = []
    if content[:2] == b"PK":
        found.append(lying_zip)
    if name.endswith(".pt") and content[:2] == b"PK":
        found.append(opcodes)
    if name.endswith(".json"):
        found.append(twice)
    if name.endswith(".csv"):
        found += [cells] * 3
    if name.endswith(".onnx"):
        found += [protobuf] * 3
    if name.endswith(".safetensors") and len(content) > 8:
        found.append(tensors)
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        found += [chunks] * 2
    return found
