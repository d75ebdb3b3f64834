"""What is kept from the standard error, and what is not."""

import contextlib
import os

from keras_sparse.deploy.native_log import native_log


def test_what_other_code_writes_to_stderr_is_passed_on(capfd):
    with native_log() as log:
        os.write(2, b"I0000 00:00:1700000000.000000 1 a.cc:1] chatter\nsomething else\n")
    assert capfd.readouterr().err == "something else\n"
    assert "chatter" in log.text


def test_log_of_a_failure_is_kept_for_its_message(capfd):
    def fail():
        os.write(2, b"the cause\n")
        raise KeyError

    with contextlib.suppress(KeyError), native_log() as log:
        fail()
    assert capfd.readouterr().err == ""
    assert log.text == "the cause\n"
