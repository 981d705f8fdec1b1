"""What user code does in another process, told to the test: a world, doors and notes that cross.

The test's process has them; each crosses as the address of a `Teller`, and its methods are asked
there.  A body uses them as it uses those of ``work.py``.

Begin reading at `WorldAcross`, then `Teller`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

import moorage
from moorage.exception import InputCancellation
from moorage.runtime.clocks.clock import system_clock

from .work import PATIENCE, Door, World

Address = tuple[str, bytes]


class Teller:
    """Answers what is asked from other processes, each connection on a thread of its own."""

    def __init__(self, world: WorldAcross) -> None:
        self._world = world
        self._listener = Listener(family="AF_UNIX", authkey=b"contract")
        self.address: Address = (str(self._listener.address), b"contract")
        self._closes = False
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except (EOFError, OSError, AuthenticationError):
                continue  # who asked is gone
            if self._closes:
                connection.close()
                return
            thread = threading.Thread(target=self._answer, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _answer(self, connection: Connection) -> None:
        with connection, contextlib.suppress(EOFError, OSError):
            while (asked := connection.recv()) is not None:
                what, *args = asked
                connection.send(getattr(self._world, what)(*args))

    def close(self) -> None:
        self._closes = True
        with Client(self.address[0], authkey=self.address[1]):
            pass  # ends the `accept`
        for thread in self._threads:
            thread.join(PATIENCE)
        self._listener.close()


# A strike in the middle of a question would leave the teller with half of it: so all questions
# are asked within a `shield`.
def ask(address: Address, *asked: Any) -> Any:
    """Ask the test's process, and wait for its answer."""
    name, key = address
    with Client(name, authkey=key) as connection:
        connection.send(asked)
        answer = connection.recv()
        connection.send(None)
        return answer


class WorldAcross(World):
    """A world whose user code is in other processes, in real time."""

    def __init__(self) -> None:
        super().__init__(system_clock)
        self._teller = Teller(self)
        self._doors: list[DoorAcross] = []
        self._notes: list[NotesAcross] = []

    def door(self) -> DoorAcross:
        self._doors.append(DoorAcross(self._teller.address, len(self._doors)))
        return self._doors[-1]

    def notes(self) -> NotesAcross:
        self._notes.append(NotesAcross(self._teller.address, len(self._notes)))
        return self._notes[-1]

    def close(self) -> None:
        for door in self._doors:
            door.open()
        self._teller.close()

    def __reduce__(self) -> Any:
        return WorldThere, (self._teller.address,)

    # -- what is asked from there ------------------------------------------------------------

    def begin(self, x: Any) -> None:
        with self._changed:
            self.began.append(x)
            self.running += 1
            self.peak = max(self.peak, self.running)
            self._changed.notify_all()

    def end(self, x: Any) -> None:
        with self._changed:
            self.ended.append(x)
            self.running -= 1
            self._changed.notify_all()

    def pass_door(self, number: int) -> bool:
        return self._doors[number].is_open.wait(PATIENCE)

    def note(self, number: int, value: Any) -> None:
        with self._changed:
            list.append(self._notes[number], value)
            self._changed.notify_all()

    def wait_until(self, condition: Any) -> None:
        """As `wait_for`; the pool tells nobody here, so ask again and again."""
        tries = threading.Event()
        for _ in range(int(PATIENCE * 100)):
            if condition():
                return
            tries.wait(0.01)
        assert condition()


class WorldThere:
    """The world, as user code in another process sees it."""

    virtual = False

    def __init__(self, address: Address) -> None:
        self._address = address

    @contextlib.contextmanager
    def at_work(self, x: Any) -> Iterator[None]:
        begun = False
        try:
            with moorage.shield():
                ask(self._address, "begin", x)
                begun = True
            yield
        finally:
            if begun:
                try:
                    with moorage.shield():
                        ask(self._address, "end", x)
                except InputCancellation:  # it came before the shield
                    ask(self._address, "end", x)
                    raise

    async def turn(self) -> None:
        if asyncio._get_running_loop() is not None:
            await asyncio.sleep(0)


class DoorAcross(Door):
    """A door of this process, at which user code in others waits."""

    def __init__(self, address: Address, number: int) -> None:
        self.is_open = threading.Event()
        self._address, self._number = address, number

    def open(self) -> None:
        self.is_open.set()

    def __reduce__(self) -> Any:
        return DoorThere, (self._address, self._number)


class DoorThere:
    def __init__(self, address: Address, number: int) -> None:
        self._asked = address, "pass_door", number

    async def wait(self) -> None:
        if asyncio._get_running_loop() is None:
            with moorage.shield():
                ask(*self._asked)
            return
        loop = asyncio.get_running_loop()
        opened = loop.create_future()

        def wait() -> None:
            ask(*self._asked)
            with contextlib.suppress(RuntimeError):  # the loop is closed: it was cancelled
                loop.call_soon_threadsafe(lambda: opened.done() or opened.set_result(None))

        threading.Thread(target=wait, daemon=True).start()
        await opened


class NotesAcross(list[Any]):
    """What user code in other processes has noted."""

    def __init__(self, address: Address, number: int) -> None:
        super().__init__()
        self._address, self._number = address, number

    def __reduce__(self) -> Any:
        return NotesThere, (self._address, self._number)


class NotesThere:
    def __init__(self, address: Address, number: int) -> None:
        self._asked = address, "note", number

    def append(self, value: Any) -> None:
        with moorage.shield():
            ask(*self._asked, value)
