"""The tensor file: what goes in comes out, and nothing else gets in."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from wmloop.errors import StoreCorruptError
from wmloop.store.tensors import decode, encode, read

DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", ">f4", ">i8"]
NAMES = st.from_regex(r"[a-z][a-z0-9_.]{0,8}(/[a-z]{1,3})?", fullmatch=True)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """Draw an array of any dtype, shape and memory layout."""
    shape = draw(npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    array = draw(npst.arrays(np.dtype(draw(st.sampled_from(DTYPES))), shape))
    match draw(st.sampled_from(["as it is", "transposed", "stepped", "reversed", "fortran", "finetuned"])):
        case "transposed":
            return array.T
        case "stepped" if array.ndim:
            return array[::2]
        case "reversed" if array.ndim:
            return array[..., ::-1]
        case "fortran":
            return np.asfortranarray(array)
        case "finetuned" if array.ndim:
            return np.moveaxis(array, -1, 0)
    return array


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return (
        a.shape == b.shape
        and a.dtype.newbyteorder("=") == b.dtype.newbyteorder("=")
        and a.tolist().__repr__() == b.tolist().__repr__()
    )


@settings(max_examples=200)
@given(
    st.dictionaries(NAMES, arrays(), max_size=4),
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])), max_size=3
    ),
)
def test_every_array_of_any_layout_comes_back_as_it_was(
    tensors: dict[str, np.ndarray], metadata: dict[str, str]
) -> None:
    data = encode(tensors, metadata)
    found, notes = decode(bytearray(data), "memory")
    assert notes == metadata
    assert found.keys() == tensors.keys()
    for name, array in tensors.items():
        assert same_bits(found[name], array)
        assert found[name].flags.writeable
    by_library = safetensors.numpy.load(data)  # the format is the public one
    assert by_library.keys() == tensors.keys()
    assert all(same_bits(by_library[name], tensors[name]) for name in tensors)


def test_the_library_still_scrambles_what_encode_straightens() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert same_bits(decode(bytearray(encode({"a": array})), "memory")[0]["a"], array)
    scrambled = safetensors.numpy.load(safetensors.numpy.save({"a": array}))["a"]
    if same_bits(scrambled, array):
        pytest.skip("this safetensors no longer scrambles: encode's care costs nothing")


def test_equal_content_gives_equal_bytes() -> None:
    tensors: dict[str, np.ndarray] = {"b": np.ones(3), "a": np.zeros((2, 2), np.float16)}
    notes = {key: key * 3 for key in "zyxwvuts"}
    first = encode(tensors, notes)
    assert all(encode(tensors, dict(sorted(notes.items()))) == first for _ in range(20))


@pytest.mark.parametrize("name", ["", "../a", "a/../b", "/a", "a\nb", "__metadata__/..", "a" * 300, "ä"])
def test_a_name_that_would_not_be_read_is_not_written(name: str) -> None:
    with pytest.raises(ValueError, match="no tensor name"):
        encode({name: np.ones(1)})


@pytest.mark.parametrize("array", [np.ones(1, complex), np.array(["a"]), np.array([object()])])
def test_a_dtype_outside_the_format_is_refused_with_the_choices(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="choose one of F64"):
        encode({"a": array})


def test_metadata_that_is_not_text_is_refused() -> None:
    with pytest.raises(TypeError, match="'steps' must be text"):
        encode({"a": np.ones(1)}, {"steps": 3})  # type: ignore[dict-item]


def build(table: Any, payload: bytes = b"") -> bytearray:
    """Assemble a tensor file around any header."""
    header = table if isinstance(table, bytes) else json.dumps(table).encode()
    return bytearray(len(header).to_bytes(8, "little") + header + payload)


def spec(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


HOSTILE = {
    "empty": (bytearray(), "too few"),
    "header of 2^63 bytes": (bytearray((2**63).to_bytes(8, "little") + b"{}"), "claims a header"),
    "header longer than the file": (bytearray((3).to_bytes(8, "little") + b"{}"), "claims a header"),
    "header over 16 MiB": (build(b"{" + b" " * (16 * 2**20) + b"}"), "claims a header"),
    "pickle": (bytearray(b"\x80\x04\x95" + b"\x00" * 64), "claims a header|not JSON"),
    "not UTF-8": (build(b"\xff\xfe"), "not JSON"),
    "deep nesting": (build(b"[" * 100_000), "not JSON"),
    "endless integer": (build(b'{"a":' + b"9" * 5000 + b"}"), "not JSON"),
    "list": (build([]), "not a table"),
    "metadata of numbers": (build({"__metadata__": {"a": 1}}), "metadata"),
    "duplicate name": (
        build(b'{"a":' + json.dumps(spec()).encode() + b',"a":' + json.dumps(spec()).encode() + b"}", bytes(8)),
        "twice",
    ),
    "duplicate field": (
        build(b'{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', bytes(8)),
        "twice",
    ),
    "path as a name": (build({"../../etc/passwd": spec()}, bytes(8)), "no tensor name"),
    "extra field": (build({"a": spec() | {"x": 1}}, bytes(8)), "exactly"),
    "unknown dtype": (build({"a": spec("BF16", (4,))}, bytes(8)), "dtype"),
    "dtype list": (build({"a": spec(["F32"])}, bytes(8)), "dtype"),
    "negative dimension": (build({"a": spec(shape=(-2, -1))}, bytes(8)), "no valid shape"),
    "fractional dimension": (build({"a": spec(shape=(2.0,))}, bytes(8)), "no valid shape"),
    "true as a dimension": (build({"a": spec(shape=(True, 2))}, bytes(8)), "no valid shape"),
    "too many dimensions": (build({"a": spec(shape=(1,) * 64 + (2,))}, bytes(8)), "no valid shape"),
    "overflowing product": (build({"a": spec(shape=(2**47, 2**47))}, bytes(8)), "not those of"),
    "empty yet huge": (build({"a": spec(shape=(0, 2**40), offsets=(0, 0))}), "is empty, yet"),
    "three offsets": (build({"a": spec(offsets=(0, 8, 8))}, bytes(8)), "no valid offsets"),
    "reversed offsets": (build({"a": spec(offsets=(8, 0))}, bytes(8)), "not those of"),
    "shape of other size": (build({"a": spec(shape=(3,))}, bytes(8)), "not those of"),
    "overlap": (build({"a": spec(), "b": spec(offsets=(4, 12))}, bytes(12)), "overlaps"),
    "same bytes twice": (build({"a": spec(), "b": spec()}, bytes(8)), "overlaps"),
    "hole": (build({"a": spec(), "b": spec(offsets=(12, 20))}, bytes(20)), "hole"),
    "hole at the start": (build({"a": spec(offsets=(4, 12))}, bytes(12)), "hole"),
    "bytes after the last": (build({"a": spec()}, bytes(9)), "cover"),
    "bytes missing": (build({"a": spec()}, bytes(7)), "cover"),
    "bool of 2": (build({"a": spec("BOOL", (1,), (0, 1))}, b"\x02"), "bool"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_for_its_reason(kind: str, tmp_path: Path) -> None:
    data, reason = HOSTILE[kind]
    path = tmp_path / "bad.safetensors"
    path.write_bytes(data)
    with pytest.raises(StoreCorruptError, match=rf"bad\.safetensors is damaged.*({reason})"):
        read(path)
    with pytest.raises(StoreCorruptError, match=f"thing is damaged.*({reason})"):
        decode(data, "thing")


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(-3, 9), max_size=4),
)
ODD_SPEC = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BOOL", "U8", "I64"]) | JUNK,
        "shape": st.lists(st.integers(0, 4), max_size=3) | JUNK,
        "data_offsets": st.tuples(st.integers(0, 40), st.integers(0, 40)) | JUNK,
    }
)


@st.composite
def hostile(draw: st.DrawFn) -> bytearray:
    """Draw a file that is wrong by chance: odd tables, or a good file with some bytes changed, lost or added."""
    if draw(st.booleans()):
        table = draw(st.dictionaries(NAMES | st.text(max_size=6), ODD_SPEC | JUNK, max_size=3))
        return build(table, draw(st.binary(max_size=40)))
    data = bytearray(encode({"w": np.arange(4, dtype=np.float32), "b": np.ones((2, 2), bool)}, {"k": "v"}))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        if not data:
            break
        match draw(st.sampled_from(["flip", "cut", "add", "end"])):
            case "flip":
                data[place] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[place]
            case "add":
                data.insert(place, draw(st.integers(0, 255)))
            case "end":
                del data[max(place, 1) :]
    return data


def stays_in_bounds(data: bytearray) -> None:
    try:
        tensors, metadata = decode(data, "thing")
    except StoreCorruptError as error:
        message = str(error)
    else:
        message = ""
    if message:
        assert message.startswith("thing is damaged")
        assert "\n" not in message
        return
    length = int.from_bytes(data[:8], "little")
    assert sum(array.nbytes for array in tensors.values()) == len(data) - 8 - length
    assert all(isinstance(text, str) for text in metadata.values())


@settings(max_examples=300)
@given(hostile() | st.binary(max_size=200).map(bytearray))
def test_no_bytes_make_the_reader_do_anything_but_read_or_refuse(data: bytearray) -> None:
    stays_in_bounds(data)


@pytest.mark.faults
@settings(max_examples=5000)
@given(hostile() | st.binary(max_size=200).map(bytearray))
def test_no_bytes_in_five_thousand_make_the_reader_do_anything_but_read_or_refuse(data: bytearray) -> None:
    stays_in_bounds(data)


def test_a_file_that_claims_64_gib_and_lacks_one_byte_is_refused_without_allocating_them(tmp_path: Path) -> None:
    path, size = tmp_path / "huge.safetensors", 2**36
    header = build({"a": spec("U8", (size,), (0, size))})
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + size - 1)  # sparse: it takes no room on the disk
    tracemalloc.start()
    try:
        with pytest.raises(StoreCorruptError, match="its tensors cover"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_links_pipes_folders_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(encode({"a": np.ones(1)}))
    assert read(tmp_path / "good")
    (tmp_path / "link").symlink_to(tmp_path / "good")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder"):
        with pytest.raises(StoreCorruptError, match=f"{name} is not a regular file"):
            read(tmp_path / name)
    with pytest.raises(StoreCorruptError, match="nothing is missing"):
        read(tmp_path / "nothing")


def test_arrays_behind_an_odd_header_are_aligned_all_the_same() -> None:
    table = {"a": spec("U8", (1,), (0, 1)), "b": spec("F64", (2,), (1, 17))}
    found, _ = decode(build(table, b"\x07" + np.array([1.5, -2.0]).tobytes()), "thing")
    assert found["b"].tolist() == [1.5, -2.0]
    assert all(array.flags.aligned for array in found.values())
