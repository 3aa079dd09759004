"""What is done to a valid file: bytes, numbers, JSON, YAML, zips and headers are changed at random."""

from __future__ import annotations

import copy
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

from tests.fuzz import structured

NUMBERS = (
    *(0, 1, -1, 2, 7, 127, 255, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64),
    *(10**30, 10**290, 1e-300, 1e300, -1.5, 0.1),
)
TEXTS = (
    *(
        "",
        "a",
        "0",
        "null",
        "é",
        "图",
        "\x00",
        "\x1b[31m",
        "a\nb",
        "../../etc/passwd",
        "/dev/zero",
        "x" * 300,
    ),
    *("<script>", "{{ 1 }}", "$(touch x)", "%s", "nan", "1e999", "‮", "con", "é" * 60),
)
DEEP = 70


def odd(rng: random.Random) -> Any:
    """A value of another kind than was there."""
    nested: Any = []
    for _ in range(rng.choice((3, DEEP, 600))):
        nested = [nested] if rng.random() < 0.5 else {"a": nested}
    values = [None, True, False, [], {}, [None], {"": 0}, {"value": "x", "low": 1, "high": None}]
    values += [float("nan"), float("inf"), {"before": "x", "after": 2}, [1, "a"], nested]
    return rng.choice([*values, *NUMBERS, *NUMBERS, *TEXTS, *TEXTS])


def changed_bytes(content: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Flip, cut, repeat, insert, splice, or write a telling number over some bytes."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        if not data:
            return bytes(data)
        at, n = rng.randrange(len(data)), rng.choice((1, 2, 4, 8, 16, 64, 300))
        kind = rng.randrange(8)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, 0x22, 0x5B, 0x7B))
        elif kind == 2:
            del data[at : len(data) if rng.random() < 0.3 else at + n]
        elif kind == 3:
            data[at:at] = data[at : at + n] * rng.choice((1, 2, 50))
        elif kind == 4:
            data[at:at] = rng.randbytes(n)
        elif kind == 5:
            other = rng.choice(others)
            start = rng.randrange(len(other) or 1)
            data[at : at + n] = other[start : start + n]
        elif kind == 6:
            form = rng.choice(("<I", ">I", "<Q", ">Q", "<H"))
            size = struct.calcsize(form)
            data[at : at + size] = struct.pack(form, rng.choice(NUMBERS[:16]) % 256**size)
        else:
            data[at : at + n] = bytes(len(data[at : at + n]))
    return bytes(data)


def changed_data(data: Any, rng: random.Random) -> Any:
    """Swap, drop, double or rename one entry of plain data, anywhere in it."""
    holders: list[tuple[Any, Any]] = []
    level: list[Any] = [data]
    while level:
        value = level.pop()
        keys = list(value) if isinstance(value, dict) else range(len(value))
        for key in keys:
            holders.append((value, key))
            if isinstance(value[key], (dict, list)):
                level.append(value[key])
    if not holders:
        return odd(rng)
    holder, key = rng.choice(holders)
    kind = rng.randrange(8)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[rng.choice(TEXTS)] = holder.pop(key)
    elif kind == 2:
        other, place = rng.choice(holders)
        holder[key] = copy.deepcopy(other[place])
    elif kind == 3 and isinstance(holder, list):
        holder.extend([holder[key]] * rng.choice((1, 5, 2000)))
    else:
        holder[key] = odd(rng)
    return data


def changed_json(content: bytes, rng: random.Random) -> bytes:
    """Change entries of JSON; now and then its text as well."""
    try:
        data = json.loads(content)
        for _ in range(rng.choice((1, 1, 2, 5))):
            if not isinstance(data, (dict, list)):
                break
            data = changed_data(data, rng)
        text = json.dumps(data)
    except (ValueError, RecursionError):
        return content
    if rng.random() < 0.1:
        text = text.replace(rng.choice('{}[]:,"'), rng.choice(("", "[" * 5000, "1" * 5000, "\\ud800")), 1)
    return text.encode()


YAML = (
    *(
        "&a [*a]",
        "!!int abc",
        "!!bool x",
        "!!timestamp x",
        "2001-99-99",
        "!!python/object:os.system x",
        "1" * 5000,
    ),
    *(
        "{? [a, b] : c}",
        "{1: 2}",
        "{null: 1}",
        "*nowhere",
        "&x {<<: *x}",
        '"\\ud800"',
        "!!binary a",
        "!!set {a, b}",
    ),
    *(
        "!!omap [a: 1]",
        "0x" + "f" * 400,
        "1:2:3",
        ".inf",
        ".nan",
        "yes",
        "~",
        "|",
        ">",
        "<<",
        "=",
        "- a",
        "%TAG",
    ),
    *(
        "[" * 100,
        "[" * 3000 + "]" * 3000,
        "{a: " * 40 + "}" * 40,
        "0777",
        "1_000",
        '"\\U00110000"',
        "'",
        "? x",
    ),
    "&a0 [x,x,x,x,x,x,x,x]\nb: &a1 [*a0,*a0,*a0,*a0,*a0,*a0]\nc: &a2 [*a1,*a1,*a1,*a1,*a1,*a1]\n"
    "d: &a3 [*a2,*a2,*a2,*a2,*a2,*a2,*a2]\ne: [*a3,*a3,*a3,*a3,*a3,*a3,*a3,*a3]",
)


