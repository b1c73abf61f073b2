import pytest

from common.errors import UserError
from common.synthetic import check_range


def test_check_range_names_the_flag_and_the_bounds() -> None:
    check_range("--n", 2, 2, 2)
    with pytest.raises(UserError, match=r"^--n 1: give from 2 to 3, in pixels$"):
        check_range("--n", 1, 2, 3, "in pixels")
    with pytest.raises(UserError, match=r"^--n -1: give 0 or more$"):
        check_range("--n", -1, 0)
