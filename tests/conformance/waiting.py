"""Reads `waiting.txt`: checks that wait for a capability we do not have yet. Lines are

    test_file.py::test_name: the capability it waits for
    test_file.py::test_name[parameter]: the capability it waits for
    test_file.py: the capability the whole file waits for
    test_file.py::test_name (not run): the same, for checks that would only spend minutes on failing

A waiting check is run and must fail: one that passes fails the run until its line is removed, so that the list only shrinks. The checks
of a whole file are not run; remove such a line to see which of them pass."""
import os
import pytest

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "waiting.txt")
NOT_RUN = " (not run)"


def entries(path=PATH):
    """Check id -> (reason, whether it is run)."""
    found = {}
    with open(path) as f:
        for number, line in enumerate(f, 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            name, separator, reason = line.partition(": ")
            if not separator or not reason:
                raise pytest.UsageError(f"waiting.txt:{number}: expected `check: reason`, found: {line}")
            run = "::" in name and not name.endswith(NOT_RUN)
            name = name.removesuffix(NOT_RUN)
            if name in found:
                raise pytest.UsageError(f"waiting.txt:{number}: {name} stands there twice")
            found[name] = (reason, run)
    return found


def mark(config, items):
    waiting, used, files = entries(), set(), set()
    for item in items:
        name = f"{item.path.name}::{item.name}"; plain = name.partition("[")[0]
        files.add(item.path.name)
        for key in (name, plain, item.path.name):
            if key in waiting:
                reason, run = waiting[key]
                used.add(key)
                text = f"waits for {reason}" + (f"; if it passes now: remove the line {key} from waiting.txt" if run else "")
                item.add_marker(pytest.mark.xfail(reason=text, run=run, strict=True))
                break
    if any("::" in argument for argument in config.args):
        return
    stale = [key for key in waiting if key not in used and key.partition("::")[0] in files]
    if stale:
        raise pytest.UsageError(f"waiting.txt names checks that do not exist: {', '.join(stale)}")
