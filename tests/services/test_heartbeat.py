import threading

from django.db import DatabaseError

from detection.services import heartbeat as module
from detection.services.heartbeat import heartbeat


class Rows:
    """Stands in for the claimed row; counts beats, and can be made to fail."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.beat = threading.Event()

    def update(self, *, heartbeat_at):
        if self.errors:
            raise self.errors.pop()
        self.beat.set()


def test_row_beats_while_the_block_runs_and_no_longer(monkeypatch):
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.01)
    rows = Rows()
    with heartbeat(rows=rows):
        assert rows.beat.wait(timeout=60)
    rows.beat.clear()

    assert not rows.beat.wait(timeout=0.1)
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeat"]


def test_heart_goes_on_beating_after_a_database_error(monkeypatch):
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.01)
    rows = Rows(DatabaseError("gone away"))

    with heartbeat(rows=rows):
        assert rows.beat.wait(timeout=60)
