"""ReceiveBuffer finds frames in any stream, however it is split, and rejects bad headers without allocating."""

from __future__ import annotations

import gc
import itertools
import mmap
import time
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reed.errors import CallError, Malformed, TooLarge, UnsupportedVersion
from reed.wire import frames
from reed.wire.codes import Command, Flag
from reed.wire.common import ErrorResponse
from reed.wire.frames import Frame, ReceiveBuffer, encode, header

MIB = 1024 * 1024
Plain = tuple[int, int, bytes]

FRAMES = st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=40)), max_size=6)


def stream_of(plain: Iterable[Plain]) -> bytes:
    return b"".join(encode(command, payload, flags) for command, flags, payload in plain)


def read_all(buffer: ReceiveBuffer, piece: bytes | bytearray | memoryview) -> list[Plain]:
    """One turn of a reader: feed a piece, read the whole frames, keep the rest."""
    buffer.feed(memoryview(piece))
    found = []
    while (frame := buffer.next_frame()) is not None:
        found.append((frame.command_id, frame.flags, bytes(frame.payload)))
    buffer.keep()
    return found


def split(data: bytes, places: Iterable[int]) -> list[bytes]:
    marks = [0, *sorted(places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(marks)]


@given(FRAMES)
def test_several_frames_in_one_read(plain: list[Plain]) -> None:
    buffer = ReceiveBuffer()
    assert read_all(buffer, stream_of(plain)) == plain
    assert buffer.pending == 0


@given(FRAMES)
def test_a_stream_read_byte_by_byte(plain: list[Plain]) -> None:
    buffer, found = ReceiveBuffer(), []
    for byte in stream_of(plain):
        found += read_all(buffer, bytes([byte]))
    assert found == plain
    assert buffer.pending == 0


@given(FRAMES, st.data())
def test_random_pieces_in_one_reused_read_buffer(plain: list[Plain], data: st.DataObject) -> None:
    stream = stream_of(plain)
    pieces = split(stream, data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    block, buffer, found = bytearray(len(stream)), ReceiveBuffer(), []
    for piece in pieces:
        block[: len(piece)] = piece
        found += read_all(buffer, memoryview(block)[: len(piece)])
        block[: len(piece)] = b"\xee" * len(piece)  # as the next read overwrites it
    assert found == plain
    assert buffer.pending == 0


@given(FRAMES, st.integers(1, 51))
def test_an_unfinished_frame_stays_pending(plain: list[Plain], missing: int) -> None:
    last = (Command.SNIPPET_GET, 0, b"x" * 40)
    whole = encode(last[0], last[2], last[1])
    buffer = ReceiveBuffer()
    assert read_all(buffer, stream_of(plain) + whole[:-missing]) == plain
    assert buffer.pending == len(whole) - missing
    assert read_all(buffer, whole[-missing:]) == [last]


def feed_anything(data: bytes, places: Iterable[int]) -> None:
    """Only documented errors are raised, and every frame is the bytes that were fed."""
    buffer = ReceiveBuffer(max_payload=1000)
    position = 0
    for piece in split(data, places):
        buffer.feed(memoryview(piece))
        while (found := frame_or_error(buffer)) is not None:
            if isinstance(found, CallError):
                assert found.hint
                assert type(frame_or_error(buffer)) is type(found)  # the error is final
                ErrorResponse.of(found).pack()
                return
            again = bytearray(encode(found.command_id, found.payload, found.flags))
            again[7] = data[position + 7]  # reserved: ignored on receipt
            assert again == data[position : position + len(again)]
            position += len(again)
            del found
        buffer.keep()
    assert buffer.pending == len(data) - position


def frame_or_error(buffer: ReceiveBuffer) -> Frame | CallError | None:
    try:
        return buffer.next_frame()
    except (Malformed, UnsupportedVersion, TooLarge) as error:
        return error


@given(FRAMES, st.integers(0, 20), st.integers(0, 255), st.integers(0, 50))
def test_single_frame_equals_feed_and_next_frame(plain: list[Plain], at: int, byte: int, missing: int) -> None:
    whole = bytearray(stream_of(plain[:2]))
    if at < len(whole):
        whole[at] = byte
    data = memoryview(whole)[: max(0, len(whole) - missing)]
    buffer = ReceiveBuffer(max_payload=30)
    single = buffer.single_frame(data)
    buffer.feed(data)
    found = frame_or_error(buffer)
    assert single == (found if isinstance(found, Frame) and not buffer.pending else None)


@given(FRAMES, st.data())
def test_mutated_streams(plain: list[Plain], data: st.DataObject) -> None:
    stream = bytearray(stream_of([*plain, (4, 0, b"end")]))
    for at in data.draw(st.lists(st.integers(0, len(stream) - 1), min_size=1, max_size=3)):
        stream[at] = data.draw(st.integers(0, 255))
    feed_anything(bytes(stream), data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))


@given(st.binary(max_size=200), st.booleans(), st.data())
def test_random_bytes(tail: bytes, sound_start: bool, data: st.DataObject) -> None:
    stream = (b"DEER\x01" if sound_start else b"") + tail
    feed_anything(stream, data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))


