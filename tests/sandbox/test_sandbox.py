"""Code in a worker: what it gets and gives, how it is called, and what becomes of workers."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from terrazzo import logs
from terrazzo.errors import InvalidVersion, UdfFailed, UdfInvalid, UdfRefused
from terrazzo.sandbox import Axis, Block, Limits, Sandbox, UdfRules, check_runtime, runtimes
from terrazzo.sandbox.channel import Frames, SharedMemory, frame
from terrazzo.sandbox.environments import environment_of, own_environment
from terrazzo.sandbox.header import check_header
from terrazzo.sandbox.layers import Layers, Machine, choose, this_machine
from terrazzo.sandbox.pool import Pool
from terrazzo.sandbox.sandbox import _digest, _read

if TYPE_CHECKING:
    from collections.abc import Iterator

closable = pytest.mark.skipif(bool(this_machine().missing), reason=this_machine().missing)
AXES = (
    Axis("t", "temporal", ("2020-01-05T10:00:00Z", "2020-02-01")),
    Axis("bands", "bands", ("red", "nir")),
    Axis("y", "spatial", None, (500.0, 2, -10.0)),
    Axis("x", "spatial", None, (100.0, 3, 10.0)),
)
VALUES = np.arange(2 * 2 * 3 * 5, dtype=np.float32).reshape(2, 2, 3, 5)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(UdfRules(limits=Limits(workers=2)))
    yield made
    made.close()


def run(sandbox: Sandbox, body: str, values: Any = VALUES, context: Any = None) -> Block:
    """Run the body of an `apply_datacube`."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    code = f"import numpy as np\ndef apply_datacube(cube, context):\n{lines}\n"
    return sandbox.run(code, Block(values, AXES), context or {})


pytestmark = closable


def test_array_has_names_and_positions(sandbox: Sandbox) -> None:
    body = """
assert cube.dims == ("t", "bands", "y", "x")
assert cube.x.values.tolist() == [135, 145, 155, 165, 175][: cube.x.size] or cube.x.size == 8
assert float(cube.y[0]) == 500 - 10 * 2.5
assert str(cube.t.values[0])[:19] == "2020-01-05T10:00:00"
return cube
"""

    result = run(sandbox, body)

    np.testing.assert_array_equal(result.values, VALUES)
    assert result.axes[0].labels == AXES[0].labels  # the user's own text
    assert [axis.kind for axis in result.axes] == [axis.kind for axis in AXES]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int64", "float32", "float64", ">f4"])
def test_numbers_of_any_type_come_back(sandbox: Sandbox, dtype: str) -> None:
    result = run(sandbox, f"return (cube.fillna(0) * 7).astype({dtype!r})")

    np.testing.assert_array_equal(result.values, (VALUES * 7).astype(dtype))
    assert result.values.dtype == np.dtype(dtype).newbyteorder("=")


def test_result_is_known_without_pixels(sandbox: Sandbox) -> None:
    result = run(sandbox, "return cube.mean(dim='t') > 0", VALUES[:, :, :0, :0])

    assert result.values.shape == (2, 0, 0)
    assert result.values.dtype == np.bool_
    assert [axis.name for axis in result.axes] == ["bands", "y", "x"]


def test_what_comes_in_may_be_changed_in_place(sandbox: Sandbox) -> None:
    result = run(sandbox, "cube.values[:] = 3\nreturn cube")

    assert (result.values == 3).all()
    assert VALUES[0, 0, 0, 1] == 1


def test_large_and_small_blocks_take_turns(sandbox: Sandbox) -> None:
    for edge in (4, 2000, 4, 700, 3000, 8):
        values = np.full((2, 2, edge, 3), edge, np.float32)
        values[..., 0, 0] = np.nan

        result = run(sandbox, "return cube + 1", values)

        np.testing.assert_array_equal(result.values, values + 1)


def test_random_numbers_are_the_same_in_every_call(sandbox: Sandbox) -> None:
    body = "return cube.copy(data=np.random.rand(*cube.shape))"

    first, second = (run(sandbox, body).values for _ in range(2))

    np.testing.assert_array_equal(first, second)


def test_files_of_a_call_are_gone_in_the_next(sandbox: Sandbox) -> None:
    body = """
import os
found = len(os.listdir("."))
open("file", "w").write("text")
assert open("file").read() == "text"
return cube * 0 + found
"""

    for _ in range(3):
        assert run(sandbox, body).values.max() == 0


