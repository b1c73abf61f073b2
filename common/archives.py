"""Open zip archives, with the names of their members as the person who packed them saw them."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from pathlib import Path

from common.errors import UserError


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open an archive for reading, with its names in Unicode and ``/`` between folders.

    Raises:
        UserError: it is damaged or not a zip archive, or a name is unreadable or ambiguous.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UserError(f"{path}: not a readable zip archive ({error}); download it again") from error
    renamed = [member for member in archive.infolist() if not member.filename.isascii() or "\\" in member.filename]
    for member in renamed:
        # Some Windows programs write backslashes.
        member.filename = _name(path, member).replace("\\", "/")
    if renamed:
        archive.NameToInfo = {member.filename: member for member in archive.infolist()}
    return archive


def _name(path: Path, member: zipfile.ZipInfo) -> str:
    """Decode a name: as UTF-8 if it is flagged or valid as such, otherwise as CP949, which Korean Windows writes."""
    if member.flag_bits & 0x800 or member.filename.isascii():
        return member.filename
    data = member.orig_filename.partition("\0")[0].encode("cp437")  # undoes Python's decoding
    if (stated := _unicode_path(member.extra, data)) is not None:
        return stated
    utf8, cp949 = _decoded(data, "utf-8"), _decoded(data, "cp949")
    # A Western name can be valid CP949, but only with letters outside KS X 1001, which hardly any Korean word uses.
    korean = cp949 is not None and any(_is_korean(letter) and len(letter.encode("euc_kr")) == 2 for letter in cp949)
    if utf8 is not None and (not korean or any(map(_is_korean, utf8))):
        return utf8
    remedy = "unpack it with the program that packed it and give the folder, or pack it again with names in UTF-8"
    if utf8 is not None:
        raise UserError(f"{path}: the name of a file is {utf8} in UTF-8 or {cp949} in Korean CP949; {remedy}")
    chinese = cp949 is not None and re.search("[\u3040-\u30ff\u4e00-\u9fff]", cp949)  # kana, or hanja
    if korean and chinese and (gbk := _decoded(data, "gbk")) is not None:
        raise UserError(f"{path}: the name of a file is {cp949} in Korean CP949 or {gbk} in Chinese GBK; {remedy}")
    if cp949 is None or not korean:
        raise UserError(f"{path}: the name {data!r} is neither UTF-8 nor Korean CP949; {remedy}")
    return cp949


def _unicode_path(extra: bytes, name: bytes) -> str | None:
    """Read the name that Info-ZIP and its kin store in an extra field, unless the member was renamed since."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == 0x7075 and len(field) > 5 and struct.unpack_from("<I", field, 1)[0] == zlib.crc32(name):
            return _decoded(field[5:], "utf-8")
    return None


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _is_korean(letter: str) -> bool:
    return "가" <= letter <= "힣"
