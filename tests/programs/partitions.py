"""Orders of several cities through one Queue, each city in a partition of its own.

Producers and consumers are spawned and run side by side; a consumer ends when its city is closed.

    modal run partitions.py --cities paris,oslo,rome --orders 20
"""

import logging
from collections import defaultdict
from queue import Empty
from typing import Any, Dict, List, Tuple

import modal

logger = logging.getLogger("partitions")
app = modal.App("example-queue-partitions")

CLOSED = {"closed": True}


@app.function(timeout=120)
def produce(orders: modal.Queue, city: str, count: int, producer: int) -> int:
    for number in range(count):
        orders.put(
            {"city": city, "producer": producer, "number": number},
            partition=city,
            partition_ttl=3600,
        )
    return count


@app.function(timeout=120)
def produce_in_bulk(orders: modal.Queue, city: str, count: int, producer: int) -> int:
    batch = [{"city": city, "producer": producer, "number": n} for n in range(count)]
    orders.put_many(batch, partition=city)
    return len(batch)


@app.function(timeout=120)
async def consume(orders: modal.Queue, city: str, name: str) -> List[Dict[str, Any]]:
    got = []
    while True:
        item = await orders.get.aio(block=True, timeout=30, partition=city)
        if item == CLOSED:
            return got
        assert item["city"] == city, f"{name} got an order of {item['city']}"
        got.append({**item, "consumer": name})


@app.function()
def drain(orders: modal.Queue, city: str) -> Tuple[int, bool]:
    """What is left, without waiting; an empty queue gives None, or Empty with a timeout."""
    left = 0
    while orders.get(block=False, partition=city) is not None:
        left += 1
    try:
        orders.get(timeout=0.05, partition=city)
    except Empty:
        return left, True
    return left, False


@app.local_entrypoint()
def main(cities: str = "paris,oslo", orders: int = 12, consumers: int = 2):
    names = cities.split(",")
    with modal.Queue.ephemeral() as queue:
        calls = {
            city: [consume.spawn(queue, city, f"{city}-{n}") for n in range(consumers)]
            for city in names
        }
        producers = []
        for city in names:
            producers.append(produce.spawn(queue, city, orders, 0))
            producers.append(produce_in_bulk.spawn(queue, city, orders, 1))
        sent = sum(modal.FunctionCall.gather(*producers))
        print(f"sent {sent} orders to {len(names)} cities")

        for city in names:
            queue.put_many([CLOSED] * consumers, partition=city)

        for city in names:
            received = [order for call in calls[city] for order in call.get(timeout=60)]
            by_producer = defaultdict(list)
            for order in received:
                by_producer[order["producer"]].append(order["number"])
            complete = all(sorted(n) == list(range(orders)) for n in by_producer.values())
            print(f"{city}: {len(received)} orders, complete: {complete}")

        queue.put("late", partition=names[0])
        queue.put("later", partition=names[0])
        queue.put("no city")
        print(f"left: {queue.len(partition=names[0])} of {queue.len(total=True)}")
        print("peek:", list(queue.iterate(partition=names[0])))
        print("drained:", drain.remote(queue, names[0]))
        queue.clear(all=True)
        print("after clear:", queue.len(total=True))
