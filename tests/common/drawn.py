"""Image files written by hand, bit by bit, with the pixels that they stand for."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

HEIGHT, WIDTH = 6, 10
Drawn = tuple[str, bytes, np.ndarray | None]  # name, file, H×W×3 in 0 to 255; None where it must be refused
RNG = np.random.default_rng(0)


def samples(bits: int, channels: int = 1) -> np.ndarray:
    """Draw H×W×C values of some bits."""
    return RNG.integers(0, 2**bits, (HEIGHT, WIDTH, channels))


def to_8_bits(values: np.ndarray, bits: int) -> np.ndarray:
    return values >> (bits - 8) if bits > 8 else values * 255 // (2**bits - 1)


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Lay H×W×3 over white; alpha in 0 to 1, H×W×1."""
    return colour * alpha + 255 * (1 - alpha)


def packed(values: np.ndarray, bits: int, order: str = ">", align: int = 1) -> list[bytes]:
    """Pack each row of H×W×C into bytes, its end filled up to a multiple of ``align``."""
    rows = []
    for row in values.reshape(len(values), -1):
        if bits in (16, 32):
            data = row.astype(f"{order}u{bits // 8}").tobytes()
        else:
            data = np.packbits((row[:, None] >> np.arange(bits)[::-1]) & 1).tobytes()
        rows.append(data + bytes(-len(data) % align))
    return rows


# PNG


def png(values: np.ndarray, bits: int, colour: int, more: bytes = b"", interlaced: bool = False) -> bytes:
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    parts = [values[top::down, left::right] for left, top, right, down in passes]
    rows = b"".join(b"\0" + row for part in parts if part.size for row in packed(part, bits))
    height, width = values.shape[:2]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pngs() -> Iterator[Drawn]:
    for interlaced in (False, True):
        name = "PNG interlaced" if interlaced else "PNG"
        for bits in (1, 2, 4, 8, 16):
            grey = samples(bits)
            shown = to_8_bits(grey, bits)
            yield f"{name} grey {bits}", png(grey, bits, 0, interlaced=interlaced), shown
            for transparent in {0, int(grey[2, 3, 0]), 2**bits - 1}:
                data = png(grey, bits, 0, chunk(b"tRNS", struct.pack(">H", transparent)), interlaced)
                left = np.where(grey == transparent, 255, shown)
                yield f"{name} grey {bits} without {transparent}", data, left if left.min() < 255 else None
            if bits <= 8:
                palette, opacity = RNG.integers(0, 256, (2**bits, 3)), RNG.integers(0, 256, 2**bits)
                colours, index = chunk(b"PLTE", palette.astype(np.uint8).tobytes()), grey[..., 0]
                yield f"{name} palette {bits}", png(grey, bits, 3, colours, interlaced), palette[index]
                data = png(grey, bits, 3, colours + chunk(b"tRNS", opacity.astype(np.uint8).tobytes()), interlaced)
                yield f"{name} palette {bits} with alpha", data, over_white(palette[index], opacity[grey] / 255)
            if bits >= 8:
                colour = samples(bits, 3)
                colour[1, 1] = colour[0, 0]
                shown = to_8_bits(colour, bits)
                yield f"{name} RGB {bits}", png(colour, bits, 2, interlaced=interlaced), shown
                data = png(colour, bits, 2, chunk(b"tRNS", struct.pack(">HHH", *colour[0, 0])), interlaced)
                cut = (colour == colour[0, 0]).all(-1, keepdims=True)
                yield f"{name} RGB {bits} without one", data, np.where(cut, 255, shown) if bits == 8 else None
                for channels, kind in ((2, 4), (4, 6)):
                    both = samples(bits, channels)
                    shown = over_white(to_8_bits(both[..., :-1], bits), both[..., -1:] / (2**bits - 1))
                    yield f"{name} {channels} channels of {bits}", png(both, bits, kind, interlaced=interlaced), shown


# TIFF