@pytest.mark.parametrize(
    ("data", "error", "command_id"),
    [
        (b"GET / HTTP/1.1\r\n", Malformed, 0),
        (header(Command.SNIPPET_GET, 0)[::-1], Malformed, 0),
        (b"DEER\x02" + header(Command.SNIPPET_GET, 0)[5:], UnsupportedVersion, Command.SNIPPET_GET),
        (header(Command.SNIPPET_GET, frames.MAX_PAYLOAD + 1), TooLarge, Command.SNIPPET_GET),
        (header(Command.SNIPPET_GET, 0xFFFF_FFFF), TooLarge, Command.SNIPPET_GET),
    ],
)
def test_after_a_bad_header_command_id_tells_what_to_answer(
    data: bytes, error: type[CallError], command_id: int
) -> None:
    buffer = ReceiveBuffer()
    buffer.feed(memoryview(encode(Command.PLUGIN_LIST) + data))
    frame = buffer.next_frame()
    assert frame is not None
    assert buffer.command_id == frame.command_id == Command.PLUGIN_LIST
    with pytest.raises(error):
        buffer.next_frame()
    assert buffer.command_id == command_id


def test_a_payload_may_be_as_long_as_the_limit() -> None:
    buffer = ReceiveBuffer(max_payload=8)
    assert read_all(buffer, encode(1, b"12345678")) == [(1, 0, b"12345678")]
    with pytest.raises(TooLarge):
        read_all(buffer, encode(1, b"123456789"))


def test_a_forged_length_allocates_nothing() -> None:
    forged = [header(1, length) for length in (0xFFFF_FFFF, frames.MAX_PAYLOAD + 1, frames.MAX_PAYLOAD)]
    tracemalloc.start()
    try:
        for data in forged:
            buffer = ReceiveBuffer()
            try:
                assert read_all(buffer, data) == []
            except TooLarge:
                buffer.keep()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * 1024


def test_a_payload_is_a_view_of_what_was_read() -> None:
    block = bytearray(encode(1, b"first") + encode(2, b"second"))
    buffer = ReceiveBuffer()
    buffer.feed(memoryview(block))
    first, second = buffer.next_frame(), buffer.next_frame()
    assert first is not None
    assert second is not None
    assert first.payload.obj is second.payload.obj is block
    assert (bytes(first.payload), bytes(second.payload)) == (b"first", b"second")


