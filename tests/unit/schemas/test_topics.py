import pytest

from schemas.errors import TopicError
from schemas.topics import Kind, format_topic, parse_topic


@pytest.mark.parametrize("kind", list(Kind))
def test_parse_is_the_inverse_of_format(kind):
    topic = parse_topic(format_topic("quzhou-kaihua/icu/bed-01", kind))
    assert (topic.bed, topic.kind, topic.hospital) == (
        "quzhou-kaihua/icu/bed-01",
        kind,
        "quzhou-kaihua",
    )


@pytest.mark.parametrize(
    ("topic", "names"),
    [
        ("vigil/v1/h/icu/b1", "expected"),
        ("other/v1/h/icu/b1/numerics", "expected"),
        ("vigil/v1//icu/b1/numerics", "hospital"),
        ("vigil/v1/h//b1/numerics", "unit"),
        ("vigil/v1/h/icu//numerics", "bed"),
        ("vigil/v1/hub/icu/b1/numerics", "reserved"),
        ("vigil/v1/h/icu/床1/numerics", "bed"),
        ("vigil/v1/h/icu/$SYS/numerics", "bed"),
        ("vigil/v1/h/icu/Bed1/numerics", "bed"),
        ("vigil/v1/h/icu/" + "b" * 49 + "/numerics", "bed"),
        ("vigil/v1/h/icu/b1/secrets", "kind"),
        ("vigil/v1/h/icu/b\x00/numerics", "bed"),
    ],
)
def test_hostile_topic_is_refused_naming_the_level(topic, names):
    with pytest.raises(TopicError, match=names):
        parse_topic(topic)
