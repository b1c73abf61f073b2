from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from common.archives import open_zip
from common.errors import UserError
from common.image_files import find_images, read_bytes
from common.tables import TableFile, read_table
from tests.common.test_decoding import encoded


def pack(path: Path, names: Sequence[bytes], data: bytes = b"x", extra: bytes = b"") -> Path:
    """Pack members whose names are just these bytes, without a word on what they mean."""
    aliases = [f"{number:03}".ljust(len(name), "#") for number, name in enumerate(names)]
    with zipfile.ZipFile(path, "w") as archive:
        for alias in aliases:
            member = zipfile.ZipInfo(alias)
            member.extra = extra
            archive.writestr(member, data)
    content = path.read_bytes()
    for alias, name in zip(aliases, names, strict=True):
        content = content.replace(alias.encode(), name)
    path.write_bytes(content)
    return path


def names(path: Path) -> list[str]:
    with open_zip(path) as archive:
        for member in archive.namelist():
            archive.read(member)
        return archive.namelist()


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        open_zip(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["第7天", "5月31日"])
def test_names_in_chinese_are_not_read_as_korean(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"in Korean CP949 or {name}/1.png in Chinese GBK; unpack it"):
        open_zip(pack(tmp_path / "a.zip", [f"{name}/1.png".encode("gbk")]))


@pytest.mark.parametrize("encoding", ["utf-8", "cp949"])
@pytest.mark.parametrize("name", ["배추/식물 1/사진 01.png", "똠방각하/펲시콜라.png", "상추①/DAT01.png", "a/b.png"])
def test_korean_names_that_do_not_say_their_encoding(tmp_path: Path, encoding: str, name: str) -> None:
    assert names(pack(tmp_path / "a.zip", [name.encode(encoding)])) == [name]


def test_both_encodings_in_one_archive(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", ["배추/1.png".encode(), "상추/1.png".encode("cp949")])
    assert names(path) == ["배추/1.png", "상추/1.png"]


@pytest.mark.parametrize("name", ["Straße.png", "白菜.png", "キャベツ.png"])
def test_utf8_of_other_languages(tmp_path: Path, name: str) -> None:
    assert names(pack(tmp_path / "a.zip", [name.encode()])) == [name]


@pytest.mark.parametrize("name", ["Gemüse".encode("cp437"), "Gemüse".encode("latin-1"), "キャベツ".encode("cp932")])
def test_western_and_japanese_names_are_not_read_as_korean(tmp_path: Path, name: bytes) -> None:
    message = refusal(pack(tmp_path / "a.zip", [name]))
    assert "is neither UTF-8 nor Korean CP949; unpack it" in message


def test_a_name_that_is_both_is_refused_with_both(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", ["Gemüse/1.png".encode()])
    assert "a.zip: the name of a file is Gemüse/1.png in UTF-8 or Gem체se/1.png in Korean CP949; " in refusal(path)


def test_the_field_for_names_in_unicode_comes_first(tmp_path: Path) -> None:
    name = "Gemüse".encode("cp437")
    field = struct.pack("<BI", 1, zlib.crc32(name)) + "Gemüse".encode()
    extra = struct.pack("<HH", 0x5455, 1) + b"\0" + struct.pack("<HH", 0x7075, len(field)) + field
    assert names(pack(tmp_path / "a.zip", [name], extra=extra)) == ["Gemüse"]


def test_backslashes_divide_folders(tmp_path: Path) -> None:
    path = pack(
        tmp_path / "a.zip", ["배추\\식물 1\\".encode("cp949"), b"LT\\LT_01\\DAT01.png"], encoded(Image.new("L", (2, 2)))
    )
    assert names(path) == ["배추/식물 1/", "LT/LT_01/DAT01.png"]
    (file,) = find_images(path)
    assert (file.member, read_bytes(file)[:4]) == ("LT/LT_01/DAT01.png", b"\x89PNG")


def test_a_table_below_a_korean_name(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", ["자료\\t.csv".encode("cp949")], b"ID,Class\n1,a\n")
    assert len(read_table(TableFile(path, "자료/t.csv"), ["ID", "Class"])) == 1


def test_a_table_in_cp949_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("ID,Class\n배추,a\n".encode("cp949"))
    with pytest.raises(UserError, match=r"t\.csv: not UTF-8 text .*; save it as UTF-8 \(in Excel: CSV UTF-8\)"):
        read_table(tmp_path / "t.csv", ["ID", "Class"])
