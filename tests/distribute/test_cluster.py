"""Finding each other: TF_CONFIG, ports, greetings. No TensorFlow is needed for that."""

import json
import socket
import threading
import time

import pytest

from keras_sparse.distribute.cluster import Cluster, ClusterError, read_cluster, tf_config
from keras_sparse.distribute.launch import free_ports
from keras_sparse.distribute.peers import Peers

TWO = ["127.0.0.1:2000", "127.0.0.1:2001"]


def test_tf_config_round_trip():
    cluster = read_cluster({"TF_CONFIG": tf_config(TWO, 1)})
    assert cluster == Cluster(tuple(TWO), 1, (("worker", 0), ("worker", 1)))
    assert cluster.endpoint(0) == ("127.0.0.1", 2000)


def test_a_chief_is_worker_0():
    config = {"cluster": {"worker": TWO[1:], "chief": TWO[:1]}}
    config["task"] = {"type": "worker", "index": 0}
    cluster = read_cluster({"TF_CONFIG": json.dumps(config)})
    assert cluster == Cluster(tuple(TWO), 1, (("chief", 0), ("worker", 0)))


def config(workers=TWO, task=None):
    return json.dumps({"cluster": {"worker": workers}, "task": task})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "TF_CONFIG is not set.*keras-sparse launch --workers 4"),
        ("{", "not JSON"),
        ("[]", "no 'cluster'"),
        ('{"cluster": {"ps": ["a:1"]}}', "has no 'worker'"),
        (config(), "none of its cluster's 2 workers: None"),
        (config(task={"type": "worker", "index": 2}), "from 0 to 1"),
        (config(task={"type": "evaluator", "index": 0}), "evaluator"),
        (config(["a:1", "b"]), "'b' where 'host:port' belongs"),
        (config(["a:1", "b:70000"]), "'b:70000'"),
        (config(["a:1", "a:1"]), "'a:1' to more than one worker"),
    ],
)
def test_a_wrong_tf_config(text, message):
    with pytest.raises(ValueError, match=message):
        read_cluster({} if text is None else {"TF_CONFIG": text})


def clusters(count, ranks=None):
    addresses = tuple(f"127.0.0.1:{port}" for port in free_ports(count))
    jobs = tuple(("worker", i) for i in range(count))
    return [Cluster(addresses, rank, jobs) for rank in ranks or range(count)]


def joined(clusters, facts=None, timeout=5.0):
    """What each of some workers gets, peers or an error; the last comes somewhat late."""
    got = [None] * len(clusters)

    def join(i):
        time.sleep(0.3 * (i == len(clusters) - 1))
        try:
            got[i] = Peers(clusters[i], (facts or [{}] * len(clusters))[i], timeout)
        except ClusterError as error:
            got[i] = error

    threads = [threading.Thread(target=join, args=(i,)) for i in range(len(clusters))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


def test_all_find_each_other_and_notice_who_leaves():
    peers = joined(clusters(3))
    assert [each.lost() for each in peers] == [[]] * 3
    peers[1].close()
    deadline = time.monotonic() + 5
    while peers[0].lost() != [1] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert peers[0].lost() == peers[2].lost() == [1]
    # The port is free for tf.distribute's server while the connections are open.
    socket.create_server(("", peers[0].cluster.endpoint(0)[1])).close()
    for each in peers:
        each.close()


def test_who_does_not_come_is_named():
    first, _, third = clusters(3)
    errors = joined([first, third], timeout=1.0)
    assert f"worker 1 ({first.addresses[1]}) did not come within 1 seconds" in str(errors[0])
    assert "worker 1" in str(errors[1])


def test_a_port_in_use_is_named():
    (cluster,) = clusters(1)
    with socket.create_server(("", cluster.endpoint(0)[1])):
        (error,) = joined([cluster])
    assert f"cannot listen on port {cluster.endpoint(0)[1]}" in str(error)


def test_other_versions_and_clusters_are_refused():
    errors = joined(clusters(2), [{"version": "1"}, {"version": "2"}])
    assert "Workers 0 and 1 differ in version: '1' and '2'" in str(errors[0])
    assert "Workers 1 and 0 differ in version: '2' and '1'" in str(errors[1])
    one, two = clusters(2)
    other = Cluster((*one.addresses, "a:1"), 1, two.jobs)
    errors = joined([one, other], timeout=1.0)
    assert "differ in cluster" in str(errors[0])


def test_two_workers_of_one_number_are_refused():
    first, second, _ = clusters(3)
    errors = joined([first, second, second], timeout=1.0)
    assert any("cannot listen on port" in str(error) for error in errors[1:])


def test_strangers_are_left_alone():
    """Whoever knocks and says something else, or nothing, keeps nobody from coming."""
    pair = clusters(2)

    def knock():
        for words in (b"GET / HTTP/1.1\r\n\r\n", b"", b"{}\n"):
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline:
                try:
                    with socket.create_connection(pair[0].endpoint(0), 1) as stranger:
                        stranger.sendall(words)
                    break
                except OSError:
                    time.sleep(0.01)

    thread = threading.Thread(target=knock)
    thread.start()
    peers = joined(pair)
    thread.join()
    assert [each.lost() for each in peers] == [[], []]
    for each in peers:
        each.close()
