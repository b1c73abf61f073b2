"""Run folders, also where there are no symbolic links."""

import os
from pathlib import Path

import pytest

from common.runs import claim, latest_of, mark_latest, newest_run


def begin(home: Path) -> Path:
    run = claim(home)
    (run / "checkpoints").mkdir()
    mark_latest(run)
    return run


@pytest.mark.parametrize("links", [True, False])
def test_the_newest_run_is_found_with_and_without_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:

        def refuse(*_: object, **__: object) -> None:
            raise OSError("no links here")

        monkeypatch.setattr(Path, "symlink_to", refuse)
    runs = [begin(tmp_path / "a") for _ in range(11)]
    assert latest_of(tmp_path / "a") == runs[-1]  # version_10, not version_9
    assert (tmp_path / "a" / "latest").exists() == links
    claim(tmp_path / "a")  # one that has not begun to train
    assert latest_of(tmp_path / "a") == runs[-1]


def test_a_folder_in_the_place_of_the_link_does_not_end_a_fit(tmp_path: Path) -> None:
    (tmp_path / "a" / "latest").mkdir(parents=True)  # as `cp -rL` leaves it
    assert latest_of(tmp_path / "a") is None
    run = begin(tmp_path / "a")
    assert latest_of(tmp_path / "a") == run
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["latest", "version_0"]


def test_the_newest_run_is_looked_for_at_all_levels(tmp_path: Path) -> None:
    for number, name in enumerate(("plain", "exp/a", "exp/deep/b")):
        run = begin(tmp_path / name)
        os.utime(tmp_path / name / "latest", (number, number), follow_symlinks=False)
    assert newest_run(tmp_path, None) == run
    assert newest_run(tmp_path, "exp/a") == tmp_path / "exp/a" / "version_0"
    assert newest_run(tmp_path, "absent") is None


def test_a_folder_above_may_be_called_like_a_run(tmp_path: Path) -> None:
    run = begin(tmp_path / "version_2" / "runs" / "a")
    assert newest_run(tmp_path / "version_2" / "runs", None) == run