def changed_yaml(content: bytes, rng: random.Random) -> bytes:
    """Put an odd value, tag, alias or key into a YAML text, or change its lines."""
    lines = content.decode(errors="replace").splitlines()
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(lines))
        value = rng.choice((*YAML, *TEXTS, *map(str, NUMBERS)))
        kind = rng.randrange(6)
        if kind == 0:
            lines.insert(at, lines[rng.randrange(len(lines))])
        elif kind == 1 and len(lines) > 1:
            del lines[at]
        elif kind == 2:
            lines[at] = " " * rng.randrange(5) + lines[at]
        elif kind == 3:
            lines.append(
                f"{rng.choice(('seed', 'name', 'x', 'train', 'profiles', '? [a]', '1', 'null'))}: {value}"
            )
        else:
            words = lines[at].split(" ")
            words[rng.randrange(len(words))] = value
            lines[at] = " ".join(words)
    return ("\n".join(lines) + "\n").encode(errors="surrogatepass")


def changed_header(content: bytes, rng: random.Random) -> bytes:
    """Change the JSON header of safetensors, its length with it or not."""
    if len(content) < 8:
        return content
    size = struct.unpack("<Q", content[:8])[0]
    header = changed_json(content[8 : 8 + size], rng)
    told = len(header) if rng.random() < 0.9 else rng.choice(NUMBERS[:15]) % 2**64
    return struct.pack("<Q", told) + header + content[8 + size :]


SHAPES = (
    "(2,)",
    "(2, 3)",
    "()",
    "(10000000000,)",
    f"({2**62},)",
    "(-1,)",
    "(0, 5)",
    "(True,)",
    "(1.5,)",
    "x",
)
DTYPES = (
    "'|u1'",
    "'<f4'",
    "'|O'",
    "'>f8'",
    "'<U9'",
    "'|V99999999'",
    "'<U999999999'",
    "[('a','<f4')]",
    "1",
    "'('",
)


def npy_header(rng: random.Random) -> bytes:
    """A header of numpy's, which may lie."""
    text = f"{{'descr': {rng.choice(DTYPES)}, 'fortran_order': {rng.choice(('False', 'True', '3'))}, "
    text += f"'shape': {rng.choice(SHAPES)}, }}" if rng.random() < 0.9 else "(" * 3000
    version = rng.choice((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"))
    form = "<H" if version[0] == 1 else "<I"
    return b"\x93NUMPY" + version + struct.pack(form, len(text)) + text.encode()


def changed_zip(content: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Pack a zip anew with one member changed, doubled, renamed, swollen, or with a lying header."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    except Exception:
        return content
    at = rng.randrange(len(members))
    name, inner = members[at]
    kind = rng.randrange(7)
    if kind == 0:
        members.append((name, inner))
    elif kind == 1:
        members[at] = (rng.choice(("a", "../x.png", "x.npy", "é.png", name[1:], name + ".npy")), inner)
    elif kind == 2:
        members[at] = (name, inner + bytes(rng.choice((1, 1000, 1 << 22))))
    elif kind == 3 and inner[:6] == b"\x93NUMPY":
        size = struct.unpack("<H", inner[8:10])[0]
        members[at] = (name, npy_header(rng) + inner[10 + size :])
    elif kind == 4:
        del members[at]
    else:
        members[at] = (name, changed_bytes(inner, others, rng))
    packed = io.BytesIO()
    how = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(packed, "w", how if rng.random() < 0.3 else zipfile.ZIP_STORED) as archive:
        for member in members:
            archive.writestr(*member)
    result = packed.getvalue()
    return changed_bytes(result, others, rng) if rng.random() < 0.2 else result


def mutate(name: str, content: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Change a file in one of the ways that its kind allows."""
    ways: list[Callable[[], bytes]] = [lambda: changed_bytes(content, others, rng)]
    if content[:2] == b"PK":
        ways += [lambda: changed_zip(content, others, rng)] * 2
    if name.endswith(".json"):
        ways += [lambda: changed_json(content, rng)] * 4
    if name.endswith(".safetensors"):
        ways += [lambda: changed_header(content, rng)] * 2
    if name.endswith(".yaml"):
        ways += [lambda: changed_yaml(content, rng)] * 4
    ways += [lambda change=change: change(content, rng) for change in structured.ways(name, content)]
    return rng.choice(ways)()
