from ingest import checkpoint
from ingest.checkpoint import Checkpoint, Outgoing
from tests.support.readings import feed, pipeline, reading


def test_checkpoint_comes_back_as_it_was(tmp_path):
    line = pipeline()
    for t in range(20):
        feed(line, reading(t, hr=150, temp=37.0))
    line.message("vigil/v1/h/icu/b1/numerics", b"garbage", 0)
    saved = Checkpoint(1, line.state, [Outgoing("a/b", b"\x00\x01", retain=True)])
    path = tmp_path / "c.msgpack"
    checkpoint.write(path, checkpoint.encode(saved))
    assert checkpoint.read(path) == saved
    assert [p.name for p in tmp_path.iterdir()] == ["c.msgpack"]


def test_no_checkpoint_is_a_fresh_start(tmp_path):
    assert checkpoint.read(tmp_path / "none") is None


def test_broken_checkpoint_is_set_aside_and_does_not_stop_the_start(tmp_path):
    path = tmp_path / "c.msgpack"
    path.write_bytes(b"\x93half")
    assert checkpoint.read(path) is None
    assert (tmp_path / "c.broken").read_bytes() == b"\x93half"
