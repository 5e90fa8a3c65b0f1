"""Options and fixtures. `--reference` runs the suite against Apache RocketMQ, which calibrates it; without it, against our binaries."""
import os, sys
import pytest
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rmq import Conn  # noqa: E402
from servers import Cluster  # noqa: E402
import waiting  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--reference", action="store_true", help="run against Apache RocketMQ from jars")
    parser.addoption("--slow", action="store_true", help="also run checks that take longer than half a minute")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes longer than half a minute")
    config.addinivalue_line("markers", "ours(reason): the reference does otherwise on purpose; checked only against our servers")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))
        if item.get_closest_marker("ours") and config.getoption("--reference"):
            item.add_marker(pytest.mark.skip(reason="a wanted deviation from the reference"))
    if not config.getoption("--reference"):
        waiting.mark(config, items)


@pytest.fixture(scope="session")
def reference(request):
    return request.config.getoption("--reference")


@pytest.fixture(scope="module")
def cluster(request, reference):
    """One name server and one broker with everything on default, shared by the checks of a module: use topics and groups of your own."""
    c = Cluster(reference)
    try:
        c.namesrv(); c.b = c.broker()
        yield c
    finally:
        c.close()


@pytest.fixture
def conn(cluster):
    k = Conn(cluster.b.addr); yield k; k.close()


@pytest.fixture
def ns(cluster):
    k = Conn(cluster.namesrv_addr); yield k; k.close()


@pytest.fixture
def fresh(reference):
    """`fresh(**broker_config)` gives a cluster of its own; for checks that need other settings, restarts or kill -9."""
    made = []

    def make(namesrv_conf=None, **conf):
        c = Cluster(reference); made.append(c); c.namesrv(**(namesrv_conf or {})); c.b = c.broker(**conf)
        return c

    yield make
    for c in made:
        c.close()


def pytest_sessionfinish():
    """Ends what a fixture that failed half way has left running."""
    for cluster in Cluster.made:
        if any(process.alive() for process in cluster.procs):
            cluster.close()
