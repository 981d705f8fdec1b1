"""An initializer, and what it makes for each worker, is an enter hook."""

import sqlite3

import moorage

app = moorage.App("workers")


@app.cls(max_containers=4)  # as max_workers=4: each container has one thread
class Database:
    @moorage.enter()
    def connect(self) -> None:
        self.connection = sqlite3.connect(":memory:")

    @moorage.exit()
    def close(self) -> None:
        self.connection.close()

    @moorage.method()
    def add(self, x: int, y: int) -> int:
        return self.connection.execute("select ? + ?", (x, y)).fetchone()[0]


with app.run():
    print(list(Database().add.starmap([(1, 2), (3, 4)])))