@pytest.mark.parametrize(
    "body",
    [
        "import scipy.signal\nreturn cube.copy(data=scipy.signal.detrend(np.nan_to_num(cube)))",
        "import pandas as pd\nreturn cube * pd.Series([1.0]).rolling(1).mean()[0]",
        "return cube.interpolate_na('t').ffill('t') if False else cube.resample(t='1MS').mean()",
    ],
)
def test_libraries_work_in_there(sandbox: Sandbox, body: str) -> None:
    assert run(sandbox, body).values.size


def test_block_that_is_too_large_is_told() -> None:
    sandbox = Sandbox(UdfRules(limits=Limits(workers=1, memory_bytes=100_000_000)))
    values = np.zeros((2, 2, 2000, 4000), np.float32)

    with pytest.raises(UdfFailed, match="needs more memory than one block may have"):
        run(sandbox, "return cube", values)

    np.testing.assert_array_equal(run(sandbox, "return cube").values, VALUES)
    sandbox.close()


@pytest.mark.slow
def test_compiled_functions_are_compiled_once() -> None:
    limits = Limits(workers=1)
    code = """
import time
import numba
import numpy as np

@numba.njit(cache=True)
def twice(values):
    return values * 2

def apply_datacube(cube, context):
    return cube.copy(data=twice(cube.values))
"""
    sandbox = Sandbox(UdfRules(limits=limits))
    sandbox.run(code, Block(VALUES, AXES), {})
    [worker] = sandbox._pool._idle
    before = worker.cpu_seconds()

    result = sandbox.run(code, Block(VALUES, AXES), {})

    np.testing.assert_array_equal(result.values, VALUES * 2)
    assert worker.cpu_seconds() - before < before / 2
    sandbox.close()


