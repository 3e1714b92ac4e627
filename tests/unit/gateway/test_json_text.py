import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osqueue.api.json_text import JsonError, is_json, items, members, too_deep

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
layouts = st.sampled_from([{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}])


def encodable(value: object) -> bool:
    """Half a surrogate pair has no UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@given(st.dictionaries(st.text(), values, max_size=5).filter(encodable), layouts)
def test_members_keep_the_text_of_every_value(value, layout):
    text = json.dumps(value, **layout).encode()
    found = members(text)
    assert found.keys() == value.keys()
    for key, raw in found.items():
        assert bytes(raw) in text
        assert json.loads(bytes(raw)) == value[key]


@given(values.filter(encodable), values.filter(encodable), st.text().filter(encodable), layouts)
def test_a_repeated_key_is_always_found(first, second, key, layout):
    name = json.dumps(key)
    pairs = [f"{name}:{json.dumps(value, **layout)}" for value in (first, second)]
    for text in (f"{{{','.join(pairs)}}}", f'{{"another": 1, {" , ".join(pairs)} , "last": [] }}'):
        if key in ("another", "last"):
            continue
        with pytest.raises(JsonError, match="twice"):
            members(text.encode())


@pytest.mark.parametrize("text", [b'{"a":1,"a":12}', b'{"a":12,"a":1}', b'{"a":"x","a":"x"}', b'{"a":1,"\\u0061":1}'])
def test_values_that_begin_alike_do_not_hide_a_repetition(text):
    with pytest.raises(JsonError, match="twice"):
        members(text)


@pytest.mark.parametrize("text", [b"[]", b"1", b'"{}"', b"null"])
def test_only_objects_have_members(text):
    with pytest.raises(JsonError, match="object"):
        members(text)


def test_items_are_the_elements_as_they_stand():
    array = members(b'{"a": [1.0, {"b": [ ]} , "x"]}')["a"]
    assert [bytes(item) for item in items(array)] == [b"1.0", b'{"b": [ ]}', b'"x"']


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize("levels", [0, 1, 63, 64])
def test_depth_up_to_the_limit(levels):
    assert not too_deep(nested(levels), 64)


@pytest.mark.parametrize("levels", [65, 66, 1000])
def test_depth_beyond_the_limit(levels):
    assert too_deep(nested(levels), 64)
    assert too_deep(b'{"a":[1,' * levels + b"1" + b"]}" * levels, 64)


def test_breadth_and_brackets_in_strings_are_no_depth():
    assert not too_deep(b"[" + b",".join([b"[{}]"] * 10_000) + b"]", 64)
    assert not too_deep(json.dumps(["[" * 500, '\\"[{' * 100, "\\" * 7]).encode(), 64)


@given(values.filter(encodable))
def test_depth_is_what_walking_finds(value):
    def depth(part: object) -> int:
        if isinstance(part, dict):
            return 1 + max(map(depth, part.values()), default=0)
        return 1 + max(map(depth, part), default=0) if isinstance(part, list) else 0

    text = json.dumps(value).encode()
    for limit in (1, 2, 3):
        assert too_deep(text, limit) == (depth(value) > limit)


@pytest.mark.parametrize("data", [b"{}", b' {"a": [1]}\n', b"12345678901234567890", b'"\xc3\xa9"', nested(64)])
def test_json_is_recognised(data):
    assert is_json(data)


@pytest.mark.parametrize(
    "data", [b"", b" ", b"{", b"NaN", b'"\xe9"', b"\xff", b"1 2", b"'a'", nested(65), nested(100_000)]
)
def test_what_is_no_json_is_not(data):
    assert not is_json(data)
