import pytest

from common.optim import warmup_cosine


def test_rate_rises_then_falls_to_zero() -> None:
    rates = [warmup_cosine(step, 10, 100) for step in range(101)]
    assert rates[0] == pytest.approx(1 / 11)
    assert rates[10] == 1
    assert all(a < b for a, b in zip(rates[:10], rates[1:11], strict=True))
    assert all(a > b for a, b in zip(rates[10:100], rates[11:], strict=True))
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == 0
    assert warmup_cosine(200, 10, 100) == 0


def test_without_warmup_it_starts_at_the_top() -> None:
    assert warmup_cosine(0, 0, 100) == 1
