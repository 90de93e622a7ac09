"""Who gets the treatment: always the same users, as many as asked for, and the more the merrier without anybody changing sides."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.experiment import PLACES_MAX, STEPS_PER_PERCENT, fnv1a_32, place_of, steps

PLACES = 100 * STEPS_PER_PERCENT
USERS = st.text(max_size=40)
PERCENTS = st.integers(0, PLACES).map(lambda place: place / STEPS_PER_PERCENT)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [(b"", 0x811C9DC5), (b"a", 0xE40C292C), (b"foobar", 0xBF9CF968), (b"b", 0xE70C2DE5), (b"foo", 0xA9F37ED7), (b"fooba", 0x39AAA18A)],
)
def test_the_hash_is_the_published_one(data: bytes, wanted: int) -> None:
    assert fnv1a_32(data) == wanted


@given(USERS, USERS, st.integers(0, 100))
def test_a_whole_percent_splits_by_the_hash_modulo_100(user: str, experiment: str, percent: int) -> None:
    treated = place_of(user, experiment) < steps(percent)
    assert treated == (fnv1a_32(f"{user}:{experiment}".encode("utf-8", "replace")) % 100 < percent)


@given(USERS, USERS, PERCENTS, PERCENTS)
def test_whoever_has_the_treatment_keeps_it_when_the_share_grows(user: str, experiment: str, one: float, other: float) -> None:
    place = place_of(user, experiment)
    assert 0 <= place < PLACES
    assert not place < steps(min(one, other)) or place < steps(max(one, other))


@given(USERS, USERS)
def test_nobody_has_it_at_0_and_everybody_at_100(user: str, experiment: str) -> None:
    assert not place_of(user, experiment) < steps(0)
    assert place_of(user, experiment) < steps(100)


@pytest.mark.parametrize("percent", [0.5, 1, 2.25, 10, 33.3, 50, 66.667, 90, 99.9])
@pytest.mark.parametrize("name", ["user-{}", "{:08x}", "customer{}@example.org"])
def test_of_ten_thousand_users_as_many_are_treated_as_asked_for(percent: float, name: str) -> None:
    treated = sum(place_of(name.format(number), "haiku-trial") < steps(percent) for number in range(10_000))
    assert abs(treated / 100 - percent) < 1


def test_two_experiments_split_their_users_independently() -> None:
    users = [f"user-{number}" for number in range(10_000)]
    both = sum(place_of(user, "one") < steps(50) and place_of(user, "two") < steps(50) for user in users)
    assert abs(both / 100 - 25) < 2


def test_so_many_places_are_kept_and_no_more() -> None:
    users = [f"user-{number}" for number in range(PLACES_MAX + 1_000)]
    first = [place_of(user, "trial") for user in users]
    assert place_of.cache_info().currsize == PLACES_MAX
    assert [place_of(user, "trial") for user in users] == first, "also of those who were forgotten"
    assert len({place_of("somebody", name) for name in ("one", "two", "three")}) == 3, "each experiment has its own"


def test_another_process_finds_the_same() -> None:
    code = "from appliance.core.experiment import place_of; print([place_of(f'user-{n}', 'e') for n in range(100)])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"}).stdout
    assert told.strip() == str([place_of(f"user-{number}", "e") for number in range(100)])
