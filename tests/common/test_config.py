from pathlib import Path

import pytest

from common.config import read_config
from common.errors import UserError


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "trainer:\n  a: 3\nmodel:\n  lr: 1\ntrainer:\n  b: 5\n",
            "trainer appears twice, lines 1 and 5",
        ),
        ("model:\n  lr: 0.1\n  backbone: lenet\n  lr: 0.2\n", "lr appears twice, lines 2 and 4"),
        ("a: [{b: 1, b: 2}]\n", "b appears twice, lines 1 and 1"),
        ("seed: 010\n", "line 1: 010 may be 8, as YAML has it, or what it looks like: write a plain number"),
        ("a: 1\nhours: 1:30\n", "line 2: 1:30 may be 90"),
        ("trainer: 5\n", "trainer: 5: give names with values below trainer"),
        ("model: null\n", "model: null: give names"),
        ("config: other.yaml\n", "config: a configuration names no other; give both after --config"),
        ("data: [root]\n", r"data: \[root\]: give names"),
        ("lr: 1:30.5\n", "line 1: 1:30.5 may be 90.5"),
        ("model.lr: 0.5\nmodel:\n  lr: 0.25\n", "model appears twice, lines 1 and 2"),
        ("model:\n  lr: 0.25\nmodel.lr: 0.5\n", "model.lr appears twice, lines 1 and 3"),
        ("model: {class_path: 'os; rm'}\n", "mine.yaml: class_path: 'os; rm' is not a class"),
        ("a: &a {b: 1}\nc: &c {b: 2}\nd:\n  <<: *a\n  <<: *c\n", "<< appears twice, lines 4 and 5"),
    ],
)
def test_what_yaml_reads_in_an_unlikely_way_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match=said):
        read_config(tmp_path / "mine.yaml", groups=("model", "data", "trainer"))


def test_one_name_in_two_places_and_merged_blocks_are_read(tmp_path: Path) -> None:
    text = "base: &base\n  lr: 1\nmodel:\n  <<: *base\n  name: x\ndata:\n  name: y\n"
    (tmp_path / "mine.yaml").write_text(text)
    settings = read_config(tmp_path / "mine.yaml")
    assert settings["model"] == {"lr": 1, "name": "x"} and settings["data"] == {"name": "y"}
