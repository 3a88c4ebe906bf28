"""Image files in encodings that Pillow cannot write, or that people stumble over."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageDraw

SIDE = 32


def marked(side=SIDE):
    """A picture without any symmetry."""
    y, x = np.mgrid[0:side, 0:side] * 32 // side
    values = np.stack([x * 7 + 10, y * 7 + 10, 200 - (x + y) * 2], -1).astype(np.uint8)
    image = Image.fromarray(values)
    pen = ImageDraw.Draw(image)
    pen.rectangle([2, 2, 9, 5], fill=(250, 240, 20))
    pen.polygon([(20, 24), (30, 30), (20, 30)], fill=(10, 10, 10))
    return image


def encoded(image, kind="PNG", **options):
    """An image as the content of a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(image, orientation, kind="JPEG", **options):
    """A file that is to be turned, by its EXIF, to give the image."""
    stored = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = image if stored is None else image.transpose(stored)
    return encoded(image, kind, exif=exif, **options)


def png16(values):
    """A PNG of 16 bits a channel: grey, grey + alpha, RGB or RGBA (H, W, 1 to 4), uint16."""

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    height, width, channels = values.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(values, *, big=False, photometric=None, planar=False, alpha=None):
    """An uncompressed TIFF of values (H, W, C) of any type, in either byte order."""
    order, (height, width, channels) = ">" if big else "<", values.shape
    data = (np.moveaxis(values, 2, 0) if planar else values).astype(
        values.dtype.newbyteorder(order)
    )
    content = data.tobytes()
    strips = channels if planar else 1
    bits, kind = 8 * values.dtype.itemsize, {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    tags = {
        256: ("H", [width]), 257: ("H", [height]), 258: ("H", [bits] * channels),
        259: ("H", [1]), 262: ("H", [photometric if photometric is not None else
                                     2 if channels > 2 else 1]),
        273: ("I", [8 + i * (len(content) // strips) for i in range(strips)]),
        277: ("H", [channels]), 278: ("H", [height]),
        279: ("I", [len(content) // strips] * strips), 284: ("H", [1 + planar]),
        339: ("H", [kind] * channels),
    }  # fmt: skip
    if alpha is not None:
        tags[338] = ("H", [alpha])
    content += b"\0" * (len(content) % 2)
    start = 8 + len(content)
    after = start + 2 + 12 * len(tags) + 4
    entries, long = b"", b""
    for tag, (code, numbers) in sorted(tags.items()):
        raw = struct.pack(f"{order}{len(numbers)}{code}", *numbers)
        if len(raw) > 4:
            place, raw = struct.pack(f"{order}I", after + len(long)), raw + b"\0" * (len(raw) % 2)
            long, raw = long + raw, place
        number = {"H": 3, "I": 4}[code]
        entries += struct.pack(f"{order}HHI", tag, number, len(numbers)) + raw.ljust(4, b"\0")
    head = (b"MM\0*" if big else b"II*\0") + struct.pack(f"{order}I", start)
    return head + content + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + long
