"""One auction room, whose state is in the memory of its only container.

All bidders must be in the room before the hammer falls, so a hundred inputs have to run at once.
"""

import asyncio
import threading
from dataclasses import dataclass, field

import modal

BIDDERS = 100

app = modal.App("auction")


@dataclass
class Lot:
    name: str
    bids: dict[str, int] = field(default_factory=dict)

    @property
    def winner(self) -> tuple[str, int]:
        return max(self.bids.items(), key=lambda bid: (bid[1], bid[0]))


@app.cls(max_containers=1, scaledown_window=300, timeout=60)
@modal.concurrent(max_inputs=BIDDERS)
class Room:
    @modal.enter()
    def open(self):
        print("the room is open", flush=True)
        self.lots: dict[str, Lot] = {}
        self.lock = threading.Lock()
        self.present = 0
        self.most_present = 0
        self.ballot_box: list[str] = []
        self.hands = threading.Barrier(BIDDERS)

    @modal.enter()
    async def ring(self):
        self.all_here = asyncio.Event()

    @modal.method()
    async def bid(self, lot: str, bidder: str, amount: int) -> bool:
        """Place a bid, and say whether it won."""
        self.present += 1
        self.most_present = max(self.most_present, self.present)
        try:
            entry = self.lots.setdefault(lot, Lot(lot))
            entry.bids[bidder] = amount
            if len(entry.bids) == BIDDERS:
                self.all_here.set()
            await self.all_here.wait()
            return entry.winner == (bidder, amount)
        finally:
            self.present -= 1

    @modal.method()
    def vote(self, number: int) -> int:
        """A show of hands, for which each voter holds a thread."""
        with self.lock:
            self.ballot_box.append("yes" if number % 3 else "no")
        self.hands.wait(timeout=50)
        return self.ballot_box.count("yes")

    @modal.method()
    def report(self) -> dict:
        return {
            "most_present": self.most_present,
            "lots": {name: lot.winner for name, lot in self.lots.items()},
        }

    @modal.exit()
    def close(self):
        print("the room is closed after", len(self.lots), "lot", flush=True)


@app.local_entrypoint()
def main(lot: str = "a clock"):
    room = Room()
    bidders = [f"bidder-{number:03}" for number in range(BIDDERS)]
    amounts = [10 * number % 997 for number in range(BIDDERS)]

    won = list(room.bid.map([lot] * BIDDERS, bidders, amounts))
    print("the winner is", bidders[won.index(True)], "of", len(won), "bidders")

    votes = set(room.vote.map(range(BIDDERS), order_outputs=False))
    print("votes for another auction:", *votes)
    print(Room().report.remote())
