"""What may follow what in a consult, who may do it, and what is told of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import to_builtins

from care.consults import (
    ACTS_MOST,
    RESPONSE_NS,
    Act,
    Advised,
    Loops,
    Range,
    Side,
    State,
    apply,
    loops,
    opened,
    response,
    turnaround,
)
from schemas.errors import CareError
from schemas.times import S

T0 = 1_800_000_000 * S
BED = "kaihua/icu/bed-03"


def act(kind, at_s=0, side=Side.BEDSIDE, **fields):
    by = "nurse" if side is Side.BEDSIDE else "expert"
    return Act(kind, by, side, T0 + at_s * S, **fields)


def ask():
    return opened("c1", act("opened", bed=BED, text="血压下降"))


def accepted():
    return apply(ask(), act("accepted", 60, Side.EXPERT))


def advised():
    due = T0 + 1800 * S
    body = {"advice": "r1", "what": "去甲肾上腺素", "why": "MAP < 60", "due_ns": due}
    return apply(accepted(), act("advised", 120, Side.EXPERT, **body))


def answer(consult, to, at_s=200, side=Side.BEDSIDE, reason=""):
    return apply(consult, act("answered", at_s, side, advice="r1", answer=to, reason=reason))


def test_the_whole_loop_and_its_times():
    consult = advised()
    assert loops([consult]) == Loops(active=1, proposed=1, due_ns=T0 + 1800 * S, consult="c1")
    consult = answer(consult, Advised.AGREED)
    assert loops([consult]) == Loops(active=1, agreed=1, due_ns=T0 + 1800 * S, consult="c1")
    consult = answer(consult, Advised.DONE, 500)
    assert loops([consult]) == Loops(active=1, consult="c1")
    consult = apply(
        consult, act("measured", 4200, Side.EXPERT, advice="r1", response={"hr": [1.0]})
    )
    consult = apply(consult, act("closed", 5000))
    assert consult.state is State.CLOSED
    assert consult.find("r1").response == {"hr": [1.0]}
    assert turnaround(consult) == {
        "accepted_s": 60.0,
        "first_advice_s": 120.0,
        "answered_s": 80.0,
        "done_s": 380.0,
        "closed_s": 5000.0,
    }
    with pytest.raises(CareError, match="cannot be now"):
        apply(consult, act("said", 5001, text="noch"))


def test_the_other_side_accepts_and_the_opener_withdraws():
    with pytest.raises(CareError, match="the other side accepts"):
        apply(ask(), act("accepted", 1))
    with pytest.raises(CareError, match="only the side that opened"):
        apply(ask(), act("withdrawn", 1, Side.EXPERT))
    assert apply(ask(), act("withdrawn", 1)).state is State.WITHDRAWN


def test_advice_needs_a_reason_and_a_time_and_comes_from_the_expert():
    right = {"advice": "r1", "what": "x", "why": "y", "due_ns": T0 + 999 * S}
    for wrong, why in (
        (right | {"what": " "}, "what"),
        (right | {"why": ""}, "why"),
        (right | {"due_ns": T0}, "by when"),
    ):
        with pytest.raises(CareError, match=why):
            apply(accepted(), act("advised", 100, Side.EXPERT, **wrong))
    with pytest.raises(CareError, match="expert"):
        apply(accepted(), act("advised", 100, **right))
    with pytest.raises(CareError, match="cannot be now"):
        apply(ask(), act("advised", 100, Side.EXPERT, **right))


def test_the_bedside_answers_and_declining_needs_a_reason():
    with pytest.raises(CareError, match="only the bedside side"):
        answer(advised(), Advised.AGREED, side=Side.EXPERT)
    with pytest.raises(CareError, match="only the expert side"):
        answer(advised(), Advised.WITHDRAWN)
    with pytest.raises(CareError, match="reason"):
        answer(advised(), Advised.DECLINED)
    declined = answer(advised(), Advised.DECLINED, reason="已在泵入")
    assert declined.find("r1").reason == "已在泵入"
    with pytest.raises(CareError, match="cannot become"):
        answer(declined, Advised.DONE)


def test_a_consult_with_open_advice_is_not_closed():
    with pytest.raises(CareError, match="1 advice still open"):
        apply(advised(), act("closed", 300))
    assert apply(answer(advised(), Advised.DONE), act("closed", 300)).state is State.CLOSED


def test_a_message_says_something_and_points_at_the_past():
    with pytest.raises(CareError, match="say something"):
        opened("c1", act("opened", bed=BED))
    future = (Range(T0, T0 + 3600 * S),)
    with pytest.raises(CareError, match="future"):
        apply(ask(), act("said", 1, ranges=future))
    backwards = (Range(T0, T0 - S),)
    with pytest.raises(CareError, match="ends before"):
        apply(ask(), act("said", 1, ranges=backwards))


def test_the_response_is_means_before_and_of_each_quarter():
    done = T0
    readings = [
        (T0 + t * S, {"hr": 100.0 if t < 0 else 80.0, "temp": None}) for t in range(-700, 1800, 10)
    ]
    found = response(readings, done)
    assert found == {"hr": [100.0, 80.0, 80.0, None, None]}
    assert response([], done) == {}
    assert RESPONSE_NS == 3600 * S


@given(
    st.lists(
        st.sampled_from(["accepted", "said", "advised", "answered", "closed", "withdrawn"]),
        max_size=30,
    ),
    st.data(),
)
def test_whatever_is_tried_a_closed_consult_has_no_open_advice(kinds, data):
    consult, count = ask(), 0
    for at, kind in enumerate(kinds, 1):
        side = data.draw(st.sampled_from(list(Side)))
        fields = {
            "said": {"text": "x"},
            "advised": {"advice": f"r{count}", "what": "a", "why": "b", "due_ns": T0 + 10_000 * S},
            "answered": {
                "advice": f"r{max(0, count - 1)}",
                "answer": data.draw(st.sampled_from(list(Advised))),
                "reason": "z",
            },
        }.get(kind, {})
        before = to_builtins(consult)
        try:
            after = apply(consult, act(kind, at, side, **fields))
        except CareError:
            assert to_builtins(consult) == before
            continue
        count += kind == "advised"
        assert after.acts == consult.acts + 1
        consult = after
    if consult.state in (State.CLOSED, State.WITHDRAWN):
        assert not [a for a in consult.advice if a.state in (Advised.PROPOSED, Advised.AGREED)]


def test_the_first_answer_and_who_did_it_are_both_kept():
    consult = answer(advised(), Advised.AGREED, 200)
    other = Act(
        "answered", "night-nurse", Side.BEDSIDE, T0 + 900 * S, advice="r1", answer=Advised.DONE
    )
    done = apply(consult, other).find("r1")
    assert (done.answered_by, done.answered_ns) == ("nurse", T0 + 200 * S)
    assert (done.done_by, done.done_ns) == ("night-nurse", T0 + 900 * S)
    withdrawn = answer(advised(), Advised.WITHDRAWN, side=Side.EXPERT)
    assert turnaround(withdrawn)["answered_s"] is None


def test_a_long_consult_can_still_be_answered_and_closed():
    consult = advised()
    for at in range(ACTS_MOST):
        try:
            consult = apply(consult, act("said", 300 + at, text="x"))
        except CareError:
            break
    assert consult.acts == ACTS_MOST
    assert apply(answer(consult, Advised.DONE), act("closed", 9000)).state is State.CLOSED