def tiff(values: np.ndarray, bits: int, photometric: int, order: str = "<", **more: list[int]) -> bytes:
    """Write one strip, or one a plane; ``more`` are tags as ``t338=[2]``, all of 16 bits."""
    height, width, channels = values.shape
    planes = [values[..., [number]] for number in range(channels)] if more.get("t284") == [2] else [values]
    strips = [b"".join(packed(plane, bits, order)) for plane in planes]
    strips = [zlib.compress(strip) for strip in strips] if more.get("t259") == [8] else strips
    places = [8 + sum(map(len, strips[:number])) for number in range(len(strips))]
    strip = b"".join(strips)
    tags = {256: [width], 257: [height], 258: [bits] * channels, 259: [1], 262: [photometric], 273: places}
    tags |= {277: [channels], 278: [height], 279: list(map(len, strips))} | {int(tag[1:]): more[tag] for tag in more}
    strip += bytes(len(strip) % 2)
    start = 8 + len(strip)
    entries, far = struct.pack(f"{order}H", len(tags)), b""
    for tag, numbers in sorted(tags.items()):
        data = struct.pack(f"{order}{len(numbers)}H", *numbers)
        if len(data) > 4:
            data, far = struct.pack(f"{order}I", start + 6 + 12 * len(tags) + len(far)), far + data
        entries += struct.pack(f"{order}HHI", tag, 3, len(numbers)) + data.ljust(4, b"\0")
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}I", start) + strip + entries + bytes(4) + far


def tiffs() -> Iterator[Drawn]:
    for order, deflated in (("<", False), ("<", True), (">", False)):
        name, how = f"TIFF {order}{' deflated' * deflated}", {"t259": [8]} if deflated else {}
        for bits in (1, 2, 4, 8, 12, 16):
            grey = samples(bits)
            shown = to_8_bits(grey, bits)
            unread = bits == 12 and order == ">"
            data = tiff(grey, bits, 1, order, **how)
            yield f"{name} grey {bits}", data, None if unread else shown
            unread = bits == 12 or (bits == 16 and order == ">")
            yield f"{name} white first {bits}", tiff(grey, bits, 0, order, **how), None if unread else 255 - shown
            if bits <= 8:
                palette = RNG.integers(0, 2**16, (2**bits, 3))
                data = tiff(grey, bits, 3, order, t320=palette.T.ravel().tolist(), **how)
                yield f"{name} palette {bits}", data, palette[grey[..., 0]] >> 8
                data = tiff(grey, bits, 3, order, t320=(palette >> 8).T.ravel().tolist(), **how)
                yield f"{name} palette {bits} of 8 bits", data, None
        yield f"{name} RGB 12", tiff(samples(12, 3), 12, 2, order, **how), None
        for bits in (8, 16):
            colour, both, ink = samples(bits, 3), samples(bits, 4), samples(bits, 4)
            shown, alpha = to_8_bits(both[..., :3], bits), both[..., 3:] / (2**bits - 1)
            yield f"{name} RGB {bits}", tiff(colour, bits, 2, order, **how), to_8_bits(colour, bits)
            planes = None if bits > 8 else to_8_bits(colour, bits)
            yield f"{name} RGB {bits} in planes", tiff(colour, bits, 2, order, t284=[2], **how), planes
            yield f"{name} RGB {bits} and a mask", tiff(both, bits, 2, order, t338=[0], **how), shown
            yield f"{name} RGB {bits} alpha", tiff(both, bits, 2, order, t338=[2], **how), over_white(shown, alpha)
            yield f"{name} RGB {bits} alpha in planes", tiff(both, bits, 2, order, t338=[2], t284=[2], **how), None
            both[..., :3] = both[..., :3] * alpha
            data = tiff(both, bits, 2, order, t338=[1], **how)
            yield f"{name} RGB {bits} premultiplied", data, to_8_bits(both[..., :3], bits) + 255 * (1 - alpha)
            rest = 255 - to_8_bits(ink, bits)
            yield f"{name} CMYK {bits}", tiff(ink, bits, 5, order, **how), rest[..., :3] * rest[..., 3:] / 255
            if not deflated:
                yield f"{name} YCbCr {bits}", tiff(colour, bits, 6, order, t530=[2, 2]), None
            yield f"{name} L*a*b* {bits}", tiff(colour, bits, 8, order, **how), None
            yield f"{name} signed {bits}", tiff(samples(bits), bits, 1, order, t339=[2], **how), None
        yield f"{name} grey 32", tiff(samples(32), 32, 1, order, **how), None
        yield f"{name} fractions", tiff(samples(32), 32, 1, order, t339=[3], **how), None
        yield f"{name} preview", tiff(samples(8), 8, 1, order, t254=[1], **how), None


# BMP


def bmp(
    values: np.ndarray, bits: int, palette: np.ndarray | None = None, header: int = 40, masks: tuple[int, ...] = ()
) -> bytes:
    """Write H×W×C, bottom row first, blue before red; with ``masks`` as bit fields."""
    data = b"".join(packed(values[::-1], 8 if bits == 24 else bits, "<", 4))
    height, width = values.shape[:2]
    fields = struct.pack(f"<{len(masks)}I", *masks)
    info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, 3 if masks else 0, len(data), 0, 0, 0, 0)
    info = info + fields[:12] if header == 40 else (info + fields[: header - 40]).ljust(header, b"\0")
    if palette is not None:
        info += b"".join(bytes([blue, green, red, 0]) for red, green, blue in palette.tolist())
    start = 14 + len(info)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + info + data


