"""Processes that one process gives work to: answers, failures, ends, and shared arrays."""

import os
import signal
import time

import numpy as np
import pytest

from keras_sparse.distribute import WorkerLostError
from keras_sparse.distribute.worker_processes import WorkerFailedError, WorkerProcesses
from keras_sparse.storage.shared import load_shared, save_shared

pytestmark = pytest.mark.xdist_group("processes")


def adding(setup):
    """Answers with the sum of an array of the setup and what it is sent, or as it is told."""

    def answer(words, payload):
        print("what is printed does not come among the answers")
        if words.get("do") == "fail":
            raise ValueError("no such number")
        if words.get("do") == "end":
            os.kill(os.getpid(), signal.SIGKILL)
        total = setup["array"] + np.frombuffer(payload, "int64")
        return {"writable": setup["array"].flags.writeable}, total.tobytes()

    return answer


def broken(setup):
    raise KeyError("nothing here")


def workers(function=adding, count=2, **kwargs):
    setup = {"array": np.arange(3), "empty": np.zeros((0, 2))}
    return WorkerProcesses(count, f"{__name__}:{function.__name__}", setup, **kwargs)


def test_each_helper_answers_what_it_was_asked():
    with workers() as found:
        sent = [np.full(3, rank).tobytes() for rank in (10, 20)]
        answers = found.ask([({}, data) for data in sent])
        assert [np.frombuffer(data, "int64").tolist() for _, data in answers] == [
            [10, 11, 12],
            [20, 21, 22],
        ]
        assert not any(words["writable"] for words, _ in answers), "they share one copy"
        assert found.traffic == 4 * 24
        pids = found.processes()
        os.kill(pids[0], signal.SIGKILL)
        time.sleep(0.1)
        assert found.ask([({}, data) for data in sent]) == answers
        assert found.restarted == 1
        assert found.processes()[0] != pids[0]
        with pytest.raises(
            WorkerFailedError, match=r"(?s)Worker 1 failed: ValueError: no such number"
        ):
            found.ask([({}, sent[0]), ({"do": "fail"}, sent[1])])


def test_a_helper_that_ends_over_and_over_is_lost():
    with workers(count=1, restarts=1) as found:
        with pytest.raises(WorkerLostError, match="Lost worker 0") as caught:
            found.ask([({"do": "end"}, b"")])
        assert found.restarted == 1
        assert "ended with status -9" in str(caught.value.__cause__)


def test_a_helper_that_cannot_begin_says_why():
    with pytest.raises(WorkerFailedError, match="KeyError: 'nothing here'"):
        workers(broken, 1)


def test_arrays_are_read_where_they_lie(tmp_path):
    value = {"a": np.arange(6.0).reshape(2, 3), "b": [np.zeros(0), "text"], "c": np.int32([7])}
    save_shared(value, tmp_path / "setup")
    found = load_shared(tmp_path / "setup")
    np.testing.assert_array_equal(found["a"], value["a"])
    assert (found["b"][0].size, found["b"][1], found["c"].tolist()) == (0, "text", [7])
    assert not found["a"].flags.writeable