@pytest.fixture(params=["mapped memory", "no mapped memory", "no mremap"])
def memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large frames are kept in mapped memory, unless the kernel refuses it."""

    def refuse(*_: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    if request.param == "no mapped memory":
        monkeypatch.setattr(mmap, "mmap", refuse)
    elif request.param == "no mremap":
        monkeypatch.setattr(mmap, "mmap", type("Mapped", (mmap.mmap,), {"resize": refuse}))


@pytest.mark.parametrize("size", [30, 20_000, 40_000, 700_000])
def test_a_payload_held_too_long_is_not_overwritten(memory: None, size: int) -> None:
    """The memory that keep() copied to is never reused, and resizing it raises no BufferError."""
    stream = stream_of([(n, 0, bytes([n]) * size) for n in range(20)])
    buffer, held = ReceiveBuffer(), []
    for piece in split(stream, range(7, len(stream), size * 5 // 6)):
        buffer.feed(memoryview(piece))
        while (frame := buffer.next_frame()) is not None:
            held.append(frame)
        buffer.keep()
    assert [bytes(frame.payload) for frame in held] == [bytes([n]) * size for n in range(20)]


@pytest.mark.parametrize("piece", [1_000, 30_000, 64 * 1024, 256 * 1024])
def test_large_frames_in_pieces(memory: None, piece: int) -> None:
    sent = [(n, 0, bytes([n, n + 1]) * size) for n, size in enumerate((20_000, 5, 16_000, 900_000, 0, 130_000, 9))]
    stream = stream_of(sent)
    buffer, received = ReceiveBuffer(), []
    for part in split(stream, range(piece, len(stream), piece)):
        received += read_all(buffer, part)
    assert received == sent
    assert buffer.pending == 0


def test_the_fed_block_is_released_by_keep() -> None:
    block = bytearray(encode(1, b"whole") + encode(2, b"half")[:-2])
    buffer = ReceiveBuffer()
    assert read_all(buffer, block) == [(1, 0, b"whole")]
    gc.collect()
    block.clear()  # a BufferError if there were still a view of it
    assert read_all(buffer, b"lf") == [(2, 0, b"half")]


def test_keep_between_two_frames_of_one_read() -> None:
    """A reader with a bounded number of frames per turn keeps the others for the next turn."""
    plain = [(n, 0, b"p" * n) for n in range(5)]
    buffer = ReceiveBuffer()
    buffer.feed(memoryview(stream_of(plain)))
    for command, flags, payload in plain:
        frame = buffer.next_frame()
        assert frame == (command, flags, payload)
        del frame
        buffer.keep()
    assert buffer.next_frame() is None
    assert buffer.pending == 0


def test_a_frame_that_was_put_back_is_returned_again() -> None:
    """Even if the reader still holds it when more is fed."""
    stream = stream_of([(1, 0, b"first"), (2, 0, b"second"), (3, 0, b"third")])
    for at in range(len(stream)):
        buffer = ReceiveBuffer()
        buffer.feed(memoryview(stream[:at]))
        frame = buffer.next_frame()
        if frame is not None:
            buffer.put_back(frame)
        buffer.keep()
        buffer.feed(memoryview(stream[at:]))
        again = buffer.next_frame()
        assert again == (1, 0, b"first")
        assert frame in (None, again)
        buffer.put_back(again)
        buffer.keep()
        assert buffer.pending == len(stream)
        assert read_all(buffer, encode(4, b"fourth"))[1:] == [(2, 0, b"second"), (3, 0, b"third"), (4, 0, b"fourth")]
        assert (again.payload, frame and frame.payload) == (b"first", frame and b"first")


def time_of(payload_size: int) -> float:
    payload = bytes(payload_size)
    stream = memoryview(encode(1, payload))
    buffer = ReceiveBuffer()
    frame: Frame | None = None
    started = time.process_time()
    for at in range(0, len(stream), 64 * 1024):
        assert frame is None
        buffer.feed(stream[at : at + 64 * 1024])
        frame = buffer.next_frame()
        if frame is None:
            buffer.keep()
    taken = time.process_time() - started
    assert frame is not None
    assert frame.payload == payload
    return taken


def test_a_long_payload_in_pieces_takes_linear_time() -> None:
    time_of(MIB)
    assert min(time_of(16 * MIB) for _ in range(3)) < 0.25  # a copy for each piece would be 2 GiB


@given(FRAMES, st.integers(1, 30), st.integers(1, 30))
def test_two_ends_in_memory_agree(calls: list[Plain], there: int, back: int) -> None:
    """One end pipelines requests and the other answers in order, over streams split anywhere."""
    core, client = ReceiveBuffer(), ReceiveBuffer()
    requests = stream_of(calls)
    answers = bytearray()
    for at in range(0, len(requests), there):
        for command, flags, payload in read_all(core, requests[at : at + there]):
            if not flags & Flag.ASYNC:
                answers += encode(command, payload[::-1], Flag.RESPONSE)
    got = []
    for at in range(0, len(answers), back):
        got += read_all(client, answers[at : at + back])
    assert got == [(c, Flag.RESPONSE, p[::-1]) for c, f, p in calls if not f & Flag.ASYNC]
    assert all(frames.is_response(flags) for _, flags, _ in got)
    assert core.pending == client.pending == 0
