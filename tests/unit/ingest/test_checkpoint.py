from ingest import checkpoint
from ingest.checkpoint import Checkpoint, Outgoing
from ingest.pipeline import Limits, Pipeline
from tests.support.readings import feed, pipeline, reading, rules


def test_checkpoint_comes_back_as_it_was(tmp_path):
    line = pipeline()
    for t in range(20):
        feed(line, reading(t, hr=150, temp=37.0))
    line.message("vigil/v1/h/icu/b1/numerics", b"garbage", 0)
    saved = Checkpoint(checkpoint.VERSION, line.state, [Outgoing("a/b", b"\x00\x01", retain=True)])
    path = tmp_path / "c.msgpack"
    checkpoint.write(path, checkpoint.encode(saved))
    assert checkpoint.read(path) == saved
    assert [p.name for p in tmp_path.iterdir()] == ["c.msgpack"]


def test_an_older_checkpoint_is_taken_over_without_its_checksums(tmp_path):
    line = pipeline()
    for t in range(3):
        feed(line, reading(t, hr=72))
    path = tmp_path / "c.msgpack"
    checkpoint.write(path, checkpoint.encode(Checkpoint(1, line.state, [])))
    found = checkpoint.read(path)
    again = Pipeline(found.state, rules(), {}, Limits())
    feed(again, reading(2, hr=72))
    feed(again, reading(3, hr=73))
    assert (again.state.conflicts, again.state.accepted) == (0, 5)  # one again: stored once, by key


def test_no_checkpoint_is_a_fresh_start(tmp_path):
    assert checkpoint.read(tmp_path / "none") is None


def test_broken_checkpoint_is_set_aside_and_does_not_stop_the_start(tmp_path):
    path = tmp_path / "c.msgpack"
    path.write_bytes(b"\x93half")
    assert checkpoint.read(path) is None
    assert (tmp_path / "c.broken").read_bytes() == b"\x93half"
