"""Which thread: without concurrent one for everything, with it several."""

import threading
import time

import moorage

app = moorage.App("classes")


class Where:
    @moorage.enter()
    def remember(self) -> None:
        self.entered = threading.get_ident()

    @moorage.method()
    def thread(self, _: int) -> tuple[int, bool]:
        time.sleep(0.05)
        mine = threading.get_ident()
        return mine, mine == self.entered


@app.cls(max_containers=1)
class Alone(Where):
    pass


@app.cls(max_containers=1)
@moorage.concurrent(max_inputs=4)
class Together(Where):
    pass


with app.run():
    alone = set(Alone().thread.map(range(8)))
    print(f"without concurrent: {len(alone)} thread; is it that of enter: {alone.pop()[1]}")
    print(f"with max_inputs=4:  {len(set(Together().thread.map(range(8))))} threads")
