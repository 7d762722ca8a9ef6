"""Numbers as a reader expects them."""

import pytest

from pipeline.printing import duration, wrapped


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.34, "0.3 s"),
        (59.4, "59.4 s"),
        (60, "1 min 0 s"),
        (7_500, "2 h 5 min"),
        (47 * 3600 + 3540, "47 h 59 min"),
        (48 * 3600, "2 days 0 h"),
        (76 * 3600 + 1800, "3 days 5 h"),
        (10_386 * 3600, "432 days"),
    ],
)
def test_durations(seconds: float, words: str):
    assert duration(seconds) == words


def test_a_text_is_wrapped_by_the_columns_that_it_takes() -> None:
    assert wrapped("one two three four", 9) == ["one two", "three", "four"]
    assert wrapped("하나 둘 셋", 7) == ["하나 둘", "셋"]
    assert wrapped("incomprehensible words", 5) == ["incomprehensible", "words"]
    assert wrapped("", 5) == [""]
