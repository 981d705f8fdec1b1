"""With concurrent.futures."""

import hashlib
from concurrent.futures import ThreadPoolExecutor, as_completed


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:8]


blocks = [b"bow", b"stern", b"keel"]
with ThreadPoolExecutor(max_workers=8) as pool:
    print(list(pool.map(digest, blocks)))
    future = pool.submit(digest, b"mast")
    print(future.result(timeout=10))
    futures = [pool.submit(digest, block) for block in blocks]
    print(sorted(done.result() for done in as_completed(futures)))
