"""What spares tests time changes nothing that they see."""

from __future__ import annotations

import pytest

from tests import conftest
from tests.conftest import Run
from tests.quick import SUBCOMMANDS, subcommands


@pytest.mark.parametrize("subcommand", ["fit", "predict", "crossval"])
def test_a_command_takes_the_same_whether_or_not_the_others_have_parsers(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], subcommand: str
) -> None:
    assert subcommand in subcommands(("julia", subcommand)).keys() < SUBCOMMANDS.keys()
    shown = []
    for made in (subcommands, lambda _: SUBCOMMANDS):
        monkeypatch.setattr(conftest, "subcommands", made)
        with pytest.raises(SystemExit):
            run("julia", subcommand, "--help")
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] and "--model.lr" in shown[0]


def test_what_is_no_command_is_met_by_all() -> None:
    assert subcommands(("julia",)) == subcommands(("julia", "--help")) == subcommands(("julia", "fti")) == SUBCOMMANDS
