"""Addresses of Ray, and what is said where none answers."""

import socket
from pathlib import Path

import pytest

import trine
from support.commands import refused
from support.effort import THOROUGH
from support.ray_jobs import needs_ray, run_isolated
from trine.errors import MissingDependencyError, SettingError
from trine.on_ray.connect import check_address, connected, is_cluster, workers_import_this_trine


@pytest.mark.parametrize("on", ["ray", "ray://head:10001", "ray://10.0.0.1:10001", "ray://[::1]:10001"])
def test_an_address_is_this_machine_or_the_head_of_a_cluster(on):
    assert check_address(on) == on
    assert is_cluster(on) == (on != "ray")


@pytest.mark.parametrize(
    "on", ["", "local", "head:10001", "ray:", "ray://", "ray://head", "ray://head:0", "ray://head:65536"]
)
def test_another_address_is_refused_before_anything_is_read(on, capsys, tmp_path):
    with pytest.raises(SettingError, match=r"on= must be ray for this machine, or ray://HOST:PORT"):
        check_address(on)
    line = refused(capsys, "embed", tmp_path, tmp_path, "--out", tmp_path / "a.parquet", f"--on={on}")
    assert line.startswith("trine: --on must be ray for this machine")


def test_where_nothing_listens_no_ray_answers():
    pytest.importorskip("ray")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        said = rf"no Ray answers at ray://127.0.0.1:{port} \(Connection refused\); start its head"
        with pytest.raises(SettingError, match=said), connected(f"ray://127.0.0.1:{port}"):
            pass


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'trine\[ray\]'"), connected("ray"):
        pass


def test_workers_import_the_trine_of_the_command():
    (package,) = workers_import_this_trine()["py_modules"]
    assert Path(package) == Path(trine.__file__).parent


@pytest.mark.skipif(not THOROUGH, reason="a test of release-check")
def test_a_process_may_start_ray_again(tmp_path):
    needs_ray()
    program = """
from trine.on_ray import connected
for _ in range(2):
    with connected("ray") as ray:
        print(ray.get(ray.remote(lambda: 42).remote()))
"""
    out, _ = run_isolated(["-c", program], cwd=tmp_path)
    assert out.split() == ["42", "42"]
