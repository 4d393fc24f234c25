"""sorted_map: a map and its versions, compared with a dict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodedevd import sorted_map
from nodedevd.sorted_map import SortedMap

keys = st.text("ab/0", max_size=4)
steps = st.lists(st.tuples(st.sets(keys, max_size=4), st.dictionaries(keys, st.integers(1))))


def assert_same(found: SortedMap[int], wanted: dict[str, int]) -> None:
    """Fail unless a map equals a dict, by every method."""
    assert dict(found) == wanted
    assert list(found) == sorted(wanted)
    assert list(found.in_order_values()) == [wanted[key] for key in sorted(wanted)]
    assert len(found) == len(wanted)
    for key in ("", "a", "ab", "b/"):
        assert found.get(key) == wanted.get(key)
        assert (key in found) == (key in wanted)
        below = [one for one in sorted(wanted) if one.startswith(f"{key}/")]
        assert found.between(f"{key}/", f"{key}0") == below


@pytest.mark.slow
@pytest.mark.parametrize("limit", [0, 2, 512])
@given(first=st.dictionaries(keys, st.integers(1)), changes=steps)
def test_versions_equal_the_dicts_they_were_made_from(
    limit: int, first: dict[str, int], changes: list[tuple[set[str], dict[str, int]]]
) -> None:
    """Each version stays unchanged, whether the next one shares its base or not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorted_map, "CHANGES_AT_MOST", limit)
        wanted = dict(first)
        versions = [(SortedMap(first), dict(first))]
        for removed, added in changes:
            wanted = {key: one for key, one in wanted.items() if key not in removed} | added
            versions.append((versions[-1][0].changed(removed, added), wanted))
        for found, as_made in versions:
            assert_same(found, as_made)


def test_missing_key_is_an_error() -> None:
    """As in a dict; a removed key is missing, too."""
    found = SortedMap({"a": 1}).changed(["a"], {})
    with pytest.raises(KeyError):
        found["a"]
