"""A class: what is dear to make is made once in each container."""

import sqlite3

import moorage

app = moorage.App("tutorial")


@app.cls(max_containers=1)
class Ports:
    @moorage.enter()
    def load(self) -> None:
        print("loading")
        self.database = sqlite3.connect(":memory:")
        self.database.execute("create table ports (name, depth)")
        self.database.executemany(
            "insert into ports values (?, ?)", [("Hull", 10.4), ("Bergen", 11.0), ("Brest", 13.5)]
        )

    @moorage.exit()
    def close(self) -> None:
        self.database.close()
        print("closed")

    @moorage.method()
    def depth(self, name: str) -> float:
        row = self.database.execute("select depth from ports where name = ?", (name,)).fetchone()
        if row is None:
            raise LookupError(f"no port {name!r}")
        return row[0]


with app.run():
    ports = Ports()
    print(ports.depth.remote("Bergen"))
    print(list(ports.depth.map(["Hull", "Brest"])))
    try:
        ports.depth.remote("Ulm")
    except LookupError as error:
        print(f"LookupError: {error}")