def fields(colour: np.ndarray, masks: tuple[int, ...]) -> np.ndarray:
    """Put H×W×4 of 8 bits into whole numbers, H×W×1, each channel where its mask has it."""
    number = np.zeros((*colour.shape[:2], 1), dtype=np.int64)
    for channel, mask in enumerate(masks):
        if mask:
            number[..., 0] |= colour[..., channel] >> (8 - mask.bit_count()) << (mask & -mask).bit_length() - 1
    return number


def bmps() -> Iterator[Drawn]:
    for bits in (1, 4, 8):
        index, palette = samples(bits), RNG.integers(0, 256, (2**bits, 3))
        yield f"BMP palette {bits}", bmp(index, bits, palette), palette[index[..., 0]]
        ramp = np.repeat(np.arange(2**bits)[::-1, None] * 255 // (2**bits - 1), 3, 1)
        yield f"BMP grey {bits}", bmp(index, bits, ramp), ramp[index[..., 0]]
    yield "BMP palette 2", bmp(samples(2), 2, RNG.integers(0, 256, (4, 3))), None
    colour = samples(8, 4)
    yield "BMP 24", bmp(colour[..., 2::-1], 24), colour[..., :3]
    blank, solid = colour.copy(), colour.copy()
    blank[..., 3], solid[..., 3] = 0, 255
    plain = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    for masks in (plain, (0xFF, 0xFF00, 0xFF0000, 0xFF000000), (0xFF000000, 0xFF0000, 0xFF00, 0xFF)):
        for header in (56, 108, 124):
            name = f"BMP 32 of {masks[0]:x}, header {header}"
            over = over_white(colour[..., :3], colour[..., 3:] / 255)
            yield f"{name}, alpha", bmp(fields(colour, masks), 32, header=header, masks=masks), over
            yield f"{name}, alpha 0", bmp(fields(blank, masks), 32, header=header, masks=masks), colour[..., :3]
            yield f"{name}, alpha 255", bmp(fields(solid, masks), 32, header=header, masks=masks), colour[..., :3]
    for image in (colour, blank):
        yield f"BMP 32 without masks, {image[0, 0, 3]}", bmp(fields(image, plain), 32), colour[..., :3]
    for name, masks in (("565", (0xF800, 0x7E0, 0x1F, 0)), ("555", (0x7C00, 0x3E0, 0x1F, 0))):
        depth = np.array([mask.bit_count() for mask in masks[:3]])
        shown = (colour[..., :3] >> (8 - depth)) * 255 / (2**depth - 1)
        yield f"BMP 16 {name}", bmp(fields(colour, masks), 16, header=56, masks=masks), shown
    masks = (0x7C00, 0x3E0, 0x1F, 0x8000)
    yield "BMP 16 with alpha", bmp(fields(colour, masks), 16, header=56, masks=masks), None
    masks = (0x3FC00000, 0xFF000, 0x3FC, 0)
    yield "BMP 32 with odd masks", bmp(fields(colour, masks), 32, masks=masks), None


# PBM, PGM, PPM


def pnms() -> Iterator[Drawn]:
    bits = samples(1)
    size = f"{WIDTH} {HEIGHT}".encode()
    yield "PBM", b"P4\n" + size + b"\n" + b"".join(packed(bits, 1)), 255 - 255 * bits
    yield "PBM plain", b"P1\n" + size + b"\n" + " ".join(map(str, bits.ravel())).encode(), 255 - 255 * bits
    for most in (1, 15, 100, 255, 256, 1000, 4095, 65535):
        for kind, channels in (("PGM", 1), ("PPM", 3)):
            values = RNG.integers(0, most + 1, (HEIGHT, WIDTH, channels))
            head = b"\n# drawn\n" + size + f"\n{most}\n".encode()
            raw = b"".join(packed(values, 16 if most > 255 else 8))
            yield f"{kind} to {most}", (b"P5" if channels == 1 else b"P6") + head + raw, values * 255 / most
            plain = " ".join(map(str, values.ravel())).encode()
            yield f"{kind} plain to {most}", (b"P2" if channels == 1 else b"P3") + head + plain, values * 255 / most
    yield "PFM", b"Pf\n" + size + b"\n-1.0\n" + bytes(4 * HEIGHT * WIDTH), None


DRAWN = [*pngs(), *tiffs(), *bmps(), *pnms()]
