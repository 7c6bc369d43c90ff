"""Work beside the event loop: it runs on threads that touch neither Qt nor MRML, and hands back what the main thread then does."""

import queue
import threading
from typing import Any, Callable, Optional

from .errors import EngramError
from .jobs import Progress

Done = Callable[[Any], None]
Failed = Callable[[EngramError], None]


class Task:
    """One piece of work. `stop()` asks it to end; it then ends by `Cancelled`."""

    def __init__(self):
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def stopped(self) -> bool:
        return self._stopped.is_set()


class Tasks:
    """Starts work on threads; `drain` on the main thread does what they handed back."""

    def __init__(self):
        self._handed_back: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def start(self, work: Callable[..., Any], done: Done, failed: Failed,
              progress: Optional[Callable[[Progress], None]] = None) -> Task:
        """Calls `work(report, stopped)` on a thread of its own; later, in `drain`, `progress` for each report and
        `done` with what it gave or `failed` with its error. After `stop()` no progress is told."""
        task = Task()

        def report(one: Progress) -> None:
            if progress is not None:
                self._handed_back.put(lambda: None if task.stopped() else progress(one))

        def run() -> None:
            try:
                given = work(report, task.stopped)
            except EngramError as error:
                told = error
                self._handed_back.put(lambda: failed(told))
            except Exception as error:
                # Whatever else is wrong is shown as well: a thread's traceback would be seen by nobody.
                told = EngramError("internal", f"{type(error).__name__}: {error}", "Please report this.")
                self._handed_back.put(lambda: failed(told))
            else:
                self._handed_back.put(lambda: done(given))

        # Slicer may end while the server does not answer.
        threading.Thread(target=run, daemon=True, name="Engram").start()
        return task

    def drain(self) -> None:
        """On the main thread: does what was handed back until now."""
        for _ in range(self._handed_back.qsize()):
            self._handed_back.get()()