def test_many_threads_share_few_workers(sandbox: Sandbox) -> None:
    failures: list[str] = []

    def work(number: int) -> None:
        for turn in range(5):
            values = np.full((2, 2, 4, 4), number * 10 + turn, np.float32)
            result = run(sandbox, f"return cube + {number % 3}", values)
            if not (result.values == values + number % 3).all():
                failures.append(f"{number} {turn}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert sandbox._pool._busy == 0
    assert len(sandbox._pool._idle) <= sandbox.rules.limits.kept


@pytest.mark.slow
def test_worker_that_was_killed_is_replaced() -> None:
    sandbox = Sandbox(UdfRules(limits=Limits(workers=1)))
    run(sandbox, "return cube")
    [worker] = sandbox._pool._idle
    os.kill(worker.pid, signal.SIGKILL)
    while worker.is_alive():
        time.sleep(0.01)

    np.testing.assert_array_equal(run(sandbox, "return cube").values, VALUES)
    sandbox.close()


@pytest.mark.slow
def test_zygote_that_was_killed_takes_its_workers_along_and_is_replaced() -> None:
    sandbox = Sandbox(UdfRules(limits=Limits(workers=2)))
    run(sandbox, "return cube")
    [worker] = sandbox._pool._idle
    zygote = sandbox._pool._zygotes[""]
    os.kill(zygote._process.pid, signal.SIGKILL)
    while worker.is_alive():
        time.sleep(0.01)

    np.testing.assert_array_equal(run(sandbox, "return cube + 1").values, VALUES + 1)
    sandbox.close()
    assert not Path(worker.scratch).parent.exists()


SERVER = """
import time
import numpy as np
from terrazzo.sandbox import Axis, Block, Limits, Sandbox, UdfRules

sandbox = Sandbox(UdfRules(limits=Limits(workers=1)))
code = "def apply_datacube(cube, context):\\n    return cube\\n"
sandbox.run(code, Block(np.ones((2, 2), np.float32), (Axis("y"), Axis("x"))), {})
[worker] = sandbox._pool._idle
print(worker.pid, worker.scratch, flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_server_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert server.stdout is not None
    pid, scratch = server.stdout.readline().split()
    assert Path(scratch).is_relative_to(tmp_path)
    server.kill()
    server.communicate()

    for _ in range(3000):
        if not Path(f"/proc/{pid}").exists() and not list(tmp_path.iterdir()):
            break
        time.sleep(0.01)
    else:
        pytest.fail("The worker or its folder is still there.")


@pytest.mark.slow
def test_idle_workers_end_after_a_while() -> None:
    sandbox = Sandbox(UdfRules(limits=Limits(workers=3, idle_seconds=0.0)))

    for number in range(3):
        run(sandbox, f"return cube + {number}")

    assert len(sandbox._pool._idle) <= 1
    sandbox.close()


BARE = Machine(namespaces="Operation not permitted", landlock=0)


def test_machine_that_cannot_close_a_process_runs_nothing() -> None:
    sandbox = Sandbox(pool=Pool(Limits(), sealed=True, machine=BARE))

    with pytest.raises(UdfRefused, match=r"neither namespaces.*not permitted.*nor Landlock.*docto"):
        run(sandbox, "return cube")


@pytest.mark.parametrize(
    ("machine", "layers"),
    [
        (Machine(landlock=7), Layers(sealed=True, namespaces=True, landlock=7)),
        (Machine(landlock=0), Layers(sealed=True, namespaces=True)),
        (Machine(namespaces="none", landlock=1), Layers(sealed=True, landlock=1)),
    ],
)
def test_layers_are_all_that_the_machine_offers(machine: Machine, layers: Layers) -> None:
    assert choose(machine) == layers
    assert machine.missing == ""


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (BARE, "neither namespaces"),
        (Machine(seccomp="there is no list of system calls for riscv64", landlock=7), "riscv64"),
        (Machine("darwin"), "need Linux, and this is darwin"),
    ],
)
def test_what_a_machine_lacks_is_said(machine: Machine, words: str) -> None:
    with pytest.raises(UdfRefused, match=words):
        choose(machine)


def test_trusted_code_needs_no_layer_but_linux() -> None:
    assert choose(BARE, sealed=False) == Layers(sealed=False)
    with pytest.raises(UdfRefused, match="darwin"):
        choose(Machine("darwin"), sealed=False)


def test_labels_that_change_with_the_pixels_are_refused(sandbox: Sandbox) -> None:
    body = "return cube.assign_coords(bands=['a', 'b'] if float(cube.max()) < 1 else ['c', 'd'])"

    with pytest.raises(UdfFailed, match=r"other labels along 'bands'.*\('c', 'd'\) and \('a'"):
        run(sandbox, body)


def test_shape_that_changes_with_the_pixels_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(UdfFailed, match="must return the same"):
        run(sandbox, "return cube.isel(t=[0]) if float(cube.max()) > 1 else cube")


def test_runtimes_are_listed_as_openeo_has_it() -> None:
    told = runtimes()["Python"]

    assert told["type"] == "language"
    libraries = told["versions"][told["default"]]["libraries"]
    assert libraries["numpy"] == {"version": np.__version__}
    check_runtime("PYTHON")
    assert environment_of("", told["default"]) == own_environment()
    with pytest.raises(InvalidVersion):
        environment_of("", told["default"] + "9")


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ('dependencies = ["requests"]', "'requests', which is not here"),
        ('dependencies = ["nunpy"]', "Did you mean 'numpy'"),
        ('dependencies = ["numpy @ https://example.org/a.whl"]', "no address"),
        ('dependencies = ["numpy==0.1"]', "is installed"),
        ('requires-python = ">=4"', "requires Python >=4"),
        ("dependencies = 5", "list of texts"),
        ("dependencies = [", "no TOML"),
        ('a = "' + "x" * 30_000 + '"', "at most"),
        ("a = " + "[" * 9_000, "no TOML"),
        ('dependencies = ["???"]', "which is not here"),
        ('dependencies = ["numpy =! 1"]', "no requirement"),
    ],
)
def test_headers_that_ask_too_much_are_refused(header: str, words: str) -> None:
    with pytest.raises(UdfInvalid, match=words):
        checked(f"# /// script\n# {header}\n# ///\nx = 1\n")


def checked(code: str) -> None:
    own = own_environment()
    check_header(code, dict(own.packages), own.version)


def test_headers_may_ask_for_what_is_there() -> None:
    wanted = ", ".join(f'"{name}>=0.1"' for name, _ in own_environment().packages)

    checked(f"# /// script\n# requires-python = '>=3.11'\n# dependencies = [{wanted}]\n# ///\n")
    checked("x = 1\n")
    checked("# /// script\n# nothing closes it\n")


def test_messages_come_out_of_any_pieces() -> None:
    sent = [{"a": 1}, {"b": "ä" * 1000}, {}]
    content = b"".join(map(frame, sent))
    frames, found = Frames(), []

    for start in range(0, len(content), 7):
        frames.add(content[start : start + 7])
        while (message := frames.next()) is not None:
            found.append(message)

    assert found == sent


@pytest.mark.parametrize(
    "content", [b"\xff" * 8, b"\x02\0\0\0[]", b"\x01\0\0\0{", b"\x01\0\0\0\xff"]
)
def test_gibberish_is_no_message(content: bytes) -> None:
    frames = Frames()
    frames.add(content)

    with pytest.raises(ValueError, match=r"message|JSON|Expecting|decode"):
        frames.next()


def test_shared_memory_cannot_be_cut_short() -> None:
    memory = SharedMemory(5000)

    for size in (0, 10_000):
        with pytest.raises(PermissionError):
            os.ftruncate(memory.file, size)
    memory.close()


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ("shape", [0, 1 << 62]),
        ("shape", [1] * 100),
        ("shape", [10**4000] * 900),
        ("shape", ["2", True]),
        ("dtype", "(1,f4"),
        ("dtype", "O"),
        ("dtype", ["<f4"]),
        ("dimensions", [{"name": "t", "labels": ["a", "a"]}, {"name": "x", "labels": None}]),
        ("dimensions", [{"name": "t", "labels": 5}, {"name": "x", "labels": None}]),
    ],
)
def test_answers_that_make_no_sense_are_refused(changed: str, value: Any) -> None:
    names = [str(number) for number in range(len(value))] if changed == "shape" else ["y", "x"]
    answer = {
        "id": 1,
        "shape": [2, 2],
        "dtype": "<f4",
        "dimensions": [{"name": name, "labels": None} for name in names],
    }
    memory = SharedMemory(4096)

    with pytest.raises(UdfFailed, match="makes no sense"):
        _read({**answer, changed: value}, 1, memory)

    memory.close()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return cube.assign_coords(bands=[np.nan, 1.0])", "nan.*finite numbers"),
        ("return cube.assign_coords(bands=['a', 'a'])", "'a' is there twice"),
        ("raise MemoryError('x' * 30_000_000)", "needs more memory"),
        ("raise ValueError('x' * 1_500_000_000)", "ValueError, whose message cannot be shown"),
        (f"x = '{'a' * 900_000}'; raise ValueError(x[:1])", "ValueError: a"),
        ("raise ValueError('\\udcff')", r"ValueError: \?"),
        ("import no_such_package", "'no_such_package'. What there is stands at GET /udf_runtimes"),
        (
            "class E(MemoryError):\n    def __str__(self): raise RuntimeError('x')\nraise E()",
            "needs more memory",
        ),
    ],
)
def test_errors_of_any_size_and_kind_are_told(sandbox: Sandbox, body: str, words: str) -> None:
    with pytest.raises(UdfFailed, match=words) as caught:
        run(sandbox, body)

    assert len(str(caught.value).encode()) < 8000


TELLING = """
import os, stat, struct
told = json.dumps(message).encode()
for number in range(3, 64):
    try:
        if stat.S_ISSOCK(os.fstat(number).st_mode):
            for _ in range(times):
                os.write(number, struct.pack("<I", len(told)) + told)
    except OSError:
        pass
return cube
"""


@pytest.mark.parametrize(
    ("entry", "times"), [({"data": [[]] * 100_000}, 5), ({"message": "x" * 1000}, 2000)]
)
def test_log_is_bounded_whoever_writes_it(sandbox: Sandbox, entry: Any, times: int) -> None:
    body = f"import json\nmessage, times = {{'log': {entry!r}}}, {times}\n{TELLING}"

    with logs.collected() as log:
        run(sandbox, body)

    assert sum(len(json.dumps(told.data)) + len(told.message) for told in log.all()) < 260_000


def test_log_that_is_nested_deeply_can_be_written(sandbox: Sandbox) -> None:
    body = f"import json\nmessage = {{'log': {{}}}}\ntimes = 1\n{TELLING}".replace(
        "json.dumps(message)", "json.dumps(message).replace('{}', nested)"
    ).replace("times = 1", "times = 1\nnested = '{\"data\":' + '[' * 700 + ']' * 700 + '}'")

    with logs.collected() as log:
        run(sandbox, body)

    assert [entry.data for entry in log.all()] == ["nested too deeply"]


def test_text_without_line_ends_is_told_once(sandbox: Sandbox) -> None:
    with logs.collected() as log:
        run(sandbox, "for _ in range(1000): print('x', end='')\nreturn cube")

    assert [entry.message for entry in log.all()] == ["x" * 1000]


def test_temporary_files_may_be_used(sandbox: Sandbox) -> None:
    body = """
import tempfile
with tempfile.TemporaryFile() as file, tempfile.NamedTemporaryFile() as named:
    for one in (file, named):
        one.write(b"text")
        one.seek(0)
        assert one.read() == b"text"
return cube
"""

    np.testing.assert_array_equal(run(sandbox, body).values, VALUES)


def test_worker_that_keeps_a_file_open_is_not_kept(sandbox: Sandbox) -> None:
    body = "global kept\nkept = open('file', 'wb')\nkept.write(b'text')\nreturn cube * 5"

    run(sandbox, body)

    code = "import numpy as np\ndef apply_datacube(cube, context):\n" + "".join(
        f"    {line}\n" for line in body.splitlines()
    )
    assert _digest(code) not in [worker.key.code for worker in sandbox._pool._idle]


@pytest.mark.slow
def test_work_of_many_blocks_does_not_use_up_a_worker() -> None:
    sandbox = Sandbox(UdfRules(limits=Limits(workers=1, cpu_seconds=0.2)))
    body = "import time\nend = time.process_time() + 0.06\nwhile time.process_time() < end: pass"

    found = [run(sandbox, f"{body}\nreturn cube") for _ in range(100)]
    sandbox.close()

    # 6 seconds; a worker is killed after 5.
    assert all(np.array_equal(cube.values, VALUES) for cube in found)


def test_workers_are_watched_by_servers_with_many_open_files() -> None:
    sandbox = Sandbox(UdfRules(limits=Limits(workers=1)))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, limits[1]), limits[1]))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        for _ in range(2):
            np.testing.assert_array_equal(run(sandbox, "return cube").values, VALUES)
    finally:
        for file in files:
            os.close(file)
        sandbox.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_server_without_free_files_refuses_and_keeps_its_workers() -> None:
    sandbox = Sandbox(UdfRules(limits=Limits(workers=2)))
    run(sandbox, "return cube")
    [worker] = sandbox._pool._idle
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, limits[1]))
    try:
        with pytest.raises(UdfRefused, match="Too many open files"):
            run(sandbox, "return cube + 1")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    run(sandbox, "return cube")
    assert sandbox._pool._idle == [worker]
    sandbox.close()


@pytest.mark.slow
def test_forked_servers_share_no_workers(sandbox: Sandbox) -> None:
    run(sandbox, "return cube")
    child = os.fork()
    if not child:
        wrong = 1
        with suppress(BaseException):
            told = [run(sandbox, "return cube", VALUES + 1000).values for _ in range(50)]
            wrong = int(any((values != VALUES + 1000).any() for values in told))
        os._exit(wrong)

    for number in range(50):
        values = VALUES + number
        np.testing.assert_array_equal(run(sandbox, "return cube", values).values, values)
    _, status = os.waitpid(child, 0)
    assert status == 0


@pytest.mark.slow
def test_folder_that_was_cleaned_away_is_made_again() -> None:
    sandbox = Sandbox(UdfRules(limits=Limits(workers=2)))
    run(sandbox, "return cube")
    [worker] = sandbox._pool._idle
    shutil.rmtree(Path(worker.scratch).parent)

    np.testing.assert_array_equal(run(sandbox, "return cube + 1").values, VALUES + 1)
    sandbox.close()


@pytest.mark.slow
def test_server_that_is_killed_while_workers_get_ready_leaves_nothing(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdout=subprocess.DEVNULL,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    begun = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    while not (list(tmp_path.glob("terrazzo-udf-*")) and begun.read_text()):
        time.sleep(0.002)
    server.kill()
    server.communicate()

    for _ in range(6000):
        if not list(tmp_path.iterdir()):
            break
        time.sleep(0.01)
    else:
        pytest.fail("The folder is still there.")
