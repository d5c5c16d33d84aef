from __future__ import annotations

import json
import os
import socket

import pytest

from fer_batch import object_lease
from fer_batch.errors import RefusedError, StoppedError
from fer_batch.lease import check_lease, read_lease
from fer_batch.object_lease import ObjectLease, lease_of
from fer_batch.object_path import ObjectPath
from tests.object_store import Store
from tests.storage.test_object_path import at


@pytest.fixture
def file(store: Store) -> ObjectPath:
    path = at("run/work/lease.json")
    path.unlink(missing_ok=True)
    return path


def of_another_host(file: ObjectPath, **changes: object) -> dict[str, str]:
    content = {"host": "elsewhere", "processes": "", "pid": "7", "process_started": "0", "token": "theirs"} | changes
    file.write_bytes(json.dumps(content).encode())
    found = read_lease(file)
    assert found is not None
    return found


def test_is_there_while_held_and_nothing_is_left_after(file: ObjectPath) -> None:
    with lease_of(file) as held:
        assert held.holder() == f"process {os.getpid()} on {socket.gethostname()}"
        with pytest.raises(RefusedError, match=rf"another fer-batch works on s3://bucket/run: process {os.getpid()}"):
            lease_of(file).__enter__()
        held._touch()
        held.check()
    assert not at("run").exists()


def test_a_living_driver_of_another_host_is_respected_and_a_dead_one_replaced(
    file: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_another_host(file)
    with pytest.raises(RefusedError, match="process 7 on elsewhere"):
        lease_of(file).__enter__()
    monkeypatch.setattr(object_lease, "EXPIRE_S", -1.0)
    with lease_of(file) as held:
        held.check()
        with pytest.raises(StoppedError, match="has taken over"):
            check_lease(file, "theirs")


def test_of_two_that_want_to_take_over_one_does(file: ObjectPath) -> None:
    expired = of_another_host(file)
    first, second = ObjectLease(file), ObjectLease(file)
    tag = file.stat().tag
    assert first._end_of(expired)
    assert not second._end_of(expired)
    assert not second._put(tag)
    assert (read_lease(file) or {})["token"] == first.token


def test_a_driver_that_renews_meanwhile_keeps_it(file: ObjectPath) -> None:
    expired = of_another_host(file)
    tag = file.stat().tag
    of_another_host(file, renewed=1)
    assert not ObjectLease(file)._end_of(expired)
    assert not ObjectLease(file)._put(tag)


def test_an_answer_that_was_lost_does_not_shut_the_claimant_out(
    file: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = ObjectLease(file)
    file.write_bytes(json.dumps(claim._content()).encode())  # arrived, but the answer did not; the put was repeated
    with claim as held:
        held.check()


@pytest.mark.parametrize("how", ["ignores", "refuses"])
def test_a_store_without_conditions_is_used_with_a_warning(
    file: ObjectPath, store: Store, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    store.ignores_conditions = how == "ignores"
    store.refuses_conditions = how == "refuses"
    with lease_of(file) as held:
        held.check()
        with pytest.raises(RefusedError, match="another fer-batch"):
            ObjectLease(file).__enter__() if how == "refuses" else _second(file, store)
    assert "start one at a time" in caplog.text


def _second(file: ObjectPath, store: Store) -> None:
    store.ignores_conditions = False
    ObjectLease(file).__enter__()


def test_the_age_is_told_by_the_stores_clock(file: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    of_another_host(file)
    monkeypatch.setattr("fer_batch.lease.time.time", lambda: 0.0)  # this host's is far off
    with pytest.raises(RefusedError, match="elsewhere"):
        lease_of(file).__enter__()
