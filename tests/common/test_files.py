from pathlib import Path

import pytest

from common.errors import UserError
from common.files import new_folder


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_whole_folder_takes_its_place_and_leaves_nothing_else(tmp_path: Path) -> None:
    with new_folder(tmp_path / "new" / "set") as folder:
        (folder / "a.txt").write_text("a")
        assert not (tmp_path / "new" / "set").exists()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.txt")] == ["new/set/a.txt"]
    assert names(tmp_path / "new") == ["set"]


def test_existing_empty_folder_is_filled_even_when_it_is_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with new_folder(Path()) as folder:
        (folder / "a.txt").write_text("a")
    assert names(Path()) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), new_folder(tmp_path / "set") as folder:
        (folder / "a.txt").write_text("a")
        raise error
    assert names(tmp_path) == []


def test_full_disk_is_told_by_the_path(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"set: cannot be written \(No space left"), new_folder(tmp_path / "set"):
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == []


def test_file_and_filled_folder_are_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    for target, message in ((tmp_path, "is not empty; choose another"), (tmp_path / "a.txt", "is a file; choose")):
        with pytest.raises(UserError, match=message), new_folder(target):
            pytest.fail("the block ran")
    assert names(tmp_path) == ["a.txt"]
